"""RevealMany: what one of many credentials costs beside a stock unary echo."""
import servers
from measured import Figure, Rounds, Samples, shape

IDS = 32
SHAPE = shape(8, 4)  # 256 credentials in flight


def measure(bench, daemon, echo):
    bench.part(f"RevealMany of {IDS}, for each of the credentials; server and load pinned apart")
    rate, cpu = None, None
    with daemon.vault.client() as client:
        is_there = hasattr(client.credentials, "RevealMany")
    if is_there:
        rate, cpu = beside_echo(bench, daemon, echo)
    bench.tell(Figure("many_rate_over_echo", "one of many / stock unary echo at 64/4, rate", rate,
                      ">= 6"),
               Figure("many_cpu_over_echo", "one of many / stock unary echo at 64/4, server CPU",
                      cpu, "<= 0.2"))


def beside_echo(bench, daemon, echo):
    requests = daemon.folder / "requests-many"
    pair = servers.vault.PROJECT.encode(), servers.vault.COMPONENT.encode()
    requests.write_bytes(b"".join(
        servers.frame(servers.message(*pair) + b"".join(
            servers.field(3, servers.id_of(number).encode())
            for number in range(first, first + IDS)))
        for first in range(0, daemon.count - IDS, IDS)))
    many = [*SHAPE, "--path", servers.REVEAL_MANY, "--requests", requests]
    bench.apart(daemon, echo)
    rounds = Rounds(bench.load)
    rounds.measure({"echo": (echo, shape(64, 4)), "many": (daemon, many)}, bench.many_rounds,
                   bench.seconds, bench.warm_up)
    bench.together(daemon, echo)
    if rounds.of("many", "reply_bytes").median < IDS * servers.DATA_BYTES:
        raise servers.Failed("RevealMany does not answer all")
    each_rate = Samples([rate * IDS for rate in rounds.of("many", "rate").values])
    each_cpu = Samples([cpu / IDS for cpu in rounds.of("many", "server_cpu_us").values])
    bench.tell(Figure("many_rate", "one of many, rate", each_rate, unit="1/s"),
               Figure("many_cpu_us", "one of many, server CPU", each_cpu, unit="us"))
    return (each_rate.over(rounds.of("echo", "rate")),
            each_cpu.over(rounds.of("echo", "server_cpu_us")))
