"""Limits and deadlines as the engine takes them: one flat dictionary."""

from typing import get_args

from vespiary.compression import Compression
from vespiary.endpoint import Endpoint
from vespiary.errors import ConfigurationError
from vespiary.framing import Framing, framing_options
from vespiary.limits import Deadlines, Limits, SlowConsumer
from vespiary.websocket import WebSocket

__all__ = ["native_options"]


def native_options(
    endpoint: Endpoint,
    framing: Framing | None,
    limits: Limits,
    deadlines: Deadlines,
    slow_consumer: SlowConsumer,
    *,
    websocket: WebSocket | None = None,
    parts: bool = False,
    streams_requests: bool = False,
    filtered: bool = False,
    reads_when_crowded: bool = False,
) -> dict[str, object]:
    """Return the engine's options for an endpoint.

    Raises:
        ConfigurationError: an option is not valid, or does not fit the endpoint.
    """
    if slow_consumer not in get_args(SlowConsumer):
        raise ConfigurationError(
            f"slow_consumer is one of {', '.join(get_args(SlowConsumer))}; got {slow_consumer!r}",
            subject="slow_consumer",
            value=slow_consumer,
        )
    if websocket is not None and not endpoint.is_websocket:
        raise ConfigurationError(
            f"{endpoint.bare} is not a WebSocket endpoint: remove websocket=, or serve a ws:// or"
            f" wss:// URL",
            subject="websocket",
            value=websocket,
        )
    options = framing_options(endpoint, framing)
    if parts and options["framing"] in ("line", "crlf"):
        raise ConfigurationError(
            f"{endpoint.bare}: framing={framing!r} has no parts of messages: use on_message "
            "instead of on_part, or choose another framing",
            subject="on_part",
            value=framing,
        )
    if slow_consumer.startswith("drop") and options["framing"] == "raw":
        raise ConfigurationError(
            f"slow_consumer={slow_consumer!r} drops messages, but a byte stream has no "
            "messages: use 'wait' or 'disconnect', or pass framing=",
            subject="slow_consumer",
            value=slow_consumer,
        )
    websocket = websocket or WebSocket()
    options.update(_fields(websocket))
    if websocket.compression is not None:
        options["compression"] = _fields(websocket.compression)
    options.update(_fields(limits))
    options.update(_fields(deadlines))
    options["slow_consumer"] = slow_consumer
    options["parts"] = parts
    options["streams_requests"] = streams_requests
    options["hosts_application"] = False
    options["filtered"] = filtered
    options["reads_when_crowded"] = reads_when_crowded
    options["proxies"], options["forwarders"] = [], None
    return options


def _fields(settings: WebSocket | Compression | Limits | Deadlines) -> dict[str, object]:
    """The fields of a dataclass and their values.

    `dataclasses.asdict` takes four times as long, and each call of it makes a tuple of which
    CPython keeps the memory until there are 2,000 of that length.
    """
    return {name: getattr(settings, name) for name in settings.__dataclass_fields__}
