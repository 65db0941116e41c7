"""Reveal beside the stock echo, etcd, nginx and Redis: the figures that all else is about."""
from measured import LOAD_CPU, Figure, Rounds, Samples, fdatasync_us, shape
from servers import Etcd, Http2Echo, Nginx, Redis

SHAPES = {"1/1": shape(1, 1), "8/4": shape(8, 4), "64/4": shape(64, 4), "64/64": shape(64, 64)}

# Where the server's CPU is judged, and what it may be of the stock echo's.
JUDGED = {"8/4": "<= 0.75", "64/4": "<= 1.0", "64/64": "<= 0.9"}

SYNCS, GETS = 100, 10_000  # a round


def measure(bench, daemon, echo):
    authority = bench.authority
    with Etcd(bench.folder / "etcd", authority, bench.load, daemon.count) as etcd, \
            Nginx(bench.folder / "nginx", authority) as nginx, \
            Redis(bench.folder / "redis", authority) as redis, \
            Http2Echo(bench.folder / "http2", bench.programs / "http2_echo", authority,
                      daemon.requests, echo.reply_bytes) as http2:
        beside_others(bench, daemon, echo, etcd, nginx, redis, http2)
    nobody_pinned(bench, daemon, echo)


def beside_others(bench, daemon, echo, etcd, nginx, redis, http2):
    everybody = (daemon, echo, etcd, nginx, redis, http2)
    bench.part("reveal beside the stock echo, etcd, nginx and Redis; server and load pinned apart")
    bench.apart(*everybody)
    rounds = Rounds(bench.load)
    cells = both_at_each_shape(daemon, echo)
    for server in (etcd, nginx):
        cells[server.name, "64/4"] = server, SHAPES["64/4"]
    for name in JUDGED:
        cells[http2.name, name] = http2, SHAPES[name]
    line_bytes = line_size(daemon)
    syncs, gets = [], []
    for _ in range(bench.many_rounds):
        rounds.measure(cells, 1, bench.seconds, bench.warm_up)
        syncs.append(fdatasync_us(daemon.vault.audit.parent, line_bytes, SYNCS))
        gets.append(redis.cpu_us(GETS, LOAD_CPU))
    bench.together(*everybody)
    tell_each(bench, rounds, "apart")
    tell_others(bench, rounds, Samples(gets))
    for name in JUDGED:
        bench.tell(Figure(f"http2_cpu_over_echo_{name}", "an echo by nghttp2 / stock echo, server "
                          f"CPU at {name}", rounds.of((http2.name, name), "server_cpu_us").over(
                              rounds.of(("echo", name), "server_cpu_us"))))
    tell_ratios(bench, rounds, Samples(syncs))


def nobody_pinned(bench, daemon, echo):
    bench.part("the same, nobody pinned")
    rounds = Rounds(bench.load)
    rounds.measure(both_at_each_shape(daemon, echo), bench.many_rounds, bench.seconds,
                   bench.warm_up)
    tell_each(bench, rounds, "free")
    for name in SHAPES:
        for field, what in (("server_cpu_us", "server CPU"), ("rate", "rate")):
            bench.tell(Figure(f"reveal_{field}_over_echo_{name}_free", f"reveal / echo, {what} at "
                              f"{name}, nobody pinned", over(rounds, field, name)))


def both_at_each_shape(daemon, echo):
    cells = {}
    for name, words in SHAPES.items():
        cells["echo", name] = echo, words
        cells["reveal", name] = daemon, words
    return cells


def over(rounds, field, name, other="echo"):
    return rounds.of(("reveal", name), field).over(rounds.of((other, name), field))


def tell_each(bench, rounds, how):
    fields = (("rate", "rate", "1/s"), ("server_cpu_us", "server CPU per call", "us"),
              ("p50_us", "p50", "us"), ("p99_us", "p99", "us"), ("p999_us", "p99.9", "us"))
    for server in ("echo", "reveal"):
        for name in SHAPES:
            for field, what, unit in fields:
                bench.tell(Figure(f"{server}_{field}_{name}_{how}", f"{server}, {what} at {name}",
                                  rounds.of((server, name), field), unit=unit))


def tell_others(bench, rounds, redis_get):
    for server in ("etcd", "nginx"):
        for field, what, unit in (("rate", "rate", "1/s"),
                                  ("server_cpu_us", "server CPU per call", "us")):
            bench.tell(Figure(f"{server}_{field}_64/4", f"{server}, {what} at 64/4",
                              rounds.of((server, "64/4"), field), unit=unit))
    reveal = rounds.of(("reveal", "64/4"), "server_cpu_us")
    bench.tell(Figure("redis_get_cpu_us", "Redis GET over TLS, server CPU per call", redis_get,
                      unit="us"),
               Figure("reveal_cpu_over_redis", "reveal at 64/4 / Redis GET, server CPU",
                      reveal.over(redis_get)),
               Figure("reveal_cpu_over_nginx", "reveal / nginx's static file, server CPU at 64/4",
                      over(rounds, "server_cpu_us", "64/4", "nginx")),
               Figure("load_cpu_us", "the load's own CPU per call at 64/4",
                      rounds.of(("reveal", "64/4"), "load_cpu_us"), unit="us"))


def tell_ratios(bench, rounds, sync):
    for name, goal in JUDGED.items():
        bench.tell(Figure(f"cpu_over_echo_{name}", f"reveal / echo, server CPU at {name}",
                          over(rounds, "server_cpu_us", name), goal))
    echo_and_sync = Samples([one + other for one, other in zip(
        rounds.of(("echo", "1/1"), "p50_us").values, sync.values)])
    bench.tell(Figure("fdatasync_us", "one line appended and synced, p50", sync, unit="us"),
               Figure("rate_over_echo_64/4", "reveal / echo, rate at 64/4",
                      over(rounds, "rate", "64/4"), ">= 0.85"),
               Figure("p50_over_echo_and_sync", "reveal / (echo + one fdatasync), p50 at 1/1",
                      rounds.of(("reveal", "1/1"), "p50_us").over(echo_and_sync), "<= 1.1"),
               Figure("rate_over_etcd", "reveal / etcd linearizable get, rate at 64/4",
                      over(rounds, "rate", "64/4", "etcd"), ">= 4"),
               Figure("cpu_over_etcd", "reveal / etcd linearizable get, server CPU at 64/4",
                      over(rounds, "server_cpu_us", "64/4", "etcd"), "<= 0.143"))


def line_size(daemon):
    """Bytes of a line about a reveal."""
    lines = [line for line in daemon.vault.trail_lines() if '"Credentials.Reveal"' in line]
    return len(lines[-1]) + 1
