"""Serve one of the applications with one of the servers: `server.py SERVER SCENARIO PORT`."""

from __future__ import annotations

import sys

from benches.asgi.apps import named


def serve_vespiary(driver: str, name: str, port: int) -> None:
    """Vespiary, on a driver."""
    import vespiary

    app = named(name)
    handler = vespiary.WSGI(app) if name == "wsgi" else vespiary.ASGI(app)
    limits = vespiary.Limits(requests_per_connection_max=None)
    vespiary.serve(handler, f"http://127.0.0.1:{port}", driver=driver, limits=limits)


def serve_uvicorn(name: str, port: int) -> None:
    """uvicorn, with uvloop and httptools."""
    import uvicorn

    uvicorn.run(
        named(name),
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        access_log=False,
        log_level="warning",
        ws_per_message_deflate=False,
    )


def serve_granian(name: str, port: int) -> None:
    """granian, with uvloop and one single-threaded runtime."""
    from granian import Granian
    from granian.constants import Interfaces, Loops, RuntimeModes

    interface = Interfaces.WSGI if name == "wsgi" else Interfaces.ASGI
    factory = name in ("starlette", "fastapi")
    Granian(
        f"benches.asgi.apps:{name}",
        address="127.0.0.1",
        port=port,
        interface=interface,
        factory=factory,
        loop=Loops.uvloop,
        runtime_mode=RuntimeModes.st,
        log_access=False,
        log_enabled=False,
    ).serve()


def main() -> None:
    """Serve until SIGTERM."""
    server, name, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if server.startswith("vespiary"):
        serve_vespiary(server.rpartition("-")[2], name, port)
    elif server == "uvicorn":
        serve_uvicorn(name, port)
    else:
        serve_granian(name, port)


if __name__ == "__main__":
    main()
