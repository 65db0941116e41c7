"""Over calls in flight and connections, at fixed rates, and with a client of grpc++."""
import json
import subprocess

from measured import Figure, Rounds, Samples, shape
from servers import REVEAL, Failed

IN_FLIGHT, CONNECTIONS = (1, 8, 64, 256), (1, 4, 16, 64)
RATES = (500, 1000, 2000, 4000)


def measure(bench, daemon, echo):
    closed_loop(bench, daemon, echo)
    open_loop(bench, daemon, echo)
    stock_client(bench, daemon, echo)


def closed_loop(bench, daemon, echo):
    bench.part("closed loop over calls in flight and connections, nobody pinned")
    at = [(calls, connections) for calls in IN_FLIGHT for connections in CONNECTIONS
          if connections <= calls]
    if bench.quick:
        at = [(1, 1), (256, 64)]
    rounds = Rounds(bench.load)
    rounds.measure({(server.name, *one): (server, shape(*one))
                    for one in at for server in (echo, daemon)},
                   bench.rounds, bench.seconds, bench.warm_up)
    print(f"{'':8}{'echo':>48} {'reveal':>48}\n{'':8}"
          + f"{'rate':>9}{'CPU us':>9}{'p50 us':>10}{'p99':>10}{'p99.9':>10} " * 2)
    for one in at:
        cells = []
        for server in (echo, daemon):
            for field, width in (("rate", 9), ("server_cpu_us", 9), ("p50_us", 10), ("p99_us", 10),
                                 ("p999_us", 10)):
                samples = rounds.of((server.name, *one), field)
                bench.note(Figure(f"{server.name}_{field}_{one[0]}/{one[1]}_grid", "", samples))
                cells.append(f"{samples.median:>{width},.0f}")
            cells.append(" ")
        print(f"{one[0]:>4}/{one[1]:<3}" + "".join(cells), flush=True)


def open_loop(bench, daemon, echo):
    """Waiting is charged to whoever made it wait: times count from when a call was to begin."""
    bench.part("open loop at fixed rates over 4 connections, nobody pinned")
    rounds = Rounds(bench.load)
    rates = RATES[:2] if bench.quick else RATES
    rounds.measure({(server.name, rate): (server, ["--rate", rate, "--connections", 4])
                    for rate in rates for server in (echo, daemon)},
                   bench.rounds, bench.seconds, bench.warm_up, may_fail=True)
    for rate in rates:
        for server in (echo, daemon):
            key = server.name, rate
            p50, p99, p999, errors, cpu = (rounds.of(key, field) for field in (
                "p50_us", "p99_us", "p999_us", "errors", "server_cpu_us"))
            for name, samples in (("p50", p50), ("p99", p99), ("p999", p999), ("errors", errors)):
                bench.note(Figure(f"{server.name}_{name}_rate_{rate}", "", samples))
            print(f"{server.name:<7} {rate:>6}/s: p50 {p50.median:>9,.0f} us, "
                  f"p99 {p99.median:>9,.0f}, p99.9 {p999.median:>9,.0f}, "
                  f"CPU {cpu.median:>4,.0f} us, {sum(errors.values)} errors", flush=True)


def stock_client(bench, daemon, echo):
    """A client of grpc++ costs as much as the server: this is what its callers see."""
    bench.part("what a client of grpc++ sees, nobody pinned")
    for one in ((1, 1), (64, 4)):
        for server, method in ((echo, "/oauthvault.bench.Echo/Say"), (daemon, REVEAL)):
            words = dict(zip(server.arguments[::2], server.arguments[1::2]))
            results = []
            for _ in range(bench.rounds):
                done = subprocess.run(
                    [str(word) for word in (
                        bench.programs / "stock_client", words["--address"], words["--ca"],
                        words["--cert"], words["--key"], method, words["--requests"], *one,
                        bench.seconds)], capture_output=True, text=True, check=False)
                if done.returncode != 0:
                    raise Failed(f"stock_client: {done.stderr}")
                results.append(json.loads(done.stdout))
            if any(result["errors"] for result in results):
                raise Failed(f"stock_client: {results}")
            name = f"{one[0]}/{one[1]}"
            for field, what, unit in (("rate", "rate", "1/s"), ("p50_us", "p50", "us"),
                                      ("client_cpu_us", "client CPU per call", "us")):
                bench.tell(Figure(f"{server.name}_{field}_{name}_stock_client",
                                  f"grpc++ client of {server.name}, {what} at {name}",
                                  Samples([result[field] for result in results]), unit=unit))
