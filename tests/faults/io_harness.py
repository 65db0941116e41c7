"""T5 and T6: the n-th call of a kind on a file of the vault fails, once or from then on.

T5: a fixed script of calls runs against a daemon in which the n-th write, meta write, sync, rename
or resize fails; n rises until the script meets no fault any more. No crash, each refusal typed, and
after a clean restart all that was acknowledged is there, what was refused is either there or not,
the trail verifies and new writes work.
T6: the same over the start of a daemon that was killed under load and left a torn line: it serves
or refuses in words, and the next start without faults is whole.
"""
import shutil
import sys
import time

import vault
from fault_control import META, OPEN, RENAME, RESIZE, SYNC, WRITE

# What a daemon with a sick disk may answer.
ANSWERS = {"UNAVAILABLE", "RESOURCE_EXHAUSTED"}
NAMES = {WRITE: "write", META: "meta write", SYNC: "sync", RENAME: "rename", RESIZE: "resize",
         OPEN: "open"}
SERVING = [(kind, what, sticky)
           for kind, whats in ((WRITE, ("EIO", "ENOSPC", "short")), (META, ("EIO", "ENOSPC",
                                                                           "short")),
                               (SYNC, ("EIO", "ENOSPC")), (RENAME, ("EIO", "ENOSPC")))
           for what in whats for sticky in (False, True)]
STARTING = [(kind, what, sticky)
            for kind, whats in ((WRITE, ("EIO", "ENOSPC", "short")), (META, ("EIO",)),
                                (SYNC, ("EIO",)), (RESIZE, ("EIO", "ENOSPC")), (OPEN, ("EIO",)),
                                (RENAME, ("EIO",)))
            for what in whats for sticky in (False, True)]
MOST_STEP = {RENAME: 1, META: 3, OPEN: 1}  # of which a script makes few
MOST_CALLS = 2000  # a sweep that does not end by then is a defect
SLOWEST_S = 5


class Script:
    """The calls of one run, and what must be true after them."""

    def __init__(self, client, ledger, report, where):
        self.client = client
        self.ledger = ledger
        self.report = report
        self.where = where
        self.projects = set()

    def call(self, what, call, may_be_missing=False):
        """The answer, or None; a refusal must be typed and of the right kind."""
        began = time.monotonic()
        try:
            return call()
        except vault.Refused as refused:
            allowed = ANSWERS | ({"NOT_FOUND"} if may_be_missing else set())
            if not refused.typed or refused.status not in allowed:
                self.report.violation("UNTYPED", f"{what} {self.where}: {refused}")
            return None
        finally:
            if time.monotonic() - began > SLOWEST_S:
                self.report.violation("SLOW", f"{what} {self.where}")

    def store(self, oauth_id, number, size):
        value = vault.value_of(oauth_id, number, size)
        self.ledger.sent(oauth_id, value)
        stored = self.call(f"store {oauth_id}", lambda: self.client.store(oauth_id, value))
        if stored:
            self.ledger.answered(oauth_id, value, "Credentials.Store")
        return stored is not None

    def delete(self, oauth_id):
        maybe_missing = None in self.ledger.may(oauth_id)
        self.ledger.sent(oauth_id, None)
        if self.call(f"delete {oauth_id}", lambda: self.client.delete(oauth_id),
                     maybe_missing) is not None:
            self.ledger.answered(oauth_id, None, "Credentials.Delete")

    def reveal(self, oauth_id):
        may = self.ledger.may(oauth_id)
        answer = self.call(f"reveal {oauth_id}", lambda: self.client.reveal(oauth_id), None in may)
        if answer is not None:
            self.ledger.note("Credentials.Reveal", oauth_id)
            if answer.data not in may:
                self.report.violation("WRONG", f"{oauth_id} {self.where} reveals "
                                               f"{vault.shown(answer.data)}")
        return answer

    def add_project(self, project):
        if self.call(f"add project {project}", lambda: self.client.add_project(project)):
            self.projects.add(project)

    def run(self):
        self.store("a", 1, 60)
        self.store("b", 1, 9000)
        self.reveal("a")
        self.add_project("more")
        self.store("a", 2, 700)
        self.delete("b")
        self.store("c", 1, 3000)
        self.call("grant", lambda: self.client.grant("more"), may_be_missing=True)
        self.reveal("c")
        self.delete("kept-1")
        self.store("a", 3, 60)


class Sweep:
    """One vault as a template; each run has a copy of it and a daemon of its own."""

    def __init__(self, options, report):
        self.options = options
        self.report = report
        self.template = vault.Vault(options, map_size_mib=4)
        self.kept = {f"kept-{i}": vault.value_of(f"kept-{i}", 1, 500) for i in range(4)}
        self.runs = 0
        self.refused_starts = 0
        self.acknowledged = 0
        with_values = self.template.init().start().register()
        with with_values.client() as client:
            for oauth_id, value in self.kept.items():
                client.store(oauth_id, value)

    def copy(self, name):
        folder = self.template.folder / name
        folder.mkdir()
        for part in ("state", "audit"):
            shutil.copytree(self.template.folder / part, folder / part)
        shutil.copy(self.template.folder / "key", folder / "key")
        return vault.Vault(self.options, map_size_mib=4, folder=folder)

    def leave_torn(self):
        """The template was killed while it wrote a line."""
        self.template.kill()
        with open(self.template.audit / "audit.jsonl", "a", encoding="ascii") as trail:
            trail.write('{"v":1,"seq":')

    def check_restart(self, copy, ledger, projects, where):
        """Without faults the next start is whole, and writes."""
        copy.preload, copy.environment = None, {}
        ended = copy.try_start()
        if ended:
            self.report.violation("DAMAGED", f"no start after faults {where}: {ended}")
            return
        with copy.client() as client:
            ledger.check_values(client, self.report, f"after faults {where}")
            try:
                for project in projects:
                    client.project(project)
            except vault.Refused as refused:
                self.report.violation("LOST", f"project {project} {where}: {refused}")
            try:
                client.store("after", vault.value_of("after", 1, 100))
                ledger.answered("after", vault.value_of("after", 1, 100), "Credentials.Store")
                try:
                    client.add_project("more")
                except vault.Refused as refused:
                    if refused.status != "ALREADY_EXISTS":
                        raise
            except vault.Refused as refused:
                self.report.violation("STUCK", f"no writing after faults {where}: {refused}")
        if copy.stop() != 0:
            self.report.violation("CRASH", f"the restarted daemon does not end well {where}")
        vault.check_files(copy, self.report, f"after faults {where}")
        ledger.check_lines(copy.trail_lines(), self.report, f"after faults {where}")
        self.acknowledged += ledger.acknowledged

    def ledger(self):
        ledger = vault.Ledger()
        ledger.may_stand = {oauth_id: [value] for oauth_id, value in self.kept.items()}
        return ledger

    def serving(self, kind, what, sticky, at):
        """One run of the script. True: it met a fault."""
        where = f"({NAMES[kind]} {at} {what}{' and on' if sticky else ''})"
        self.runs += 1
        with self.copy(f"serving-{self.runs}") as copy:
            control = copy.preload_faults()
            copy.start()
            ledger = self.ledger()
            with copy.client() as client:
                script = Script(client, ledger, self.report, where)
                control.arm(kind, at, what, sticky)
                script.run()
                met = control.injected > 0
                control.disarm()
                # A trail that can be written again is written again.
                if met and control.hit == "audit.jsonl" and not vault.await_condition(
                        lambda: script.reveal("kept-0") is not None, 5, 0.05):
                    self.report.violation("STUCK", f"no reveal after the fault has gone {where}")
                # After an I/O error at a commit nothing is written until the next start.
                if (met and not sticky and control.hit == "data.mdb" and what != "ENOSPC"
                        and script.store("went-on", 1, 60)):
                    self.report.violation("WENT_ON", f"the store is written {where}")
                if copy.process.poll() is not None:
                    self.report.violation("CRASH", f"the daemon ended {where}: "
                                                   f"{copy.process.returncode}")
            if copy.process.poll() is None and copy.stop() != 0:
                self.report.violation("CRASH", f"the daemon does not end well {where}")
            self.check_restart(copy, ledger, script.projects, where)
        return met

    def starting(self, kind, what, sticky, at):
        """One start. True: it met a fault."""
        where = f"(at start: {NAMES[kind]} {at} {what}{' and on' if sticky else ''})"
        self.runs += 1
        with self.copy(f"starting-{self.runs}") as copy:
            control = copy.preload_faults()
            control.arm(kind, at, what, sticky)
            ended = copy.try_start()
            met = control.injected > 0
            if ended:
                self.refused_starts += 1
                if ended[0] <= 0 or "oauthvaultd: " not in ended[1]:
                    self.report.violation("CRASH", f"{where}: {ended}")
            else:
                with copy.client() as client:
                    Script(client, self.ledger(), self.report, where).reveal("kept-0")
                copy.kill()
            self.check_restart(copy, self.ledger(), (), where)
        return met

    def sweep(self, run, cases, stride, expected):
        """n rises until nothing is met. The number of faults."""
        faults = 0
        met = set()
        for case in cases:
            step = min(stride, MOST_STEP.get(case[0], stride))
            at = self.report.random.randint(1, step)
            while run(*case, at):
                faults += 1
                met.add(case[0])
                at += step
                if at > MOST_CALLS:
                    self.report.violation("STUCK", f"a sweep of {case} does not end")
                    break
        for kind in expected - met:
            self.report.violation("CONTROL", f"no {NAMES[kind]} met a fault")
        return faults


def main():
    parser = vault.arguments(__doc__)
    parser.add_argument("--stride", type=int, default=16,
                        help="every so many-th n, while serving")
    parser.add_argument("--start-stride", type=int, default=2, help="the same, at the start")
    parser.add_argument("--lie", action="store_true",
                        help="the control: writes of the store are dropped, and success is told")
    options = parser.parse_args()
    vault.load_stubs(options.build)
    report = vault.Report("io", options)
    sweep = Sweep(options, report)
    with sweep.template:
        sweep.template.stop()
        if options.lie:
            serving = sweep.sweep(sweep.serving, [(META, "lie", True)], 1, {META})
            starting = 0
        else:
            serving = sweep.sweep(sweep.serving, SERVING, options.stride,
                                  {WRITE, META, SYNC, RENAME})
            sweep.leave_torn()
            starting = sweep.sweep(sweep.starting, STARTING, options.start_stride,
                                   {WRITE, SYNC, OPEN})
    lost = sum(kind == "LOST" for kind, _ in report.violations)
    return report.end(f"{serving} faults while serving, {starting} at start "
                      f"({sweep.refused_starts} starts refused) in {sweep.runs} runs, "
                      f"{sweep.acknowledged} acknowledged, {lost} lost")


if __name__ == "__main__":
    sys.exit(main())
