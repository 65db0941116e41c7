"""T31 and T32: no secret in a log, an error, the trail, a file, the environment or the command
line, in a hostile environment; nobody of the same user reads the daemon's memory or traces it; no
core.

Every secret goes in through the API and is searched for in everything that comes out elsewhere:
raw, base64, hexadecimal. The control is a file that holds each of them on purpose.
"""
import ctypes
import errno
import http.client
import os
import pathlib
import re
import resource
import secrets
import shutil
import signal
import subprocess
import sys

import audited
import vault

HOSTILE = {"GRPC_TRACE": "all", "GRPC_VERBOSITY": "debug", "SSLKEYLOGFILE": "{folder}/tls-keys",
           "GRPC_STACKTRACE_MINLOGLEVEL": "debug", "MALLOC_TRACE": "{folder}/malloc",
           "CURL_HOME": "{folder}", "OAUTHVAULT_LOG_LEVEL": "debug"}
PTRACE_ATTACH = 16
PTRACE_DETACH = 17


class Canaries:
    """Secrets, and what was said about calls that carried them."""

    def __init__(self):
        self.values = []
        self.said = []

    def new(self, name):
        value = f"canary-{name}-{secrets.token_hex(12)}".encode()
        self.values.append(value)
        return value

    def try_call(self, call):
        """The call may fail; what it says then is kept."""
        try:
            return call()
        except vault.Refused as refused:
            self.said.append(f"{refused} {refused.trailing}".encode())
            return None

    def found_in(self, places):
        """Which of them stand where, in which form."""
        found = []
        for value in self.values:
            for needle, form in vault.needles_of(value).items():
                found += [f"{value.decode()[:24]}.. ({form}) in {place}"
                          for place, content in places.items() if needle in content]
        return found


def use_all(client, canaries, rounds):
    """Calls that carry secrets, many of which are refused."""
    from oauthvault.v1 import accounts_pb2
    data = b'{"access_token":"' + canaries.new("data") + b'"}'
    own = canaries.new("own-app")
    client.set_component("with-app", app_key="key", app_secret=canaries.new("app"))
    client.grant(vault.PROJECT, "with-app")
    client.call(client.accounts.Set, accounts_pb2.SetAccountRequest(
        id="main", base_url="http://127.0.0.1:1/api", api_token=canaries.new("token"),
        projects=[vault.PROJECT]))
    revealed = None
    for i in range(rounds):
        client.store(f"l-{i}", data, app_key="own", app_secret=own)
        revealed = client.reveal(f"l-{i}")
        client.store(f"l-{i}", data, component="with-app")
        client.reveal(f"l-{i}", component="with-app")
        client.reveal_many([f"l-{i}", "none"])
        attempts = [
            lambda: client.store("x", data + bytes([0xff, 0xfe])),
            lambda: client.store("x", data * 2000),
            lambda: client.store("..", data),
            lambda: client.store(data.decode(), data),
            lambda: client.store("x", data, app_key="own"),
            lambda: client.store("l-0", data, must_be_new=True),
            lambda: client.store("x", data, project="none"),
            lambda: client.store("x", data, component=data.decode()),
            lambda: client.reveal(data.decode()),
            lambda: client.reveal_many([data.decode()]),
            lambda: client.reveal_many(["l-0", "l-0"]),
            lambda: client.set_component("y", app_secret=data + b"\xff"),
            lambda: client.set_component("y", token_url=data.decode()),
            lambda: client.call(client.accounts.Set, accounts_pb2.SetAccountRequest(
                id="bad", base_url="ftp://x", api_token=data)),
            lambda: client.call(client.accounts.ListTypes,
                                accounts_pb2.ListTypesRequest(account="main")),
            lambda: client.call(client.credentials.Inject, client.messages.InjectRequest(
                project=vault.PROJECT, component=vault.COMPONENT,
                configuration=b'{"a":"' + data)),
            lambda: client.call(client.credentials.Inject, client.messages.InjectRequest(
                project=vault.PROJECT, component=vault.COMPONENT,
                configuration=b'{"authorization":{"oauth_api":{"id":"none"}},"a":"'
                              + own + b'"}')),
        ]
        for attempt in attempts:
            canaries.try_call(attempt)
    return revealed is not None and revealed.data == data and revealed.app_secret == own


def use_http(client, canaries, origin, rounds):
    """Tokens and bodies at the HTTP interface, most of which are refused."""
    from oauthvault.v1 import tokens_pb2
    asked = client.messages.EncryptRequest(project=vault.PROJECT, component=vault.COMPONENT)
    for _ in range(rounds):
        token = client.call(client.tokens.Issue, tokens_pb2.IssueTokenRequest(
            title="leaks", project=vault.PROJECT, component="*", rights=["store", "encrypt"])).text
        canaries.values.append(token.removeprefix(b"ovt_"))
        unknown = b"ovt_" + secrets.token_hex(32).encode()
        canaries.values.append(unknown.removeprefix(b"ovt_"))
        body = (b'{"id":"h","authorizedFor":"me","data":{"refresh_token":"%s"}}'
                % canaries.new("http"))
        secret = canaries.new("sealed")
        asked.text = secret
        sealed = client.call(client.credentials.Encrypt, asked).sealed
        canaries.try_call(lambda: client.call(
            client.credentials.Inject, client.messages.InjectRequest(
                project=vault.PROJECT, component=vault.COMPONENT,
                configuration=b'{"#a":"%s","#b":"%s"}' % (sealed, sealed[:-8] + secret))))
        no_id = secret.decode() + "!"  # what is an id stands in the trail on purpose
        for path, shown, text in [
                (f"/credentials/{vault.COMPONENT}", token, body),
                (f"/credentials/{vault.COMPONENT}", token, body[:-2]),
                (f"/credentials/{vault.COMPONENT}", token, body + secret),
                (f"/credentials/{vault.COMPONENT}", unknown, body),
                (f"/credentials/{no_id}", token, body),
                (f"/encrypt?componentId={no_id}", token, body),
                (f"/encrypt?{no_id}={no_id}", token, secret),
                (f"/{no_id}", token, body)]:
            connection = http.client.HTTPConnection(origin.removeprefix("http://"),
                                                    timeout=vault.CALL_TIMEOUT_S)
            connection.request("POST", path, body=text, headers={
                "X-StorageApi-Token": shown.decode(), "Content-Type": "application/json"})
            answer = connection.getresponse()
            said = answer.read()
            if answer.status >= 400:
                canaries.said.append(said + str(answer.getheaders()).encode())
            connection.close()


def check_canaries(options, report, rounds):
    """T31. How many secrets in how many places."""
    canaries = Canaries()
    with vault.Vault(options) as served:
        served.environment = {name: value.format(folder=served.folder)
                              for name, value in HOSTILE.items()}
        served.add_settings('[http]\nlisten = "127.0.0.1:0"\n')
        served.init()
        ca_key = subprocess.run([options.build / "tests" / "faults" / "ca_key", served.folder,
                                 served.trust_domain], capture_output=True, check=True).stdout
        canaries.values += ca_key.splitlines()[1:-1]
        served.start().register()
        with served.client() as client, audited.Auditor(served) as auditor:
            client.grant(vault.PROJECT, rights=("store", "describe", "reveal", "encrypt"))
            if not use_all(client, canaries, rounds):
                report.violation("CONTROL", "a reveal does not give what was stored")
            use_http(client, canaries, re.search(r"http origin=(\S+)", served.said())[1], rounds)
            auditor.checkpoint(close=True)
        control = served.folder / "control"
        control.write_bytes(b"\n".join(canaries.values))
        if options.plant:
            (served.folder / "planted").write_bytes(canaries.values[0])
        process = pathlib.Path(f"/proc/{served.process.pid}")
        places = {}
        for name in ("environ", "cmdline"):
            try:
                places[name] = (process / name).read_bytes()
            except PermissionError:
                places[name] = b""  # closed to this user, so nobody reads a secret there
        served.process.send_signal(signal.SIGABRT)
        served.process.wait()
        places["what was said"] = b"\n".join(canaries.said)
        for path in served.folder.rglob("*"):
            if path.is_file() and path != control:
                places[str(path.relative_to(served.folder))] = path.read_bytes()
        for unexpected in ("tls-keys", "malloc", "core"):
            if (served.folder / unexpected).exists():
                report.violation("CANARY", f"the daemon wrote {unexpected}")
        if b" serving " not in places["log"] or len(canaries.said) < 10 * rounds:
            report.violation("CONTROL", "the daemon logged or refused less than it should")
        if len(canaries.found_in({"control": control.read_bytes()})) < len(canaries.values):
            report.violation("CONTROL", "the search does not find what stands there")
        for found in canaries.found_in(places):
            report.violation("CANARY", found)
    return len(canaries.values), len(places), len(canaries.said)


def as_neighbour(work):
    """Runs `work` in a child of the daemon's own, unprivileged, user; its result (0 to 255)."""
    child = os.fork()
    if child == 0:
        code = 255
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(vault.NOBODY)
                os.setuid(vault.NOBODY)
            code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def opened(path):
    """0, or the errno of opening the file."""
    try:
        os.close(os.open(path, os.O_RDONLY))
        return 0
    except OSError as error:
        return error.errno


def traced(pid):
    """0, or the errno of attaching to the process."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if libc.ptrace(PTRACE_ATTACH, pid, None, None) != 0:
        return ctypes.get_errno()
    os.waitpid(pid, 0)
    libc.ptrace(PTRACE_DETACH, pid, None, None)
    return 0


def check_neighbours(options, report):
    """T32. How many doors were tried."""
    with vault.Vault(options, user=vault.NOBODY) as served:
        # A copy that this user can walk to.
        binary = served.folder / "oauthvaultd"
        shutil.copy(served.binary, binary)
        served.binary = binary
        if os.geteuid() == 0:
            for path in (served.folder, served.config, binary):
                os.chown(path, vault.NOBODY, vault.NOBODY)
        binary.chmod(0o755)
        soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))  # the daemon inherits it
        try:
            served.init().start()
        finally:
            resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
        # Another program of that user, which is open to it.
        sleeper = subprocess.Popen(
            ["sleep", "60"], **({"user": vault.NOBODY, "group": vault.NOBODY, "extra_groups": []}
                                if os.geteuid() == 0 else {}))
        pid = sleeper.pid if options.neighbour else served.process.pid
        doors = {f"/proc/{pid}/{name}": lambda name=name: opened(f"/proc/{pid}/{name}")
                 for name in ("mem", "environ", "maps", "syscall")}
        doors["ptrace"] = lambda: traced(pid)
        try:
            vault.await_condition(
                lambda: pathlib.Path(f"/proc/{sleeper.pid}/comm").read_text() == "sleep\n")
            for name, door in doors.items():
                if as_neighbour(door) not in (errno.EACCES, errno.EPERM):
                    report.violation("OPEN", f"the same user gets in through {name}")
            if as_neighbour(lambda: opened(f"/proc/{sleeper.pid}/environ")) != 0:
                report.violation("CONTROL", "no program of the same user can be looked into")
        finally:
            sleeper.kill()
            sleeper.wait()
        before = set(served.folder.iterdir())
        served.process.send_signal(signal.SIGABRT)
        code = served.process.wait()
        if code != -signal.SIGABRT:
            report.violation("CONTROL", f"SIGABRT ends the daemon with {code}")
        for path in set(served.folder.iterdir()) - before:
            report.violation("OPEN", f"an abort leaves {path.name}")
    return len(doors)


def main():
    parser = vault.arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--plant", action="store_true", help="a control: a file with a secret")
    parser.add_argument("--neighbour", action="store_true",
                        help="a control: looks into another program of the user's")
    options = parser.parse_args()
    vault.load_stubs(options.build)
    report = vault.Report("leaks", options)
    count, places, said = check_canaries(options, report, options.rounds)
    doors = check_neighbours(options, report)
    leaked = sum(kind == "CANARY" for kind, _ in report.violations)
    return report.end(f"{leaked} of {count} canaries in {places} places and {said} error texts; "
                      f"{doors} doors closed to the same user; no core")


if __name__ == "__main__":
    sys.exit(main())
