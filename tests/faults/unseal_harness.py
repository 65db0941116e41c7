"""T41: a vault opens with every k of its n shares, and with nothing else, within a second.

All subsets of k shares, in random order, through the daemon's socket. Damaged, foreign, repeated
and forged shares (whose own check is right) are refused and do no harm; a damaged one is named.
Slots of the keys file are changed bit by bit, and their Argon2id parameters lowered: no secret may
open such a file, and refusing takes no longer than opening.
"""
import itertools
import sys
import time

import operated
import vault

PASSPHRASE = "correct horse battery staple"
KIND_PASSPHRASE = 2


class Unsealings:
    """A vault with shares, a passphrase and a key file, sealed and opened."""

    def __init__(self, served, report, k, n, options):
        self.vault = served
        self.report = report
        self.options = options
        self.k = k
        self.n = n
        self.shares = []
        self.key_line = ""
        self.opened = 0
        self.refused = 0
        self.named = 0
        self.tampered = 0
        self.slowest_ms = 0

    def init(self):
        code, out, err = operated.run_verb(self.vault, "init", "--slot", "shares", "--shares",
                                           f"{self.k}/{self.n}")
        if code != 0:
            raise vault.Ended(f"init ended with {code}: {err}")
        self.shares = operated.shares_in(out)
        if len(self.shares) != self.n:
            self.report.violation("WRONG", f"init printed {len(self.shares)} shares of {self.n}")
        operated.start_sealed(self.vault)
        self.open(self.shares[:self.k])
        with operated.operator_of(self.vault) as operator:
            operator.add_slot("passphrase", passphrase=PASSPHRASE.encode())
            self.key_line = operator.add_slot("key_file").texts[0].decode()
        self.vault.register()
        with self.vault.client() as client:
            client.store("main", b"the value")

    def give(self, operator, secret):
        """The answer, or None where it was refused."""
        began = time.monotonic()
        try:
            return operator.unseal(secret)
        except vault.Refused as refused:
            self.refused += 1
            self.refusal = refused
            return None
        finally:
            self.slowest_ms = max(self.slowest_ms, operated.milliseconds(began))

    def open(self, secrets):
        """Gives secrets that must open, one after the other."""
        with operated.operator_of(self.vault) as operator:
            for given, secret in enumerate(secrets, start=1):
                answer = self.give(operator, secret)
                if answer is None:
                    self.report.violation("REFUSED", f"secret {given} of {len(secrets)}: "
                                                     f"{self.refusal}")
                elif answer.open != (given == len(secrets)):
                    self.report.violation("WRONG", f"open={answer.open} after {given} of "
                                                   f"{len(secrets)}")
        if not operated.await_sealed(self.vault, False):
            self.report.violation("CLOSED", "the vault is not served after it was opened")
            raise vault.Ended("a vault that does not open")
        self.opened += 1

    def expect_value(self):
        with self.vault.client() as client:
            if client.value("main") != b"the value":
                self.report.violation("LOST", "the value is not there")

    def seal(self):
        with operated.operator_of(self.vault) as operator:
            operator.seal()
        if not operated.await_sealed(self.vault, True):
            self.report.violation("UNSEALED", "the vault is not sealed when it should be")

    def must_refuse(self, operator, secret, what, naming=None):
        answer = self.give(operator, secret)
        if answer is not None and answer.open:
            self.report.violation("OPENED", f"{what} opened the vault")
        elif answer is not None:
            self.report.violation("TAKEN", f"{what} was taken for a share")
        elif naming and naming in self.refusal.details:
            self.named += 1
        elif naming:
            self.report.violation("UNNAMED", f"{what}: {self.refusal}")

    def subsets(self):
        for subset in itertools.combinations(self.shares, self.k):
            self.seal()
            order = list(subset)
            self.report.random.shuffle(order)
            self.open(order)
            self.expect_value()

    def other_slots(self):
        for secret in (PASSPHRASE, self.key_line, self.key_line + "\n"):
            self.seal()
            self.open([secret])
            self.expect_value()

    def wrong_shares(self, count, foreign):
        """What is wrong does no harm between what is right."""
        pick = self.report.random
        for _ in range(count):
            self.seal()
            order = pick.sample(self.shares, self.k)
            spare = pick.choice([share for share in self.shares if share not in order])
            with operated.operator_of(self.vault) as operator:
                self.must_refuse(operator, damaged(pick, spare), "a damaged share",
                                 naming=f"its number reads: {index_of(spare)}")
                self.must_refuse(operator, foreign, "another vault's share", "belongs to no slot")
                self.must_refuse(operator, "not the passphrase", "a guess")
                for share in order[:-1]:
                    self.give(operator, share)
                self.must_refuse(operator, order[0], "a share for the second time",
                                 "was given already")
                # k with one wrong among them do not open; one more right one does.
                forged = spare if self.options.right else operated.forged_share(spare)
                self.must_refuse(operator, forged, "a forged share", "give another")
            self.open(order[-1:])
            self.expect_value()

    def tampering(self, flips):
        """Bits of the slots, with each kind of secret; offline, as that is the same reader."""
        self.vault.stop()
        path = self.vault.state / "keys"
        whole = path.read_bytes()
        keys = operated.KeysFile(whole)
        shares = "\n".join(self.shares[:self.k]) + "\n"
        places = [(begin, end) for _, begin, end, _ in keys.slots]
        for _ in range(flips):
            begin, end = self.report.random.choice(places)
            at = self.report.random.randrange(begin, end)
            self.must_not_open(path, whole, at, 1 << self.report.random.randrange(8), shares)
        for kind, _, _, parameters in keys.slots:
            if kind != KIND_PASSPHRASE:
                continue
            # Passes and memory: to the least, below it, above the most.
            for at, value in ((16, 1), (16, 0), (16, 200), (20, 8192), (20, 8191), (20, 0),
                              (20, 2**32 - 1)):
                lowered = bytearray(whole)
                lowered[parameters + at:parameters + at + 4] = value.to_bytes(4, "little")
                self.must_stay_shut(path, bytes(lowered), PASSPHRASE + "\n",
                                    f"parameter {at} as {value}")
        path.write_bytes(whole)
        code, _, err = operated.run_verb(self.vault, "verify-audit", secrets=shares)
        if code != 0:
            self.report.violation("LOST", f"the untouched keys do not open: {err.strip()}")

    def must_not_open(self, path, whole, at, bit, secrets):
        changed = bytearray(whole)
        changed[at] ^= bit
        self.must_stay_shut(path, bytes(changed), secrets, f"byte {at} flipped by {bit}")

    def must_stay_shut(self, path, content, secrets, what):
        path.write_bytes(content)
        began = time.monotonic()
        code, _, err = operated.run_verb(self.vault, "verify-audit", secrets=secrets)
        took_ms = operated.milliseconds(began)
        self.tampered += 1
        if code == 0:
            self.report.violation("OPENED", f"{what}: the keys opened")
        elif code < 0:
            self.report.violation("DIED", f"{what}: signal {-code}")
        if took_ms > 2 * self.options.bound_ms:
            self.report.violation("SLOW", f"{what}: refused after {took_ms:.0f} ms: {err.strip()}")


def index_of(share):
    return share.split("-")[3]


def damaged(pick, share):
    """One character of the payload or the check is another."""
    begin = share.index("-", share.index("of")) + 3
    at = pick.choice([i for i in range(begin, len(share)) if share[i] != "-"])
    other = pick.choice([c for c in "abcdefghijklmnopqrstuvwxyz234567" if c != share[at]])
    return share[:at] + other + share[at + 1:]


def main():
    parser = vault.arguments(__doc__)
    parser.add_argument("--shares", default="2/4", help="K/N")
    parser.add_argument("--rounds", type=int, default=3, help="openings among wrong shares")
    parser.add_argument("--flips", type=int, default=40, help="bits flipped in the slots")
    parser.add_argument("--bound-ms", type=int, default=5000,
                        help="what one secret may take; the promise is 1000 on an idle machine")
    parser.add_argument("--right", action="store_true",
                        help="control: the forged share is a right one")
    options = parser.parse_args()
    vault.load_stubs(options.build)
    report = vault.Report("unseal", options)
    k, n = (int(number) for number in options.shares.split("/"))
    with vault.Vault(options, map_size_mib=2) as other:
        _, out, _ = operated.run_verb(other, "init", "--slot", "shares", "--shares", f"{k}/{n}")
        foreign = operated.shares_in(out)[0]
    with vault.Vault(options, map_size_mib=2) as served:
        unsealings = Unsealings(served, report, k, n, options)
        try:
            unsealings.init()
            unsealings.subsets()
            unsealings.other_slots()
            unsealings.wrong_shares(options.rounds, foreign)
            unsealings.tampering(options.flips)
        except vault.Ended as ended:
            report.violation("DAMAGED", str(ended))
    if unsealings.slowest_ms > options.bound_ms:
        report.violation("SLOW", f"a secret took {unsealings.slowest_ms:.0f} ms")
    return report.end(f"{unsealings.opened} openings, all {k} of {n}; {unsealings.refused} wrong "
                      f"secrets refused, {unsealings.named} named; {unsealings.tampered} changed "
                      f"keys files, none opened; a secret took at most "
                      f"{unsealings.slowest_ms:.0f} ms")


if __name__ == "__main__":
    sys.exit(main())
