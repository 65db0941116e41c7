"""Where a reveal's processor time goes: 64 calls in flight over 4 connections, by perf. Only where
it is asked for: perf must be allowed (root, or kernel.perf_event_paranoid below 2)."""
import collections
import re
import shutil
import subprocess
import time

from measured import Figure, Samples, number, shape
from servers import Failed

SHAPE = shape(64, 4)
SAMPLES_PER_S = 2000
# The rest of the daemon's threads have nothing to do with a reveal.
THREADS = {"call-loop": "takes calls, decides, reads the row", "audit-done": "opens, answers",
           "audit-write": "the lines and their sync"}
# The first whose library and symbol match.
OWNERS = {
    "kernel": r"\[(kernel|guest|vdso|unknown)", "TLS": r"lib(ssl|crypto)\.",
    "libsodium": r"libsodium\.", "LMDB": r"liblmdb\.",
    "libc, libstdc++": r"lib(c|m|stdc\+\+|gcc_s)\.|ld-linux",
    "ours": r"oauthvaultd.*\boauthvault::", "gRPC": r"oauthvaultd"}


def expect_perf():
    if shutil.which("perf") is None:
        raise Failed("perf is not there: apt-get install linux-perf")


def owner_of(library, symbol):
    place = f"{library} {symbol}"
    return next((owner for owner, what in OWNERS.items() if re.search(what, place)), "others")


def shares(data):
    """{(thread, owner): the part of all samples}."""
    told = subprocess.run(["perf", "report", "-i", data, "--stdio", "--no-children", "-g", "none",
                           "-t", "\t", "--sort", "comm,dso,sym"],
                          capture_output=True, text=True, check=False)
    found = collections.Counter()
    for line in told.stdout.splitlines():
        columns = [column.strip() for column in line.split("\t")]
        if len(columns) < 4 or not columns[0].endswith("%"):
            continue
        part, thread, library, symbol = columns[:4]
        found[thread if thread in THREADS else "others", owner_of(library, symbol)] += (
            float(part.rstrip("%")) / 100)
    if not found:
        raise Failed(f"perf tells nothing: {told.stderr.strip()[-300:]}")
    return found


def measure(bench, daemon, _echo):
    bench.part("where the time of a reveal goes, 64/4 (perf)")
    expect_perf()
    bench.apart(daemon)
    seconds = 1 if bench.quick else 5
    data = bench.folder / "perf.data"
    load = bench.load.start("calls", [*daemon.arguments, *SHAPE, "--seconds", seconds + 1,
                                      "--warm-up", 0.5, "--server", daemon.pids[0]])
    time.sleep(0.8)
    recorded = subprocess.run(
        ["perf", "record", "-q", "-F", str(SAMPLES_PER_S), "-o", data, "-p", str(daemon.pids[0]),
         "--", "sleep", str(seconds)], capture_output=True, text=True, check=False)
    result = bench.load.result(load)
    if recorded.returncode != 0:
        raise Failed(f"perf may not look: {recorded.stderr.strip()[-300:]}")
    found = shares(data)
    cpu_us = result["server_cpu_us"]
    owners = [*OWNERS, "others"]
    print(f"us of one reveal, {number(cpu_us)} in all at {number(result['rate'])} a second")
    print(f"{'':<50}" + "".join(f"{owner:>16}" for owner in owners))
    for thread in [*THREADS, "others"]:
        what = f"{thread}: {THREADS[thread]}" if thread in THREADS else "the other threads"
        print(f"{what:<50}" + "".join(f"{number(found[thread, owner] * cpu_us):>16}"
                                      for owner in owners))
    bench.note(*(Figure(f"profile_{thread}_{owner}", f"profile: {thread}, {owner}",
                        Samples([found[thread, owner] * cpu_us]), unit="us")
                 for thread in [*THREADS, "others"] for owner in owners))
