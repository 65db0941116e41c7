"""A client of the contract in another language: reveals over mutual TLS and compares byte for byte.

reveal_client.py FOLDER ADDRESS PROJECT COMPONENT ID. The folder holds the generated stubs, ca.pem,
client.pem, client.key, and what is expected: data, app_secret, authorized_for. Exits 0 when all of
it is equal, and says on standard error what is not; never the values.
"""

import pathlib
import sys

import grpc


def main():
    folder = pathlib.Path(sys.argv[1])
    address, project, component, oauth_id = sys.argv[2:6]
    sys.path.insert(0, str(folder))
    from oauthvault.v1 import credentials_pb2, credentials_pb2_grpc

    credentials = grpc.ssl_channel_credentials(
        (folder / "ca.pem").read_bytes(),
        (folder / "client.key").read_bytes(),
        (folder / "client.pem").read_bytes(),
    )
    with grpc.secure_channel(address, credentials) as channel:
        stub = credentials_pb2_grpc.CredentialsStub(channel)
        revealed = stub.Reveal(
            credentials_pb2.RevealRequest(project=project, component=component, id=oauth_id),
            timeout=20,
        )
        stranger = credentials_pb2.RevealRequest(project=project, component=component, id="absent")
        try:
            stub.Reveal(stranger, timeout=20)
            absent_code = None
        except grpc.RpcError as error:
            absent_code = dict(error.trailing_metadata()).get("oauthvault-code")

    compared = {
        "id": revealed.id == oauth_id,
        "data": revealed.data == (folder / "data").read_bytes(),
        "app_secret": revealed.app_secret == (folder / "app_secret").read_bytes(),
        "authorized_for": revealed.authorized_for.encode()
        == (folder / "authorized_for").read_bytes(),
        "app_key": revealed.app_key == "own-key",
        "version": revealed.version == 1,
        "the code of what is absent": absent_code == "NOT_FOUND",
    }
    different = [name for name, equal in compared.items() if not equal]
    if different:
        print("different:", ", ".join(different), file=sys.stderr)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
