"""What each part costs: the bench's daemon with one part after the other left out."""
import contextlib

from measured import Figure, Rounds, shape
from servers import Daemon

# Words of OAUTHVAULT_WITHOUT (switches.cc).
PARTS = {
    "nothing": "everything on",
    "durability": "without waiting for the disk",
    "line": "without the audit line",
    "opening": "without opening the secret",
    "decision": "without the decision",
    "wiping": "without wiping freed memory",
    "line,opening,decision,wiping": "without all of them",
}


def measure(bench, _, echo):
    bench.part("what each part costs, at 64/4, server and load pinned apart")
    program = bench.programs / "oauthvaultd-bench"
    cells, on_socket = {}, {}
    with contextlib.ExitStack() as opened:
        daemons = []
        for number, without in enumerate(PARTS):
            daemon = opened.enter_context(
                Daemon(bench.folder / f"without-{number}", bench, 1000, daemon=program))
            daemon.start(OAUTHVAULT_WITHOUT=without).await_check()
            daemons.append(daemon)
            cells[without] = daemon, shape(64, 4)
        bench.apart(echo, *daemons)
        rounds = Rounds(bench.load)
        cells["echo"] = echo, shape(64, 4)
        on_socket = {name: (OnSocket(server), shape(64, 4))
                     for name, server in (("socket", daemons[0]), ("echo on socket", echo))}
        rounds.measure({**cells, **on_socket}, bench.rounds, bench.seconds, bench.warm_up)
        bench.together(echo, *daemons)
    texts = {**PARTS, "socket": "everything on, unix socket without TLS", "echo": "the stock echo",
             "echo on socket": "the stock echo, unix socket without TLS"}
    whole = rounds.of("nothing", "server_cpu_us")
    for name, what in texts.items():
        cpu = rounds.of(name, "server_cpu_us")
        word = name.replace(",", "_")
        bench.tell(Figure(f"without_{word}_cpu_us", f"{what}, server CPU per call", cpu,
                          unit="us"))
        if name in PARTS and name != "nothing":
            bench.tell(Figure(f"costs_{word}_us", "  so it costs", cpu.below(whole), unit="us"))


class OnSocket:
    """The same server, called through its unix socket."""

    def __init__(self, server):
        self.name, self.arguments = server.name, server.unix_arguments
        self.server = server

    @property
    def pids(self):
        return self.server.pids
