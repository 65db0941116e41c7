"""T40: backups under writes and under kill -9; each that is finished restores and holds every write
that was acknowledged before it began; none that is not ever looks like one.

Writers store all the time. Backups are made one after the other; some are cut off by kill -9 at a
random moment. Every finished one is restored on an empty machine and compared with what was
acknowledged before it began; what a kill left is refused, and the next backup takes its place.
"""
import random
import shutil
import sys
import threading
import time

import operated
import vault

WRITERS = 3
IDS_EACH = 60
VALUE_SIZE = 2000


class Writers:
    """Each thread writes its own ids, one number after the other."""

    def __init__(self, served, report):
        self.vault = served
        self.report = report
        self.guard = threading.Lock()  # of `acknowledged`
        self.acknowledged = {}         # id -> number of the last acknowledged write
        self.writes = 0
        self.serving = False
        self.stopping = False
        self.threads = [threading.Thread(target=self._write, args=(writer,))
                        for writer in range(WRITERS)]
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join()

    def so_far(self):
        with self.guard:
            return dict(self.acknowledged)

    def _write(self, writer):
        number = 0
        pick = random.Random(self.report.random.getrandbits(32))
        while not self.stopping:
            if not self.serving:
                time.sleep(0.005)
                continue
            with self.vault.client() as client:
                while not self.stopping and self.serving:
                    number += 1
                    oauth_id = f"w{writer}-{pick.randrange(IDS_EACH)}"
                    try:
                        client.store(oauth_id, vault.value_of(oauth_id, number, VALUE_SIZE))
                    except vault.Refused as refused:
                        if self.serving and not self.stopping:
                            self.report.violation("REFUSED", f"a write beside a backup: {refused}")
                        time.sleep(0.005)
                        break
                    with self.guard:
                        self.acknowledged[oauth_id] = number
                        self.writes += 1


class Backups:
    """Makes them, kills them, restores them."""

    def __init__(self, served, report, writers, options):
        self.vault = served
        self.report = report
        self.writers = writers
        self.options = options
        self.finished = 0
        self.restored = 0
        self.cut_off = 0
        self.longest_ms = 0

    def serve(self):
        self.vault.start()
        self.writers.serving = True

    def kill(self):
        self.writers.serving = False
        self.vault.kill()

    def make(self, number):
        folder = self.vault.folder / f"backup-{number}"
        before = self.writers.so_far()
        if self.options.late:
            time.sleep(0.05)
            before = None
        began = time.monotonic()
        with operated.operator_of(self.vault) as operator:
            operator.backup(folder)
        self.longest_ms = max(self.longest_ms, operated.milliseconds(began))
        self.finished += 1
        if before is None:
            before = self.writers.so_far()  # the control asks for what came later, too
        return folder, before

    def cut(self, number):
        """A backup that is killed somewhere; what is left must not be taken for one."""
        folder = self.vault.folder / f"cut-{number}"
        before = self.writers.so_far()
        done = []

        def ask():
            try:
                with operated.operator_of(self.vault) as operator:
                    done.append(operator.backup(folder))
            except vault.Refused:
                pass

        asking = threading.Thread(target=ask)
        asking.start()
        part = folder.with_name(folder.name + ".part")
        vault.await_condition(lambda: part.exists() or folder.exists(), every=0.0005)
        time.sleep(self.report.random.random() * 0.04)
        self.kill()
        asking.join()
        self.cut_off += 1
        if part.exists():
            self.must_be_none(part)
        self.serve()
        if folder.exists():  # it was finished, whether anybody heard of it or not
            self.restore(folder, before)
        else:
            with operated.operator_of(self.vault) as operator:
                operator.backup(folder)
            if part.exists():
                self.report.violation("LEFT", f"{part.name} is still there")
            self.finished += 1
            self.restore(folder, before)

    def must_be_none(self, part):
        """Its name refuses it, whatever it holds; and where the note is missing, the note does."""
        self.must_be_refused(part)
        if not (part / "backup.json").exists():
            with_name = part.with_name(part.stem + "-renamed")
            shutil.copytree(part, with_name)
            self.must_be_refused(with_name)
            shutil.rmtree(with_name)

    def must_be_refused(self, part):
        with self.other() as other:
            code, _, err = operated.run_verb(other, "restore", str(part), "--reason", "a drill")
            if code == 0:
                self.report.violation("LOOKS_VALID", f"{part.name} was restored")
            elif "no finished backup" not in err:
                self.report.violation("WRONG", f"{part.name}: ended with {code}: {err.strip()}")

    def other(self):
        """An empty machine, with the key file."""
        other = vault.Vault(self.options, map_size_mib=16)
        shutil.copyfile(self.vault.folder / "key", other.folder / "key")
        (other.folder / "key").chmod(0o600)
        return other

    def restore(self, folder, before):
        with self.other() as other:
            code, out, err = operated.run_verb(other, "restore", str(folder), "--reason", "a drill")
            if code != 0:
                self.report.violation("UNRESTORABLE", f"{folder.name}: {code}: {err.strip()}")
                return
            other.start()
            with other.client() as client:
                for oauth_id, number in before.items():
                    found = vault.number_in(client.value(oauth_id))
                    if found is None or found < number:
                        self.report.violation(
                            "LOST", f"{folder.name}: {oauth_id} stands at write {found}, "
                                    f"{number} was acknowledged before ({out.strip()})")
            other.stop()
            vault.check_files(other, self.report, f"in the restored {folder.name}")
        self.restored += 1
        shutil.rmtree(folder)


def main():
    parser = vault.arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="backups that are finished")
    parser.add_argument("--kills", type=int, default=3, help="backups that are cut off")
    parser.add_argument("--late", action="store_true",
                        help="control: asks a backup for what was acknowledged after it")
    options = parser.parse_args()
    vault.load_stubs(options.build)
    report = vault.Report("backup", options)
    with vault.Vault(options, map_size_mib=16) as served:
        served.init().start().register()
        served.stop()
        writers = Writers(served, report)
        backups = Backups(served, report, writers, options)
        try:
            backups.serve()
            vault.await_condition(lambda: len(writers.so_far()) > IDS_EACH)
            for number in range(options.rounds):
                backups.restore(*backups.make(number))
            for number in range(options.kills):
                backups.cut(number)
        except (vault.Ended, vault.Refused) as ended:
            report.violation("DAMAGED", str(ended))
        writers.serving = False
        writers.stop()
        if served.process:
            served.stop()
        vault.check_files(served, report, "at the end")
    return report.end(f"{backups.finished} backups finished, {backups.cut_off} killed, "
                      f"{backups.restored} restored whole; {writers.writes} acknowledged writes "
                      f"beside them; the longest took {backups.longest_ms:.0f} ms")


if __name__ == "__main__":
    sys.exit(main())
