"""What the harnesses of the edge share: identities for the TCP door, good clients, connections that
speak TLS and raw HTTP/2, and what a daemon's process holds meanwhile.
"""
import contextlib
import dataclasses
import os
import pathlib
import re
import select
import shutil
import socket
import ssl
import stat
import struct
import subprocess
import threading
import time

import grpc

import vault

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
SETTINGS_INITIAL_WINDOW = 4
DEADLINE = ("grpc-timeout", "20S")


@dataclasses.dataclass
class Identity:
    """Files of a client certificate, its key and the CA, and the same as bytes."""
    folder: pathlib.Path
    certificate: bytes
    key: bytes
    ca: bytes

    def context(self):
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        context.load_cert_chain(self.folder / "cert.pem", self.folder / "key.pem")
        context.set_alpn_protocols(["h2"])
        return context


def issue(served, path):
    """A new identity, as `oauthvault identity issue` makes it."""
    from oauthvault.v1 import registry_pb2
    folder = served.folder / path.replace("/", "-")
    folder.mkdir()
    subprocess.run(["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-nodes", "-subj", "/CN=x", "-keyout", folder / "key.pem",
                    "-out", folder / "csr.pem"], check=True, capture_output=True)
    with served.client() as client:
        issued = client.call(client.registry.IssueIdentity, registry_pb2.IssueIdentityRequest(
            path=path, csr_pem=(folder / "csr.pem").read_text()))
    (folder / "cert.pem").write_text(issued.certificate_pem)
    (folder / "ca.pem").write_text(issued.ca_pem)
    return Identity(folder, issued.certificate_pem.encode(), (folder / "key.pem").read_bytes(),
                    issued.ca_pem.encode())


def address_of(served):
    """Host and port of the TCP door, from the log."""
    found = re.findall(r" serving tcp=(\S+):(\d+) ", served.said())[-1]
    return found[0], int(found[1])


@contextlib.contextmanager
def tcp_client(served, identity):
    """A good client of the TCP door, on a connection of its own."""
    host, port = address_of(served)
    with grpc.secure_channel(
            f"{host}:{port}",
            grpc.ssl_channel_credentials(identity.ca, identity.key, identity.certificate),
            options=[("grpc.ssl_target_name_override", "localhost"),
                     ("grpc.use_local_subchannel_pool", 1),
                     ("grpc.initial_reconnect_backoff_ms", 50),
                     ("grpc.min_reconnect_backoff_ms", 2000),
                     ("grpc.max_reconnect_backoff_ms", 100)]) as channel:
        yield vault.Client(channel)


def seconds_until_served(served, identity, within):
    """How long a good client that keeps asking, each time anew, needs; None: longer than that."""
    began = time.monotonic()
    while time.monotonic() - began < within:
        with tcp_client(served, identity) as client:
            try:
                left = max(0.2, min(2, within - (time.monotonic() - began)))
                client.call(client.operations.Status, client.operations_messages.StatusRequest(),
                            left)
                return time.monotonic() - began
            except vault.Refused:
                time.sleep(0.05)
    return None


# ---- the daemon's process ------------------------------------------------------------------------

def descriptors(served):
    return len(os.listdir(f"/proc/{served.process.pid}/fd"))


def sockets(served):
    """How many of them are sockets."""
    folder = f"/proc/{served.process.pid}/fd"
    count = 0
    for name in os.listdir(folder):
        try:
            count += stat.S_ISSOCK(os.stat(f"{folder}/{name}").st_mode)
        except OSError:
            pass
    return count


def resident_mib(served):
    status = pathlib.Path(f"/proc/{served.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024


def limited(served, limits):
    """Starts the daemon through a shell that sets limits first: `-n 128`."""
    wrapper = served.folder / "limited"
    wrapper.write_text(f'#!/bin/bash\nulimit {limits} || exit 99\nexec {served.binary} "$@"\n')
    wrapper.chmod(0o755)
    served.binary = wrapper


class Manager:
    """Stands in for systemd: the socket that the daemon tells its state to."""

    def __init__(self, served, watchdog_s):
        self.path = served.folder / "notify"
        self.receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.receiver.bind(str(self.path))
        self.receiver.settimeout(0.2)
        served.environment["NOTIFY_SOCKET"] = str(self.path)
        served.environment["WATCHDOG_USEC"] = str(int(watchdog_s * 1e6))
        self.told = []  # (when, text)
        self.ended = False
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        while not self.ended:
            try:
                self.told.append((time.monotonic(), self.receiver.recv(4096).decode()))
            except TimeoutError:
                pass

    def has_told(self, word):
        return any(word in text.splitlines() for _, text in self.told)

    def silence_s(self):
        """How long the watchdog has not been fed."""
        fed = [when for when, text in self.told if "WATCHDOG=1" in text.splitlines()]
        return time.monotonic() - fed[-1] if fed else float("inf")

    def close(self):
        self.ended = True
        self.thread.join()
        self.receiver.close()


# ---- connections that are up to no good ----------------------------------------------------------

def connect(address, source=None):
    """A TCP connection; `source`: one of 127.0.0.0/8 to come from. None: not even that."""
    client = socket.socket()
    client.settimeout(2)
    try:
        if source:
            client.bind((source, 0))
        client.connect(address)
    except OSError:
        client.close()
        return None
    return client


def is_closed(client):
    """Whether the other side has closed it; what it said before is passed over."""
    try:
        while select.select([client], [], [], 0)[0]:
            if not client.recv(65536):
                return True
        return False
    except (BlockingIOError, TimeoutError, ssl.SSLWantReadError):
        return False
    except OSError:
        return True


def frame(kind, flags, stream, payload=b"", length=None):
    length = len(payload) if length is None else length
    head = struct.pack(">I", length)[1:] + bytes([kind, flags]) + struct.pack(">I", stream)
    return head + payload


def _literal(text):
    raw = text.encode() if isinstance(text, str) else text
    if len(raw) < 127:
        return bytes([len(raw)]) + raw
    rest, coded = len(raw) - 127, b"\x7f"
    while rest >= 128:
        coded, rest = coded + bytes([rest % 128 + 128]), rest // 128
    return coded + bytes([rest]) + raw


def header_block(pairs):
    """HPACK without compression and without any table."""
    return b"".join(b"\x00" + _literal(name) + _literal(value) for name, value in pairs)


def request_headers(method, extra=(DEADLINE,)):
    return header_block([(":method", "POST"), (":scheme", "https"), (":path", method),
                         (":authority", "localhost"), ("te", "trailers"),
                         ("content-type", "application/grpc"), *extra])


def request(stream, method, message=b"", extra=(DEADLINE,)):
    """The frames of one unary call."""
    body = b"\0" + struct.pack(">I", len(message)) + message
    frames = frame(HEADERS, END_HEADERS, stream, request_headers(method, extra))
    for at in range(0, len(body), 16384):
        part = body[at:at + 16384]
        last = at + 16384 >= len(body)
        frames += frame(DATA, END_STREAM if last else 0, stream, part)
    return frames


def settings(values=()):
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", key, value) for key, value in values))


class Raw:
    """A connection with TLS and a good certificate, on which anything may be said."""

    def __init__(self, address, context, first=None):
        self.socket = None
        plain = connect(address)
        if plain is None:
            raise OSError("no connection")
        try:
            self.socket = context.wrap_socket(plain, server_hostname="localhost")
        except OSError:
            plain.close()
            raise
        self.say(PREFACE + (settings() if first is None else first))

    def say(self, what):
        """False: the other side did not take it."""
        try:
            self.socket.sendall(what)
            return True
        except OSError:
            return False

    def hear(self, seconds):
        """All that comes within so long, or until the end."""
        heard, end = b"", time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                part = self.socket.recv(65536)
            except TimeoutError:
                break
            except OSError:
                break
            if not part:
                break
            heard += part
        return heard

    def close(self):
        self.socket.close()


def frames_in(heard):
    """(kind, flags, stream, payload) of each whole frame."""
    at = 0
    while at + 9 <= len(heard):
        length = int.from_bytes(heard[at:at + 3], "big")
        yield (heard[at + 3], heard[at + 4],
               struct.unpack_from(">I", heard, at + 5)[0] & 0x7fffffff,
               heard[at + 9:at + 9 + length])
        at += 9 + length


def own_copy(served, user):
    """A copy of the daemon that this user can walk to, in a folder of its own."""
    binary = served.folder / "oauthvaultd"
    shutil.copy(served.binary, binary)
    served.binary = binary
    for path in (served.folder, served.config, binary):
        os.chown(path, user, user)
    binary.chmod(0o755)
