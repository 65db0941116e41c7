"""What the harnesses of rotation, shredding, backups and unsealing share: verbs of the daemon that
read secrets, the calls of the operations service, the keys file and shares as crypto/ENVELOPE.md
describes them.
"""
import base64
import contextlib
import dataclasses
import hashlib
import os
import signal
import struct
import subprocess
import time

import vault

LONG_CALL_S = 120  # a backup, a shredding


def run_verb(served, *words, secrets=""):
    """`oauthvaultd WORDS --config ..` with secrets on standard input; the exit code, standard
    output and standard error."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(served.folder), **served.environment}
    for kept in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"):
        if kept in os.environ:
            environment[kept] = os.environ[kept]
    if served.options.sabotage:
        environment["OAUTHVAULT_SABOTAGE"] = served.options.sabotage
    try:
        done = subprocess.run([str(served.binary), *words, "--config", str(served.config)],
                              input=secrets, capture_output=True, text=True, errors="replace",
                              timeout=vault.PATIENCE_S, env=environment, cwd=served.folder,
                              check=False)
    except subprocess.TimeoutExpired:
        return -signal.SIGKILL, "", "it did not end"
    return done.returncode, done.stdout, done.stderr


class Operator:
    """The calls of whoever operates a vault; each raises vault.Refused."""

    def __init__(self, client):
        self.client = client
        self.messages = client.operations_messages

    def _call(self, name, timeout=vault.CALL_TIMEOUT_S, **fields):
        request = getattr(self.messages, f"{name}Request")(**fields)
        return self.client.call(getattr(self.client.operations, name), request, timeout)

    def rotate(self, **owner):
        return self._call("RotateKeys", **owner).version

    def rewrapping(self):
        return list(self._call("KeysStatus").rewrapping)

    def backup(self, folder):
        return self._call("Backup", LONG_CALL_S, folder=str(folder))

    def check(self):
        return self._call("Check", LONG_CALL_S)

    def shred(self, project):
        return self._call("ShredProject", LONG_CALL_S, id=project, confirm=project)

    def seal(self):
        return self._call("Seal")

    def unseal(self, text):
        return self._call("Unseal", text=text.encode())

    def add_slot(self, kind, **fields):
        return self._call("AddSlot", kind=kind, label=kind, **fields)


@contextlib.contextmanager
def operator_of(served):
    with served.client() as client:
        yield Operator(client)


def await_sealed(served, sealed, seconds=vault.PATIENCE_S):
    """Waits until the daemon answers that it is sealed, or open. Between two phases nobody answers
    for a moment."""
    def is_so():
        with served.client() as client:
            try:
                return client.status().sealed == sealed
            except vault.Refused:
                return False
    return vault.await_condition(is_so, seconds)


def start_sealed(served):
    """Starts a daemon that must begin sealed."""
    at = served.log.stat().st_size if served.log.exists() else 0
    served.process = served.start_program(["--sealed"])
    if not vault.await_condition(lambda: b" sealed socket=" in served.log_bytes(at)
                                 or served.process.poll() is not None):
        served.kill()
        raise vault.Ended("the daemon is not sealed in time")
    if served.process.poll() is not None:
        code = served.process.returncode
        served.process = None
        raise vault.Ended(f"the daemon ended with {code}: {served.said(at).strip()}")


@dataclasses.dataclass(frozen=True)
class Kek:
    """An entry of the keys file: whose, which version, and the wrapped key."""
    kind: int
    owner: bytes
    version: int
    wrapped: bytes


class KeysFile:
    """The parts of a keys file, and where its slots lie."""

    def __init__(self, content):
        self.content = content
        assert content[:6] == b"OVKEYS"
        at = 6 + 2 + 16 + 8 + 4 + 4
        slots, at = content[at], at + 1
        self.slots = []  # (kind, begin, end, where the parameters begin)
        for _ in range(slots):
            begin = at
            kind, label = content[at + 4], content[at + 5]
            parameters_at = at + 6 + label + 1
            at = parameters_at + content[parameters_at - 1] + 32 + 32 + 104
            self.slots.append((kind, begin, at, parameters_at))
        at += 4 * 104
        count, at = struct.unpack_from("<I", content, at)[0], at + 4
        self.keks = []
        for _ in range(count):
            self.keks.append(Kek(content[at], content[at + 1:at + 17],
                                 struct.unpack_from("<I", content, at + 17)[0],
                                 content[at + 21:at + 125]))
            at += 125
        assert at + 32 == len(content)

    @classmethod
    def of(cls, served):
        return cls((served.state / "keys").read_bytes())


def shares_in(text):
    return [line for line in text.splitlines() if line.startswith("ov1-")]


def _base32(value):
    return base64.b32encode(value).decode().lower().rstrip("=")


def _unbase32(text):
    return base64.b32decode(text.upper() + "=" * (-len(text) % 8))


def forged_share(share, index=None):
    """A share whose check is right and whose payload is not: nobody can tell it by itself."""
    _, set_id, numbers, own_index, payload, _ = share.split("-")
    k, n = (int(number) for number in numbers.split("of"))
    index = index or int(own_index)
    wrong = bytearray(_unbase32(payload))
    wrong[7] ^= 0x20
    fields = [b"oauthvault/share/check", _unbase32(set_id), bytes([k, n, index]), bytes(wrong)]
    joined = b"".join(struct.pack("<I", len(field)) + field for field in fields)
    check = hashlib.blake2b(joined, key=b"oauthvault/share/check-key", digest_size=16).digest()[:5]
    return f"ov1-{set_id}-{numbers}-{index}-{_base32(bytes(wrong))}-{_base32(check)}"


def milliseconds(since):
    return (time.monotonic() - since) * 1000
