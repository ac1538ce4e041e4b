"""Peers that find each other: each announces its name to a multicast group.

Start it several times, on one machine or on several machines of one network. Each peer greets every
other peer once.

Run:   .venv/bin/python examples/multicast_peers.py NAME [GROUP [PORT]]
       (default 239.255.42.42, which stays within the site (RFC 2365), and 9042)
Here:  ... NAME 239.255.42.42%lo        (only on this machine, by its loopback interface)
"""

import socket
import sys

import vespiary

SECONDS = 1.0
PEERS_MAX = 1000


class Peer(vespiary.Handler):
    """Announces its name, and stores the names of the others."""

    def __init__(self, name: str, group: tuple[str, int]) -> None:
        self.name = name
        self.group = group
        self.heard: set[bytes] = set()

    def on_start(self, server: vespiary.Server) -> None:
        """Announce for as long as the server runs."""
        (own,) = server.datagram_sockets

        def announce() -> None:
            own.send_to(self.name, self.group)
            server.set_timer(SECONDS, announce)

        announce()

    def on_datagram(self, datagram: vespiary.Datagram) -> None:
        """Greet a new peer. A peer also receives its own announcements."""
        name = datagram.data
        if name == self.name.encode() or name in self.heard or len(self.heard) >= PEERS_MAX:
            return
        self.heard.add(name)
        text = name.decode(errors="replace")
        print(f"{text!r} is at {datagram.peer}", flush=True)


def main(name: str, group: str = "239.255.42.42", port: str = "9042") -> None:
    """Join the group, and announce."""
    peer = Peer(name, (group.partition("%")[0], int(port)))
    vespiary.serve(peer, f"udp://0.0.0.0:{port}", multicast_groups=[group])


if __name__ == "__main__":
    main(*sys.argv[1:] or [socket.gethostname()])
