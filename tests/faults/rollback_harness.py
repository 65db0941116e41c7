"""T11: a store that was put back is noticed at start; so is a trail that was cut.

Rounds of writes; after each, an older copy of the data file takes the newer one's place, or a bit
of the number of a meta page is flipped, which is how LMDB falls back by one commit without a word.
The daemon must refuse with exit code 78 (put back), or with 65 where its check finds damage; a flip
that changes nothing must leave everything as it was.
"""
import shutil
import sys

import vault

PUT_BACK = 78
DAMAGED = 65
META_PAGES = 2
PAGE = 4096
# In LMDB 0.9's meta page: the header (16), magic, version, address, map size, two databases of 48
# bytes, the last page, and then the transaction's number.
TXNID_AT = 16 + 4 + 4 + 8 + 8 + 2 * 48 + 8


class Rollbacks:
    """A vault whose files are exchanged while no daemon runs."""

    def __init__(self, served, report):
        self.vault = served
        self.report = report
        self.data = served.state / "store" / "data.mdb"
        self.trail = served.audit / "audit.jsonl"
        self.values = {}
        self.noticed = 0
        self.harmless = 0

    def write(self, count):
        self.vault.start()
        with self.vault.client() as client:
            for number in range(count):
                oauth_id = f"id-{self.report.random.randrange(20)}"
                self.values[oauth_id] = vault.value_of(oauth_id, number, 200)
                client.store(oauth_id, self.values[oauth_id])
        self.vault.stop()

    def as_it_was(self):
        """Serves, and every value is the newest."""
        ended = self.vault.try_start()
        if ended:
            return ended
        with self.vault.client() as client:
            for oauth_id, value in self.values.items():
                found = client.value(oauth_id)
                if found != value:
                    self.report.violation("SILENT", f"{oauth_id} is not its newest value")
        self.vault.stop()
        return None

    def must_refuse(self, what, codes):
        ended = self.vault.try_start()
        if ended is None:
            self.report.violation("SILENT", f"the daemon serves {what}")
            self.vault.kill()
        elif ended[0] not in codes:
            self.report.violation("WRONG", f"{what}: ended with {ended[0]}: {ended[1].strip()}")
        else:
            self.noticed += 1

    def exchange(self, path, other, what, codes):
        """Puts `other` in the place of `path` for one start."""
        newest = self.vault.folder / "newest"
        shutil.copyfile(path, newest)
        trail = self.vault.folder / "trail-before"
        shutil.copyfile(self.trail, trail)
        other(path)
        self.must_refuse(what, codes)
        shutil.copyfile(trail, self.trail)
        shutil.copyfile(newest, path)

    def put_back(self):
        old = self.vault.folder / "old"
        shutil.copyfile(self.data, old)
        self.write(self.report.random.randrange(1, 6))
        self.exchange(self.data, lambda path: shutil.copyfile(old, path),
                      "a store that was put back", {PUT_BACK})

    def cut_trail(self):
        self.write(3)

        def cut(path):
            # So many that a commit's line is among them: a start and a stop have one line at most.
            lines = path.read_bytes().splitlines(keepends=True)
            path.write_bytes(b"".join(lines[:-self.report.random.randrange(3, 6)]))

        self.exchange(self.trail, cut, "a trail that was cut", {PUT_BACK})

    def flip_number(self, page, bit):
        """One bit of a meta page's transaction number."""
        newest = self.data.read_bytes()[:META_PAGES * PAGE]
        at = page * PAGE + TXNID_AT + bit // 8
        flipped = bytearray(newest)
        flipped[at] ^= 1 << bit % 8
        self.put_pages(flipped)
        trail = self.trail.read_bytes()
        ended = self.as_it_was()
        if ended is None:
            self.harmless += 1
        elif ended[0] in (PUT_BACK, DAMAGED):
            self.noticed += 1
        else:
            self.report.violation("WRONG", f"meta page {page}, bit {bit}: ended with {ended[0]}: "
                                           f"{ended[1].strip()}")
        if ended is not None:
            self.trail.write_bytes(trail)
            self.put_pages(newest)

    def put_pages(self, pages):
        with open(self.data, "r+b") as data:
            data.write(pages)


def main():
    parser = vault.arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=4, help="stores put back and trails cut")
    parser.add_argument("--bits", type=int, default=12, help="bits flipped in the numbers")
    options = parser.parse_args()
    vault.load_stubs(options.build)
    report = vault.Report("rollback", options)
    with vault.Vault(options, map_size_mib=2) as served:
        served.init().start().register()
        served.stop()
        rollbacks = Rollbacks(served, report)
        rollbacks.write(5)
        for _ in range(options.rounds):
            rollbacks.put_back()
            rollbacks.cut_trail()
        bits = [(page, bit) for page in range(META_PAGES) for bit in range(64)]
        for page, bit in report.random.sample(bits, min(options.bits, len(bits))):
            rollbacks.flip_number(page, bit)
        ended = rollbacks.as_it_was()
        if ended:
            report.violation("WRONG", f"the untouched vault ended with {ended[0]}")
    return report.end(f"{options.rounds} stores put back, {options.rounds} trails cut, "
                      f"{min(options.bits, len(bits))} bits of transaction numbers; "
                      f"{rollbacks.noticed} noticed, {rollbacks.harmless} without effect")


if __name__ == "__main__":
    sys.exit(main())
