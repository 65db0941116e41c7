"""The file through which preload_fault.cc is told which call fails, and tells what it did."""
import errno
import mmap
import struct

WRITE, META, SYNC, RENAME, RESIZE, OPEN = 1, 2, 4, 8, 16, 32
SHORT = -1  # half of it is written
LIE = -2    # nothing is done, and success is told: the control
LATE = -3   # a sync is done, 250 ms later
HANG = -4   # it does not come back until this is disarmed, and then it is done
_LAYOUT = struct.Struct("<QQQQq64sQQ64sQ")  # struct Control in preload_fault.cc

WHAT = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC, "EROFS": errno.EROFS, "short": SHORT,
        "lie": LIE, "late": LATE, "hang": HANG}


class Control:
    """One control file; what is written into it holds from the next call of the daemon on."""

    def __init__(self, path):
        path.write_bytes(bytes(_LAYOUT.size))
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), _LAYOUT.size)

    def arm(self, kinds, at, what, sticky, only=""):
        """The `at`th call (from 1) of these kinds ends in `what`; with `sticky` each one after it,
        too. Counting begins now."""
        self.disarm()
        told = _LAYOUT.pack(0, kinds, at, sticky, WHAT[what], only.encode(), 0, 0, b"", 0)
        self.map[8:-8] = told[8:-8]
        self.map[0] = 1

    def disarm(self):
        self.map[0] = 0

    @property
    def injected(self):
        return _LAYOUT.unpack(self.map)[7]

    @property
    def hit(self):
        """The file of the last injection."""
        return _LAYOUT.unpack(self.map)[8].split(b"\0")[0].decode()

    @property
    def durable(self):
        """How many bytes of audit.jsonl a sync that came back covers."""
        return _LAYOUT.unpack(self.map)[9]
