"""T21, T22, F1: connection floods, sockets that say nothing, no descriptors left.

A flood from one address must not keep another out; a good client of the flooding address itself is
served once the handshakes' time is over; what was held is given back; a daemon that went deaf says
nothing to the watchdog any more. After a shortage of descriptors everything goes on by itself.
"""
import sys
import threading
import time

import edge_peers as peers
import vault

SERVED_WITHIN_S = 5
OTHERS_WITHIN_S = 2.5  # less than a handshake may take: the flood's places are not free by then
CLOSED_WITHIN_S = 5
BACK_WITHIN_S = 10
WATCHDOG_S = 6
FLOODER = "127.0.0.9"
EDGE = ("[edge]\nmax_connections = 100\nmax_connections_per_address = 40\nmax_handshakes = 40\n"
        "handshake_timeout_ms = 3000\n")


class Flood(threading.Thread):
    """Keeps as many idle connections as it is let have, from one address, and opens more."""

    def __init__(self, address, width, seconds):
        super().__init__()
        self.address = address
        self.width = width
        self.seconds = seconds
        self.opened = 0

    def run(self):
        held, end = [], time.monotonic() + self.seconds
        while time.monotonic() < end:
            held = [one for one in held if not peers.is_closed(one) or one.close()]
            for _ in range(self.width - len(held)):
                one = peers.connect(self.address, FLOODER)
                if one:
                    held.append(one)
                    self.opened += 1
            time.sleep(0.02)
        for one in held:
            one.close()


def check_other_address(served, identity, report, seconds):
    """A good client while another address floods."""
    flood = Flood(peers.address_of(served), 120, seconds)
    before = peers.descriptors(served)
    flood.start()
    vault.await_condition(lambda: peers.descriptors(served) > before + 15, 2)
    slowest = 0
    while flood.is_alive():
        took = peers.seconds_until_served(served, identity, OTHERS_WITHIN_S)
        if took is None:
            report.violation("KEPT_OUT", "a flood from one address keeps another one out")
            break
        slowest = max(slowest, took)
        time.sleep(0.2)
    flood.join()
    return flood.opened, slowest


def check_same_address(served, identity, report, count):
    """A flood that holds what it has; a good client comes from the same address."""
    address = peers.address_of(served)
    before = peers.descriptors(served)
    began = time.monotonic()
    held = [one for one in (peers.connect(address) for _ in range(count)) if one]
    took = peers.seconds_until_served(served, identity, SERVED_WITHIN_S + 3)
    if took is None or took > SERVED_WITHIN_S:
        report.violation("LATE", f"a good client is not served {SERVED_WITHIN_S} s after a flood "
                                 "from its own address began")
    closed = vault.await_condition(
        lambda: all(peers.is_closed(one) for one in held),
        max(0.1, CLOSED_WITHIN_S - (time.monotonic() - began)), 0.05)
    held_s = time.monotonic() - began
    if not closed:
        report.violation("HELD", f"sockets that say nothing are open after {held_s:.1f} s")
    for one in held:
        one.close()
    if not vault.await_condition(lambda: peers.descriptors(served) <= before + 3, BACK_WITHIN_S,
                                 0.05):
        report.violation("LEFT", f"{peers.descriptors(served)} descriptors are open, {before} were")
    return took or -1, held_s


def check_no_descriptors(served, identity, report, manager, count):
    """F1: as many connections as descriptors, all at once; then they all go."""
    address = peers.address_of(served)
    held = [one for one in (peers.connect(address) for _ in range(count)) if one]
    time.sleep(0.5)
    for one in held:
        one.close()
    took = peers.seconds_until_served(served, identity, SERVED_WITHIN_S)
    if took is None:
        report.violation("DEAF", f"nobody is served {SERVED_WITHIN_S} s after a shortage of "
                                 "descriptors is over")
        if not vault.await_condition(lambda: manager.silence_s() > WATCHDOG_S,
                                     WATCHDOG_S + SERVED_WITHIN_S, 0.1):
            report.violation("UNNOTICED", "the watchdog is fed by a deaf daemon")
    return took or -1


def turned_away(served):
    with served.client() as client:
        try:
            edge = client.status().edge
        except vault.Refused:
            return -1
    return (edge.refused_in_all + edge.refused_of_address + edge.refused_at_handshake
            + edge.refused_without_descriptor)


def main():
    parser = vault.arguments(__doc__)
    parser.add_argument("--seconds", type=float, default=4, help="of a flood that goes on")
    parser.add_argument("--connections", type=int, default=400, help="of one that holds")
    options = parser.parse_args()
    vault.load_stubs(options.build)
    report = vault.Report("edge_flood", options)
    with vault.Vault(options) as served:
        text = served.config.read_text().replace("[edge]\n", EDGE)
        served.config.write_text(text)
        manager = peers.Manager(served, WATCHDOG_S)
        try:
            served.init()
            peers.limited(served, "-n 160")
            served.start()
            if not vault.await_condition(lambda: manager.has_told("READY=1"), 5):
                report.violation("MUTE", "the service manager is not told that the daemon serves")
            identity = peers.issue(served, "runner/good")
            if peers.seconds_until_served(served, identity, SERVED_WITHIN_S) is None:
                report.violation("CONTROL", "a good client is not served without a flood")
            opened, slowest = check_other_address(served, identity, report, options.seconds)
            late, held_s = check_same_address(served, identity, report, options.connections)
            after = check_no_descriptors(served, identity, report, manager, options.connections)
            if not report.violations and manager.silence_s() > WATCHDOG_S:
                report.violation("MUTE", "the watchdog is not fed by a daemon that serves")
            refused = turned_away(served)
            served.stop()
            if not manager.has_told("STOPPING=1"):
                report.violation("MUTE", "the service manager is not told that the daemon ends")
        finally:
            manager.close()
    return report.end(
        f"{opened} connections of a flood, another address served within {slowest:.1f} s; "
        f"{options.connections} held, the same address served after {late:.1f} s, all closed "
        f"after {held_s:.1f} s; {after:.1f} s after {options.connections} at once on 160 "
        f"descriptors; {refused} turned away")


if __name__ == "__main__":
    sys.exit(main())
