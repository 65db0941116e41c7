"""A disk under the trail that hangs, while reveals are asked for (tests/faults has the promise)."""
import time

import fault_control
from measured import Figure, Samples, shape
from servers import Daemon, Failed

HANGS_S = (0.3, 2)  # shorter and longer than the bound on a line


def measure(bench, *_):
    bench.part("reveals at 64/4 while the disk under the trail hangs")
    folder = bench.folder / "reveal-stall"
    with Daemon(folder, bench, 1000) as daemon:
        control = daemon.vault.preload_faults()
        daemon.start().await_check()
        for hang_s in HANGS_S:
            load = bench.load.start("calls", [
                *daemon.arguments, *shape(64, 4), "--warm-up", 0.2, "--seconds", hang_s + 2,
                "--timeline", 50])
            time.sleep(1)
            # Of any file: at this rate the trail begins a new segment every second, under a
            # name of its own at first.
            control.arm(fault_control.SYNC, 1, "hang", True)
            time.sleep(hang_s)
            held_up = control.injected
            control.disarm()
            result = bench.load.result(load)
            if not held_up:
                raise Failed("no sync of the trail was held up")
            title = f"the disk hangs for {hang_s} s"
            bench.tell(Figure(f"stall_{hang_s}_longest_ms", f"{title}: the longest answer",
                              Samples([result["max_us"] / 1000]), unit="ms"),
                       Figure(f"stall_{hang_s}_longest_refusal_ms", f"{title}: the longest refusal",
                              Samples([result["longest_error_us"] / 1000]), unit="ms"),
                       Figure(f"stall_{hang_s}_refused", f"{title}: refused",
                              Samples([result["errors"]])),
                       Figure(f"stall_{hang_s}_answered", f"{title}: answered around it",
                              Samples([result["calls"]])))
