"""T28: keys are rotated under load and under kill -9; no read fails, nothing is lost, it goes on.

Readers and a writer work all the time. An operator rotates a project's key, the vault's and the
root in random order; at random moments the daemon is killed and started again. While it serves,
every reveal must be answered, with a value that may stand. In the end everything is under the
newest keys, every row verifies, and the rate of rewrapping is measured.
"""
import random
import sys
import threading
import time

import operated
import vault

READERS = 3
SETTLE_S = 60  # rewrapping that has not ended by then is stuck
VALUE_SIZE = 300


class Load:
    """Threads that reveal and one that stores, against whatever daemon is there. Refusals count
    only while the daemon is meant to serve."""

    def __init__(self, served, report, rows):
        self.vault = served
        self.report = report
        self.rows = rows
        self.ledger = vault.Ledger()
        self.guard = threading.Lock()  # of the ledger
        self.serving = False
        self.stopping = False
        self.reads = 0
        self.threads = [threading.Thread(target=self._read) for _ in range(READERS)]
        self.threads.append(threading.Thread(target=self._write))

    def fill(self, writers=8):
        """One value for each id."""
        def store(part):
            with self.vault.client() as client:
                for number in range(part, self.rows, writers):
                    oauth_id = f"id-{number}"
                    value = vault.value_of(oauth_id, 0, VALUE_SIZE)
                    client.store(oauth_id, value)
                    with self.guard:
                        self.ledger.answered(oauth_id, value, "Credentials.Store")
        threads = [threading.Thread(target=store, args=(part,)) for part in range(writers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def start(self):
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join()

    def _refused(self, what, refused, was_serving):
        if was_serving and self.serving and not self.stopping:
            self.report.violation("READ", f"{what} while the daemon serves: {refused}")

    def _read(self):
        pick = random.Random(self.report.random.getrandbits(32))
        while not self.stopping:
            with self.vault.client() as client:
                while not self.stopping:
                    oauth_id = f"id-{pick.randrange(self.rows)}"
                    generation = self.serving
                    with self.guard:
                        before = list(self.ledger.may(oauth_id))
                    try:
                        found = client.value(oauth_id)
                    except vault.Refused as refused:
                        self._refused(f"revealing {oauth_id}", refused, generation)
                        time.sleep(0.01)
                        break
                    self.reads += 1
                    with self.guard:
                        allowed = before + self.ledger.may(oauth_id)
                    if found not in allowed and not self._was_written(oauth_id, found):
                        kind = "LOST" if found is None else "WRONG"
                        self.report.violation(kind, f"{oauth_id} reads {vault.shown(found)}")

    def _was_written(self, oauth_id, found):
        """Between the two looks at the ledger several writes may have come and gone."""
        number = vault.number_in(found)
        with self.guard:
            newest = vault.number_in(self.ledger.may(oauth_id)[-1]) or 0
        return number is not None and number <= newest and \
            found == vault.value_of(oauth_id, number, VALUE_SIZE)

    def _write(self):
        number = 0
        pick = random.Random(self.report.random.getrandbits(32))
        while not self.stopping:
            with self.vault.client() as client:
                while not self.stopping:
                    number += 1
                    oauth_id = f"id-{pick.randrange(self.rows)}"
                    value = vault.value_of(oauth_id, number, VALUE_SIZE)
                    with self.guard:
                        self.ledger.sent(oauth_id, value)
                    serving = self.serving
                    try:
                        client.store(oauth_id, value)
                    except vault.Refused as refused:
                        self._refused(f"storing {oauth_id}", refused, serving)
                        time.sleep(0.01)
                        break
                    with self.guard:
                        self.ledger.answered(oauth_id, value, "Credentials.Store")


class Rotations:
    """Rounds: some rotations, a kill at a random moment, a start."""

    def __init__(self, served, report, load):
        self.vault = served
        self.report = report
        self.load = load
        self.rotated = 0
        self.kills = 0
        self.resumed = 0

    def serve(self):
        self.vault.start()
        with operated.operator_of(self.vault) as operator:
            self.resumed += bool(operator.rewrapping())
        self.load.serving = True

    def rotate_some(self, until):
        owners = [{"project": vault.PROJECT}, {"root": True}, {"vault": True}]
        with operated.operator_of(self.vault) as operator:
            while time.monotonic() < until:
                try:
                    operator.rotate(**self.report.random.choice(owners))
                    self.rotated += 1
                except vault.Refused as refused:
                    self.report.violation("REFUSED", f"a rotation: {refused}")
                time.sleep(self.report.random.random() * 0.05)

    def kill(self):
        self.load.serving = False
        self.vault.kill()
        self.kills += 1

    def round(self):
        self.serve()
        self.rotate_some(time.monotonic() + self.report.random.random() * 0.4)
        self.kill()

    def settle(self):
        """Everything that was begun comes to its end."""
        with operated.operator_of(self.vault) as operator:
            if not vault.await_condition(lambda: not operator.rewrapping(), SETTLE_S):
                self.report.violation("STUCK", f"after {SETTLE_S} s: {operator.rewrapping()}")

    def rate(self):
        """Rows a second, from the rotation's answer until all rows are under the new key."""
        with operated.operator_of(self.vault) as operator:
            began = time.monotonic()
            operator.rotate(project=vault.PROJECT)
            vault.await_condition(lambda: not operator.rewrapping(), SETTLE_S, every=0.001)
            return self.load.rows / (time.monotonic() - began)


def main():
    parser = vault.arguments(__doc__)
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--lie", action="store_true", help="control: one value is remembered wrong")
    options = parser.parse_args()
    vault.load_stubs(options.build)
    report = vault.Report("rotate", options)
    rate = 0
    with vault.Vault(options, map_size_mib=max(16, options.rows // 250)) as served:
        served.init().start().register()
        load = Load(served, report, options.rows)
        rotations = Rotations(served, report, load)
        load.fill()
        rate = rotations.rate()
        served.stop()
        load.start()
        try:
            for _ in range(options.kills):
                rotations.round()
            rotations.serve()
            rotations.rotate_some(time.monotonic() + 0.3)
            rotations.settle()
        except vault.Ended as ended:
            report.violation("DAMAGED", f"after kill {rotations.kills}: {ended}")
        load.serving = False
        load.stop()
        if served.process:
            if options.lie:
                load.ledger.settle("id-0", b"id-0:999999:")
            with served.client() as client:
                load.ledger.check_values(client, report, "at the end")
                if not operated.Operator(client).check().whole:
                    report.violation("DAMAGED", "the check finds damage at the end")
            served.stop()
        vault.check_files(served, report, "at the end")
    failed = sum(kind == "READ" for kind, _ in report.violations)
    lost = sum(kind == "LOST" for kind, _ in report.violations)
    return report.end(f"{rotations.kills} kills, {rotations.rotated} rotations, "
                      f"{rotations.resumed} starts went on with rewrapping; {load.reads} reads, "
                      f"{failed} failed, {lost} lost; {rate:.0f} rows rewrapped a second")


if __name__ == "__main__":
    sys.exit(main())
