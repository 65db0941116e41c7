"""T30: no secret stays in the memory of a daemon that is done with it.

Clients make secrets at run time and send them through each door: stored and revealed, sealed into
values and opened again, as bodies and tokens of the HTTP interface. Then every writable page of the
idle daemon is searched for them: raw (JSON's escapes leave the mark as it is), base64, hexadecimal.
The vault's own keys, which it needs while it is open, may stand in locked memory only, the CA's
where OpenSSL keeps it, that of checkpoints nowhere; after `seal` nothing of all this may stand
anywhere. The controls are a word that is known to be resident, and the keys where they belong.
Reading another process's memory needs root.
"""
import collections
import hashlib
import http.client
import json
import os
import re
import secrets
import struct
import subprocess
import sys

import audited
import vault

MOST_SCANS = 8  # the daemon is idle when two scans agree
UNITS = 8       # the mark stands so often in each secret: freed memory loses its first bytes
PAGE = 4096
KEY_SIZE = 32   # of a slot of locked memory (crypto/locked_memory.h)
LEAST_KEYS = 6  # root, index, audit, fingerprint and manifest key, and the vault's KEK


class Memory:
    """The writable pages of a process that hold something."""

    def __init__(self, pid):
        self.pid = pid

    def runs(self):
        """Bytes that follow each other, without the pages that are zero, and whether they are
        locked."""
        with open(f"/proc/{self.pid}/smaps", encoding="ascii") as maps, \
                open(f"/proc/{self.pid}/mem", "rb", buffering=0) as memory:
            for line in maps:
                if found := re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line):
                    begin, end = int(found[1], 16), int(found[2], 16)
                elif re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                    begin = end = 0
                elif line.startswith("VmFlags:"):
                    for run in self.runs_of(memory, begin, end):
                        yield run, " lo" in line

    @staticmethod
    def runs_of(memory, begin, end):
        zeros, run = bytes(PAGE), []
        while begin < end:
            memory.seek(begin)
            try:
                block = memory.read(min(end - begin, 4 << 20))
            except OSError:
                break
            if not block:
                break
            begin += len(block)
            for at in range(0, len(block), PAGE):
                page = block[at:at + PAGE]
                if page != zeros:
                    run.append(page)
                elif run:
                    yield b"".join(run)
                    run = []
        if run:
            yield b"".join(run)

    def count(self, needles):
        """How often each needle stands in memory that is not locked, and how many bytes were
        read."""
        counts, read = dict.fromkeys(needles, 0), 0
        for run, locked in self.runs():
            read += len(run)
            if not locked:
                for needle in needles:
                    counts[needle] += run.count(needle)
        return counts, read

    def locked_keys(self):
        """What stands in the slots of locked memory."""
        return {run[at:at + KEY_SIZE] for run, locked in self.runs() if locked
                for at in range(0, len(run), KEY_SIZE) if any(run[at:at + KEY_SIZE])}


class Secrets:
    """What was made, and the forms in which it could stand somewhere."""

    def __init__(self):
        self.mark = secrets.token_hex(8)
        self.needles = {}  # bytes -> what it is

    def add(self, what, text):
        for needle, form in vault.needles_of(text).items():
            self.needles[needle] = f"{what} ({form})"

    def of(self, number):
        """About 500 bytes of JSON with quotation marks and lines that JSON escapes once more."""
        return ("{" + "".join(f'"t{number}-{unit}":"{self.mark}\\n/{secrets.token_hex(8)}",\n'
                              for unit in range(UNITS)) + '"end":1}').encode()


def ca_key_of(options, served):
    """The CA's key as it is kept (PEM), as DER, and the number itself as OpenSSL keeps it in
    use."""
    tool = options.build / "tests" / "faults" / "ca_key"
    pem = subprocess.run([tool, served.folder, served.trust_domain], capture_output=True,
                         check=True).stdout
    der = subprocess.run(["openssl", "pkey", "-outform", "DER"], input=pem, capture_output=True,
                         check=True).stdout
    # SEC 1, C.4: the private key is an OCTET STRING behind the version 1.
    number = re.search(rb"\x02\x01\x01\x04\x20(.{32})", der, re.DOTALL)[1]
    return pem, number


def checkpoint_seed_of(audit_key):
    """What the key of checkpoints is made of (daemon/audit/checkpoint.cc)."""
    label = b"oauthvault/audit/checkpoint"
    return hashlib.blake2b(struct.pack("<I", len(label)) + label, key=audit_key,
                           digest_size=KEY_SIZE).digest()


def use_grpc(client, made, count, reveals, report):
    for i in range(count):
        client.store(f"m-{i}", made.of(i), app_key="key",
                     app_secret=f"app-{made.mark}-{i}".encode() * UNITS)
    messages = client.messages
    for i in range(0, count, 8):
        items = client.reveal_many([f"m-{at}" for at in range(i, min(i + 8, count))])
        if any(made.mark.encode() not in item.credentials.data for item in items):
            report.violation("CONTROL", "a reveal of several without the mark")
    for i in range(reveals):
        if made.mark.encode() not in client.reveal(f"m-{i % count}").data:
            report.violation("CONTROL", "a reveal without the mark")
        if i % 10:
            continue
        sealed = client.call(client.credentials.Encrypt, messages.EncryptRequest(
            project=vault.PROJECT, component=vault.COMPONENT,
            document=json.dumps({"parameters": {
                "#password": f"{made.mark}/{secrets.token_hex(8)}" * UNITS}}).encode())).sealed
        opened = json.loads(client.call(client.credentials.Inject, messages.InjectRequest(
            project=vault.PROJECT, component=vault.COMPONENT,
            configuration=json.dumps(json.loads(sealed) | {
                "authorization": {"oauth_api": {"id": f"m-{i % count}"}}}).encode())).configuration)
        if made.mark not in opened["parameters"]["#password"]:
            report.violation("CONTROL", "a sealed value does not open")


def use_http(client, made, origin, rounds, report):
    """Bodies with the mark, and tokens, some of which are refused."""
    from oauthvault.v1 import tokens_pb2
    for i in range(rounds):
        token = client.call(client.tokens.Issue, tokens_pb2.IssueTokenRequest(
            title="memory", project=vault.PROJECT, component="*",
            rights=["store", "describe", "encrypt"])).text
        made.add("a token", token.removeprefix(b"ovt_"))
        made.add("a token", bytes.fromhex(token.decode().removeprefix("ovt_")))
        wrong = f"ovt_{secrets.token_hex(32)}"
        made.add("an unknown token", wrong.removeprefix("ovt_").encode())
        body = json.dumps({"id": f"h-{i}", "authorizedFor": "me",
                           "data": json.loads(made.of(i).replace(b"\n", b""))})
        calls = [
            ("POST", f"/credentials/{vault.COMPONENT}", token.decode(), body, 201),
            ("GET", f"/credentials/{vault.COMPONENT}/h-{i}", token.decode(), None, 200),
            ("POST", f"/encrypt?componentId={vault.COMPONENT}&projectId={vault.PROJECT}",
             token.decode(), json.dumps({"#a": made.mark * UNITS}), 200),
            ("POST", f"/credentials/{vault.COMPONENT}", wrong, body, 401),
            ("POST", f"/credentials/{vault.COMPONENT}", token.decode(), body[:-1], 400),
            ("POST", f"/credentials/{vault.COMPONENT}", token.decode(), body * 1500, 413),
        ]
        for method, path, shown, text, expected in calls:
            connection = http.client.HTTPConnection(origin.removeprefix("http://"),
                                                    timeout=vault.CALL_TIMEOUT_S)
            connection.request(method, path, body=text, headers={
                "X-StorageApi-Token": shown, "Content-Type": "application/json"})
            status = connection.getresponse().status
            connection.close()
            if status != expected:
                report.violation("CONTROL", f"{method} {path} is answered {status}, not {expected}")
        client.call(client.tokens.Revoke, tokens_pb2.RevokeTokenRequest(
            id=client.call(client.tokens.List, tokens_pb2.ListTokensRequest()).tokens[0].id))


def counted_when_idle(memory, needles):
    """What a thread still holds goes; what was freed and not wiped stays."""
    before = None
    for _ in range(MOST_SCANS):
        found, read = memory.count(needles)
        if found == before or not any(found.values()):
            break
        before = found
    return found, read


def tell(report, found, names, when):
    """A line for each kind of secret that stands somewhere; how many."""
    left = collections.Counter()
    for needle, count in found.items():
        if needle in names and count:
            left[names[needle]] += count
    for what, count in sorted(left.items()):
        report.violation("RESIDUE", f"{what} stands {count} times in the memory {when}")
    return sum(left.values())


def main():
    parser = vault.arguments(__doc__)
    parser.add_argument("--reveals", type=int, default=400)
    parser.add_argument("--secrets", type=int, default=40)
    parser.add_argument("--requests", type=int, default=10, help="rounds by HTTP")
    options = parser.parse_args()
    vault.load_stubs(options.build)
    report = vault.Report("memory", options)
    if os.geteuid() != 0:
        print("memory: reading the memory of a hardened process needs root; FAILED")
        return 1
    made = Secrets()
    resident = f"resident-{secrets.token_hex(6)}".encode()
    made.add("a mark", made.mark.encode())
    with vault.Vault(options, trust_domain=resident.decode()) as served:
        served.add_settings('[http]\nlisten = "127.0.0.1:0"\n')
        served.init()
        pem, number = ca_key_of(options, served)
        for line in pem.splitlines()[1:-1]:
            made.needles[line[4:]] = "the CA's key (PEM)"  # freed memory loses its first bytes
        made.needles[number] = "the CA's key (DER)"
        served.start().register()
        with served.client() as client, audited.Auditor(served) as auditor:
            client.grant(vault.PROJECT, rights=("store", "describe", "reveal", "encrypt"))
            use_grpc(client, made, options.secrets, options.reveals, report)
            origin = re.search(r"http origin=(\S+)", served.said())[1]
            use_http(client, made, origin, options.requests, report)
            auditor.checkpoint(close=True)
        memory = Memory(served.process.pid)
        keys = {key: "a key of the vault" for key in memory.locked_keys()}
        seeds = {checkpoint_seed_of(key): "the key of checkpoints" for key in keys}
        if len(keys) < LEAST_KEYS:
            report.violation("CONTROL", f"{len(keys)} keys in locked memory")
        in_use = number[::-1]  # limbs, the lowest first
        names = made.needles | keys | seeds
        found, read = counted_when_idle(memory, [*names, in_use, resident])
        left = tell(report, found, names, "of the idle daemon")
        if found[resident] == 0 or found[in_use] == 0:
            report.violation("CONTROL", "what is resident is not found")
        with served.client() as client:
            at = served.log.stat().st_size
            client.call(client.operations.Seal, client.operations_messages.SealRequest())
        if not vault.await_condition(lambda: "sealed" in served.said(at)):
            report.violation("CONTROL", "the daemon does not seal")
        names[in_use] = "the CA's key (in use)"
        sealed, _ = counted_when_idle(memory, [*names, resident])
        left_sealed = tell(report, sealed, names, "of the sealed daemon")
        if memory.locked_keys():
            report.violation("RESIDUE", "locked memory holds something in the sealed daemon")
        if sealed[resident] == 0:
            report.violation("CONTROL", "what is resident is not found in the sealed daemon")
        served.stop()
    return report.end(
        f"after {options.reveals} reveals, {options.requests * 6} requests by HTTP: {left} of "
        f"{len(made.needles)} forms of secrets and {len(keys)} keys outside of locked memory, "
        f"{left_sealed} when sealed; {read >> 20} MiB that hold something; the resident word "
        f"{found[resident]} times")


if __name__ == "__main__":
    sys.exit(main())
