"""T35 for what leaves to Rivery: credentials, and the account's API token. Clients store, update,
connect and check, so that credentials are sent by a create, by hand and by themselves, and the
daemon is killed in the middle of it, over a disk that hangs or not. What the stand-in received has
a line each, which was durable at the kill.

Each value names its oauth id and the number of its write; the line of that write, found by the
request's id, says the version, and the lines of what was sent name the version.
"""
import collections
import re
import sys
import threading
import time

import audited
import fault_control
import rivery_harness
import vault

SENDERS = 6
HANG_S = 0.05
SENDS = ("attempt.create", "Connections.Update", "connection.propagate")
KILLED = ("UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED")


class Calls:
    """What senders call, on one channel."""

    def __init__(self, client, channel):
        from oauthvault.v1 import connections_pb2, connections_pb2_grpc
        self.client = client
        self.attempts = rivery_harness.Attempts(client, channel)
        self.messages = connections_pb2
        self.connections = connections_pb2_grpc.ConnectionsStub(channel)

    def store(self, oauth_id, number, request_id=None):
        value = b'{"access_token":"sent-%s-%d"}' % (oauth_id.encode(), number)
        audited.call(self.client.credentials.Store, self.client.messages.StoreRequest(
            project=vault.PROJECT, component=vault.COMPONENT, id=oauth_id, data=value),
            request_id=request_id)

    def connect(self, oauth_id, name):
        return self.client.call(
            self.attempts.stub.Connect, self.attempts.messages.ConnectRequest(
                project=vault.PROJECT, component=vault.COMPONENT, account=rivery_harness.ACCOUNT,
                oauth_id=oauth_id, connection_name=name)).id

    def update(self, connection):
        self.client.call(self.connections.Update, self.messages.UpdateConnectionRequest(
            project=vault.PROJECT, component=vault.COMPONENT, account=rivery_harness.ACCOUNT,
            id=connection))

    def check(self):
        self.client.call(self.client.accounts.Check,
                         self.client.account_messages.CheckAccountRequest(
                             id=rivery_harness.ACCOUNT))


class Owner:
    """One oauth id with a connection of its own, and the writes of its value over all kills."""

    def __init__(self, oauth_id):
        self.oauth_id = oauth_id
        self.connection = None
        self.writes = 0
        self.more = 0
        self.request_ids = {}  # (oauth id, number) -> the request that wrote it

    def store(self, calls):
        self.writes += 1
        request_id = f"{self.oauth_id}-write-{self.writes}"
        self.request_ids[self.oauth_id, self.writes] = request_id
        calls.store(self.oauth_id, self.writes, request_id)

    def connect_another(self, calls):
        """Credentials that are sent by a create and do not change after it."""
        self.more += 1
        oauth_id = f"{self.oauth_id}-more-{self.more}"
        self.request_ids[oauth_id, 1] = f"{oauth_id}-write"
        calls.store(oauth_id, 1, self.request_ids[oauth_id, 1])
        calls.connect(oauth_id, f"connection {oauth_id}")


class Sender(threading.Thread):
    """Calls one after the other until one is not answered."""

    def __init__(self, owner, calls, random):
        super().__init__()
        self.owner, self.calls, self.random = owner, calls, random
        self.made = 0
        self.wrong = None

    def run(self):
        try:
            self.owner.connect_another(self.calls)
            while True:
                self.made += 1
                chosen = self.random.random()
                if chosen < 0.4:
                    self.owner.store(self.calls)
                elif chosen < 0.9:
                    self.update()
                else:
                    self.calls.check()
        except vault.Refused as refused:
            if refused.status not in KILLED:
                self.wrong = refused

    def update(self):
        try:
            self.calls.update(self.owner.connection)
        except vault.Refused as refused:
            # The daemon sends it by itself at that moment.
            if refused.status != "ALREADY_EXISTS":
                raise


class Harness:
    """The rounds, and what they leave."""

    def __init__(self, options, report, served, standin):
        self.options, self.report, self.vault = options, report, served
        self.standin, self.control = standin, served.control
        self.owners = [Owner(f"c-{i}") for i in range(SENDERS)]
        self.kills = self.calls = 0
        self.sent = collections.Counter()  # act -> lines about what was received

    def begin(self):
        """An account, and a connection for each owner."""
        with self.vault.client() as client, rivery_harness.channel_of(self.vault) as channel:
            client.call(client.accounts.Set, client.account_messages.SetAccountRequest(
                id=rivery_harness.ACCOUNT, base_url=self.standin.base_url,
                api_token=rivery_harness.TOKEN.encode(), projects=["*"]))
            calls = Calls(client, channel)
            for owner in self.owners:
                owner.store(calls)
                attempt = calls.connect(owner.oauth_id, f"connection {owner.oauth_id}")
                if not vault.await_condition(lambda: calls.attempts.get(attempt).final):
                    raise vault.Ended(f"no connection for {owner.oauth_id}")
                owner.connection = calls.attempts.get(attempt).connection_id

    def round(self):
        random = self.report.random
        with self.vault.client() as client, rivery_harness.channel_of(self.vault) as channel:
            calls = Calls(client, channel)
            senders = [Sender(owner, calls, type(random)(random.random()))
                       for owner in self.owners]
            for sender in senders:
                sender.start()
            time.sleep(random.uniform(0.1, 0.5))
            # What is written, or synced, from now on is not before the kill.
            hanging = [fault_control.WRITE, fault_control.SYNC, None][self.kills % 3]
            if hanging:
                self.control.arm(hanging, 1, "hang", True, "audit.jsonl")
                time.sleep(HANG_S)
            self.vault.kill()
            for sender in senders:
                sender.join()
            self.control.disarm()
        self.kills += 1
        self.calls += sum(sender.made for sender in senders)
        for sender in senders:
            if sender.wrong:
                self.report.violation("REFUSED", f"a healthy daemon refused: {sender.wrong}")

    # ---- what was received against the lines ----------------------------------------------------

    def received(self):
        """(oauth id, number of its write) -> how often the stand-in received it."""
        found = collections.Counter()
        for one in self.standin.ask("/standin/received"):
            token = ((one["body"] or {}).get("credentials") or {}).get("access_token", "")
            if match := re.fullmatch(r"sent-(.+)-(\d+)", token):
                found[match[1], int(match[2])] += 1
            elif one["operation"] in ("create", "update"):
                self.report.violation("WRONG", f"{one['operation']} carried what nobody stored")
        return found

    def check(self):
        received, checks = self.received(), self.standin.state()["requests"]["me"]
        versions, told, checks_told = {}, collections.Counter(), 0
        self.sent.clear()
        for line in audited.durable_lines_of(self.vault, self.control):
            if line["outcome"] != "allowed":
                continue
            if line["act"] == "Credentials.Store":
                versions[line.get("request_id")] = line["version"]
            elif line["act"] in SENDS:
                told[line["oauth_id"], line["version"]] += 1
                self.sent[line["act"]] += 1
                if line["principal"] != "local/admin" or not line.get("fingerprints"):
                    self.report.violation("WRONG", f"the line of what was sent is {line}")
            elif line["act"] == "Accounts.Check":
                checks_told += 1
        request_ids = {}
        for owner in self.owners:
            request_ids |= owner.request_ids
        for (oauth_id, number), count in received.items():
            version = versions.get(request_ids[oauth_id, number])
            lines = told[oauth_id, version]
            if lines < count:
                self.report.violation(
                    "UNRECORDED", f"write {number} of {oauth_id} was sent {count} times, and "
                                  f"{lines} durable lines tell of it after kill {self.kills}")
        if checks_told < checks:
            self.report.violation("UNRECORDED", f"the API token was sent by {checks} checks, and "
                                                f"{checks_told} durable lines tell of one")
        return sum(received.values()), checks


def main():
    parser = vault.arguments(__doc__)
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--sends", type=int, default=0, help="go on until so many were received")
    options = parser.parse_args()
    vault.load_stubs(options.build)
    report = vault.Report("audit_sent", options)
    standin = rivery_harness.StandIn(options.build)
    sent = checks = 0
    try:
        with rivery_harness.set_up(options, standin, 100_000, preload=True) as served:
            harness = Harness(options, report, served, standin)
            try:
                harness.begin()
                while not report.violations and (
                        harness.kills < options.kills or
                        (sent < options.sends and harness.kills < 10 * options.kills)):
                    harness.round()
                    sent, checks = harness.check()
                    served.start()
                served.stop()
            except (vault.Ended, vault.Refused) as failed:
                report.violation("DAMAGED", f"after kill {harness.kills}: {failed}")
            vault.check_files(served, report, "at the end")
    finally:
        standin.stop()
    if not report.violations and (checks == 0 or any(not harness.sent[act] for act in SENDS)):
        report.violation("CONTROL", f"not everything was sent: {dict(harness.sent)}")
    unrecorded = sum(kind == "UNRECORDED" for kind, _ in report.violations)
    ways = ", ".join(f"{harness.sent[act]} {act}" for act in SENDS)
    return report.end(f"{harness.kills} kills, {harness.calls} calls, {sent} sends received "
                      f"({ways}) and {checks} checks, {unrecorded} without a durable line")


if __name__ == "__main__":
    sys.exit(main())
