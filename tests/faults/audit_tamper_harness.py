"""T34: whoever has the files of the trail, and not its keys, changes them; each change is found.

Lines are edited, dropped, repeated and moved; segments and checkpoints are taken away, exchanged
and edited; the tail is cut to before a checkpoint that was kept. Each change is looked at as an
outsider does, with the public key alone, and with the vault's keys. A project's extract is changed
in the same ways.
"""
import shutil
import subprocess
import sys

import audited
import vault

SEGMENTS = 4
PROJECTS = (vault.PROJECT, "beta")


class Trail:
    """A finished trail, its pristine copy, and what an outsider has kept of it."""

    def __init__(self, options, report, served, public_key, checkpoint, extract):
        self.options = options
        self.report = report
        self.vault = served
        self.folder = served.audit
        self.pristine = served.folder / "pristine"
        shutil.copytree(self.folder, self.pristine)
        self.public_key = public_key
        self.kept = served.folder / "kept-checkpoint"
        self.kept.write_text(checkpoint)
        self.extract = served.folder / "extract"
        self.records = extract
        self.counted = {}

    def verify(self, *words):
        """Exit code of `verify-audit`, and what it said."""
        done = subprocess.run(
            [self.vault.binary, "verify-audit", "--config", self.vault.config, *words],
            capture_output=True, text=True, timeout=vault.PATIENCE_S, check=False,
            env={"PATH": "/usr/bin:/bin",
                 "OAUTHVAULT_SABOTAGE": self.options.sabotage or ""})
        return done.returncode, done.stdout + done.stderr

    def outside(self, *words):
        return self.verify("--public-key", self.public_key, *words)

    def restore(self):
        shutil.rmtree(self.folder)
        shutil.copytree(self.pristine, self.folder)

    def must_find(self, kind, what, *, outside=True, inside=True):
        """Looks at the changed trail, and puts the pristine one back."""
        self.counted[kind] = self.counted.get(kind, 0) + 1
        looks = []
        if outside:
            looks.append(("from outside", self.outside("--checkpoint", self.kept)))
        if inside:
            looks.append(("with the keys", self.verify()))
        for where, (code, said) in looks:
            if code == 0:
                self.report.violation("SILENT", f"{kind} {what} is not found {where}")
            elif code not in (1, 2):
                self.report.violation("CRASH", f"{kind} {what}: {code} {where}: {said.strip()}")
        self.restore()

    def must_be_whole(self, when):
        for code, said in (self.outside("--checkpoint", self.kept), self.verify()):
            if code != 0:
                self.report.violation("DAMAGED", f"the trail {when}: {code} {said.strip()}")


def changed(line, random):
    """The line with one character of a value changed."""
    at = random.randrange(len(line) - 2)
    while not line[at:at + 1].isalnum():
        at = random.randrange(len(line) - 2)
    return line[:at] + (b"0" if line[at:at + 1] != b"0" else b"1") + line[at + 1:]


def change_lines(trail, step):
    """Each `step`th line, in each of the ways in which a line can be changed."""
    random = trail.report.random
    for name in [path.name for path in audited.segments_of(trail.pristine)]:
        lines = (trail.pristine / name).read_bytes().splitlines(keepends=True)
        path = trail.folder / name
        # Behind the checkpoint that was kept, the last line is proven by its MAC alone.
        for i in range(random.randrange(step), len(lines), step):
            path.write_bytes(b"".join([*lines[:i], changed(lines[i], random), *lines[i + 1:]]))
            trail.must_find("edited line", f"{i} of {name}")
            # Nor is it missed: it stands behind the checkpoint, and no line behind it names it.
            if name != "audit.jsonl" or i + 1 < len(lines):
                path.write_bytes(b"".join([*lines[:i], *lines[i + 1:]]))
                trail.must_find("dropped line", f"{i} of {name}")
            path.write_bytes(b"".join([*lines[:i], lines[i], *lines[i:]]))
            trail.must_find("repeated line", f"{i} of {name}")
            if i + 1 < len(lines):
                path.write_bytes(b"".join([*lines[:i], lines[i + 1], lines[i], *lines[i + 2:]]))
                trail.must_find("moved line", f"{i} of {name}")


def change_behind(trail):
    """The lines behind the newest checkpoint: only the keys can tell."""
    path = trail.folder / "audit.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    # Anywhere, which may show by the line's form alone; and in a value, where only the MAC tells.
    for edited in (changed(lines[-1], trail.report.random),
                   lines[-1].replace(b'"allowed"', b'"denied"')):
        path.write_bytes(b"".join([*lines[:-1], edited]))
        code, _ = trail.verify()
        trail.counted["edited last line"] = trail.counted.get("edited last line", 0) + 1
        if code == 0:
            trail.report.violation("SILENT", "the edited last line is not found with the keys")
        trail.restore()


def change_files(trail):
    """Segments and checkpoints."""
    closed = sorted(path.name for path in trail.pristine.glob("audit-*.jsonl"))
    checkpoints = sorted(path.name for path in trail.pristine.glob("audit-*.checkpoint"))
    for names, kind in ((closed, "segment"), (checkpoints, "checkpoint")):
        for i, name in enumerate(names):
            (trail.folder / name).unlink()
            trail.must_find(f"dropped {kind}", name)
            other = names[(i + 1) % len(names)]
            shutil.copy(trail.pristine / other, trail.folder / name)
            shutil.copy(trail.pristine / name, trail.folder / other)
            trail.must_find(f"exchanged {kind}", name)
    for name in checkpoints:
        note = (trail.pristine / name).read_bytes()
        for at in range(0, len(note), 5):
            (trail.folder / name).write_bytes(
                note[:at] + bytes([note[at] ^ 1]) + note[at + 1:])
            trail.must_find("edited checkpoint", f"byte {at} of {name}", inside=at % 3 == 0)
    for name in closed:
        (trail.folder / name).unlink()
        (trail.folder / name.replace(".jsonl", ".checkpoint")).unlink()
        trail.must_find("segment dropped with its checkpoint", name)
    # The tail is cut at a line's end: only what was kept elsewhere tells.
    lines = (trail.pristine / "audit.jsonl").read_bytes().splitlines(keepends=True)
    for kept in range(1, len(lines) - 1):
        (trail.folder / "audit.jsonl").write_bytes(b"".join(lines[:kept]))
        trail.must_find("cut tail", f"after {kept} lines", inside=False)


def change_extract(trail):
    """A tenant's extract needs itself, the public key and nothing else."""
    def check(records):
        trail.extract.write_text("".join(record + "\n" for record in records))
        return trail.outside("--extract", trail.extract)
    code, said = check(trail.records)
    if code != 0:
        trail.report.violation("DAMAGED", f"the extract as it was given: {said.strip()}")
    random = trail.report.random
    for i, record in enumerate(trail.records):
        edited = changed(record.encode(), random).decode()
        for kind, records in (
                ("dropped record", [*trail.records[:i], *trail.records[i + 1:]]),
                ("repeated record", [*trail.records[:i], record, *trail.records[i:]]),
                ("edited record", [*trail.records[:i], edited, *trail.records[i + 1:]])):
            if kind == "edited record" and (i == 0 or edited.split(":")[0] !=
                                            record.split(":")[0]):
                continue  # a field that nobody reads
            trail.counted[kind] = trail.counted.get(kind, 0) + 1
            code, _ = check(records)
            if code == 0:
                trail.report.violation("SILENT", f"{kind} {i} of an extract is not found")


def write_trail(served, auditor, lines):
    """Stores and reveals in two projects, and closes segments in between."""
    with served.client() as client:
        for project in PROJECTS[1:]:
            client.add_project(project)
            client.grant(project)
        for project in PROJECTS:
            client.store("a", b'{"refresh_token":"a-refresh-token-of-%s"}' % project.encode(),
                         project=project)
        for number in range(lines):
            client.reveal("a", project=PROJECTS[number % 2])
            if number % (lines // SEGMENTS + 1) == lines // SEGMENTS:
                auditor.checkpoint(close=True)


def main():
    parser = vault.arguments(__doc__)
    parser.add_argument("--lines", type=int, default=40)
    parser.add_argument("--step", type=int, default=4, help="each so many lines one is changed")
    options = parser.parse_args()
    vault.load_stubs(options.build)
    report = vault.Report("audit_tamper", options)
    with vault.Vault(options) as served:
        served.init().start().register()
        with audited.Auditor(served) as auditor:
            write_trail(served, auditor, options.lines)
            extract = auditor.extract(vault.PROJECT)
            with served.client() as client:
                for _ in range(4):
                    client.reveal("a")
            older = auditor.checkpoint()
            with served.client() as client:
                client.reveal("a")
            answer = auditor.checkpoint(since=older.size)
            if len(answer.consistency) == 0:
                report.violation("WRONG", "no consistency proof")
            # Stopping writes no line: what was kept is the last line's.
            shown = auditor.find(b"a-refresh-token-of-beta")
            if not shown or {line["project"] for line in shown} != {"beta"}:
                report.violation("WRONG", f"a value that was shown is found in {len(shown)} lines")
        served.stop()
        trail = Trail(options, report, served, answer.public_key, answer.checkpoint, extract)
        trail.must_be_whole("as it was written")
        change_behind(trail)
        change_lines(trail, options.step)
        change_files(trail)
        change_extract(trail)
        trail.must_be_whole("at the end")
        lines = len(served.trail_lines())
    silent = sum(kind == "SILENT" for kind, _ in report.violations)
    changes = sum(trail.counted.values())
    return report.end(f"{lines} lines, {changes} changes of {len(trail.counted)} kinds, "
                      f"{silent} silent; {len(shown)} lines found by a value")


if __name__ == "__main__":
    sys.exit(main())
