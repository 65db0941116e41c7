"""T1: kill -9 while eight clients write through the API; every acknowledged write must be there.

The kill comes at a random moment under load. After the restart each credential that was written
since is revealed and compared. At the end the trail is verified, and each acknowledged call has its
line.
"""
import statistics
import sys
import threading
import time

import vault

WRITERS = 8
IDS_PER_WRITER = 6
FULL_CHECK_EVERY = 50  # rounds; in between only what the round wrote is revealed


class Writer(threading.Thread):
    """Stores, replaces and deletes its own credentials, one call at a time, until a call fails."""

    def __init__(self, number, client, ledger, numbers, random, early):
        super().__init__()
        self.ids = [f"w{number}-{i}" for i in range(IDS_PER_WRITER)]
        self.client = client
        self.ledger = ledger
        self.numbers = numbers
        self.random = random
        self.early = early
        self.touched = set()
        self.refused = None

    def run(self):
        try:
            while True:
                self.write()
        except vault.Refused as refused:
            self.refused = refused

    def write(self):
        oauth_id = self.random.choice(self.ids)
        self.touched.add(oauth_id)
        if self.ledger.may(oauth_id)[-1] is not None and self.random.random() < 0.25:
            value, act = None, "Credentials.Delete"
        else:
            self.numbers[oauth_id] = self.numbers.get(oauth_id, 0) + 1
            size = self.random.choice((40, 400, 4000, 20000))
            value = vault.value_of(oauth_id, self.numbers[oauth_id], size)
            act = "Credentials.Store"
        self.ledger.sent(oauth_id, value)
        if self.early:  # the control: a client that takes the sending for the answer
            self.ledger.answered(oauth_id, value, act)
        if value is None:
            self.client.delete(oauth_id)
        else:
            self.client.store(oauth_id, value)
        if not self.early:
            self.ledger.answered(oauth_id, value, act)


class Rounds:
    """The vault, the writers' ledgers, and what was counted."""

    def __init__(self, served, report, early):
        self.vault = served
        self.report = report
        self.early = early
        self.ledgers = [vault.Ledger() for _ in range(WRITERS)]
        self.numbers = [{} for _ in range(WRITERS)]
        self.restarts_ms = []
        self.rounds = 0
        self.unacknowledged = 0

    def acknowledged(self):
        return sum(ledger.acknowledged for ledger in self.ledgers)

    def load_until_killed(self):
        random = self.report.random
        with self.vault.client() as client:
            writers = [Writer(i, client, self.ledgers[i], self.numbers[i],
                              type(random)(random.random()), self.early) for i in range(WRITERS)]
            for writer in writers:
                writer.start()
            time.sleep(random.uniform(0.01, 0.25))
            alive = self.vault.process.poll() is None
            refused_before = [w.refused for w in writers if w.refused]
            self.vault.kill()
            for writer in writers:
                writer.join()
        if not alive:
            self.report.violation("CRASH", "the daemon ended by itself under load")
        for refused in refused_before:
            self.report.violation("REFUSED", f"a healthy daemon refused a write: {refused}")
        return [writer.touched for writer in writers]

    def round(self, everything):
        touched = self.load_until_killed()
        self.rounds += 1
        when = f"after kill {self.rounds}"
        began = time.monotonic()
        self.vault.start()
        self.restarts_ms.append((time.monotonic() - began) * 1000)
        with self.vault.client() as client:
            for ledger, ids in zip(self.ledgers, touched):
                there = ledger.check_values(client, self.report, when,
                                            None if everything else sorted(ids))
                if there > 1:
                    self.report.violation("WRONG", f"{there} unacknowledged writes of one writer "
                                                   f"are there {when}")
                self.unacknowledged += there


def main():
    parser = vault.arguments(__doc__)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--acknowledged", type=int, default=0, help="go on until so many")
    parser.add_argument("--early", action="store_true",
                        help="the control: takes a call for acknowledged when it is sent")
    options = parser.parse_args()
    vault.load_stubs(options.build)
    report = vault.Report("kill", options)
    with vault.Vault(options, map_size_mib=16) as served:
        served.init().start().register()
        rounds = Rounds(served, report, options.early)
        most = 4 * options.kills
        try:
            while rounds.rounds < options.kills or (
                    rounds.acknowledged() < options.acknowledged and rounds.rounds < most):
                rounds.round(rounds.rounds % FULL_CHECK_EVERY == FULL_CHECK_EVERY - 1)
            with served.client() as client:
                for ledger in rounds.ledgers:
                    ledger.check_values(client, report, "at the end")
            served.stop()
        except vault.Ended as ended:
            report.violation("DAMAGED", f"after kill {rounds.rounds}: {ended}")
        vault.check_files(served, report, "at the end")
        for ledger in rounds.ledgers:
            ledger.check_lines(served.trail_lines(), report, "at the end")
    lost = sum(kind == "LOST" for kind, _ in report.violations)
    median = statistics.median(rounds.restarts_ms) if rounds.restarts_ms else 0
    return report.end(f"{rounds.rounds} kills, {rounds.acknowledged()} acknowledged, {lost} lost, "
                      f"{rounds.unacknowledged} there without an answer, "
                      f"restart {median:.0f} ms in the median")


if __name__ == "__main__":
    sys.exit(main())
