"""T35: the trail is complete. Clients store, reveal, inject and are denied, the daemon is killed in
the middle of it, with a disk that hangs or without; each secret that a client received has an
earlier line, in the trail that the kill left.

A reveal's line carries the call's request id, the principal and the fingerprint of the value, so
that a line is one call's and no other's.
"""
import sys
import threading
import time

import audited
import fault_control
import vault

CALLERS = 6
IDS = 8
HANG_S = 0.05


class Caller(threading.Thread):
    """Calls one after the other until one is not answered."""

    def __init__(self, client, ids, own_id, random):
        super().__init__()
        self.client = client
        self.ids = ids
        self.own_id = own_id  # the others only read it
        self.random = random
        self.received = []  # (request id, oauth id)
        self.denied = 0
        self.calls = 0
        self.wrong = None

    def run(self):
        try:
            while True:
                self.calls += 1
                self.call()
        except vault.Refused as refused:
            if refused.status not in ("UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED"):
                self.wrong = refused

    def call(self):
        oauth_id = self.random.choice(self.ids)
        chosen = self.random.random()
        if chosen < 0.15:
            self.client.store(self.own_id, value_of(self.own_id))
        elif chosen < 0.25:
            try:
                self.client.reveal(oauth_id, component="never-granted")
            except vault.Refused as refused:
                if refused.status != "PERMISSION_DENIED":
                    raise
                self.denied += 1
        else:
            request_id, answer = audited.reveal(self.client, oauth_id)
            if answer.data:
                self.received.append((request_id, oauth_id))


def value_of(oauth_id):
    return b'{"access_token":"an-access-token-of-%s"}' % oauth_id.encode()


def load_until_killed(served, control, report, number):
    random = report.random
    ids = [f"c-{i}" for i in range(IDS)]
    with served.client() as client:
        for oauth_id in ids:
            client.store(oauth_id, value_of(oauth_id))
        callers = [Caller(client, ids, ids[i], type(random)(random.random()))
                   for i in range(CALLERS)]
        for caller in callers:
            caller.start()
        time.sleep(random.uniform(0.02, 0.3))
        # What is written, or synced, from now on is not before the kill.
        hanging = [fault_control.WRITE, None, fault_control.SYNC, None][number % 4]
        if hanging:
            control.arm(hanging, 1, "hang", True, "audit.jsonl")
            time.sleep(HANG_S)
        served.kill()
        for caller in callers:
            caller.join()
        control.disarm()
    for caller in callers:
        if caller.wrong:
            report.violation("REFUSED", f"a healthy daemon refused: {caller.wrong}")
    return callers


def check_lines(served, control, callers, report, number):
    """Looks into the trail as a power loss at the kill would have left it."""
    told = {}
    for line in audited.durable_lines_of(served, control):
        if line["act"] == "Credentials.Reveal" and line["outcome"] == "allowed":
            told[line.get("request_id")] = line
    for caller in callers:
        for request_id, oauth_id in caller.received:
            line = told.get(request_id)
            if line is None:
                report.violation("UNRECORDED", f"{oauth_id} was received in round {number}, and no "
                                               f"line tells of it")
            elif line["oauth_id"] != oauth_id or line["principal"] != "local/admin" or \
                    not line.get("fingerprints"):
                report.violation("WRONG", f"the line of a reveal of {oauth_id} is {line}")


def main():
    parser = vault.arguments(__doc__)
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--calls", type=int, default=0, help="go on until so many")
    options = parser.parse_args()
    vault.load_stubs(options.build)
    report = vault.Report("audit_complete", options)
    received = calls = denied = kills = 0
    with vault.Vault(options) as served:
        control = served.preload_faults()
        served.init().start().register()
        try:
            while kills < options.kills or (calls < options.calls and kills < 10 * options.kills):
                callers = load_until_killed(served, control, report, kills)
                kills += 1
                received += sum(len(caller.received) for caller in callers)
                calls += sum(caller.calls for caller in callers)
                denied += sum(caller.denied for caller in callers)
                check_lines(served, control, callers, report, kills)
                served.start()
            with audited.Auditor(served) as auditor:
                shown = len(auditor.find(b"an-access-token-of-c-0"))
            served.stop()
        except vault.Ended as ended:
            report.violation("DAMAGED", f"after kill {kills}: {ended}")
        vault.check_files(served, report, "at the end")
    if received == 0 or shown == 0:
        report.violation("CONTROL", "no secret was received, or none is found by its value")
    unrecorded = sum(kind == "UNRECORDED" for kind, _ in report.violations)
    return report.end(f"{kills} kills, {calls} calls, {received} secrets received, "
                      f"{unrecorded} without a line, {denied} denied; "
                      f"one value found in {shown} lines")


if __name__ == "__main__":
    sys.exit(main())
