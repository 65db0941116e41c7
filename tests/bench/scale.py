"""Small and large stores, the start, connections: what grows, and what does not."""
import contextlib
import time

import servers
from measured import Figure, Rounds, Samples, fdatasync_us, shape
from servers import Daemon, Failed

SKEW = 0.99  # of Zipf's law, as YCSB has it
WARM_S = 10


def measure(bench, small, echo):
    """`small`: a daemon with 1,000 credentials."""
    counts = [1000, 20_000] if bench.quick else [1000, 100_000, 1_000_000]
    with contextlib.ExitStack() as opened:
        daemons = {1000: small}
        for count in counts[1:]:
            bench.part(f"a store of {count:,} credentials")
            daemons[count] = opened.enter_context(
                Daemon(bench.folder / f"reveal-{count}", bench, count))
        largest = daemons[counts[-1]]
        start(bench, largest)
        for count in counts[1:-1]:
            daemons[count].start()
        for daemon in daemons.values():
            daemon.await_check()
        rates(bench, daemons)
        pages(bench, daemons)
        connections(bench, small, echo)
        during(bench, daemons[counts[1]])


def start(bench, daemon):
    """From exec to the first answer, all of it in the page cache. Three syncs of the trail and one
    of its folder lie on the way: as it is opened, the line about it, the reveal's own line."""
    bench.part(f"the start, {daemon.count:,} credentials, key file, fsck = behind")
    times = {"start_ms": [], "start_serving_ms": [], "start_cpu_ms": []}
    sync_us = []
    for _ in range(bench.rounds):
        sync_us.append(fdatasync_us(daemon.folder, 600, 20))
        waiting = bench.load.start("first", daemon.arguments)
        time.sleep(0.2)  # the client is at its tries by then; sooner would only lengthen the figure
        began_ns = time.monotonic_ns()
        daemon.start()
        times["start_serving_ms"].append((time.monotonic_ns() - began_ns) / 1e6)
        answered_ns = bench.load.result(waiting)["answered_at_ns"]
        times["start_ms"].append((answered_ns - began_ns) / 1e6)
        times["start_cpu_ms"].append(servers.cpu_s(daemon.pids) * 1e3)
        daemon.end()
    daemon.start()
    for name, what, goal in (
            ("start_ms", f"exec to first reveal, {daemon.count:,} credentials", "< 100"),
            ("start_serving_ms", "exec until it has heard itself and says `serving`", ""),
            ("start_cpu_ms", "CPU time of the daemon until both", "")):
        bench.tell(Figure(name, what, Samples(times[name]), goal, "ms"))
    bench.tell(Figure("start_fdatasync_ms", "one fdatasync beside it",
                      Samples([one / 1000 for one in sync_us]), unit="ms"))


def rates(bench, daemons):
    bench.part("rate at 64/4 over the size of the store, warm, nobody pinned")
    counts = sorted(daemons)
    for count in counts:
        bench.load.run("calls", [*daemons[count].arguments, *shape(64, 4), "--seconds",
                                 min(WARM_S, 1 + count / 50_000), "--warm-up", 0])
    rounds = Rounds(bench.load)
    kinds = {"uniform": [], "skewed": ["--skew", SKEW]}
    rounds.measure({(kind, count): (daemons[count], [*shape(64, 4), *words])
                    for kind, words in kinds.items() for count in counts},
                   bench.many_rounds, bench.seconds, bench.warm_up)
    for kind in kinds:
        for count in counts:
            for field, what, unit in (("rate", "rate", "1/s"),
                                      ("server_cpu_us", "server CPU per call", "us")):
                bench.tell(Figure(f"{field}_{count}_{kind}",
                                  f"{count:,} credentials, {kind}, {what}",
                                  rounds.of((kind, count), field), unit=unit))
    for kind in kinds:
        bench.tell(Figure(f"rate_large_over_small_{kind}", f"{counts[-1]:,} / 1,000, {kind}, rate",
                          rounds.of((kind, counts[-1]), "rate").over(
                              rounds.of((kind, 1000), "rate")), ">= 0.9"))
    anonymous = rounds.of(("uniform", counts[-1]), "anonymous_bytes")
    bench.tell(Figure("anonymous_mib", f"anonymous memory at {counts[-1]:,}",
                      Samples([value / 2**20 for value in anonymous.values]), "< 16", "MiB"))
    resident = rounds.of(("uniform", 1000), "resident_bytes")
    bench.tell(Figure("resident_mib", "resident memory at 1,000",
                      Samples([value / 2**20 for value in resident.values]), unit="MiB"))


def pages(bench, daemons):
    largest = max(daemons)
    used = (daemons[largest].used_bytes() - daemons[1000].used_bytes()) / (largest - 1000)
    bench.tell(Figure("used_bytes", f"used pages per credential of {servers.DATA_BYTES} bytes",
                      Samples([used]), "<= 1450", "bytes"))


def connections(bench, daemon, echo):
    bench.part("new connections, 8 at one time, a call on each; idle connections")
    for how, words in (("whole", []), ("resumed", ["--resume"])):
        results = {"echo": [], "reveal": []}
        for _ in range(bench.rounds):
            for server in (echo, daemon):
                result = bench.load.run("connects", [
                    *server.arguments, "--connections", 8, "--seconds", bench.seconds, "--warm-up",
                    bench.warm_up, "--server", server.pids[0], *words])
                if result["errors"]:
                    raise Failed(f"connecting to {server.name}: {result['errors_by_kind']}")
                results[server.name].append(result)
        for name, all_of in results.items():
            for field, what, unit in (("rate", "per second", "1/s"),
                                      ("server_cpu_us", "server CPU of each", "us")):
                bench.tell(Figure(f"{name}_connections_{field}_{how}",
                                  f"{name}, new connections, {how} handshakes, {what}",
                                  Samples([result[field] for result in all_of]), unit=unit))
    count = 200 if bench.quick else 5000
    for server in (echo, daemon):
        result = bench.load.run("holds", [*server.arguments, "--connections", count, "--seconds", 2,
                                          "--server", server.pids[0]])
        grown = (result["resident_bytes"] - result["resident_before_bytes"]) / count
        name = server.name
        bench.tell(Figure(f"{name}_idle_bytes", f"{name}, resident memory of an idle connection "
                          f"({count:,})", Samples([grown / 1000]), unit="kB"),
                   Figure(f"{name}_idle_closed", f"{name}, of {count:,} idle ones, it closed",
                          Samples([result["closed"]])),
                   Figure(f"{name}_idle_answered", f"{name}, of {count:,} idle connections, answer "
                          "then", Samples([result["answered"]])),
                   Figure(f"{name}_idle_cpu", f"{name}, share of a processor while they idle",
                          Samples([result["idle_cpu_share"]])))


def during(bench, daemon):
    """The rate while something else goes on, over the rate before."""
    bench.part(f"the rate at 64/4 during a backup and a rotation, {daemon.count:,} credentials")
    with daemon.vault.client() as client:
        messages = client.operations_messages

        def back_up():
            client.call(client.operations.Backup,
                        messages.BackupRequest(folder=str(daemon.folder / "backup")), 120)

        def rotate():
            client.call(client.operations.RotateKeys,
                        messages.RotateKeysRequest(project=servers.vault.PROJECT))
            if not servers.vault.await_condition(
                    lambda: not client.call(client.operations.KeysStatus,
                                            messages.KeysStatusRequest()).rewrapping, 300, 0.1):
                raise Failed("rewrapping does not end")

        for name, act in (("backup", back_up), ("rotation", rotate)):
            before, meanwhile, took_s = rate_around(bench, daemon, act)
            bench.tell(Figure(f"{name}_rate_over_before", f"{name}: rate meanwhile / before "
                              f"({before:,.0f}/s; it took {took_s:.1f} s)",
                              Samples([meanwhile / before])))


def rate_around(bench, daemon, act):
    before_s = 1 if bench.quick else 3
    most_s = 4 if bench.quick else 12
    slice_s = 0.1
    load = bench.load.start("calls", [
        *daemon.arguments, *shape(64, 4), "--warm-up", 0, "--seconds", before_s + most_s,
        "--timeline", round(slice_s * 1000)])
    time.sleep(before_s)
    began = time.monotonic()
    act()
    took_s = time.monotonic() - began
    result = bench.load.result(load)
    if result["errors"]:
        raise Failed(f"calls failed: {result['errors_by_kind']}")
    answers = [one[0] for one in result["timeline"]]
    first = round(before_s / slice_s)
    last = first + max(1, min(round(took_s / slice_s), round(most_s / slice_s) - 2))
    # The first slices connect and warm up.
    before = answers[first // 3:first - 1]
    meanwhile = answers[first:last]
    return (sum(before) / len(before) / slice_s, sum(meanwhile) / len(meanwhile) / slice_s, took_s)
