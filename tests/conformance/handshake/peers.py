"""What peers do in each case, as it is kept beside the suite.

`python -m tests.conformance.handshake.peers` writes the table again, after a peer's version was
raised in tools/constraints.txt or a case was added.
"""

import json
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.conformance.handshake.servers import PEERS
from tests.conformance.handshake.suite import CASES, peer_failures

__all__ = ["TABLE", "recorded", "table"]

TABLE = Path(__file__).with_name("peers.toml")
_HEAD = """\
# What peers do in those cases of the handshake where the specifications ask for something else; in
# all other cases they do what is asked for. Compared by test_peers.py, and written by
# `python -m tests.conformance.handshake.peers`.
"""


def recorded() -> dict[str, Any]:
    """The table as it is kept."""
    return tomllib.loads(TABLE.read_text())


def table() -> str:
    """The table as it is now."""
    parts = [_HEAD]
    for peer in PEERS:
        failures = peer_failures(peer)
        parts.append(f'\n[{peer}]\nversion = "{version(peer)}"\ncases = {len(CASES)}\n')
        parts.append(f"\n[{peer}.failures]\n")
        for name in sorted(failures):
            key, value = (json.dumps(text, ensure_ascii=False) for text in (name, failures[name]))
            parts.append(f"{key} = {value}\n")
    return "".join(parts)


if __name__ == "__main__":
    TABLE.write_text(table())
