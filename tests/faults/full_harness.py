"""T7, T8: the store is full, the disk under it is full, the disk under the trail is full, files may
not grow.

No acknowledged write is lost, what cannot be done is refused with a type, deletes work on a full
store, a reveal is answered exactly while its audit line can be written, and all comes back by
itself when there is space. Disks are small tmpfs where this runs as root; else the same errors are
injected.
"""
import contextlib
import os
import resource
import subprocess
import sys
import time

import fault_control
import vault

FULL = {"RESOURCE_EXHAUSTED", "UNAVAILABLE"}
SLOWEST_REFUSAL_S = 2  # promised: 1 s; the machine may be busy
LEAST_FILL = 0.75
MOST_FILL = 0.87  # creates stop at 85 %, and the one that met it may be large
MIB = 1 << 20


class Tmpfs:
    """A small file system that can be filled and emptied."""

    def __init__(self, path, size_bytes):
        path.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=0700", "none", path],
                       check=True)
        self.path = path

    def fill(self, what="ENOSPC"):
        assert what == "ENOSPC"
        with contextlib.suppress(OSError), open(self.path / "ballast", "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    def free(self):
        (self.path / "ballast").unlink()

    def end(self):
        subprocess.run(["umount", "-l", self.path], check=False)


class Injected:
    """The same answers from a preload library: whoever is not root cannot mount."""

    def __init__(self, served, only):
        self.only = only
        self.control = served.preload_faults()

    def fill(self, what="ENOSPC"):
        kinds = fault_control.WRITE | fault_control.META if what == "lie" else fault_control.WRITE
        self.control.arm(kinds, 1, what, True, self.only)

    def free(self):
        self.control.disarm()

    def end(self):
        pass


class Part:
    """One vault, what its client knows, and what was counted."""

    def __init__(self, served, report, name):
        self.vault = served
        self.report = report
        self.name = name
        self.ledger = vault.Ledger()
        self.refused = 0
        self.number = 0

    def call(self, what, call, allowed=FULL):
        """The answer, or None where it was refused, typed and in time."""
        began = time.monotonic()
        try:
            return call()
        except vault.Refused as refused:
            self.refused += 1
            if not refused.typed or refused.status not in allowed:
                self.report.violation("UNTYPED", f"{self.name}: {what}: {refused}")
            if time.monotonic() - began > SLOWEST_REFUSAL_S:
                self.report.violation("SLOW", f"{self.name}: {what} was refused late")
            return None

    def store(self, client, oauth_id, size=20000):
        self.number += 1
        value = vault.value_of(oauth_id, self.number, size)
        self.ledger.sent(oauth_id, value)
        stored = self.call(f"store {oauth_id}", lambda: client.store(oauth_id, value))
        if stored:
            self.ledger.answered(oauth_id, value, "Credentials.Store")
        return stored is not None

    def delete(self, client, oauth_id):
        allowed = FULL | {"NOT_FOUND"} if None in self.ledger.may(oauth_id) else FULL
        self.ledger.sent(oauth_id, None)
        deleted = self.call(f"delete {oauth_id}", lambda: client.delete(oauth_id), allowed)
        if deleted is not None:
            self.ledger.answered(oauth_id, None, "Credentials.Delete")
        return deleted is not None

    def reveal(self, client, oauth_id):
        answer = self.call(f"reveal {oauth_id}", lambda: client.reveal(oauth_id))
        if answer is not None:
            self.ledger.note("Credentials.Reveal", oauth_id)
            if answer.data not in self.ledger.may(oauth_id):
                self.report.violation("WRONG", f"{self.name}: {oauth_id} reveals "
                                               f"{vault.shown(answer.data)}")
        return answer is not None

    def must(self, done, text):
        if not done:
            self.report.violation("STUCK", f"{self.name}: {text}")

    def end(self):
        """A clean restart: everything stands. What was acknowledged."""
        if self.vault.process and self.vault.process.poll() is not None:
            self.report.violation("CRASH", f"{self.name}: the daemon ended by itself")
        self.vault.kill()
        try:
            self.vault.start()
        except vault.Ended as ended:
            self.report.violation("DAMAGED", f"{self.name}: {ended}")
            return self.ledger.acknowledged
        with self.vault.client() as client:
            self.ledger.check_values(client, self.report, f"after a restart ({self.name})")
        self.vault.stop()
        vault.check_files(self.vault, self.report, self.name)
        self.ledger.check_lines(self.vault.trail_lines(), self.report, self.name)
        return self.ledger.acknowledged


def store_full(options, report, most):
    """The map is full: creates stop, deletes and reveals go on."""
    with vault.Vault(options, map_size_mib=4) as served:
        served.init().start().register()
        part = Part(served, report, "full store")
        with served.client() as client:
            stored = []
            while len(stored) < most and part.store(client, f"f-{len(stored)}", 8000):
                stored.append(f"f-{len(stored)}")
            part.must(part.refused > 0, f"{most} stores and not full")
            part.must(part.reveal(client, stored[0]), "no reveal on a full store")
            # Small ones go on until they too are refused: then the store is as full as it gets.
            small = 0
            while small < most and part.store(client, f"s-{small}", 40):
                small += 1
            status = client.status()
            fill = status.store_used_bytes / status.store_capacity_bytes
            deleted = sum(part.delete(client, oauth_id) for oauth_id in stored)
            part.must(fill >= LEAST_FILL, f"refuses to store when it is full at {fill:.0%} only")
            part.must(fill <= MOST_FILL, f"creates went on to {fill:.0%} of the store")
            part.must(deleted == len(stored), f"{deleted} of {len(stored)} deletes worked")
            part.must(deleted == 0 or part.store(client, "again"),
                      "no create after there was space again")
        return part.end(), part.refused, (f"{deleted} of {len(stored)} deletes on a store that is "
                                          f"full at {fill:.0%}")


def space_for(served, path, size_bytes, only):
    return Tmpfs(path, size_bytes) if os.geteuid() == 0 else Injected(served, only)


def store_disk_full(options, report, writes):
    """The disk under the store is full, in the middle of writing."""
    with vault.Vault(options, map_size_mib=8) as served:
        what = "lie" if options.lie else "ENOSPC"
        space = (Injected(served, "data.mdb") if options.lie else
                 space_for(served, served.state, 12 * MIB, "data.mdb"))
        try:
            served.init().start().register()
            part = Part(served, report, "full disk")
            with served.client() as client:
                for i in range(10):
                    part.must(part.store(client, f"d-{i}"), "no store on a healthy disk")
                space.fill(what)
                written = sum(part.store(client, f"e-{i}") for i in range(writes))
                part.call("add project", lambda: client.add_project("more"))
                part.must(part.reveal(client, "d-0"), "no reveal while the store's disk is full")
                deleted = sum(part.delete(client, f"d-{i}") for i in range(1, 6))
                part.must(served.process.poll() is None, "the daemon ended")
                space.free()
                part.must(vault.await_condition(lambda: part.store(client, "after"), 10, 0.2),
                          "no store after there was space again")
            return part.end(), part.refused, f"{written} of {writes} stores on a full disk, " \
                                             f"{deleted} of 5 deletes"
        finally:
            served.kill()
            space.end()


def init_on_full_disk(options, report):
    """A disk too small for the store: `init` works, or refuses in words."""
    if os.geteuid() != 0:
        return
    with vault.Vault(options, map_size_mib=64) as served:
        space = Tmpfs(served.state, 256 << 10)
        try:
            space.fill()
            code, text = served.run("init")
            if code <= 0 or "oauthvaultd: " not in text:
                report.violation("CRASH", f"init on a full disk ends with {code}: {text}")
        finally:
            space.end()


def trail_full(options, report, reveals):
    """The disk under the trail is full: nothing is revealed, and it comes back by itself."""
    with vault.Vault(options) as served:
        space = space_for(served, served.audit, 2 * MIB, "audit.jsonl")
        try:
            served.init().start().register()
            part = Part(served, report, "full trail")
            with served.client() as client:
                part.must(part.store(client, "a", 100) and part.store(client, "b", 100),
                          "no store on a healthy disk")
                space.fill()
                answers = [part.reveal(client, "a") for _ in range(reveals)]
                if all(answers) or not any(not answer for answer in answers[-5:]):
                    report.violation("CONTROL", "the trail's disk did not get full")
                revealed = sum(answers)
                part.store(client, "b", 100)
                part.delete(client, "b")
                space.free()
                part.must(vault.await_condition(lambda: part.reveal(client, "a"), 5, 0.1),
                          "no reveal after there was space again")
                part.must(part.store(client, "c", 100), "no store after there was space again")
            lines = sum('"act":"Credentials.Reveal"' in line and '"outcome":"allowed"' in line
                        for line in served.trail_lines())
            answered = part.ledger.lines["Credentials.Reveal", "a"]
            if lines != answered:
                report.violation("LOST" if lines < answered else "EXTRA",
                                 f"{answered} reveals were answered, {lines} lines tell of one")
            return part.end(), part.refused, f"{revealed} of {reveals} reveals on a full trail"
        finally:
            served.kill()
            space.end()


def files_may_not_grow(options, report):
    """RLIMIT_FSIZE: no signal ends the daemon."""
    with vault.Vault(options) as served:
        served.init().start().register()
        part = Part(served, report, "files may not grow")
        with served.client() as client:
            part.must(part.store(client, "a", 100), "no store on a healthy disk")
            pid = served.process.pid
            _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            size = (served.audit / "audit.jsonl").stat().st_size
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size + 100, hard))
            for i in range(5):
                part.store(client, f"g-{i}")
                if part.reveal(client, "a"):
                    report.violation("CONTROL", "the trail grew beyond its limit")
            part.must(served.process.poll() is None, "the daemon ended")
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
            part.must(vault.await_condition(lambda: part.reveal(client, "a"), 5, 0.1),
                      "no reveal after the trail may grow again")
        return part.end(), part.refused, None


def main():
    parser = vault.arguments(__doc__)
    parser.add_argument("--calls", type=int, default=60, help="on each full disk")
    parser.add_argument("--lie", action="store_true",
                        help="the control: a full disk that tells success")
    options = parser.parse_args()
    vault.load_stubs(options.build)
    report = vault.Report("full", options)
    if options.lie:
        parts = [store_disk_full(options, report, options.calls)]
    else:
        parts = [store_full(options, report, 1000),
                 store_disk_full(options, report, options.calls),
                 trail_full(options, report, options.calls),
                 files_may_not_grow(options, report)]
        init_on_full_disk(options, report)
    acknowledged = sum(part[0] for part in parts)
    refused = sum(part[1] for part in parts)
    told = "; ".join(part[2] for part in parts if part[2])
    lost = sum(kind == "LOST" for kind, _ in report.violations)
    return report.end(f"{acknowledged} acknowledged, {refused} refused, {lost} lost; {told}; "
                      f"{'tmpfs' if os.geteuid() == 0 else 'injected'}")


if __name__ == "__main__":
    sys.exit(main())
