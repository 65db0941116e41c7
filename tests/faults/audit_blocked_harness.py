"""T33: the audit trail cannot be written. In each way that it can be blocked, what lets a secret
out is refused within a second, nothing leaves without a line, and it works again by itself.

On a full disk what revokes goes on (a reserve), and denials do not crowd out what is allowed.
"""
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import threading
import time

import audited
import fault_control
import vault

CALLERS = 4
ALLOWED_LINES_PER_FLOOD = 20
# Beyond its bucket a principal's denials share a line; a busy machine makes a flood last longer.
MOST_DENIAL_LINES = 100


class Part:
    """One way to block a trail: its vault, what was answered and how long refusals took."""

    def __init__(self, served, report, name, bound_ms):
        self.vault = served
        self.report = report
        self.name = name
        self.bound_ms = bound_ms
        self.received = {}  # request id -> oauth id
        self.refused_ms = []
        self.lock = threading.Lock()
        self.old_files = []

    def violation(self, kind, text):
        self.report.violation(kind, f"{self.name}: {text}")

    def reveal(self, client, oauth_id="a"):
        began = time.monotonic()
        try:
            # Whoever waits longer than this is answered by the deadline, and not by the daemon.
            request_id, answer = audited.reveal(client, oauth_id, timeout=30)
        except vault.Refused as refused:
            took_ms = (time.monotonic() - began) * 1000
            with self.lock:
                self.refused_ms.append(took_ms)
            if refused.status != "UNAVAILABLE" or not refused.typed:
                self.violation("WRONG", f"refused with {refused}")
            if took_ms > self.bound_ms:
                self.violation("LATE", f"a refusal took {took_ms:.0f} ms")
            return False
        with self.lock:
            self.received[request_id] = oauth_id
        return bool(answer.data)

    def reveals(self, client, count):
        """So many at one time from each of several callers; how many were answered."""
        answered = []

        def run():
            answered.extend(self.reveal(client) for _ in range(count))
        callers = [threading.Thread(target=run) for _ in range(CALLERS)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        return sum(answered), CALLERS * count - sum(answered)

    def must_recover(self, client):
        if not vault.await_condition(lambda: self.reveal_later(client), 10, 0.05):
            self.violation("STUCK", "no reveal after the trail can be written again")

    def reveal_later(self, client):
        try:
            request_id, _ = audited.reveal(client, "a")
        except vault.Refused:
            return False
        self.received[request_id] = "a"
        return True

    def check_lines(self):
        """Each secret that was received has its line, in the trail or in what was put aside."""
        texts = [path.read_text(errors="replace") for path in
                 [*self.old_files, *self.vault.audit.glob("audit*")] if path.is_file()]
        told = set()
        for text in texts:
            for line in text.splitlines():
                with contextlib.suppress(ValueError):
                    fields = json.loads(line)
                    if fields["act"] == "Credentials.Reveal" and fields["outcome"] == "allowed":
                        told.add(fields.get("request_id"))
        for request_id in self.received.keys() - told:
            self.violation("RELEASED", f"a secret left without a line ({request_id})")


W, S, R = fault_control.WRITE, fault_control.SYNC, fault_control.RESIZE
INJECTED = [("write fails", W, "EIO"), ("disk read-only", W | S | R, "EROFS"),
            ("sync fails", S, "EIO"), ("write hangs", W, "hang"), ("sync hangs", S, "hang")]


def injected_way(options, report, name, kinds, what):
    with vault.Vault(options) as served:
        control = served.preload_faults()
        served.init().start().register()
        part = Part(served, report, name, options.bound_ms)
        with served.client() as client:
            client.store("a", vault.value_of("a", 1, 200))
            for _ in range(options.rounds):
                part.reveals(client, 2)
                control.arm(kinds, 1, what, True, "audit.jsonl")
                answered, refused = part.reveals(client, options.calls)
                if answered and what != "hang":
                    part.violation("RELEASED", f"{answered} reveals while nothing can be written")
                if answered == 0 and refused == 0 or control.injected == 0:
                    part.violation("CONTROL", "nothing was blocked")
                # Nothing changes that has no line: the first commit stands, the next is refused.
                control.disarm()
                part.must_recover(client)
        served.stop()
        part.check_lines()
        vault.check_files(served, report, f"after {name}")
        return part


def replaced_way(options, report, name, replace):
    """The file is taken away or replaced while the daemon runs."""
    with vault.Vault(options) as served:
        served.init().start().register()
        part = Part(served, report, name, options.bound_ms)
        trail = served.audit / "audit.jsonl"
        with served.client() as client:
            client.store("a", vault.value_of("a", 1, 200))
            for number in range(options.rounds):
                part.reveals(client, 2)
                kept = served.folder / f"kept-{number}"
                os.link(trail, kept)
                part.old_files.append(kept)
                replace(trail)
                refused_before = len(part.refused_ms)
                part.reveal(client)
                if len(part.refused_ms) == refused_before:
                    part.violation("RELEASED", "a reveal was answered over a trail that is gone")
                part.must_recover(client)
        served.stop()
        part.check_lines()
        return part


def to_garbage(trail):
    trail.unlink()
    trail.write_text("somebody else's\n")


def to_pipe(trail):
    trail.unlink()
    os.mkfifo(trail)


def to_folder(trail):
    trail.unlink()
    trail.mkdir()


class FullDisk:
    """A small tmpfs where this runs as root; else the trail is given no more blocks."""

    def __init__(self, served):
        self.control = None
        self.path = served.audit
        if os.geteuid() == 0:
            self.path.mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2M,mode=0700", "none", self.path],
                           check=True)
        else:
            self.control = served.preload_faults()

    def fill(self):
        if self.control:
            self.control.arm(R, 1, "ENOSPC", True, "audit.jsonl")
            return
        with contextlib.suppress(OSError), open(self.path / "ballast", "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    def free(self):
        if self.control:
            self.control.disarm()
        else:
            (self.path / "ballast").unlink()

    def end(self):
        if not self.control:
            subprocess.run(["umount", "-l", self.path], check=False)


def full_way(options, report):
    with vault.Vault(options) as served:
        disk = FullDisk(served)
        try:
            served.init().start().register()
            part = Part(served, report, "full disk", options.bound_ms)
            with served.client() as client:
                for i in range(options.calls):
                    client.store(f"d-{i}", vault.value_of(f"d-{i}", 1, 200))
                client.store("a", vault.value_of("a", 1, 200))
                client.grant(vault.PROJECT, "*", rights=("encrypt",))
                disk.fill()
                # What was allocated ahead takes some more lines.
                if not vault.await_condition(lambda: not part.reveal(client), 30, 0):
                    part.violation("CONTROL", "the disk did not get full")
                part.reveals(client, options.calls)
                stored = 0
                for i in range(5):
                    with contextlib.suppress(vault.Refused):
                        client.store(f"new-{i}", b"value")
                        stored += 1
                if stored:
                    part.violation("WENT_ON", f"{stored} stores on a full trail")
                revoked = 0
                try:
                    for i in range(options.calls):
                        client.delete(f"d-{i}")
                        revoked += 1
                    client.call(client.registry.RemoveGrant,
                                client.registry_messages.RemoveGrantRequest(
                                    principal="local/admin", project=vault.PROJECT, component="*"))
                    revoked += 1
                except vault.Refused as refused:
                    part.violation("STUCK", f"no revocation on a full disk: {refused}")
                disk.free()
                part.must_recover(client)
                part.must_recover(client)
            served.stop()
            part.check_lines()
            part.revoked = revoked
            vault.check_files(served, report, "after a full disk")
            return part
        finally:
            served.kill()
            disk.end()


def denials_way(options, report):
    """A flood of denials beside what is allowed."""
    with vault.Vault(options) as served:
        served.init().start().register()
        part = Part(served, report, "denials", options.bound_ms)
        denied = []
        with served.client() as client:
            client.store("a", vault.value_of("a", 1, 200))

            def flood():
                for _ in range(options.denials // CALLERS):
                    try:
                        client.reveal("a", component="never-granted")
                        part.violation("RELEASED", "a reveal without a grant")
                    except vault.Refused as refused:
                        denied.append(refused.status)
            callers = [threading.Thread(target=flood) for _ in range(CALLERS)]
            for caller in callers:
                caller.start()
            for _ in range(ALLOWED_LINES_PER_FLOOD):
                if not part.reveal(client):
                    part.violation("CROWDED", "a reveal was refused in a flood of denials")
            for caller in callers:
                caller.join()
        served.stop()
        part.check_lines()
        lines = [line for line in audited.lines_of(served) if line["outcome"] == "denied"]
        counted = sum(int(line["object"].split(":")[1]) for line in lines
                      if line["act"] == "denials")
        single = sum(line["act"] != "denials" for line in lines)
        if set(denied) != {"PERMISSION_DENIED"}:
            part.violation("WRONG", f"denials were answered with {sorted(set(denied))}")
        if single + counted != len(denied):
            part.violation("LOST", f"{len(denied)} denials, {single} lines and {counted} counted")
        if len(lines) > MOST_DENIAL_LINES + options.denials // 10:
            part.violation("CROWDED", f"{len(lines)} lines about {len(denied)} denials")
        part.figures = f"{len(denied)} denials in {len(lines)} lines"
        return part


def main():
    parser = vault.arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=1, help="of each way")
    parser.add_argument("--calls", type=int, default=5, help="of each of the callers")
    parser.add_argument("--denials", type=int, default=1000)
    parser.add_argument("--bound-ms", type=int, default=3000,
                        help="a refusal takes at most so long; promised: 1000")
    options = parser.parse_args()
    vault.load_stubs(options.build)
    report = vault.Report("audit_blocked", options)
    parts = [injected_way(options, report, *way) for way in INJECTED]
    parts += [replaced_way(options, report, name, replace) for name, replace in (
        ("deleted", pathlib.Path.unlink), ("replaced", to_garbage), ("a pipe", to_pipe),
        ("a folder", to_folder))]
    full = full_way(options, report)
    denials = denials_way(options, report)
    refused_ms = sorted(ms for part in [*parts, full] for ms in part.refused_ms)
    released = sum(kind == "RELEASED" for kind, _ in report.violations)
    return report.end(
        f"{len(parts) + 1} ways, {len(refused_ms)} refused, "
        f"the slowest in {refused_ms[-1]:.0f} ms, "
        f"{released} released; {full.revoked} revocations on a full disk; {denials.figures}")


if __name__ == "__main__":
    sys.exit(main())
