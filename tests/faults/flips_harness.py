"""T9, T10: one flipped bit in a byte of the store, rows that were moved, swapped, cut.

Most flips go through tests/storage/flip, which checks a compact file in a child for each; a sample
goes through the daemon: it must refuse to start, or serve exactly what was stored. What it must
never do is to show another plaintext, to lose a row without a word, or to crash.
"""
import subprocess
import sys

import vault

REFUSES = {1, 2, 65, 78}


def flip_files(options, report):
    """The figures of the program; it says itself what went wrong."""
    command = [options.build / "tests" / "storage_flip", "--flips", str(options.flips), "--seed",
               str(report.seed % 2**32)]
    if options.broken:
        command += ["--sabotage", options.broken]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=vault.PATIENCE_S * 60, check=False)
    if done.returncode != 0:
        report.violation("SILENT", done.stdout.strip().replace("\n", "; ") or "nothing said")
    return done.stdout.strip().replace("\n", "; ")


class Samples:
    """A small vault; each sample starts its daemon on a damaged copy of the data file."""

    def __init__(self, served, report, rows):
        self.vault = served
        self.report = report
        self.data = served.state / "store" / "data.mdb"
        self.values = {f"id-{i}": vault.value_of(f"id-{i}", i, 300) for i in range(rows)}
        self.refused = 0
        self.served = 0

    def fill(self):
        with self.vault.client() as client:
            for oauth_id, value in self.values.items():
                client.store(oauth_id, value)

    def used_bytes(self, whole):
        """Where the file's last byte stands that is not zero."""
        return len(whole.rstrip(b"\0"))

    def sample(self, whole, trail):
        at = self.report.random.randrange(self.used_bytes(whole))
        bit = self.report.random.randrange(8)
        flipped = bytearray(whole)
        flipped[at] ^= 1 << bit
        self.data.write_bytes(flipped)
        ended = self.vault.try_start()
        if ended is None:
            self.served += 1
            self.compare(f"byte {at}, bit {bit}")
            self.vault.kill()
        elif ended[0] in REFUSES:
            self.refused += 1
        else:
            self.report.violation("CRASH", f"byte {at}, bit {bit}: the daemon ended with "
                                           f"{ended[0]}: {ended[1].strip()}")
        (self.vault.audit / "audit.jsonl").write_bytes(trail)

    def compare(self, what):
        with self.vault.client() as client:
            for oauth_id, value in self.values.items():
                try:
                    found = client.value(oauth_id)
                except vault.Refused as refused:
                    if refused.code is None:
                        self.report.violation("CRASH", f"{what}: {oauth_id}: {refused}")
                    continue  # told, and of a known kind
                if found is None:
                    self.report.violation("SILENT", f"{what}: {oauth_id} is gone without a word")
                elif found != value:
                    self.report.violation("WRONG", f"{what}: {oauth_id} shows another plaintext")


def main():
    parser = vault.arguments(__doc__)
    parser.add_argument("--flips", type=int, default=800, help="in files, a child for each")
    parser.add_argument("--samples", type=int, default=24, help="through the daemon")
    parser.add_argument("--broken", choices=("no-aad", "no-summary", "skip-anchor"),
                        help="the control: the program looks away")
    options = parser.parse_args()
    vault.load_stubs(options.build)
    report = vault.Report("flips", options)
    figures = flip_files(options, report)
    with vault.Vault(options, map_size_mib=1) as served:
        served.init().start().register()
        samples = Samples(served, report, 30)
        samples.fill()
        served.stop()
        whole = samples.data.read_bytes()
        trail = (served.audit / "audit.jsonl").read_bytes()
        for _ in range(options.samples if not options.broken else 0):
            samples.sample(whole, trail)
    return report.end(f"{figures}; {options.samples} through the daemon: {samples.refused} "
                      f"refused, {samples.served} served as they were")


if __name__ == "__main__":
    sys.exit(main())
