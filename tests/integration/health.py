#!/usr/bin/python3
"""Asks a daemon's unix socket for its health, as any gRPC client does: prints SERVING,
NOT_SERVING or the status that the call ended with."""
import sys

import grpc

WORDS = {b"": "UNKNOWN", b"\x08\x01": "SERVING", b"\x08\x02": "NOT_SERVING"}


def main():
    with grpc.secure_channel(
            f"unix:{sys.argv[1]}",
            grpc.local_channel_credentials(grpc.LocalConnectionType.UDS)) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        try:
            print(WORDS.get(check(b"", timeout=10), "OTHER"))
        except grpc.RpcError as error:
            print(error.code().name)


main()
