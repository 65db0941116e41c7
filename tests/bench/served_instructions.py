"""Instructions of a reveal that is served, by callgrind: the whole daemon, gRPC and TLS included.

The echo in the same binary is gRPC's health service, which the daemon serves beside its own: a call
that only decodes and encodes. (Its answer is smaller; the copies and the cipher of the missing
kilobyte are some 2,000 instructions.) The stock echo stands beside it."""
import pathlib
import subprocess

import instructions
import servers
from measured import Figure, Samples, shape
from servers import Daemon, Failed

HEALTH = "/grpc.health.v1.Health/Check"
SECONDS = (1, 4)  # the difference is free of handshakes
SHAPE = shape(8, 4)


def measure(bench, daemon, _):
    bench.part("instructions, by callgrind, at 8/4")
    counted = instructions.in_process(bench.programs / "reveal_instructions")
    for what, number in counted.items():
        bench.tell(Figure(f"instructions_in_process_{what}", f"{what} in process, without gRPC",
                          Samples([number])))
    folder = bench.folder / "callgrind"
    folder.mkdir()
    empty = folder / "empty"
    empty.write_bytes(servers.frame(b""))
    program = under_callgrind(folder, bench.build / "bin" / "oauthvaultd")
    with Daemon(bench.folder / "reveal-counted", bench, 1000,
                settings={"EDGE_HANDSHAKE_TIMEOUT_MS": 60000}) as slow:
        slow.vault.binary = program
        slow.start().await_check()
        reveal = each(bench, slow, slow.arguments, folder, "oauthvaultd")
        echo = each(bench, slow, [*slow.arguments, "--path", HEALTH, "--requests", empty], folder,
                    "oauthvaultd")
    stock_folder = folder / "stock"
    stock_folder.mkdir()
    program = under_callgrind(stock_folder, bench.programs / "echo_server")
    with servers.Echo(bench.folder / "echo-counted", program, bench.authority, daemon.requests,
                      1100) as slow_echo:
        stock = each(bench, slow_echo, slow_echo.arguments, stock_folder, "echo_server")
    for name, what, number in (("reveal", "reveal, served", reveal),
                               ("echo", "echo in the same binary, served", echo),
                               ("stock_echo", "the stock echo, served", stock)):
        bench.tell(Figure(f"instructions_{name}", what, Samples([number])))
    bench.tell(Figure("instructions_over_echo", "reveal / echo in the same binary, instructions",
                      Samples([reveal / echo]), "<= 1.4"),
               Figure("instructions_over_stock_echo", "reveal / stock echo, instructions",
                      Samples([reveal / stock])))


def under_callgrind(folder, program):
    """A program that runs it so."""
    script = folder / f"{program.name}-counted"
    script.write_text(f"#!/bin/sh\nexec valgrind --tool=callgrind --callgrind-out-file="
                      f"{folder}/{program.name}.out {program} \"$@\"\n")
    script.chmod(0o755)
    return script


def each(bench, server, arguments, folder, name):
    """Instructions of one call."""
    dump(server, folder, name)
    counted, answered = [], []
    for seconds in SECONDS:
        result = bench.load.run("calls", [*arguments, *SHAPE, "--seconds", seconds, "--warm-up", 0])
        if result["errors"]:
            raise Failed(f"under callgrind: {result['errors_by_kind']}")
        counted.append(dump(server, folder, name))
        answered.append(result["answers"])
    return (counted[1] - counted[0]) / (answered[1] - answered[0])


def dump(server, folder, name):
    """Instructions since the last one."""
    before = set(folder.glob(f"{name}.out.*"))
    done = subprocess.run(["callgrind_control", "--dump", str(server.pids[0])], capture_output=True,
                          text=True, check=False)
    new = sorted(set(folder.glob(f"{name}.out.*")) - before)
    if done.returncode != 0 or not new:
        raise Failed(f"callgrind_control: {done.stdout} {done.stderr}")
    return sum(totals(path) for path in new)


def totals(path):
    for line in pathlib.Path(path).read_text(errors="replace").splitlines():
        if line.startswith("totals:"):
            return int(line.split()[1])
    return 0
