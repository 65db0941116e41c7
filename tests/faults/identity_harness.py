"""T26 (in small; tests/daemon/rpc has the matrix) and T27: the server's certificate and the CAs
that are believed are exchanged under load.

Clients open connection after connection while good pairs are staged, bad ones between them, and a
CA outside is added and removed again. No connection may fail, no bad pair may be shown or become
`current`, what was revoked or has two names is let in at no moment, and no staged key is found
anywhere but in `current`.
"""
import base64
import os
import re
import subprocess
import sys
import threading
import time

import grpc

import vault

TRUST_DOMAIN = "oauthvault"
PARTNER = "partner.test"
NAMES = "DNS:localhost"
CALL_S = 20
# What an operator may do wrong, by the word of its row in `bad_pair`.
BAD = ("empty", "truncated", "garbage", "mismatched", "expired", "wrong-name", "open-key")


def openssl(*words, text=""):
    done = subprocess.run(["openssl", *map(str, words)], input=text, capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        raise SystemExit(f"openssl {words[0]}: {done.stderr}")
    return done.stdout


def new_key():
    return openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")


class Ca:
    """A CA of the harness, in a folder of its own."""

    def __init__(self, folder, name):
        folder.mkdir()
        self.folder = folder
        (folder / "key.pem").write_text(new_key())
        openssl("req", "-x509", "-new", "-key", folder / "key.pem", "-subj", f"/CN={name}",
                "-days", "2", "-addext", "keyUsage=critical,keyCertSign", "-out",
                folder / "cert.pem")
        self.pem = (folder / "cert.pem").read_text()

    def sign(self, names, use, days=1, key=None):
        """A certificate and its key; `days` below 0: one that has ended."""
        key = key or new_key()
        request = self.folder / "request.pem"
        (self.folder / "leaf.pem").write_text(key)
        openssl("req", "-new", "-key", self.folder / "leaf.pem", "-subj", "/O=harness", "-out",
                request)
        extensions = self.folder / "extensions"
        extensions.write_text(f"basicConstraints=critical,CA:FALSE\n"
                              f"keyUsage=critical,digitalSignature\nextendedKeyUsage={use}\n"
                              f"subjectAltName={names}\n")
        certificate = openssl("x509", "-req", "-in", request, "-CA", self.folder / "cert.pem",
                              "-CAkey", self.folder / "key.pem", "-days", days, "-extfile",
                              extensions)
        return certificate, key


class Identities:
    """The calls about identities, as the local admin."""

    def __init__(self, client):
        from oauthvault.v1 import registry_pb2, trust_pb2
        self.client = client
        self.registry = registry_pb2
        self.trust = trust_pb2

    @staticmethod
    def stub(channel):
        from oauthvault.v1 import trust_pb2_grpc
        return trust_pb2_grpc.TrustStub(channel)

    def issue(self, path):
        key = new_key()
        request = openssl("req", "-new", "-key", "/dev/stdin", "-subj", "/O=harness", text=key)
        issued = self.client.call(self.client.registry.IssueIdentity,
                                  self.registry.IssueIdentityRequest(path=path, csr_pem=request))
        return issued.certificate_pem, key, issued.ca_pem, issued.identity.serial

    def revoke(self, serial):
        self.client.call(self.client.registry.RevokeIdentity,
                         self.registry.RevokeIdentityRequest(serial=serial))


class Caller:
    """Someone with a certificate; every call is a connection of its own."""

    def __init__(self, address, roots, certificate, key):
        from oauthvault.v1 import operations_pb2, operations_pb2_grpc
        self.address = address
        self.credentials = grpc.ssl_channel_credentials(roots.encode(), key.encode(),
                                                        certificate.encode())
        self.request = operations_pb2.StatusRequest()
        self.stub = operations_pb2_grpc.OperationsStub

    def ask(self):
        """Who the daemon says it is; raises vault.Refused."""
        with grpc.secure_channel(self.address, self.credentials,
                                 options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            try:
                return self.stub(channel).Status(self.request, timeout=CALL_S).principal
            except grpc.RpcError as error:
                raise vault.Refused(error) from None


class Load:
    """Threads that connect again and again."""

    def __init__(self, callers, report):
        self.report = report
        self.connections = 0
        self.stopping = False
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._run, args=(caller,)) for caller in callers]
        for thread in self.threads:
            thread.start()

    def _run(self, caller):
        while not self.stopping:
            try:
                caller.ask()
            except vault.Refused as refused:
                self.report.violation("FAILED", f"a connection under load: {refused}")
                time.sleep(0.05)
            with self.lock:
                self.connections += 1

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join()


class Door:
    """The certificate folder of a served vault, and what becomes of what is staged."""

    def __init__(self, served, folder, operators, report):
        self.vault = served
        self.folder = folder
        self.operators = operators
        self.report = report
        self.keys = []
        self.certificate = None

    def lines(self, act):
        return sum(f'"act":"certificate.{act}"' in line for line in self.vault.trail_lines())

    def stage(self, certificate, key, key_mode=0o600):
        """As an operator does it: temporary files, then their names."""
        for name, text, mode in (("cert.pem", certificate, 0o644), ("key.pem", key, key_mode)):
            temporary = self.folder / "staging" / f".{name}"
            temporary.write_text(text)
            temporary.chmod(mode)
            temporary.rename(self.folder / "staging" / name)

    def current(self):
        link = self.folder / "current"
        return (link / "cert.pem").read_text() if link.exists() else None

    def rotate(self):
        certificate, key = self.operators.sign(NAMES, "serverAuth")
        self.keys.append(key)
        installed = self.lines("installed")
        self.stage(certificate, key)
        if not vault.await_condition(lambda: self.lines("installed") > installed):
            self.report.violation("STUCK", "a good pair is not installed")
            return
        if self.current() != certificate:
            self.report.violation("STUCK", "current is not the pair that was installed")
        self.certificate = certificate

    def bad_pair(self, kind):
        certificate, key = self.operators.sign(NAMES, "serverAuth")
        self.keys.append(key)
        if kind == "empty":
            return "", ""
        if kind == "truncated":
            return certificate[:len(certificate) // 2], key
        if kind == "garbage":
            return base64.b64encode(os.urandom(600)).decode(), key
        if kind == "mismatched":
            return certificate, new_key()
        if kind == "expired":
            return self.operators.sign(NAMES, "serverAuth", days=-1)
        if kind == "wrong-name":
            return self.operators.sign("DNS:elsewhere.test", "serverAuth")
        return certificate, key

    def offer_bad(self, kind):
        refused, installed = self.lines("refused"), self.lines("installed")
        certificate, key = self.bad_pair(kind)
        self.stage(certificate, key, 0o644 if kind == "open-key" else 0o600)
        if not vault.await_condition(lambda: self.lines("refused") > refused
                                     or self.lines("installed") > installed):
            self.report.violation("STUCK", f"a pair that is {kind} is neither taken nor refused")
        elif self.lines("installed") > installed or self.current() != self.certificate:
            self.report.violation("INSTALLED", f"a pair that is {kind}")
            self.rotate()

    def check_keys(self):
        """Each staged key stands in `current`, in `staging` or nowhere."""
        allowed = {self.folder / "staging" / "key.pem",
                   (self.folder / "current").resolve() / "key.pem"}
        content = {path: path.read_bytes() for path in self.vault.folder.rglob("*")
                   if path.is_file() and not path.is_symlink() and path.resolve() not in allowed
                   and self.operators.folder not in path.parents}
        found = 0
        for key in self.keys:
            body = key.split("-----")[2].strip().splitlines()[1].encode()
            for path, text in content.items():
                if body in text:
                    self.report.violation("LEAK", f"a staged key stands in {path.name}")
                    found += 1
        return len(content), found


def check_refused(report, what, caller):
    try:
        who = caller.ask()
    except vault.Refused:
        return
    report.violation("ADMITTED", f"{what} is let in as {who}")


def main():
    parser = vault.arguments(__doc__)
    parser.add_argument("--rotations", type=int, default=4)
    parser.add_argument("--plant", action="store_true", help="control: a staged key is copied")
    options = parser.parse_args()
    vault.load_stubs(options.build)
    report = vault.Report("identity", options)
    bad = 0
    with vault.Vault(options) as served:
        folder = served.folder / "tls"
        folder.mkdir(mode=0o700)
        with open(served.config, "a", encoding="ascii") as config:
            config.write(f'[tls]\ncertificate_folder = "{folder}"\n')
        served.init().start()
        address = "localhost:" + re.search(r"serving tcp=\S*:(\d+)", served.said()).group(1)
        operators = Ca(served.folder / "operators", "operators")
        partner = Ca(served.folder / "partner", "partner")
        passing = Ca(served.folder / "passing", "passing")
        door = Door(served, folder, operators, report)
        with served.client() as client, grpc.secure_channel(
                f"unix:{served.socket}",
                grpc.local_channel_credentials(grpc.LocalConnectionType.UDS)) as channel:
            identities = Identities(client)
            trust = identities.stub(channel)

            def believe(ca, domain):
                return client.call(trust.Add, identities.trust.AddTrustRequest(
                    certificate_pem=ca.pem, trust_domain=domain, kinds=["runner"])).id

            certificate, key, own_ca, _ = identities.issue("runner/load")
            roots = own_ca + operators.pem
            own = Caller(address, roots, certificate, key)
            believe(partner, PARTNER)
            outside = Caller(address, roots, *partner.sign(f"URI:spiffe://{PARTNER}/runner/load",
                                                           "clientAuth"))
            certificate, key, _, serial = identities.issue("runner/revoked")
            revoked = Caller(address, roots, certificate, key)
            revoked.ask()
            identities.revoke(serial)
            two_names = Caller(address, roots, *partner.sign(
                f"URI:spiffe://{TRUST_DOMAIN}/admin/anna,URI:spiffe://{PARTNER}/runner/load",
                "clientAuth"))
            as_admin = Caller(address, roots, *partner.sign(
                f"URI:spiffe://{PARTNER}/admin/anna", "clientAuth"))
            door.rotate()
            load = Load([own, outside], report)
            for number in range(options.rotations):
                kind = BAD[number % len(BAD)]
                passing_id = believe(passing, "passing.test")
                passer = Caller(address, roots, *passing.sign("URI:spiffe://passing.test/runner/p",
                                                              "clientAuth"))
                passer.ask()
                door.offer_bad(kind)
                bad += 1
                client.call(trust.Remove,
                            identities.trust.RemoveTrustRequest(id=passing_id))
                check_refused(report, "a caller of a CA that was removed", passer)
                check_refused(report, "a revoked caller", revoked)
                check_refused(report, "a caller with two names", two_names)
                check_refused(report, "an admin of a CA outside", as_admin)
                door.rotate()
            load.stop()
            if options.plant:
                (served.folder / "copy").write_text(door.keys[0])
            files, _ = door.check_keys()
        if served.process.poll() is not None:
            report.violation("ENDED", f"the daemon, with {served.process.returncode}")
        else:
            served.stop()
    return report.end(f"{options.rotations + 1} rotations and {bad} bad pairs under "
                      f"{load.connections} connections; {len(door.keys)} keys looked for in "
                      f"{files} files")


if __name__ == "__main__":
    sys.exit(main())
