"""Attempts under kill -9 and every fault of the stand-in: one connection each, nothing lost.

Each round orders attempts, puts faults into the stand-in's queue and kills the daemon at a chosen
moment: at a change of state (as soon as its line stands in the trail), when a call has left and is
not carried out yet, and when it was carried out and its answer is not read. Then it serves again
until all attempts have ended, and what the vault holds is compared with what the stand-in holds.
"""
import json
import statistics
import subprocess
import sys
import time
import urllib.request

import grpc

import vault

TOKEN = "harness-api-token-71c2"
ACCOUNT = "eu"
SETTLE_MS = 1500
LATE_MS = 300       # below the settle time: above it no client can be exact
ENDING_S = 60       # an attempt that has not ended by then is stuck
NEW = "ATTEMPT_STATE_NEW"
CREATED = "ATTEMPT_STATE_CREATED"

# Faults by operation. Those of the second table end an attempt as refused: nothing may be made.
PASSING = {
    "oauth2_start": ["commit_then_drop", "commit_then_502", "reset_before_commit", "html_500",
                     "reset_after_commit", "unauthorized", "forbidden", "truncated_json",
                     "rate_limited_retry_after", "wrong_content_length", "commit_late"],
    "oauth2_fetch": ["commit_then_drop", "commit_then_502", "reset_before_commit", "html_502",
                     "reset_after_commit", "unauthorized", "forbidden", "rate_limited",
                     "rate_limited_retry_after", "truncated_json", "wrong_content_length",
                     "huge_body", "commit_late"],
    "list": ["html_500", "unauthorized", "forbidden", "rate_limited", "truncated_json",
             "wrong_content_length", "reset_before_commit", "commit_late"],
    "create": ["commit_then_drop", "commit_then_502", "commit_late", "drop_then_commit_late",
               "reset_before_commit", "reset_after_commit", "unauthorized", "forbidden",
               "rate_limited", "rate_limited_retry_after", "html_500", "html_502",
               "truncated_json", "wrong_content_length", "huge_body"],
}
ENDING = {
    "oauth2_start": ["ok_with_code_402", "rate_limited", "redirect_elsewhere"],
    "create": ["ok_with_code_402", "redirect_elsewhere"],
}
# Moments of a kill: a line of the trail, or a call that is held by a fault until then.
LINES = ["attempt.start", "attempt.started", "attempt.fetch", "attempt.store", "attempt.create",
         "attempt.creating", "attempt.unclear", "attempt.created", "attempt.adopted"]
CALLS = ["oauth2_start", "oauth2_fetch", "list", "create"]


class StandIn:
    """The process, and its control routes."""

    def __init__(self, build, *flags):
        self.process = subprocess.Popen(
            [str(build / "bin" / "rivery-standin"), "--token", TOKEN, "--auto-allow", "0",
             "--quiet", *flags], stdout=subprocess.PIPE, text=True)
        self.base_url = self.process.stdout.readline().split()[-1]
        self.origin = self.base_url.removesuffix("/api")

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def ask(self, path, body=None, method=None, headers=None):
        request = urllib.request.Request(
            self.origin + path, method=method, headers=headers or {},
            data=None if body is None else json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=vault.CALL_TIMEOUT_S) as answer:
            return json.load(answer)

    def state(self):
        return self.ask("/standin/state")

    def add_fault(self, operation, fault, **more):
        self.ask("/standin/faults", {"operation": operation, "fault": fault, **more})

    def clear_faults(self):
        self.ask("/standin/faults", method="DELETE")

    def make(self, name):
        """A connection that nobody ordered; its id."""
        body = {"connection_type": "gspreadsheet", "connection_name": name,
                "credentials": {"a": 1}}
        return self.ask("/api/connections", body, method="PUT",
                        headers={"Authorization": f"Bearer {TOKEN}"})["_id"]


def channel_of(served):
    """Another channel to the local admin's socket."""
    return grpc.secure_channel(f"unix:{served.socket}",
                               grpc.local_channel_credentials(grpc.LocalConnectionType.UDS),
                               options=[("grpc.use_local_subchannel_pool", 1)])


class Attempts:
    """The calls of a client, on a channel of their own."""

    def __init__(self, client, channel):
        from oauthvault.v1 import attempts_pb2, attempts_pb2_grpc
        self.client = client
        self.messages = attempts_pb2
        self.stub = attempts_pb2_grpc.AttemptsStub(channel)

    def order(self, number):
        name = f"connection {number}"
        return self.client.call(self.stub.Authorize, self.messages.AuthorizeRequest(
            project=vault.PROJECT, component=vault.COMPONENT, account=ACCOUNT,
            oauth_id=f"id-{number}", connection_name=name)).id

    def get(self, attempt):
        return self.client.call(self.stub.Get, self.messages.GetAttemptRequest(
            project=vault.PROJECT, component=vault.COMPONENT, id=attempt))

    def state_of(self, attempt):
        return self.messages.AttemptState.Name(attempt.state)


class Harness:
    """The rounds, and what they leave."""

    def __init__(self, options, report, served, standin):
        self.options, self.report, self.vault, self.standin = options, report, served, standin
        self.orders = {}  # attempt -> number
        self.foreign = set()  # ids of connections that bear the name of an order, made before it
        self.number = 0
        self.kills = 0
        self.lost = 0
        # From when the restarted daemon was executed, and from when it served, to a lost one's new
        # link, where no fault was left then.
        self.links_s = []
        self.refused = 0

    def set_account(self):
        request_of = lambda client: client.account_messages.SetAccountRequest(
            id=ACCOUNT, base_url=self.standin.base_url, api_token=TOKEN.encode(), projects=["*"])
        with self.vault.client() as client:
            client.call(client.accounts.Set, request_of(client))

    def attempts(self, client):
        return Attempts(client, channel_of(self.vault))

    # ---- one round -------------------------------------------------------------------------------

    def choose(self):
        """Faults for a round, and the moment of its kill: a function that waits for it."""
        pick = self.report.random
        calls = [self.options.focus] if self.options.focus else CALLS
        for _ in range(pick.randrange(3)):
            operation = pick.choice(calls)
            table = ENDING if operation in ENDING and pick.random() < 0.1 else PASSING
            self.plan(operation, pick.choice(table[operation]))
        if pick.random() < 0.5 and not self.options.focus:
            act = pick.choice(LINES)
            return lambda before: self.await_line(act, before)
        operation = pick.choice(calls)
        if pick.random() < 0.5:  # it left, and is carried out later
            self.plan(operation, "commit_late")
        else:                    # it was carried out, and the answer drips
            self.plan(operation, "slow_drip", delay_ms=20)
        return lambda before: self.await_request(operation, before)

    def plan(self, operation, fault, **more):
        if fault.endswith("late"):
            more["delay_ms"] = LATE_MS
        if fault == "rate_limited_retry_after":
            more["retry_after_s"] = 1
        self.standin.add_fault(operation, fault, **more)

    def await_line(self, act, before):
        text = f'"act":"{act}"'.encode()
        def there():
            with open(self.vault.audit / "audit.jsonl", "rb") as trail:
                trail.seek(before["trail"])
                return text in trail.read()
        vault.await_condition(there, 3, every=0.001)

    def await_request(self, operation, before):
        vault.await_condition(
            lambda: self.standin.state()["requests"][operation] > before["requests"][operation],
            3, every=0.003)
        time.sleep(self.report.random.random() * 0.05)

    def round(self):
        numbers = range(self.number, self.number + self.options.attempts)
        self.number += self.options.attempts
        for number in numbers:  # before any fault could meet it
            if self.report.random.random() < 0.3:
                self.foreign.add(self.standin.make(f"connection {number}"))
        moment = self.choose()
        before = {"trail": (self.vault.audit / "audit.jsonl").stat().st_size,
                  "requests": self.standin.state()["requests"]}
        ids = []
        with self.vault.client() as client:
            attempts = self.attempts(client)
            for number in numbers:
                ids.append(attempts.order(number))
                self.orders[ids[-1]] = number
        moment(before)
        if self.options.duplicate:
            self.standin.clear_faults()
            self.standin.make(f"connection {numbers[-1]}")
        self.vault.kill()
        self.kills += 1
        disturbed = bool(self.standin.state()["faults_left"])
        executed = time.monotonic()
        self.vault.start()
        self.end(ids, executed, time.monotonic(), disturbed)
        self.compare(ids)

    def end(self, ids, executed, served, disturbed):
        """Serves until all have ended; an account that was marked is set anew. `executed` and
        `served`: when the restarted daemon was, and did; a new link is measured from both."""
        with self.vault.client() as client:
            attempts = self.attempts(client)
            waiting = list(ids)
            without_link = set()
            while waiting:
                for one in list(waiting):
                    seen = attempts.get(one)
                    if seen.waiting_for == "account":
                        self.set_account()
                    if one in without_link and attempts.state_of(seen) != NEW:
                        without_link.remove(one)
                        self.note_link(time.monotonic(), executed, served, disturbed)
                    if seen.final:
                        waiting.remove(one)
                        if seen.successor:
                            self.lost += 1
                            self.orders[seen.successor] = self.orders.pop(seen.id)
                            waiting.append(seen.successor)
                            without_link.add(seen.successor)
                    elif time.monotonic() - executed > ENDING_S:
                        self.report.violation("STUCK", f"{attempts.state_of(seen)} waits for "
                                                       f"'{seen.waiting_for}' after {ENDING_S} s")
                        waiting.remove(one)
                time.sleep(0.005)
        self.standin.clear_faults()

    def note_link(self, now, executed, served, disturbed):
        """An attempt that goes on for a lost one has its link, or more."""
        if disturbed:
            return
        after_s = now - served
        self.links_s.append((now - executed, after_s))
        if self.options.bound_ms and after_s * 1000 > self.options.bound_ms:
            self.report.violation("SLOW", f"a new link {after_s:.2f} s after the daemon served")

    def link_figures(self):
        """How soon a loss had its new link, where Rivery was well after the restart."""
        if not self.links_s:
            return f"{self.lost} lost in transit, each with a new link"
        executed, served = (f"{1000 * statistics.median(times):.0f} ms in the median and "
                            f"{1000 * max(times):.0f} at most"
                            for times in zip(*self.links_s))
        return (f"{self.lost} lost in transit, each with a new link; {len(self.links_s)} of these "
                f"while Rivery was well: after the daemon was executed anew {executed}, after it "
                f"served {served}")

    # ---- the model -------------------------------------------------------------------------------

    def compare(self, ids=None):
        """What the vault says of its attempts, against what the stand-in holds."""
        state = self.standin.state()
        by_name = {}
        for connection in state["connections"]:
            by_name.setdefault(connection["connection_name"], []).append(connection)
        given = {json.dumps(one["credentials"], sort_keys=True)
                 for one in state["attempts"] if one.get("credentials")}
        with self.vault.client() as client:
            attempts = self.attempts(client)
            for attempt, number in list(self.orders.items())[-len(ids) if ids else 0:]:
                seen = attempts.get(attempt)
                made = [one for one in by_name.get(f"connection {number}", [])
                        if one["_id"] not in self.foreign]
                self.compare_one(client, attempts.state_of(seen), seen, number, made, given)
        if state["elsewhere"]["requests"]:
            self.report.violation("LEAK", f"{state['elsewhere']} to another origin")

    def compare_one(self, client, state, seen, number, made, given):
        if len(made) > 1:
            return self.report.violation("DUPLICATE",
                                         f"{len(made)} connections of attempt {number}")
        if state == CREATED:
            if [one["_id"] for one in made] != [seen.connection_id]:
                return self.report.violation("WRONG", f"attempt {number} is created, and Rivery "
                                                      f"has {len(made)} of its name")
            value = client.value(f"id-{number}")
            if value is None or json.loads(value) != made[0]["credentials"]:
                self.report.violation("LOST", f"the credentials of {number} are not those that "
                                              f"its connection has")
            elif json.dumps(json.loads(value), sort_keys=True) not in given:
                self.report.violation("WRONG", f"nobody gave the credentials of {number}")
        elif seen.failure == "refused":
            self.refused += 1
            if made:
                self.report.violation("WRONG", f"attempt {number} was refused, and is there")
        elif seen.failure != "lost_in_transit":
            self.report.violation("LOST", f"attempt {number} ended as {state} {seen.failure}")
        return None


def set_up(options, standin, calls_per_minute, preload=False):
    """A vault that serves, with a component that becomes connections; `preload`: with
    preload_fault, whose control file is `control` in the vault's folder."""
    served = vault.Vault(options, map_size_mib=64)
    if preload:
        served.preload_faults()
    text = served.config.read_text().replace(
        "[rivery]\n", f"[rivery]\ncalls_per_minute = {calls_per_minute}\npoll_interval_ms = 100\n"
                      f"retry_interval_ms = 100\nsettle_time_ms = {SETTLE_MS}\n")
    served.config.write_text(text)
    served.init().start()
    with served.client() as client:
        client.add_project(vault.PROJECT)
        client.set_component(vault.COMPONENT, rivery_datasource_id="gspreadsheet",
                             rivery_connection_type="gspreadsheet")
        client.grant(vault.PROJECT, rights=("store", "describe", "reveal", "connect"))
    return served


def run_rounds(options, report, *, once):
    """Figures of the kills with credentials that can be read once, or many times."""
    standin = StandIn(options.build, "--credentials-once", "on" if once else "off")
    try:
        with set_up(options, standin, 100_000) as served:
            harness = Harness(options, report, served, standin)
            harness.set_account()
            try:
                until = options.kills // (4 if once and not options.once_only else 1)
                while harness.kills < until and not report.violations:
                    harness.round()
                harness.compare()
            except (vault.Ended, vault.Refused) as failed:
                report.violation("DAMAGED", f"after kill {harness.kills}: {failed}")
            if served.process:
                served.stop()
            vault.check_files(served, report, "at the end")
            if harness.lost and not once:
                report.violation("LOST", f"{harness.lost} that can be read again")
            return harness
    finally:
        standin.stop()


def run_pending(options, report):
    """Many pending attempts: memory, threads, calls a minute."""
    standin = StandIn(options.build)
    standin.ask("/standin/knobs", {"auto_allow": "100000"})
    try:
        with set_up(options, standin, 15) as served:
            Harness(options, report, served, standin).set_account()
            before = threads_and_memory(served)
            with served.client() as client:
                harness = Harness(options, report, served, standin)
                attempts = harness.attempts(client)
                for number in range(options.pending):
                    attempts.order(number)
            # The budget is that of any 60 s: of these 59, and of what ordering took as well.
            ordered = sum(standin.state()["requests"].values())
            time.sleep(59)
            after = threads_and_memory(served)
            calls = sum(standin.state()["requests"].values()) - ordered
            if calls > 15:
                report.violation("RATE", f"{calls} calls in a minute")
            if calls == 0:
                report.violation("STUCK", "no call in a minute")
            if after[0] != before[0]:
                report.violation("THREADS", f"{before[0]} before, {after[0]} with attempts")
            return (f"{options.pending} pending: {after[1] - before[1]} KiB more, "
                    f"{after[0]} threads as before, {calls} calls in a minute")
    finally:
        standin.stop()


def threads_and_memory(served):
    with open(f"/proc/{served.process.pid}/status", encoding="ascii") as status:
        fields = dict(line.split(":", 1) for line in status)
    return int(fields["Threads"]), int(fields["VmRSS"].split()[0])


def main():
    parser = vault.arguments(__doc__)
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument("--attempts", type=int, default=2, help="ordered in each round")
    parser.add_argument("--pending", type=int, default=0, help="also measure so many that wait")
    parser.add_argument("--focus", choices=CALLS, help="faults and kills around this call only")
    parser.add_argument("--once-only", action="store_true",
                        help="only with credentials that can be read once")
    parser.add_argument("--bound-ms", type=int, default=0,
                        help="a new link later than this after the restarted daemon served is "
                             "SLOW; 0: any time")
    parser.add_argument("--duplicate", action="store_true",
                        help="control: a second connection of the last name is made elsewhere")
    options = parser.parse_args()
    vault.load_stubs(options.build)
    report = vault.Report("rivery", options)
    many = None if options.once_only else run_rounds(options, report, once=False)
    once = run_rounds(options, report, once=True)
    ran = [harness for harness in (many, once) if harness]
    pending = run_pending(options, report) if options.pending else ""
    duplicates = sum(kind == "DUPLICATE" for kind, _ in report.violations)
    return report.end(
        f"{sum(one.kills for one in ran)} kills, {sum(one.number for one in ran)} attempts, "
        f"{duplicates} duplicates, {sum(one.refused for one in ran)} refused; read once: "
        f"{once.link_figures()}{'; ' if pending else ''}{pending}")


if __name__ == "__main__":
    sys.exit(main())
