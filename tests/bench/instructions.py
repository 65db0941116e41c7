#!/usr/bin/python3
"""Counts the instructions of one reveal in process, by callgrind, and compares with the golden
range: a change that makes reveals dearer shows in CI, without a clock.

instructions.py PROGRAM            compares with golden/instructions.txt; exit 1 out of range
instructions.py PROGRAM --update   writes the golden file anew
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

GOLDEN = pathlib.Path(__file__).resolve().parent / "golden" / "instructions.txt"
RANGE = 0.15
TIMES = (50, 250)  # the difference is free of what the program does before
IN_MEMORY = "/dev/shm"  # what the disk takes is no instruction


def count(program, what, times):
    """Instructions of the whole program, all threads."""
    folder_of_all = IN_MEMORY if os.access(IN_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=folder_of_all) as folder:
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", program, what,
             str(times)], capture_output=True, text=True, check=False,
            env={**os.environ, "TMPDIR": folder})
        found = re.search(r"Collected : (\d+)", done.stderr)
        if done.returncode != 0 or not found:
            raise SystemExit(f"callgrind: {done.stderr}")
        return int(found.group(1))


def in_process(program):
    """Instructions of one reveal and of one echo."""
    counted = {}
    for what in ("reveal", "echo"):
        few, many = (count(program, what, times) for times in TIMES)
        counted[what] = (many - few) / (TIMES[1] - TIMES[0])
    return counted


def main(words):
    counted = in_process(words[0])
    if words[1:] == ["--update"]:
        GOLDEN.write_text("".join(f"{what} {number:.0f}\n" for what, number in counted.items()))
    golden = dict(line.split() for line in GOLDEN.read_text().splitlines())
    wrong = 0
    for what, number in counted.items():
        expected = int(golden[what])
        share = number / expected - 1
        print(f"{what}: {number:,.0f} instructions, {expected:,} expected, {share:+.1%}")
        if abs(share) > RANGE:
            wrong += 1
            print(f"  outside of {RANGE:.0%}; where that is meant: {sys.argv[0]} PROGRAM --update")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
