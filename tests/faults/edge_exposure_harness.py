"""T42: the exposure of the systemd unit, as `systemd-analyze security` measures it, and whether
systemd reads every line of it.
"""
import pathlib
import re
import subprocess
import sys

import vault

UNIT = pathlib.Path(__file__).resolve().parents[2] / "deploy" / "systemd" / "oauthvaultd.service"
MOST = 1.0
# What the daemon needs of systemd beside the sandbox.
NEEDED = ("Type=notify", "WatchdogSec=20", "Restart=on-failure", "LoadCredential=key:",
          "LimitCORE=0", "LimitMEMLOCK=64M", "MemorySwapMax=0", "TasksMax=512")


def exposure(unit):
    """The score, 0 to 10; and what was not understood."""
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=100",
                           "--no-pager", str(unit)], capture_output=True, text=True, check=False)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    unknown = [line for line in done.stderr.splitlines() if "ignoring" in line.lower()]
    return float(found.group(1)) if found else 10.0, unknown


def main():
    parser = vault.arguments(__doc__)
    parser.add_argument("--bare", action="store_true", help="the control: without the sandbox")
    options = parser.parse_args()
    report = vault.Report("edge_exposure", options)
    text = UNIT.read_text()
    with vault.Vault(options) as scratch:
        if options.bare:
            text = "\n".join(line for line in text.splitlines()
                             if not line.startswith(("Protect", "Private", "Restrict", "System")))
        unit = scratch.folder / "oauthvaultd.service"
        unit.write_text(text)
        score, unknown = exposure(unit)
        bare = scratch.folder / "bare.service"
        bare.write_text("[Service]\nExecStart=/usr/local/bin/oauthvaultd\n")
        bare_score, _ = exposure(bare)
    if score > MOST:
        report.violation("EXPOSED", f"the unit's exposure is {score}, at most {MOST} is allowed")
    for line in unknown:
        report.violation("UNREAD", line)
    for needed in NEEDED:
        if not re.search(rf"^{re.escape(needed)}", text, re.MULTILINE):
            report.violation("MISSING", needed)
    if bare_score < 9:
        report.violation("CONTROL", f"a bare unit's exposure is {bare_score}")
    return report.end(f"exposure {score} of 10, {bare_score} without any line")


if __name__ == "__main__":
    sys.exit(main())
