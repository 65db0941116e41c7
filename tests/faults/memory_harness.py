"""T30: no secret stays in the memory of a daemon that is done with it.

A client makes secrets at run time, stores and reveals them through the unix socket; then every
writable page of the idle daemon is searched for them: raw (JSON's escapes leave the mark as it is),
base64, hexadecimal. The control is a word that is known to be resident. Reading another process's
memory needs root.
"""
import os
import secrets
import sys

import vault

MOST_SCANS = 8  # the daemon is idle when two scans agree
UNITS = 8       # the mark stands so often in each secret: freed memory loses its first bytes


class Memory:
    """The writable pages of a process."""

    def __init__(self, pid):
        self.pid = pid

    def count(self, needles):
        """How often each needle stands there, and how many bytes were read."""
        counts = dict.fromkeys(needles, 0)
        read = 0
        longest = max(map(len, needles))
        with open(f"/proc/{self.pid}/maps", encoding="ascii") as maps, \
                open(f"/proc/{self.pid}/mem", "rb", buffering=0) as memory:
            for line in maps:
                span, access, *_ = line.split()
                if not access.startswith("rw"):
                    continue
                begin, end = (int(part, 16) for part in span.split("-"))
                before = b""
                while begin < end:
                    memory.seek(begin)
                    try:
                        block = memory.read(min(end - begin, 4 << 20))
                    except OSError:
                        break
                    if not block:
                        break
                    begin += len(block)
                    read += len(block)
                    text = before + block
                    for needle in needles:
                        counts[needle] += text.count(needle)
                        # What stands wholly in the overlap was counted with the block before.
                        counts[needle] -= before.count(needle)
                    before = text[-(longest - 1):]
        return counts, read


def secret_of(mark, number):
    """About 500 bytes of JSON with quotation marks and lines that JSON escapes once more."""
    unit = f'"t{number}":"{mark}\\n/{secrets.token_hex(8)}",\n'
    return ("{" + unit * UNITS + '"end":1}').encode()


def main():
    parser = vault.arguments(__doc__)
    parser.add_argument("--reveals", type=int, default=400)
    parser.add_argument("--secrets", type=int, default=40)
    options = parser.parse_args()
    vault.load_stubs(options.build)
    report = vault.Report("memory", options)
    if os.geteuid() != 0:
        print("memory: reading the memory of a hardened process needs root; FAILED")
        return 1
    mark = secrets.token_hex(8)
    resident = f"resident-{secrets.token_hex(6)}"
    with vault.Vault(options, trust_domain=resident) as served:
        served.init().start().register()
        with served.client() as client:
            for i in range(options.secrets):
                client.store(f"m-{i}", secret_of(mark, i), app_key="key",
                             app_secret=f"app-{mark}-{i}".encode() * UNITS)
            for i in range(options.reveals):
                data = client.reveal(f"m-{i % options.secrets}").data
                if mark.encode() not in data:
                    report.violation("CONTROL", "a reveal without the mark")
                if i % 10 == 0:
                    client.call(client.credentials.Inject, client.messages.InjectRequest(
                        project=vault.PROJECT, component=vault.COMPONENT,
                        configuration=b'{"authorization":{"oauth_api":{"id":"m-%d"}}}'
                                      % (i % options.secrets)))
        needles = vault.needles_of(mark.encode())
        memory = Memory(served.process.pid)
        # Idle: what a thread still holds goes; what was freed and not wiped stays.
        before = None
        for _ in range(MOST_SCANS):
            found, read = memory.count([*needles, resident.encode()])
            left = sum(found[needle] for needle in needles)
            if left in (0, before):
                break
            before = left
        if found[resident.encode()] == 0:
            report.violation("CONTROL", "what is resident is not found")
        forms = {}
        for needle, form in needles.items():
            forms[form] = forms.get(form, 0) + found[needle]
        if left:
            report.violation("RESIDUE", f"{left} marks of secrets in the memory of the idle daemon")
        served.stop()
    counted = ", ".join(f"{count} {form}" for form, count in sorted(forms.items()))
    return report.end(f"after {options.reveals} reveals {counted} in {read >> 20} MiB; "
                      f"the resident word {found[resident.encode()]} times")


if __name__ == "__main__":
    sys.exit(main())
