"""What the harnesses of the audit trail share: an auditor with a certificate, calls whose lines can
be told apart, and the files of a trail.
"""
import contextlib
import json
import subprocess
import uuid

import grpc

import vault


def lines_of(served):
    """The lines of the trail as objects; what is no JSON (a torn end) is passed over."""
    lines = []
    for text in served.trail_lines():
        with contextlib.suppress(ValueError):
            lines.append(json.loads(text))
    return lines


def durable_lines_of(served, control):
    """The lines that a sync covers which came back (preload_fault tells): what stands behind them
    in the file could be gone after a power loss. For a trail whose last segment is the open one."""
    closed = [text for path in segments_of(served.audit)[:-1]
              for text in path.read_bytes().splitlines()]
    with open(served.audit / "audit.jsonl", "rb") as trail:
        open_ones = trail.read(control.durable).splitlines()
    lines = []
    for text in closed + open_ones:
        with contextlib.suppress(ValueError):
            lines.append(json.loads(text))
    return lines


def segments_of(folder):
    return [*sorted(folder.glob("audit-*.jsonl")), folder / "audit.jsonl"]


class Auditor:
    """The calls of an auditor, over TLS."""

    def __init__(self, served):
        from oauthvault.v1 import audit_pb2, audit_pb2_grpc
        self.messages = audit_pb2
        key = served.folder / "auditor.key"
        request = subprocess.run(
            ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-keyout", key, "-subj", "/CN=auditor"],
            capture_output=True, text=True, check=True).stdout
        with served.client() as client:
            issued = client.call(client.registry.IssueIdentity,
                                 client.registry_messages.IssueIdentityRequest(
                                     path="auditor/olga", csr_pem=request))
            address = client.status().address
        credentials = grpc.ssl_channel_credentials(
            issued.ca_pem.encode(), key.read_bytes(), issued.certificate_pem.encode())
        self.channel = grpc.secure_channel(
            address, credentials, options=[("grpc.ssl_target_name_override", "localhost")])
        self.stub = audit_pb2_grpc.AuditStub(self.channel)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()

    def checkpoint(self, close=False, since=0):
        return vault.Client.call(self.stub.Checkpoint,
                                 self.messages.CheckpointRequest(close=close, since=since))

    def find(self, value):
        lines, token = [], ""
        while True:
            page = vault.Client.call(self.stub.Find, self.messages.FindAuditRequest(
                value=value, page_token=token))
            lines += [json.loads(line.json) for line in page.lines]
            token = page.next_page_token
            if not token:
                return lines

    def extract(self, project):
        records, token = [], ""
        while True:
            page = vault.Client.call(self.stub.Extract, self.messages.ExtractAuditRequest(
                project=project, page_token=token))
            records += page.records
            token = page.next_page_token
            if not token:
                return records


def call(method, request, timeout=vault.CALL_TIMEOUT_S, request_id=None):
    """A call with an id of its own: the id, and the answer."""
    request_id = request_id or uuid.uuid4().hex
    try:
        return request_id, method(request, timeout=timeout,
                                  metadata=(("x-request-id", request_id),))
    except grpc.RpcError as error:
        raise vault.Refused(error) from None


def reveal(client, oauth_id, timeout=vault.CALL_TIMEOUT_S, **where):
    """A reveal with an id of its own: the id, and the answer."""
    return call(client.credentials.Reveal, client.messages.RevealRequest(
        project=where.get("project", vault.PROJECT), component=vault.COMPONENT, id=oauth_id),
        timeout)
