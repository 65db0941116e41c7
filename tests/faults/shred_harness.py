"""T29: what was shredded opens no more, and its wrapped keys stand in no file of the vault.

Each round fills projects, rotates their keys, makes a backup and keeps a copy of the store. One
project is shredded, in every second round under a kill -9 at a random moment, which the next start
must finish. Then every byte of every file of the vault is searched for the wrapped keys that the
keys file held before, and the old copy of the store is opened with the keys that are left: every
row of the project must fail, every other one must open. The control: in the backup the keys are
found.
"""
import pathlib
import shutil
import sys
import threading
import time

import operated
import vault

ROWS = 40
PROJECTS = ("doomed", "spared")
KIND_PROJECT = 2
NO_KEY = "the owner has no key of the row's version"


def files_of(*folders):
    for folder in folders:
        for path in sorted(pathlib.Path(folder).rglob("*")):
            if path.is_file() and not path.is_symlink():
                yield path


class Shreddings:
    """A vault whose project `doomed` is made and shredded again and again."""

    def __init__(self, served, report):
        self.vault = served
        self.report = report
        self.keys = 0
        self.kills = 0
        self.finished = 0
        self.opened = 0
        self.tried = 0
        self.found = 0

    def fill(self, number):
        with self.vault.client() as client:
            for project in PROJECTS:
                try:
                    client.add_project(project)
                except vault.Refused as refused:
                    if refused.status != "ALREADY_EXISTS":
                        raise
                client.grant(project)
                for row in range(ROWS):
                    client.store(f"id-{row}", vault.value_of(f"id-{row}", number, 500),
                                 project=project)
            operator = operated.Operator(client)
            for _ in range(self.report.random.randrange(3)):
                operator.rotate(project=PROJECTS[0])
            if self.report.random.random() < 0.5:
                operator.rotate(root=True)

    def shred(self, number, killed):
        if not killed:
            with operated.operator_of(self.vault) as operator:
                shredded = operator.shred(PROJECTS[0])
                if shredded.credentials != ROWS or not shredded.open_backups:
                    self.report.violation("UNTOLD", f"round {number}: {shredded}")
            return
        ended = threading.Event()

        def ask():
            try:
                with operated.operator_of(self.vault) as operator:
                    operator.shred(PROJECTS[0])
            except vault.Refused:
                pass
            ended.set()

        asking = threading.Thread(target=ask)
        began = len(self.vault.trail_lines())
        asking.start()
        # Not before its mark is there; what follows is cut off anywhere.
        vault.await_condition(lambda: len(self.vault.trail_lines()) > began, every=0.0005)
        time.sleep(self.report.random.random() * 0.03)
        self.vault.kill()
        asking.join()
        self.kills += 1
        self.vault.start()
        self.finished += 1

    def round(self, number):
        killed = number % 2 == 1
        self.fill(number)
        backup = self.vault.folder / f"backup-{number}"
        with operated.operator_of(self.vault) as operator:
            operator.backup(backup)
        before = operated.KeysFile.of(self.vault)
        copy = self.copy_of_store(number)
        self.shred(number, killed)
        after = operated.KeysFile.of(self.vault)

        # The root may have been rotated, but not between these two: what is left is as it was.
        gone = [kek for kek in before.keks if kek not in after.keks]
        if not gone or any(kek.kind != KIND_PROJECT for kek in gone):
            self.report.violation("KEPT", f"round {number}: {len(gone)} wrapped keys left the file")
        self.keys += len(gone)
        doomed = gone or [kek for kek in before.keks if kek.kind == KIND_PROJECT]
        self.search(number, doomed, backup)
        self.stand_or_fall(number)
        self.vault.stop()
        # While nobody holds anything open, once more.
        self.search(number, doomed, backup)
        self.open_copy(number, copy)
        vault.check_files(self.vault, self.report, f"after round {number}")
        shutil.rmtree(copy)
        shutil.rmtree(backup)
        self.vault.start()

    def copy_of_store(self, number):
        """The store as whoever has the disk may have copied it before."""
        copy = self.vault.folder / f"copy-{number}"
        (copy / "store").mkdir(parents=True)
        self.vault.stop()
        shutil.copyfile(self.vault.state / "store" / "data.mdb", copy / "store" / "data.mdb")
        self.vault.start()
        return copy

    def search(self, number, keks, backup):
        for kek in keks:
            in_backup = sum(path.read_bytes().count(kek.wrapped) for path in files_of(backup))
            if in_backup == 0:
                self.report.violation("BLIND", f"round {number}: the backup lacks a wrapped key")
            for path in files_of(self.vault.state, self.vault.audit):
                count = path.read_bytes().count(kek.wrapped)
                if count:
                    self.found += count
                    self.report.violation("KEPT", f"round {number}: {count} times in {path.name}")

    def stand_or_fall(self, number):
        with self.vault.client() as client:
            for row in range(ROWS):
                expected = vault.value_of(f"id-{row}", number, 500)
                if client.value(f"id-{row}", project=PROJECTS[1]) != expected:
                    self.report.violation("LOST", f"round {number}: id-{row} of the other project")
                try:
                    found = client.value(f"id-{row}", project=PROJECTS[0])
                except vault.Refused:
                    found = None
                if found is not None:
                    self.report.violation("OPENED", f"round {number}: id-{row} is revealed")

    def open_copy(self, number, copy):
        """The old rows under the keys that are left."""
        shutil.copyfile(self.vault.state / "keys", copy / "keys")
        code, out, err = operated.run_verb(self.vault, "fsck", "--state", str(copy))
        failed = err.count(NO_KEY)
        self.tried += ROWS
        if failed < ROWS:
            self.opened += ROWS - failed
            self.report.violation("OPENED", f"round {number}: {ROWS - failed} of {ROWS} rows of a "
                                            f"copy; fsck ends with {code}: {out.strip()}")


def main():
    parser = vault.arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    vault.load_stubs(options.build)
    report = vault.Report("shred", options)
    with vault.Vault(options, map_size_mib=8) as served:
        served.init().start()
        with served.client() as client:
            client.set_component(vault.COMPONENT)
        shreddings = Shreddings(served, report)
        try:
            for number in range(options.rounds):
                shreddings.round(number)
        except vault.Ended as ended:
            report.violation("DAMAGED", str(ended))
    return report.end(f"{options.rounds} projects shredded, {shreddings.kills} of them killed and "
                      f"{shreddings.finished} finished by the next start; {shreddings.keys} keys "
                      f"gone, {shreddings.found} occurrences; {shreddings.opened} of "
                      f"{shreddings.tried} copied rows opened")


if __name__ == "__main__":
    sys.exit(main())
