"""Rounds, medians, figures: what was measured and how it is told."""
import dataclasses
import json
import os
import statistics
import subprocess
import time

from servers import Failed

# The first processor is the server's, the second the load's, where they are pinned apart.
SERVER_CPU, LOAD_CPU = {0}, {1}
ALL_CPUS = set(range(os.cpu_count()))
LATE_S = 900  # so that all is done in 20 minutes


class Load:
    """The load client (load.cc)."""

    def __init__(self, programs):
        self.program = programs / "load"
        self.cpus = ALL_CPUS

    def start(self, verb, words):
        return subprocess.Popen([str(word) for word in [self.program, verb, *words]],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                preexec_fn=lambda: os.sched_setaffinity(0, self.cpus))

    @staticmethod
    def result(process):
        out, wrong = process.communicate()
        if process.returncode != 0:
            raise Failed(wrong.strip())
        return json.loads(out)

    def run(self, verb, words):
        return self.result(self.start(verb, words))


@dataclasses.dataclass
class Samples:
    """One number of each round."""
    values: list

    @property
    def median(self):
        return statistics.median(self.values)

    @property
    def spread(self):
        return [min(self.values), max(self.values)]

    def over(self, other):
        """Round by round: neighbours in time share what else the machine did."""
        return Samples([one / another for one, another in zip(self.values, other.values)])

    def below(self, other):
        """How much less than the other, round by round."""
        return Samples([theirs - own for own, theirs in zip(self.values, other.values)])


class Rounds:
    """Cells are measured in turn, again and again, so that what the machine does meanwhile meets
    all of them. A cell: a server, and how it is called."""

    def __init__(self, load):
        self.load = load
        self.results = {}  # cell -> results, one a round

    def measure(self, cells, rounds, seconds, warm_up, may_fail=False):
        """`cells`: {key: (server, words for load)}."""
        for _ in range(rounds):
            for key, (server, words) in cells.items():
                result = self.load.run("calls", [
                    *server.arguments, *words, "--seconds", seconds, "--warm-up", warm_up,
                    *(word for pid in server.pids for word in ("--server", pid))])
                if result["errors"] and not may_fail:
                    raise Failed(f"{server.name}, {key}: {result['errors_by_kind']}")
                self.results.setdefault(key, []).append(result)

    def of(self, key, field):
        return Samples([result[field] for result in self.results[key]])


def shape(in_flight, connections):
    """A closed loop of so many calls in flight over so many connections."""
    return ["--in-flight", in_flight, "--connections", connections]


@dataclasses.dataclass
class Figure:
    """One figure of the table, and what it is to reach."""
    name: str
    what: str
    samples: Samples | None  # None: it could not be measured, so it does not hold
    goal: str = ""           # `<= 0.75`; empty: told, not judged
    unit: str = ""

    @property
    def holds(self):
        if not self.goal:
            return None
        if self.samples is None:
            return False
        relation, bound = self.goal.split()
        value = self.samples.median
        return {"<=": value <= float(bound), ">=": value >= float(bound),
                "<": value < float(bound)}[relation]

    def as_dict(self):
        value, spread = ((self.samples.median, self.samples.spread) if self.samples
                         else (None, None))
        return {"name": self.name, "value": value, "spread": spread,
                "goal": self.goal or None, "holds": self.holds, "unit": self.unit or None,
                "what": self.what}

    def row(self):
        if self.samples is None:
            return f"{self.what:<62} {'none':>9} {'':36} {self.goal:>10} MISSED"
        low, high = self.samples.spread
        verdict = {None: "", True: "holds", False: "MISSED"}[self.holds]
        return (f"{self.what:<62} {number(self.samples.median):>9} {self.unit:<6} "
                f"{number(low) + ' .. ' + number(high):>21} {self.goal:>10} {verdict}")


def number(value):
    """Three digits that count."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}"


def fdatasync_us(folder, size, count):
    """The middle time of one append of so many bytes and its fdatasync, as the trail does it."""
    path = folder / "fdatasync"
    times = []
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for _ in range(count):
            began = time.monotonic_ns()
            os.write(file, b"x" * size)
            os.fdatasync(file)
            times.append((time.monotonic_ns() - began) / 1000)
    finally:
        os.close(file)
        path.unlink()
    return statistics.median(times)


class Bench:
    """One run: what is measured how long, what is there, what came of it."""

    def __init__(self, build, folder, quick):
        self.quick = quick
        self.build = build
        self.programs = build / "tests" / "bench"
        self.folder = folder
        self.load = Load(self.programs)
        # What is judged by a rate has many short rounds: a neighbour on the machine spoils a few
        # of them, and the middle is not theirs.
        self.rounds, self.many_rounds = (1, 1) if quick else (5, 11)
        self.seconds = 0.5 if quick else 0.8
        self.warm_up = 0.2
        self.authority = None
        self.figures = []
        self.failed = []  # parts
        self.began = time.monotonic()

    def tell(self, *figures):
        for figure in figures:
            self.figures.append(figure)
            print(figure.row(), flush=True)

    def note(self, *figures):
        """Figures that stand in a table of their own."""
        self.figures.extend(figures)

    def part(self, title):
        late = time.monotonic() - self.began > LATE_S
        if late and self.rounds > 1:
            print("\nthe machine is busy: one round of what is left")
            self.rounds = self.many_rounds = 1
        print(f"\n== {title} ({time.monotonic() - self.began:.0f} s)", flush=True)

    def apart(self, *pinned):
        """Servers on one processor, the load on the other."""
        for server in pinned:
            server.pin(SERVER_CPU)
        self.load.cpus = LOAD_CPU

    def together(self, *unpinned):
        for server in unpinned:
            server.pin(ALL_CPUS)
        self.load.cpus = ALL_CPUS
