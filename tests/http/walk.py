"""Starts a vault with its HTTP interface, and lets schemathesis loose on it."""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

BIN, ST, SECONDS = pathlib.Path(sys.argv[1]).resolve(), os.path.abspath(sys.argv[2]), sys.argv[3]
PATIENCE_S = 30
PROJECT, COMPONENT = "acme", "acme.ex-drive"


class Vault:
    """A daemon with its own folder; ended by its own pid."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.config = self.folder / "oauthvaultd.toml"
        self.log = self.folder / "log"
        self.config.write_text(f"""
state = "{folder}/state"
audit = "{folder}/audit"
key_file = "{folder}/key"
socket = "{folder}/socket"
listen = "127.0.0.1:0"
allow_unlocked = true
[store]
map_size_mib = 64
[http]
listen = "127.0.0.1:0"
max_connections_per_address = 256
""", encoding="utf-8")

    def __enter__(self):
        run = [str(BIN / "oauthvaultd"), "init", "--config", str(self.config)]
        subprocess.run(run, check=True, stdout=subprocess.DEVNULL)
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [str(BIN / "oauthvaultd"), "--config", str(self.config)], stderr=log)
        end = time.monotonic() + PATIENCE_S
        while "serving tcp=" not in self.text():
            if self.process.poll() is not None or time.monotonic() > end:
                sys.exit("the daemon does not serve:\n" + self.text())
            time.sleep(0.05)
        self.origin = re.search(r"http origin=(\S+)", self.text()).group(1)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(PATIENCE_S)

    def text(self):
        return self.log.read_text(encoding="utf-8", errors="replace")

    def cli(self, *words):
        line = [str(BIN / "oauthvault"), "--json", "--socket", str(self.folder / "socket"), *words]
        return json.loads(subprocess.run(line, check=True, stdout=subprocess.PIPE).stdout)


def main():
    with tempfile.TemporaryDirectory() as folder, Vault(folder) as vault:
        vault.cli("project", "add", PROJECT)
        vault.cli("component", "add", COMPONENT)
        project = vault.cli("token", "issue", "--project", PROJECT, "--right",
                            "store,describe,encrypt")["token"]
        manage = vault.cli("token", "issue", "--manage")["token"]
        # 501 is documented for the pair of /authorize; every other 5xx is a mistake of ours.
        tokens = pathlib.Path(folder) / "schemathesis.toml"
        tokens.write_text(f"""
[auth.openapi.projectToken]
api_key = "{project}"
[auth.openapi.manageToken]
api_key = "{manage}"
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 501]
""", encoding="utf-8")
        walked = subprocess.run(
            [ST, "--config-file", str(tokens), "run", vault.origin + "/openapi.json",
             "--url", vault.origin, "--checks", "all", "--exclude-checks",
             # A body that is valid by its schema may name what is not there, or a URL that is none;
             # the refusals themselves are documented, and status_code_conformance holds them to it.
             "positive_data_acceptance,negative_data_rejection", "--phases", "coverage,fuzzing",
             "--max-time", SECONDS, "--workers", "2", "--continue-on-failure"],
            check=False, cwd=folder)
        if vault.process.poll() is not None:
            sys.exit("the daemon ended:\n" + vault.text())
        return walked.returncode


sys.exit(main())
