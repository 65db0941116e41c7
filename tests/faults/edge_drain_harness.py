"""T38, T25: a daemon that is told to end under calls, and one that may not run enough threads.

Calls under way are answered, health says so first, and it is over in time. A daemon that would be
deaf for want of threads ends at once, in words.
"""
import sys
import threading
import time

import grpc

import edge_peers as peers
import vault
from fault_control import SYNC

CALLS = 50
EXIT_WITHIN_S = 5
FAIL_WITHIN_S = 10
SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"
A_USER = 61_234  # of nobody else, so that its threads are the daemon's


class Health(threading.Thread):
    """Follows the health of a daemon as load balancers do."""

    def __init__(self, served):
        super().__init__()
        self.served = served
        self.seen = []  # (when, state)

    def run(self):
        with self.served.client() as client, grpc.secure_channel(
                f"unix:{self.served.socket}",
                grpc.local_channel_credentials(grpc.LocalConnectionType.UDS)) as channel:
            del client
            watch = channel.unary_stream("/grpc.health.v1.Health/Watch")
            try:
                for state in watch(b"", timeout=vault.PATIENCE_S):
                    self.seen.append((time.monotonic(), state))
            except grpc.RpcError:
                pass

    def when(self, state):
        return next((when for when, one in self.seen if one == state), None)


def check_drain(served, report, control):
    """T38. How long the end took, and how long health had said so before the first answer."""
    health = Health(served)
    health.start()
    vault.await_condition(lambda: health.when(SERVING))
    answered, failed = [], []
    started = threading.Barrier(CALLS + 1)

    def reveal(client):
        started.wait()
        try:
            client.reveal("main")
            answered.append(time.monotonic())
        except vault.Refused as refused:
            failed.append(refused)

    with served.client() as client:
        client.status()  # the connection stands
        control.arm(SYNC, 1, "late", sticky=1)
        callers = [threading.Thread(target=reveal, args=(client,)) for _ in range(CALLS)]
        for caller in callers:
            caller.start()
        started.wait()
        # They are under way once the daemon counts them.
        with served.client() as other:
            vault.await_condition(
                lambda: other.status().edge.calls_under_way > CALLS or answered or failed, 2)
        told = time.monotonic()
        under_way = CALLS - len(answered) - len(failed)
        code = served.stop()
        ended_s = time.monotonic() - told
        for caller in callers:
            caller.join()
    health.join()
    if code != 0 or ended_s > EXIT_WITHIN_S:
        report.violation("SLOW", f"the daemon ended with {code} after {ended_s:.1f} s")
    for refused in failed[:3]:
        report.violation("CUT_OFF", f"{len(failed)} of {CALLS} calls were not answered: {refused}")
    flipped = health.when(NOT_SERVING)
    if flipped is None:
        report.violation("SILENT", "health did not say that the daemon ends")
    if under_way < CALLS / 2:
        report.violation("CONTROL", f"only {under_way} calls were under way")
    first_after = min((when for when in answered if when > told), default=None)
    if flipped and first_after and flipped > first_after:
        report.violation("SILENT", "health said so only after the first call had ended")
    return ended_s, under_way


def check_threads(options, report):
    """T25. How long a daemon takes to refuse, with each of some limits on threads."""
    slowest = 0
    for threads in (4, 12, 40):
        with vault.Vault(options, user=A_USER) as served:
            peers.own_copy(served, A_USER)
            code, text = served.run("init")
            if code != 0:
                report.violation("CONTROL", f"init ends with {code}: {text}")
                continue
            peers.limited(served, f"-u {threads}")
            began = time.monotonic()
            ended = served.try_start()
            took = time.monotonic() - began
            slowest = max(slowest, took)
            if ended is None:
                report.violation("DEAF", f"the daemon goes on with {threads} threads")
            elif ended[0] < 0 or "threads" not in ended[1] or took > FAIL_WITHIN_S:
                report.violation("DEAF", f"with {threads} threads the daemon ends with {ended[0]} "
                                         f"after {took:.1f} s: {ended[1].strip()[-200:]}")
    return slowest


def main():
    parser = vault.arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--lie", action="store_true",
                        help="the control: ends the daemon by SIGKILL instead")
    options = parser.parse_args()
    vault.load_stubs(options.build)
    report = vault.Report("edge_drain", options)
    slowest, under_way = 0, 0
    for _ in range(options.rounds):
        with vault.Vault(options) as served:
            served.config.write_text(
                served.config.read_text().replace("stop_timeout_ms = 2000",
                                                  "stop_timeout_ms = 4000"))
            control = served.preload_faults()
            served.init().start().register()
            with served.client() as client:
                client.store("main", b"{}")
            if options.lie:
                served.stop = lambda served=served: served.kill()
            took, open_calls = check_drain(served, report, control)
            slowest, under_way = max(slowest, took), max(under_way, open_calls)
    refused_s = check_threads(options, report)
    return report.end(f"{options.rounds} ends under up to {under_way} calls, the slowest after "
                      f"{slowest:.1f} s; too few threads are refused within {refused_s:.1f} s")


if __name__ == "__main__":
    sys.exit(main())
