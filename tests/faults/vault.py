"""One vault in a temporary folder, the daemon that serves it, and what its clients know of it.

Everything stays on unix sockets and loopback; the folder goes with the vault. A daemon is ended by
its own process id only.
"""
import argparse
import base64
import contextlib
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import grpc

import fault_control

PATIENCE_S = 30  # nothing that is waited for takes this long, also on a busy machine
CALL_TIMEOUT_S = 10
PROJECT = "acme"
COMPONENT = "ex-drive"
NOBODY = 65534


def arguments(description):
    """The arguments that every harness takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--build", type=lambda text: pathlib.Path(text).absolute(), required=True,
                        help="the build folder")
    parser.add_argument("--daemon", type=pathlib.Path, help="another daemon than the build's")
    parser.add_argument("--sabotage", help="value of OAUTHVAULT_SABOTAGE for the daemon")
    parser.add_argument("--seed", type=int, default=None, help="of the random choices")
    return parser


def load_stubs(build):
    """The generated contract of the build, importable from here on."""
    stubs = str(build / "tests" / "faults" / "stubs")
    if stubs not in sys.path:
        sys.path.insert(0, stubs)


class Report:
    """Figures and violations of one run. A violation begins with a word that says its kind: the
    table of sabotages expects these words."""

    SHOWN = 10  # of each kind

    def __init__(self, name, options):
        self.name = name
        self.seed = options.seed
        if self.seed is None:
            self.seed = random.SystemRandom().getrandbits(32)
        self.random = random.Random(self.seed)
        self.violations = []
        self.lock = threading.Lock()

    def violation(self, kind, text):
        with self.lock:
            self.violations.append((kind, text))
            if sum(one == kind for one, _ in self.violations) <= self.SHOWN:
                print(f"{kind}: {text}", flush=True)

    def end(self, figures):
        """Prints the line of figures; the exit code."""
        state = "ok" if not self.violations else f"FAILED, {len(self.violations)} violations"
        print(f"{self.name}: {figures}; seed {self.seed}; {state}", flush=True)
        return 1 if self.violations else 0


def await_condition(condition, seconds=PATIENCE_S, every=0.005):
    """Asks until it is true, at most so long."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(every)
    return True


class Ended(Exception):
    """The daemon ended where it should serve."""


class Vault:
    """A vault and its daemon. `state` and `audit` may lie elsewhere; `settings`: more lines of the
    configuration, by section."""

    def __init__(self, options, *, map_size_mib=8, state=None, audit=None, folder=None,
                 names=("localhost",), trust_domain="oauthvault", user=None):
        self.options = options
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="faults-"))
        self.binary = (options.daemon or options.build / "bin" / "oauthvaultd").absolute()
        self.state = pathlib.Path(state or self.folder / "state")
        self.audit = pathlib.Path(audit or self.folder / "audit")
        self.socket = self.folder / "socket"
        self.log = self.folder / "log"
        self.user = user
        self.trust_domain = trust_domain
        self.environment = {}
        self.preload = None
        self.control = None  # with preload_faults
        self.process = None
        self.config = self.folder / "oauthvaultd.toml"
        if not self.config.exists():
            quoted = ", ".join(f'"{name}"' for name in names)
            self.config.write_text(
                f'state = "{self.state}"\naudit = "{self.audit}"\n'
                f'key_file = "{self.folder}/key"\nsocket = "{self.socket}"\n'
                f'listen = "127.0.0.1:0"\nnames = [{quoted}]\ntrust_domain = "{trust_domain}"\n'
                f"[edge]\nstop_timeout_ms = 2000\n"
                f"[store]\nmap_size_mib = {map_size_mib}\n"
                f"[rivery]\nallow_loopback = true\n")

    def add_settings(self, text):
        """More sections of the configuration."""
        self.config.write_text(self.config.read_text() + text)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()

    def remove(self):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- the process -----------------------------------------------------------------------------

    def start_program(self, words):
        """`oauthvaultd WORDS --config ..`, in an environment of its own; what it says goes to the
        log."""
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder)}
        for kept in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"):
            if kept in os.environ:
                environment[kept] = os.environ[kept]
        environment.update(self.environment)
        if self.options.sabotage:
            environment["OAUTHVAULT_SABOTAGE"] = self.options.sabotage
        if self.preload:
            if not self.preload.exists():  # the loader would go on without it
                raise SystemExit(f"not built: {self.preload}")
            environment["LD_PRELOAD"] = str(self.preload)
            # The sanitizer's run-time wants to be the first library; behind this one it works, too.
            environment["ASAN_OPTIONS"] = ":".join(
                [*filter(None, [environment.get("ASAN_OPTIONS")]), "verify_asan_link_order=0"])
        as_user = {}
        if self.user is not None and os.geteuid() == 0:
            as_user = {"user": self.user, "group": self.user, "extra_groups": []}
        with open(self.log, "ab") as log:
            return subprocess.Popen([str(self.binary), *words, "--config", str(self.config)],
                                    stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                    cwd=self.folder, env=environment, **as_user)

    def run(self, *words):
        """Runs a verb to its end; the exit code (negative: the signal), and what it said."""
        at = self.log.stat().st_size if self.log.exists() else 0
        process = self.start_program(words)
        try:
            code = process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return -signal.SIGKILL, "it did not end"
        return code, self.said(at)

    def said(self, since=0):
        """What the programs said from this place of the log on."""
        with open(self.log, "rb") as log:
            log.seek(since)
            return log.read().decode(errors="replace")

    def init(self):
        code, text = self.run("init")
        if code != 0:
            raise Ended(f"init ended with {code}: {text}")
        return self

    def try_start(self):
        """Starts the daemon. None: it serves; else the exit code and what it said."""
        at = self.log.stat().st_size if self.log.exists() else 0
        self.process = self.start_program([])
        served = await_condition(
            lambda: b" serving " in self.log_bytes(at) or self.process.poll() is not None)
        if self.process.poll() is not None:
            code = self.process.returncode
            self.process = None
            return code, self.said(at)
        if not served:
            self.kill()
            return -signal.SIGKILL, "it neither serves nor ends: " + self.said(at)
        return None

    def log_bytes(self, since):
        with open(self.log, "rb") as log:
            log.seek(since)
            return log.read()

    def start(self):
        """Starts the daemon and waits until it serves."""
        ended = self.try_start()
        if ended:
            raise Ended(f"the daemon ended with {ended[0]}: {ended[1].strip()}")
        return self

    def kill(self):
        """SIGKILL, and the end."""
        if self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def stop(self):
        """SIGTERM, and the end; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.process = None
        return code

    def preload_faults(self):
        """Loads preload_fault into what is started from here on; what tells it which call fails."""
        self.control = fault_control.Control(self.folder / "control")
        self.preload = self.options.build / "tests" / "faults" / "preload_fault.so"
        self.environment |= {"FAULTS_ROOT": str(self.folder),
                             "FAULTS_CONTROL": str(self.folder / "control")}
        return self.control

    # ---- its clients -----------------------------------------------------------------------------

    @contextlib.contextmanager
    def client(self):
        """A client of the local admin's socket."""
        with grpc.secure_channel(
                f"unix:{self.socket}",
                grpc.local_channel_credentials(grpc.LocalConnectionType.UDS),
                options=[("grpc.use_local_subchannel_pool", 1),
                         ("grpc.initial_reconnect_backoff_ms", 20),
                         ("grpc.max_reconnect_backoff_ms", 100)]) as channel:
            yield Client(channel)

    def register(self):
        """The project, the component, and all rights on them for the local admin."""
        with self.client() as client:
            client.add_project(PROJECT)
            client.set_component(COMPONENT)
            client.grant(PROJECT)
        return self

    def trail_lines(self):
        """The lines of the audit trail, as text, through all segments."""
        closed = sorted(path for path in self.audit.glob("audit-*.jsonl"))
        paths = [*closed, self.audit / "audit.jsonl"]
        return [line for path in paths if path.exists() for line in path.read_text().splitlines()]


class Refused(Exception):
    """A call that was not answered with OK. `typed`: it carries the daemon's own code."""

    def __init__(self, error):
        super().__init__(f"{error.code().name}: {error.details()}")
        self.status = error.code().name
        self.details = error.details() or ""
        self.trailing = [(key, value) for key, value in (error.trailing_metadata() or ())]
        self.code = dict(self.trailing).get("oauthvault-code")

    @property
    def typed(self):
        return self.code is not None


class Client:
    """The calls that the harnesses make; each raises Refused."""

    def __init__(self, channel):
        from oauthvault.v1 import accounts_pb2, accounts_pb2_grpc
        from oauthvault.v1 import credentials_pb2, credentials_pb2_grpc
        from oauthvault.v1 import operations_pb2, operations_pb2_grpc
        from oauthvault.v1 import registry_pb2, registry_pb2_grpc
        from oauthvault.v1 import tokens_pb2_grpc
        self.messages = credentials_pb2
        self.registry_messages = registry_pb2
        self.account_messages = accounts_pb2
        self.operations_messages = operations_pb2
        self.credentials = credentials_pb2_grpc.CredentialsStub(channel)
        self.registry = registry_pb2_grpc.RegistryStub(channel)
        self.accounts = accounts_pb2_grpc.AccountsStub(channel)
        self.tokens = tokens_pb2_grpc.TokensStub(channel)
        self.operations = operations_pb2_grpc.OperationsStub(channel)

    @staticmethod
    def call(method, request, timeout=CALL_TIMEOUT_S):
        try:
            return method(request, timeout=timeout)
        except grpc.RpcError as error:
            raise Refused(error) from None

    def status(self):
        return self.call(self.operations.Status, self.operations_messages.StatusRequest())

    def add_project(self, project):
        return self.call(self.registry.AddProject,
                         self.registry_messages.AddProjectRequest(id=project))

    def project(self, project):
        return self.call(self.registry.GetProject,
                         self.registry_messages.GetProjectRequest(id=project))

    def set_component(self, component, **fields):
        return self.call(self.registry.SetComponent,
                         self.registry_messages.SetComponentRequest(id=component, **fields))

    def grant(self, project, component=COMPONENT, rights=("store", "describe", "reveal")):
        return self.call(self.registry.AddGrant, self.registry_messages.AddGrantRequest(
            principal="local/admin", project=project, component=component, rights=rights))

    def store(self, oauth_id, value, project=PROJECT, component=COMPONENT, **fields):
        return self.call(self.credentials.Store, self.messages.StoreRequest(
            project=project, component=component, id=oauth_id, data=value, **fields))

    def delete(self, oauth_id, project=PROJECT, component=COMPONENT):
        return self.call(self.credentials.Delete, self.messages.DeleteRequest(
            project=project, component=component, id=oauth_id))

    def reveal(self, oauth_id, project=PROJECT, component=COMPONENT):
        """The whole answer; `.data` is the value."""
        return self.call(self.credentials.Reveal, self.messages.RevealRequest(
            project=project, component=component, id=oauth_id))

    def reveal_many(self, oauth_ids, project=PROJECT, component=COMPONENT):
        """The items, one for each id in its order."""
        return self.call(self.credentials.RevealMany, self.messages.RevealManyRequest(
            project=project, component=component, ids=oauth_ids)).items

    def value(self, oauth_id, **where):
        """The value, or None where there is none."""
        try:
            return self.reveal(oauth_id, **where).data
        except Refused as refused:
            if refused.status == "NOT_FOUND":
                return None
            raise


def value_of(oauth_id, number, size):
    """A value of so many bytes that names its credentials and the number of the write; disk_image's
    readers make the same."""
    unit = f"{oauth_id}:{number}:"
    return (unit * (size // len(unit) + 1))[:size].encode()


class Ledger:
    """What a client knows that the vault must hold: for each oauth id the values that may stand
    there (None: nothing). One after an answer; more after a call whose outcome is not known."""

    def __init__(self):
        self.may_stand = {}
        self.acknowledged = 0
        self.lines = {}  # (act, oauth id) -> acknowledged calls, each of which has an audit line

    def may(self, oauth_id):
        return self.may_stand.get(oauth_id, [None])

    def sent(self, oauth_id, value):
        """A write leaves: from now on it may stand."""
        self.may_stand[oauth_id] = self.may(oauth_id) + [value]

    def answered(self, oauth_id, value, act):
        """It was acknowledged: nothing else may stand."""
        self.may_stand[oauth_id] = [value]
        self.note(act, oauth_id)

    def note(self, act, oauth_id):
        self.acknowledged += 1
        self.lines[act, oauth_id] = self.lines.get((act, oauth_id), 0) + 1

    def settle(self, oauth_id, found):
        """What was found after a restart is what stands."""
        self.may_stand[oauth_id] = [found]

    def check_values(self, client, report, when, ids=None):
        """Reveals and compares; settles. The number of unacknowledged writes that are there."""
        unacknowledged = 0
        for oauth_id in list(ids if ids is not None else self.may_stand):
            allowed = self.may(oauth_id)
            try:
                found = client.value(oauth_id)
            except Refused as refused:
                report.violation("LOST", f"{oauth_id} cannot be revealed {when}: {refused}")
                continue
            self.note("Credentials.Reveal", oauth_id) if found is not None else None
            if found not in allowed:
                kind = "LOST" if found is None or value_is_older(found, allowed) else "WRONG"
                report.violation(kind, f"{oauth_id} {when}: {shown(found)} stands, "
                                       f"not {' or '.join(shown(v) for v in allowed)}")
            elif len(allowed) > 1 and found == allowed[-1] and found != allowed[0]:
                unacknowledged += 1
            self.settle(oauth_id, found)
        return unacknowledged

    def check_lines(self, lines, report, when):
        """Each acknowledged call has its line in the trail."""
        counted = {}
        for line in lines:
            act = re.search(r'"act":"([^"]*)"', line)
            oauth_id = re.search(r'"oauth_id":"([^"]*)"', line)
            if act and oauth_id and '"outcome":"allowed"' in line:
                key = act.group(1), oauth_id.group(1)
                counted[key] = counted.get(key, 0) + 1
        for key, acknowledged in self.lines.items():
            if counted.get(key, 0) < acknowledged:
                report.violation("LOST", f"{acknowledged} {key[0]} of {key[1]} were acknowledged, "
                                         f"{counted.get(key, 0)} stand in the trail {when}")


def number_in(value):
    found = re.match(rb"[^:]*:(\d+):", value or b"")
    return int(found.group(1)) if found else None


def value_is_older(found, allowed):
    """A value of an earlier write stands: the later, acknowledged one is lost."""
    number = number_in(found)
    numbers = [number_in(value) for value in allowed if value is not None]
    return number is not None and (not numbers or number < min(n for n in numbers if n is not None))


def shown(value):
    if value is None:
        return "nothing"
    return f"write {number_in(value)} ({len(value)} bytes)"


def check_files(vault, report, when):
    """`verify-audit` and `fsck`, while no daemon serves."""
    for verb in ("verify-audit", "fsck"):
        code, text = vault.run(verb)
        if code != 0:
            report.violation("DAMAGED", f"{verb} ends with {code} {when}: {text.strip()}")


def needles_of(text):
    """A secret in the forms in which it could stand somewhere: raw, base64 (at each of the three
    places within a group), hexadecimal."""
    forms = {text: "raw", text.hex().encode(): "hexadecimal"}
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + text)
        # The first and last characters depend on the neighbours.
        forms[coded[(shift * 8 + 5) // 6:len(coded) - 4]] = "base64"
    return forms
