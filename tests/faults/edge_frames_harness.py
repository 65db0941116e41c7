"""T20, T23, T24: mutated HTTP/2 frames, giant metadata and messages, many streams, answers that
nobody reads, calls without a deadline. All of it comes from a client with a good certificate.

The daemon lives, its memory stays within bounds, a good client is served meanwhile and after.
"""
import statistics
import sys
import time

import grpc

import edge_peers as peers
import vault

GOOD_WITHIN_S = 5
MIB_FRAMES = 16    # what mutated frames may add to the daemon's memory
MIB_BOUNDS = 64
MIB_UNREAD = 64
UNACKNOWLEDGED = 2000
STREAMS = 128      # daemon/rpc/server.h, kMaxStreams
REVEAL = "/oauthvault.v1.Credentials/Reveal"
METHODS = (REVEAL, "/oauthvault.v1.Operations/Status", "/oauthvault.v1.Credentials/Store",
           "/oauthvault.v1.Attempts/Watch", "/grpc.health.v1.Health/Check", "/", "")


class Attack:
    """One vault under attack."""

    def __init__(self, served, report, identity, good):
        self.served = served
        self.report = report
        self.address = peers.address_of(served)
        self.context = identity.context()
        self.identity = identity
        self.good = good
        self.random = report.random

    def raw(self, first=None):
        try:
            return peers.Raw(self.address, self.context, first)
        except OSError:
            return None

    def expect_alive(self, after):
        if self.served.process.poll() is not None:
            said = self.served.said().strip().splitlines()[-1]
            self.report.violation("KILLED", f"the daemon ended with "
                                            f"{self.served.process.returncode} after {after}: "
                                            f"{said}")
            raise vault.Ended(after)
        if peers.seconds_until_served(self.served, self.good, GOOD_WITHIN_S) is None:
            self.report.violation("UNSERVED", f"a good client is not served after {after}")

    def expect_memory(self, before, bound, after):
        """Memory may come back a little later."""
        grown = lambda: peers.resident_mib(self.served) - before
        if not vault.await_condition(lambda: grown() <= bound, 3, 0.1):
            self.report.violation("GREW", f"the daemon holds {grown():.0f} MiB more after {after}, "
                                          f"{bound} are allowed")
        return max(0, grown())


def message_of(attack):
    from oauthvault.v1 import credentials_pb2
    return credentials_pb2.RevealRequest(
        project=vault.PROJECT, component=vault.COMPONENT, id="large-0").SerializeToString()


def a_sequence(attack, message):
    """Frames as a client sends them, of one or more calls, with or without sense."""
    random = attack.random
    sequence = []
    for number in range(random.randint(1, 4)):
        method = random.choice(METHODS)
        extra = [peers.DEADLINE]
        if random.random() < 0.4:
            extra = [(random.choice(("te", "grpc-timeout", "grpc-encoding", "x-request-id", ":path",
                                     "grpclb_client_stats", "content-type", "x-bin", "")),
                      random.randbytes(random.choice((0, 3, 200, 9000))))]
        sequence.append(peers.request(2 * number + 1, method, message, extra))
    for _ in range(random.randint(0, 4)):
        kind = random.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 200))
        payload = random.randbytes(random.choice((0, 4, 5, 6, 8, 8, 12, 300)))
        claimed = random.choice((None, None, None, 0, 2 ** 24 - 1, len(payload) + 1))
        sequence.insert(random.randint(0, len(sequence)), peers.frame(
            kind, random.choice((0, 1, 4, 5, 8, 32, 255)),
            random.choice((0, 1, 2, 3, 2 ** 31 - 1)), payload, claimed))
    if random.random() < 0.2:
        sequence += [random.choice((peers.frame(peers.PING, 0, 0, bytes(8)),
                                    peers.frame(peers.RST_STREAM, 0, 1, bytes(4)),
                                    peers.settings([(4, 0)]),
                                    peers.frame(9, 0, 1, b"x" * 50)))] * 200
    return b"".join(sequence)


def mutated(attack, frames):
    random, mutable = attack.random, bytearray(frames)
    for _ in range(random.choice((0, 1, 1, 2, 8))):
        mutable[random.randrange(len(mutable))] = random.randrange(256)
    if random.random() < 0.3:
        del mutable[random.randrange(len(mutable)):]
    return bytes(mutable)


def check_frames(attack, count, seconds):
    """T20. How many connections, and how much memory."""
    message = message_of(attack)
    before = peers.resident_mib(attack.served)
    done, end = 0, time.monotonic() + seconds
    while done < count and time.monotonic() < end:
        raw = attack.raw()
        if raw is None:
            time.sleep(0.01)
            continue
        raw.say(mutated(attack, a_sequence(attack, message)))
        raw.hear(0.001 if attack.random.random() < 0.9 else 0.05)
        raw.close()
        done += 1
        if attack.served.process.poll() is not None:
            break
    attack.expect_alive(f"{done} connections with mutated frames")
    return done, attack.expect_memory(before, MIB_FRAMES, "mutated frames")


def status_of(call, *arguments, **fields):
    try:
        call(*arguments, **fields)
        return "OK"
    except grpc.RpcError as error:
        return error.code().name


def check_bounds(attack, streams):
    """T23, and deadlines. How many streams one connection was let have, and how much memory."""
    before = peers.resident_mib(attack.served)
    with peers.tcp_client(attack.served, attack.identity) as client:
        reveal = client.messages.RevealRequest(project=vault.PROJECT, component=vault.COMPONENT,
                                               id="large-0")
        giant = client.messages.InjectRequest(project=vault.PROJECT, component=vault.COMPONENT,
                                              configuration=b" " * 300_000)
        large = client.messages.StoreRequest(project=vault.PROJECT, component=vault.COMPONENT,
                                             id="x", data=b"x" * 100_000)
        reveal_call = client.credentials.Reveal
        expected = [
            ("a message of 300,000 bytes", "RESOURCE_EXHAUSTED",
             lambda: status_of(client.credentials.Inject, giant, timeout=10)),
            ("credentials of 100,000 bytes", "RESOURCE_EXHAUSTED",
             lambda: status_of(client.credentials.Store, large, timeout=10)),
            ("metadata of 60,000 bytes", "RESOURCE_EXHAUSTED",
             lambda: status_of(reveal_call, reveal, timeout=10,
                               metadata=[("x-large", "x" * 60_000)])),
            ("a compressed request", "UNIMPLEMENTED",
             lambda: status_of(client.credentials.Store, large, timeout=10,
                               compression=grpc.Compression.Gzip)),
        ]
        for what, status, call in expected:
            if (found := call()) != status:
                attack.report.violation("TAKEN", f"{what} ends with {found}, not {status}")
        for what, timeout in (("no deadline", None), ("a deadline in an hour", 3600)):
            if (found := status_of(reveal_call, reveal, timeout=timeout)) != "INVALID_ARGUMENT":
                attack.report.violation("BEGUN", f"a call with {what} ends with {found}")
    raw, taken = attack.raw(), 0
    if raw:
        raw.hear(0.2)
        raw.say(peers.frame(peers.SETTINGS, peers.ACK, 0))
        for number in range(streams):
            if not raw.say(peers.frame(peers.HEADERS, peers.END_HEADERS, 2 * number + 1,
                                       peers.request_headers(REVEAL))):
                break
        refused = {frame[2] for frame in peers.frames_in(raw.hear(1))
                   if frame[0] == peers.RST_STREAM}
        ended = peers.is_closed(raw.socket)
        raw.close()
        taken = 0 if ended else streams - len(refused)
        if taken > STREAMS:
            attack.report.violation("TAKEN", f"one connection has {taken} calls under way")
    # The same by one who never says that it has read the settings: gRPC then counts nothing
    # (SECURITY.md), so what is shown is what a stream costs.
    raw = attack.raw()
    if raw:
        for number in range(UNACKNOWLEDGED):
            if not raw.say(peers.frame(peers.HEADERS, peers.END_HEADERS, 2 * number + 1,
                                       peers.request_headers(REVEAL))):
                break
        raw.hear(0.5)
        raw.close()
    attack.expect_alive("requests out of bounds")
    return taken, attack.expect_memory(before, MIB_BOUNDS, "requests out of bounds")


def latencies_ms(attack, count):
    found = []
    with peers.tcp_client(attack.served, attack.good) as client:
        for _ in range(count):
            began = time.monotonic()
            client.reveal("small")
            found.append((time.monotonic() - began) * 1000)
    return found


def check_unread(attack, connections, calls):
    """T24. Memory, and what a good client's reveal takes before and meanwhile, in ms."""
    message = message_of(attack)
    before = peers.resident_mib(attack.served)
    usual = statistics.median(latencies_ms(attack, 30))
    stalled = []
    for _ in range(connections):
        raw = attack.raw(peers.settings([(peers.SETTINGS_INITIAL_WINDOW, 0)]))
        if raw is None:
            continue
        stalled.append(raw)
        for number in range(calls):
            if not raw.say(peers.request(2 * number + 1, REVEAL, message)):
                break
    if len(stalled) < connections / 2:
        attack.report.violation("CONTROL", f"only {len(stalled)} connections could stall")
    time.sleep(1)
    held = attack.expect_memory(before, MIB_UNREAD, f"{len(stalled)} clients that do not read")
    try:
        meanwhile = statistics.median(latencies_ms(attack, 30))
    except vault.Refused as refused:
        attack.report.violation("UNSERVED", f"a good client beside those that do not read: "
                                            f"{refused}")
        meanwhile = -1
    for raw in stalled:
        raw.close()
    attack.expect_alive("answers that nobody read")
    return held, usual, meanwhile


def main():
    parser = vault.arguments(__doc__)
    parser.add_argument("--frames", type=int, default=1000, help="connections with mutated frames")
    parser.add_argument("--seconds", type=float, default=6, help="at most, for these")
    parser.add_argument("--streams", type=int, default=400)
    parser.add_argument("--connections", type=int, default=40, help="that do not read")
    parser.add_argument("--calls", type=int, default=20, help="on each of these")
    options = parser.parse_args()
    vault.load_stubs(options.build)
    report = vault.Report("edge_frames", options)
    figures = "cut off"
    with vault.Vault(options) as served:
        served.init().start().register()
        with served.client() as client:
            for path in ("runner/bad", "runner/good"):
                client.call(client.registry.AddGrant, client.registry_messages.AddGrantRequest(
                    principal=f"spiffe://oauthvault/{path}", project=vault.PROJECT,
                    component=vault.COMPONENT, rights=["reveal"]))
            client.store("large-0", vault.value_of("large-0", 1, 64_000))
            client.store("small", b"{}")
        attack = Attack(served, report, peers.issue(served, "runner/bad"),
                        peers.issue(served, "runner/good"))
        try:
            attack.expect_alive("its start")
            done, frames_mib = check_frames(attack, options.frames, options.seconds)
            taken, bounds_mib = check_bounds(attack, options.streams)
            unread_mib, usual, meanwhile = check_unread(attack, options.connections, options.calls)
            figures = (f"{done} connections with mutated frames, {frames_mib:.0f} MiB more; "
                       f"{taken} of {options.streams} streams taken, {bounds_mib:.0f} MiB; "
                       f"{options.connections} clients with {options.calls} answers each that "
                       f"nobody reads, {unread_mib:.0f} MiB, others {usual:.1f} ms before and "
                       f"{meanwhile:.1f} ms meanwhile")
            served.stop()
        except vault.Ended:
            pass
    return report.end(figures)


if __name__ == "__main__":
    sys.exit(main())
