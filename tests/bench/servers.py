"""What is measured: the vault, and what it is compared with. Each is a process of its own on
loopback, with the same kind of certificates, and says how `load` calls it."""
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / "tests" / "faults"))
import vault  # noqa: E402  (found by the line before)

DATA_BYTES = 1024   # of `#data`
REVEAL = "/oauthvault.v1.Credentials/Reveal"
REVEAL_MANY = "/oauthvault.v1.Credentials/RevealMany"
CALLER = f"project/{vault.PROJECT}/component/{vault.COMPONENT}"
PATIENCE_S = 30
START_PATIENCE_S = 180  # of a daemon under callgrind
MAP_KIB_OF_ROW = 5  # room for credentials in the store, whatever its pages look like
ECHO_HEAD = 3  # tag and length before an echo's bytes, beside which an answer has as many in all


class Failed(Exception):
    """Something could not be set up or measured."""


def varint(number):
    coded = bytearray()
    while number > 0x7f:
        coded.append(number & 0x7f | 0x80)
        number >>= 7
    return bytes([*coded, number])


def field(number, text):
    return bytes([number << 3 | 2]) + varint(len(text)) + text


def message(*texts):
    """A protobuf message whose fields 1, 2, .. are these texts."""
    return b"".join(field(number, text) for number, text in enumerate(texts, 1))


def frame(body):
    """A gRPC frame, not compressed."""
    return b"\0" + len(body).to_bytes(4, "big") + body


def id_of(number):
    """The same as in credentials_data.h."""
    return f"credentials-{number:07d}"


def reveal_frames(count):
    """A request to reveal each; the echo's request has the same fields."""
    pair = vault.PROJECT.encode(), vault.COMPONENT.encode()
    return b"".join(frame(message(*pair, id_of(number).encode())) for number in range(count))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def cpu_clock(pid):
    """The clock of a process's user and system time, all threads (clock_getcpuclockid)."""
    return (~pid << 3) | 2


def cpu_s(pids):
    return sum(time.clock_gettime(cpu_clock(pid)) for pid in pids)


class Authority:
    """A CA with a certificate for servers and one for clients; keys as the vault's are."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        self.ca, self.client_cert, self.client_key = (
            folder / "ca.pem", folder / "client.pem", folder / "client-key.pem")
        self.server_cert, self.server_key = folder / "server.pem", folder / "server-key.pem"
        new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        self.openssl("req", "-x509", *new_key, "-keyout", folder / "ca-key.pem", "-subj",
                     "/CN=bench", "-days", "2", "-out", self.ca)
        for kind in ("client", "server"):
            key, cert = getattr(self, f"{kind}_key"), getattr(self, f"{kind}_cert")
            extensions = folder / "extensions"
            extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n"
                                  f"extendedKeyUsage={kind}Auth\n")
            self.openssl("req", *new_key, "-keyout", key, "-subj", "/CN=localhost", "-out",
                         folder / "request.pem")
            self.openssl("x509", "-req", "-in", folder / "request.pem", "-CA", self.ca, "-CAkey",
                         folder / "ca-key.pem", "-days", "2", "-extfile", extensions, "-out", cert)
            key.chmod(0o644)  # for a server that gives up root

    @staticmethod
    def openssl(*words):
        done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True,
                              check=False)
        if done.returncode != 0:
            raise Failed(f"openssl {words[0]}: {done.stderr}")


class Server:
    """One process, or one and its children. `arguments`: how `load` reaches it."""
    name = "server"

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        self.process = None
        self.arguments = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    @property
    def pids(self):
        return [self.process.pid]

    def run(self, *words, **options):
        """Starts it; what it says goes to a file."""
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen([str(word) for word in words], stdout=log, stderr=log,
                                            cwd=self.folder, **options)

    def await_port(self, port):
        def answers():
            if self.process.poll() is not None:
                raise Failed(f"{self.name} ended: {self.said()}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return True
            return False
        if not vault.await_condition(answers, PATIENCE_S, 0.02):
            raise Failed(f"{self.name} does not listen: {self.said()}")

    def said(self):
        return (self.folder / "log").read_text(errors="replace")[-2000:]

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def pin(self, cpus):
        """All threads of it, and whatever they begin, run on these."""
        for pid in self.pids:
            for thread in os.listdir(f"/proc/{pid}/task"):
                with contextlib.suppress(ProcessLookupError):  # it has just ended
                    os.sched_setaffinity(int(thread), cpus)


class Echo(Server):
    """The stock echo (echo_server.cc)."""
    name = "echo"
    serves_unix = True

    def __init__(self, folder, program, authority, requests, reply_bytes):
        super().__init__(folder)
        self.socket = folder / "socket"
        self.reply_bytes = reply_bytes
        sockets = [self.socket] if self.serves_unix else []
        with open(folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [program, str(reply_bytes - ECHO_HEAD), authority.server_cert,
                 authority.server_key, authority.ca, *sockets],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        line = self.process.stdout.readline()
        if not line.startswith("listening "):
            raise Failed("the echo server does not start")
        self.port = int(line.split()[1])
        call = ["--path", "/oauthvault.bench.Echo/Say", "--requests", requests]
        self.arguments = [*call, "--address", f"127.0.0.1:{self.port}", "--ca", authority.ca,
                          "--cert", authority.client_cert, "--key", authority.client_key]
        self.unix_arguments = [*call, "--unix", self.socket]


class Http2Echo(Echo):
    """The same without gRPC (http2_echo.cc)."""
    name = "http2"
    serves_unix = False


class Etcd(Server):
    """One member of Debian's etcd, with client certificates; linearizable reads, its default."""
    name = "etcd"

    def __init__(self, folder, authority, load, keys):
        super().__init__(folder)
        port, peer_port = free_port(), free_port()
        url, peer_url = f"https://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
        self.run("etcd", "--data-dir", folder / "data", "--listen-client-urls", url,
                 "--advertise-client-urls", url, "--listen-peer-urls", peer_url,
                 "--initial-advertise-peer-urls", peer_url, "--initial-cluster",
                 f"default={peer_url}", "--cert-file", authority.server_cert, "--key-file",
                 authority.server_key, "--trusted-ca-file", authority.ca, "--client-cert-auth",
                 "--log-level", "error")
        self.await_port(port)
        reach = ["--address", f"127.0.0.1:{port}", "--ca", authority.ca, "--cert",
                 authority.client_cert, "--key", authority.client_key]
        self._put(load, reach, keys)
        (folder / "gets").write_bytes(
            b"".join(frame(message(id_of(number).encode())) for number in range(keys)))
        self.arguments = [*reach, "--path", "/etcdserverpb.KV/Range", "--requests", folder / "gets"]

    def _put(self, load, reach, keys):
        puts = self.folder / "puts"
        puts.write_bytes(b"".join(frame(message(id_of(number).encode(), b"v" * DATA_BYTES))
                                  for number in range(keys)))
        done = load.run("calls", [*reach, "--path", "/etcdserverpb.KV/Put", "--requests", puts,
                                  "--in-order", "--in-flight", 64, "--warm-up", 0])
        if done["calls"] < keys:
            raise Failed("etcd did not take all values in time")


class Redis(Server):
    """Debian's Redis over TLS with client certificates; only what a GET costs it is compared."""
    name = "redis"

    def __init__(self, folder, authority):
        super().__init__(folder)
        self.port = free_port()
        self.tls = ["--cert", authority.client_cert, "--key", authority.client_key, "--cacert",
                    authority.ca]
        self.run("redis-server", "--port", 0, "--tls-port", self.port, "--bind", "127.0.0.1",
                 "--tls-cert-file", authority.server_cert, "--tls-key-file", authority.server_key,
                 "--tls-ca-cert-file", authority.ca, "--tls-auth-clients", "yes", "--save", "",
                 "--appendonly", "no", "--dir", folder)
        self.await_port(self.port)

    def cpu_us(self, calls, cpus):
        """Server CPU of one GET: 64 in flight over 64 connections, as Redis knows no other way."""
        command = ["redis-benchmark", "-h", "127.0.0.1", "-p", self.port, "--tls", *self.tls,
                   "-c", 64, "-n", calls, "-d", DATA_BYTES, "-r", 1000, "-q"]
        for tests in ("set", "get"):
            before = cpu_s(self.pids)
            done = subprocess.run([str(word) for word in [*command, "-t", tests]],
                                  capture_output=True, text=True, check=False,
                                  preexec_fn=lambda: os.sched_setaffinity(0, cpus))
            if done.returncode != 0:
                raise Failed(f"redis-benchmark: {done.stderr}")
        return (cpu_s(self.pids) - before) / calls * 1e6


class Nginx(Server):
    """Debian's nginx, HTTP/2 with client certificates, one file of the credentials' size."""
    name = "nginx"

    def __init__(self, folder, authority):
        super().__init__(folder)
        (folder / "root").mkdir()
        (folder / "root" / "value").write_bytes(b"v" * DATA_BYTES)
        port = free_port()
        temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in
                            ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (folder / "nginx.conf").write_text(f"""
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/log error;
events {{ worker_connections 1024; }}
http {{
  {temporary} access_log off; keepalive_requests 1000000000; keepalive_time 1h;
  server {{
    listen 127.0.0.1:{port} ssl http2; server_name localhost; root {folder}/root;
    ssl_certificate {authority.server_cert}; ssl_certificate_key {authority.server_key};
    ssl_client_certificate {authority.ca}; ssl_verify_client on; ssl_protocols TLSv1.3;
  }}
}}
""")
        if os.geteuid() == 0:  # its workers are somebody else then
            for path in (folder, folder / "root", *folder.parents[:1]):
                path.chmod(0o755)
        self.run("nginx", "-c", folder / "nginx.conf", "-e", folder / "log")
        self.await_port(port)
        self.arguments = ["--address", f"127.0.0.1:{port}", "--ca", authority.ca, "--cert",
                          authority.client_cert, "--key", authority.client_key, "--get", "--path",
                          "/value"]

    @property
    def pids(self):
        """The worker does the work; the master only began it."""
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        return [int(child) for child in pathlib.Path(path).read_text().split()]


class Daemon(Server):
    """A vault and its daemon, everything on: a component's certificate, its grant, sealed rows, the
    line durable before the answer."""
    name = "reveal"

    # Beyond the defaults only what a load of one caller from one address would run into.
    SETTINGS = {"EDGE_MAX_CALLS": 4096, "EDGE_MAX_CALLS_PER_PRINCIPAL": 4096,
                "EDGE_MAX_CONNECTIONS": 8000, "EDGE_MAX_CONNECTIONS_PER_ADDRESS": 8000,
                "EDGE_MAX_HANDSHAKES": 16000}

    def __init__(self, folder, options, count, *, daemon=None, settings=None):
        """`options`: build, programs. `count`: credentials."""
        super().__init__(folder)
        self.options, self.count = options, count
        self.map_size_mib = 64 + count * MAP_KIB_OF_ROW // 1024
        self.port = free_port()
        (folder / "vault").mkdir()
        self.vault = vault.Vault(_VaultOptions(options.build, daemon), folder=folder / "vault",
                                 map_size_mib=self.map_size_mib)
        self.vault.environment = {f"OAUTHVAULT_{name}": str(value) for name, value in
                                  {**self.SETTINGS, "LISTEN": f"127.0.0.1:{self.port}",
                                   "FSCK": "behind", **(settings or {})}.items()}
        self._make()

    @property
    def pids(self):
        return [self.vault.process.pid]

    def end(self):
        if self.vault.process:
            self.vault.stop()

    def _make(self):
        cli = self.options.build / "bin" / "oauthvault"
        self.vault.init().start().register()
        identity = self.folder / "identity"
        pair = ["--project", vault.PROJECT, "--component", vault.COMPONENT]
        for words in (["grant", "add", "--principal", CALLER, *pair, "--right", "reveal"],
                      ["identity", "issue", CALLER, "--out", identity]):
            done = subprocess.run([cli, "--socket", self.vault.socket, *words], text=True,
                                  capture_output=True, check=False)
            if done.returncode != 0:
                raise Failed(f"oauthvault {words[0]}: {done.stderr}")
        self.vault.stop()
        filled = subprocess.run(
            [self.options.programs / "fill", self.vault.folder, str(self.map_size_mib),
             str(self.count), str(DATA_BYTES)], text=True, capture_output=True, check=False,
            env={**os.environ, "OAUTHVAULT_WITHOUT": "sync"})
        if filled.returncode != 0:
            raise Failed(filled.stderr)
        requests = self.folder / "requests"
        requests.write_bytes(reveal_frames(self.count))
        call = ["--path", REVEAL, "--requests", requests]
        self.arguments = [*call, "--address", f"127.0.0.1:{self.port}", "--ca",
                          identity / "ca.pem", "--cert", identity / "cert.pem", "--key",
                          identity / "key.pem"]
        self.unix_arguments = [*call, "--unix", self.vault.socket]
        self.requests = requests

    def start(self, **environment):
        self.vault.environment.update(environment)
        at = len(self.vault.said()) if self.vault.log.exists() else 0
        self.vault.process = self.vault.start_program([])
        if not vault.await_condition(lambda: " serving " in self.vault.said()[at:]
                                     or self.vault.process.poll() is not None, START_PATIENCE_S):
            raise Failed("the daemon does not serve")
        if self.vault.process.poll() is not None:
            self.vault.process = None
            raise Failed(f"the daemon ended: {self.vault.said()[at:]}")
        return self

    def status(self):
        with self.vault.client() as client:
            return client.status()

    def await_check(self):
        """The check behind the start takes CPU time of its own."""
        if not vault.await_condition(lambda: self.status().check not in ("", "running"), 300, 0.1):
            raise Failed("the check of the store does not end")
        return self

    def used_bytes(self):
        return self.status().store_used_bytes


class _VaultOptions:
    """What tests/faults/vault.py wants to know."""
    sabotage = None

    def __init__(self, build, daemon):
        self.build, self.daemon = build, daemon


def temporary_folder():
    """On the disk that /var/tmp is on: one in memory would make fdatasync free."""
    return pathlib.Path(tempfile.mkdtemp(prefix="oauthvault-bench-", dir="/var/tmp"))


def remove(folder):
    shutil.rmtree(folder, ignore_errors=True)
