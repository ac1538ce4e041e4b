"""A client for the suite: it asks dns_stub.py over UDP and TCP, for as many seconds.

dns.py [--seconds S] HOST PORT
"""

import argparse
import socket
import struct
import time

from patience import SECONDS

from vespiary.prove.memory.work import report_work

NAME = b"\7printer\4home\4arpa\0"
QUERY = struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + NAME + struct.pack("!HH", 1, 1)


def over_udp(address: tuple[str, int]) -> bytes:
    """Ask once, and again while no answer comes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(address)
        client.settimeout(1)
        for _ in range(int(SECONDS)):
            try:
                client.send(QUERY)
                return client.recv(512)
            except (TimeoutError, ConnectionRefusedError):
                pass
    raise SystemExit("no answer over UDP")


def over_tcp(address: tuple[str, int]) -> bytes:
    """Ask on a connection of its own."""
    with socket.create_connection(address, SECONDS) as client, client.makefile("rb") as stream:
        client.sendall(struct.pack("!H", len(QUERY)) + QUERY)
        (length,) = struct.unpack("!H", stream.read(2))
        return stream.read(length)


def main() -> None:
    """Ask until the seconds are over."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    given = parser.parse_args()
    address, end, count = (given.host, given.port), time.monotonic() + given.seconds, 0
    while True:
        for answer in (over_udp(address), over_tcp(address)):
            if not answer.endswith(bytes([192, 0, 2, 10])):
                raise SystemExit(f"unexpected answer: {answer!r}")
            count += 1
        if time.monotonic() >= end:
            break
    report_work(count)
    print(f"{count} answers")


if __name__ == "__main__":
    main()
