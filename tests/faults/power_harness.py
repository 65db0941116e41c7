"""T3: power loss. A recorder in the daemon writes down each call that changes or syncs a file of
the vault, from `init` on, while clients write. From that the replayer builds the disks that a power
loss may leave: all that was synced, and a random part of the rest, torn at 512 bytes. Each is
opened and compared with what had been acknowledged by that moment; some are served by the daemon.

The controls replay the same recording as if nothing had been synced, or no meta page: both must
show violations.
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import vault

WRITERS = 4
IDS_PER_WRITER = 4
CONTROL_IMAGES = {"no-sync": 60, "no-meta-sync": 1500}
MAP_SIZE_MIB = 4
MEMORY = "/dev/shm"  # images live in memory where there is such a folder


class Calls:
    """The client's calls with their times, for the replayer."""

    def __init__(self):
        self.lines = []
        self.numbers = {}
        self.there = set()

    def make(self, kind, oauth_id, call, number=0, size=0):
        began = time.monotonic_ns()
        answered = 0
        try:
            call()
            answered = time.monotonic_ns()
        finally:
            self.lines.append(f"{began} {answered} {kind} {oauth_id} {number} {size}\n")

    def one(self, client, random, oauth_id):
        choice = random.random()
        if oauth_id in self.there and choice < 0.2:
            self.make("delete", oauth_id, lambda: client.delete(oauth_id))
            self.there.remove(oauth_id)
        elif oauth_id in self.there and choice < 0.4:
            self.make("reveal", oauth_id, lambda: client.reveal(oauth_id))
        else:
            number = self.numbers[oauth_id] = self.numbers.get(oauth_id, 0) + 1
            size = random.choice((60, 700, 3000, 9000))
            value = vault.value_of(oauth_id, number, size)
            self.make("store", oauth_id, lambda: client.store(oauth_id, value), number, size)
            self.there.add(oauth_id)


def record(served, options, report, logs):
    """Serves under the recorder while clients write; the files of calls and of the recording."""
    served.preload = options.build / "tests" / "faults" / "preload_record.so"
    served.environment = {"FAULTS_ROOT": str(served.folder), "FAULTS_LOG": str(logs / "recording")}
    main = Calls()
    main.make("init", "-", served.init)
    writers = [Calls() for _ in range(WRITERS)]
    refused = []
    for part in range(2):  # with an ordinary end and start in between
        served.start()
        if part == 0:
            served.register()
        with served.client() as client:
            def write(number):
                random = type(report.random)(f"{report.seed}-{part}-{number}")
                try:
                    for _ in range(options.writes // WRITERS // 2):
                        writers[number].one(client, random,
                                            f"w{number}-{random.randrange(IDS_PER_WRITER)}")
                except vault.Refused as error:
                    refused.append(error)
            threads = [threading.Thread(target=write, args=(i,)) for i in range(WRITERS)]
            for thread in threads:
                thread.start()
            for i in range(options.writes // 40):
                main.make("project", f"p{part}-{i}", lambda: client.add_project(f"p{part}-{i}"))
            for thread in threads:
                thread.join()
        served.stop()
    for error in refused:
        report.violation("REFUSED", f"a healthy daemon refused: {error}")
    calls = logs / "calls"
    calls.write_text("".join(line for one in [main, *writers] for line in one.lines))
    return calls


def replay(options, report, served, logs, images, count, *more):
    """Runs the replayer; its figures and what else it said."""
    with tempfile.TemporaryDirectory(dir=images) as folder:
        result = subprocess.run(
            [options.build / "tests" / "faults" / "replay", "--recording", logs / "recording",
             "--calls", logs / "calls", "--root", served.folder, "--images", f"{folder}/image",
             "--count", str(count), "--seed", str(report.seed), "--map-size-mib",
             str(MAP_SIZE_MIB), *more],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=3600)
    figures = dict(re.findall(r"(\w+)=(\d+)", result.stdout.splitlines()[-1]))
    if result.returncode not in (0, 1) or "images" not in figures:
        raise SystemExit(f"the replayer ended with {result.returncode}: {result.stdout}")
    return {key: int(value) for key, value in figures.items()}, result.stdout.splitlines()[:-1]


def promised_at(calls, moment):
    """What may stand under each id at that moment."""
    rows = [line.split() for line in calls.read_text().splitlines()]
    may = {}
    initialised = False
    for began, answered, kind, oauth_id, number, size in sorted(rows, key=lambda row: int(row[0])):
        there = int(began) <= moment
        done = 0 < int(answered) <= moment
        if kind == "init":
            initialised |= done
        if kind not in ("store", "delete") or not there:
            continue
        value = vault.value_of(oauth_id, int(number), int(size)) if kind == "store" else None
        may[oauth_id] = [value] if done else may.get(oauth_id, [None]) + [value]
    return may if initialised else None


def serve_kept(options, report, kept, calls):
    """The daemon itself on images that nobody opened before; how many it served."""
    served = 0
    for folder in sorted(kept.iterdir()):
        moment = int((folder / "moment").read_text())
        may = promised_at(calls, moment)
        if may is None:
            continue
        with vault.Vault(options, map_size_mib=MAP_SIZE_MIB, folder=folder) as image:
            ended = image.try_start()
            if ended:
                report.violation("DAMAGED", f"the daemon does not start on an image: {ended}")
                continue
            ledger = vault.Ledger()
            ledger.may_stand = may
            with image.client() as client:
                try:
                    client.status()
                    if client.value("w0-0") is not None or may:
                        ledger.check_values(client, report, "served from an image")
                except vault.Refused as refused:
                    # Before the grant was given nothing may be revealed, and nothing is promised.
                    if refused.status != "PERMISSION_DENIED" or may:
                        report.violation("LOST", f"an image is served, but answers {refused}")
            served += 1
            image.stop()
            vault.check_files(image, report, "on an image that was served")
    return served


def main():
    parser = vault.arguments(__doc__)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--writes", type=int, default=240)
    parser.add_argument("--served", type=int, default=12, help="images for the daemon itself")
    options = parser.parse_args()
    vault.load_stubs(options.build)
    report = vault.Report("power", options)
    memory = MEMORY if pathlib.Path(MEMORY).is_dir() else None
    controls = []
    with vault.Vault(options, map_size_mib=MAP_SIZE_MIB) as served, \
            tempfile.TemporaryDirectory(prefix="faults-log-") as logs, \
            tempfile.TemporaryDirectory(prefix="faults-images-", dir=memory) as images:
        logs = pathlib.Path(logs)
        calls = record(served, options, report, logs)
        kept = pathlib.Path(images) / "kept"
        kept.mkdir()
        figures, told = replay(options, report, served, logs, images, options.images,
                               "--kept", str(kept), "--keep", str(options.served))
        for line in told:
            kind, _, text = line.partition(": ")
            report.violation(kind, text)
        holes, _ = replay(options, report, served, logs, images, options.images // 10, "--holes")
        if holes["lost"]:
            report.violation("LOST", f"{holes['lost']} of {holes['images']} disks that leave holes "
                                     "in what was not synced lost what was acknowledged")
        for control, count in CONTROL_IMAGES.items():
            broken, _ = replay(options, report, served, logs, images, count, "--as-if", control)
            if broken["violations"] == 0:
                report.violation("CONTROL", f"as if {control}: no violation is seen")
            controls.append(f"{control} {broken['violations']} of {broken['images']}")
        began = serve_kept(options, report, kept, calls)
        shutil.rmtree(kept, ignore_errors=True)
    return report.end(
        f"{figures['images']} images of {figures['calls']} calls at {figures['per_second']} a "
        f"second, {figures['violations']} violations; {began} served by the daemon; "
        f"{holes['damaged']} of {holes['images']} with holes in the trail's end not whole; "
        f"controls: {', '.join(controls)} broken")


if __name__ == "__main__":
    sys.exit(main())
