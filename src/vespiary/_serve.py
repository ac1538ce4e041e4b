"""A server in one call, for a program that does nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Unpack

from vespiary._option_checks import check_values
from vespiary._other_names import other_options
from vespiary._suggestions import check_names
from vespiary.errors import ConfigurationError
from vespiary.handler import AnyHandler
from vespiary.server import Server
from vespiary.server_options import ServerOptions
from vespiary.workers._options import Workers, as_workers

__all__ = ["serve"]

_SERVE_OPTIONS = ("driver", "spin_microseconds", "on_serving", "signals", "workers")


def serve(
    handler: AnyHandler,
    *urls: str,
    driver: str | None = None,
    spin_microseconds: int = 0,
    on_serving: Callable[[Sequence[str]], object] | None = None,
    signals: bool = True,
    workers: Workers | int | None = None,
    **options: Unpack[ServerOptions],
) -> None:
    """Serve a handler on one or more URLs until SIGTERM or SIGINT.

    The first signal stops the server gracefully (see `Server.stop`), and then `serve` returns. A
    second signal stops it at once. A signal during `on_start` cancels the start.

    Args:
        handler: A `Handler`, a subclass of it, or an async function that takes a connection, or on
            `udp://` and `unixgram://` a datagram. `ASGI` and `WSGI` make handlers of applications.
        urls: The endpoints.
        driver: `uring` or `epoll`; default: the best that works here.
        spin_microseconds: See `vespiary.loop.Loop`.
        on_serving: Called with the URLs of the endpoints when all of them are listening.
        signals: See `Server`.
        workers: In how many processes, or a `Workers`: see `Server.run`.
        options: Options for all endpoints: see `vespiary.ServerOptions`.

    Raises:
        ConfigurationError: the handler, a URL or an option is not valid.
        OSError: the server cannot listen on an endpoint.
        WorkerFailed: a worker could not start.
    """
    if not urls:
        raise ConfigurationError("serve needs at least one URL, such as ws://127.0.0.1:9001")
    # serve's own options are in the signature; all others belong to each endpoint.
    known = {**ServerOptions.__annotations__, **dict.fromkeys(_SERVE_OPTIONS)}
    check_names(options, known, "serve", others=other_options(known))
    check_values(
        driver=driver, spin_microseconds=spin_microseconds, on_serving=on_serving, signals=signals
    )
    as_workers(workers)
    server = Server(signals=signals)
    for url in urls:
        server.add(handler, url, **options)
    server.run(
        driver=driver,
        spin_microseconds=spin_microseconds,
        on_serving=on_serving,
        workers=workers,
    )
