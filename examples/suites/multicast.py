"""A client for the suite: it announces itself to the group of multicast_peers.py, and hears it.

multicast.py GROUP PORT
"""

import socket
import sys
import time

from patience import SECONDS


def main(group: str, port: int) -> None:
    """Announce until a peer is heard."""
    loopback = socket.inet_aton("127.0.0.1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, loopback)
        membership = socket.inet_aton(group) + loopback
        client.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        client.bind((group, port))
        client.settimeout(1)
        heard: set[bytes] = set()
        end = time.monotonic() + SECONDS
        while b"one" not in heard and time.monotonic() < end:
            client.sendto(b"two", (group, port))
            try:
                heard.add(client.recv(100))
            except TimeoutError:
                continue
        if b"one" not in heard:
            raise SystemExit(f"heard only {heard}")
        for _ in range(3):
            client.sendto(b"two", (group, port))
    print("heard one")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
