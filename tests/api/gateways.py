"""Servers behind gateways."""

import asyncio
import socket
from typing import Any

from vespiary.wasp.gateway import Policy, Upstream

__all__ = ["dead", "upstream"]


def upstream(url: str, **policy: Any) -> Upstream:
    return Upstream(url, Policy(**policy), None, asyncio.get_running_loop().time)


def dead() -> str:
    """A URL where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"http://127.0.0.1:{free.getsockname()[1]}"
