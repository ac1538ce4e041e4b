"""`vespiary load URL`: load a server, and verify every echo."""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from vespiary.cli._files import FILE, check_writable, write_all
from vespiary.cli._help import Choice, Command
from vespiary.cli._interrupts import interrupted_as_by_ctrl_c
from vespiary.cli._quantities import SIZE, SPAN, STEP
from vespiary.prove.load import exits
from vespiary.prove.load.data import read_messages
from vespiary.prove.load.expectations import Expectation, has_fault, parse_expectation
from vespiary.prove.load.formats import as_json
from vespiary.prove.load.openmetrics import Exporter
from vespiary.prove.load.page import as_html
from vespiary.prove.load.plan import Plan
from vespiary.prove.load.progress import shown
from vespiary.prove.load.report import Progress, Report
from vespiary.prove.load.run import run_native
from vespiary.prove.load.table import as_text
from vespiary.prove.metrics import served

__all__ = ["load"]

_MESSAGES = 1000


_NOT_FOR_SCRIPTS = (
    *("rate", "steps", "data_path", "size", "fragment", "compress", "sources", "hold"),
    *("method", "insecure"),
)


class _Unable(click.ClickException):
    exit_code = 2


@click.command(cls=Command, epilog=f"\b\nExit codes:\n{exits.table()}")
@click.argument("urls", metavar="URL...", nargs=-1, required=True)
@click.option(
    "--connections",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Number of connections.",
)
@click.option(
    "--messages",
    type=click.IntRange(0),
    help=f"Messages per connection.  [default: {_MESSAGES}; no limit with --duration or --step]",
)
@click.option(
    "--duration",
    type=SPAN,
    help="Send for this long, such as 5s. With --messages, sending ends as soon as one of the two"
    " limits is reached.  [default: until all messages are echoed]",
)
@click.option("--size", type=SIZE, help="Bytes per message, such as 32 or 64KiB.  [default: 32]")
@click.option(
    "--data",
    "data_path",
    type=click.Path(path_type=Path),
    help="Send the lines of this file, or the files of this folder, one after the other."
    "  [default: random bytes]",
)
@click.option(
    "--script",
    type=click.Path(),
    help="Call the function `async def user(connection)` of this Python file with each connection,"
    " instead of sending messages. --messages is then the number of calls per connection, with a"
    " default of 1.",
)
@click.option(
    "--expect-reply",
    type=Choice(["echo", "none"]),
    default="echo",
    show_default=True,
    help="What the server does with a message. With none, received bytes are counted and not"
    " compared.",
)
@click.option(
    "--pipeline",
    type=click.IntRange(0),
    help="Messages in flight per connection; 0 sends without waiting for echoes.  [default: 1]",
)
@click.option(
    "--send-after-receive",
    is_flag=True,
    help="Send a message only after the echo of the previous one: the same as --pipeline 1.",
)
@click.option(
    "--rate",
    type=float,
    help="Messages per second, over all connections together. Latency is measured from the time at"
    " which a message was due.  [default: as fast as echoes arrive]  [above 0]",
)
@click.option(
    "--ramp-up",
    type=SPAN,
    default=0,
    help="Increase to --rate over this time. Without --rate, connections begin to send one after"
    " the other over this time.  [default: 0]",
)
@click.option(
    "--step",
    "steps",
    type=STEP,
    multiple=True,
    help="A rate in messages per second and how long to keep it, such as 1000:10s, instead of"
    " --rate and --duration. Steps run one after the other.",
)
@click.option(
    "--header",
    "-H",
    "headers",
    metavar="'NAME: VALUE'",
    multiple=True,
    help="A header field for the WebSocket handshake, or for each HTTP request.",
)
@click.option(
    "--cookie",
    "cookies",
    metavar="NAME=VALUE",
    multiple=True,
    help="A cookie for the WebSocket handshake, or for each HTTP request.",
)
@click.option(
    "--subprotocol",
    "subprotocols",
    metavar="NAME",
    multiple=True,
    help="A WebSocket subprotocol to offer. The run fails if the server chooses none.",
)
@click.option(
    "--compress",
    is_flag=True,
    help="Compress WebSocket messages (permessage-deflate). The run fails if the server does not.",
)
@click.option(
    "--method",
    "-X",
    metavar="NAME",
    help="The method of HTTP requests. --size or --data sets the body."
    "  [default: GET, or POST with a body]",
)
@click.option(
    "--ca",
    type=FILE,
    help="The certificate authorities to trust over TLS (PEM).  [default: this machine's]",
)
@click.option(
    "--cert",
    "certificate",
    type=FILE,
    help="The certificate of this client (PEM).  [default: none]",
)
@click.option(
    "--key", type=FILE, help="The private key of --cert (PEM).  [default: in the file of --cert]"
)
@click.option(
    "--insecure",
    "-k",
    is_flag=True,
    help="Accept every certificate of the server, without verifying it.",
)
@click.option(
    "--framing",
    metavar="FRAMING",
    help="How messages are framed on tcp://, tls:// and unix://: raw, line, crlf, length, or"
    " length:WIDTH[le][+self] with a width of 1, 2, 4 or 8 bytes.  [default: raw]",
)
@click.option(
    "--fragment",
    is_flag=True,
    help="Send in small pieces with random delays. On ws:// also split messages into frames, with"
    " pings between them.",
)
@click.option(
    "--fragment-delay",
    type=SPAN,
    help="With --fragment: the longest delay before a piece, such as 2ms.  [default: 2ms]",
)
@click.option(
    "--fragment-frames",
    type=click.IntRange(1),
    help="With --fragment: the maximum number of frames per message.  [default: 4]",
)
@click.option(
    "--text/--binary",
    help="Send UTF-8 text (on ws:// as text messages), or any bytes.  [default: binary]",
)
@click.option(
    "--sources",
    type=click.IntRange(1),
    help="Number of loopback addresses to connect from.  [default: one per 10,000 connections]",
)
@click.option(
    "--driver",
    type=Choice(["uring", "epoll"]),
    help="Force the driver.  [default: uring where the kernel allows it, else epoll]",
)
@click.option(
    "--spin",
    type=SPAN,
    default=0,
    help="Poll for echoes for this long before sleeping, such as 50ms. With few connections this"
    " measures latencies more exactly.  [default: 0]",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    help="Repeat what a run with this seed sent.  [default: random]",
)
@click.option(
    "--hold",
    type=SPAN,
    default=0,
    help="Keep the connections open for this long after the last echo, such as 60s.  [default: 0]",
)
@click.option(
    "--timeout",
    type=SPAN,
    help="How long opening a connection may take, and how long an echo may take, such as 10s."
    "  [default: 10s, and 1s on udp://]",
)
@click.option(
    "--close-timeout",
    type=SPAN,
    default=2,
    help="How long the server may take to close a connection, such as 2s.  [default: 2s]",
)
@click.option(
    "--connect-concurrency",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="How many connections are opened at the same time.",
)
@click.option(
    "--hosts",
    "suite",
    type=FILE,
    help="Load from the hosts in this suite file of 'vespiary prove': each opens its share of the"
    " connections. Needs vespiary[prove].",
)
@click.option(
    "--expect",
    "expected",
    metavar="CONDITION",
    multiple=True,
    help="Fail unless this condition is met: 'p99 < 5ms', 'rate > 10000', 'errors == 0'. Conditions"
    " such as 'lost <= 1%' allow that many faults of their kind.",
)
@click.option(
    "--json",
    "json_path",
    metavar="FILE|-",
    help="Write the report as JSON to this file. - writes it to standard output, instead of the"
    " table.",
)
@click.option(
    "--openmetrics",
    "metrics",
    metavar="[HOST:]PORT",
    help="Serve metrics of the progress to Prometheus during the run; needs vespiary[metrics]. The"
    " default host is 127.0.0.1.",
)
@click.option("--html", "html_path", type=FILE, help="Write the report as a web page to this file.")
def load(
    json_path: str | None,
    html_path: Path | None,
    metrics: str | None,
    suite: Path | None,
    expected: tuple[str, ...],
    **options: Any,
) -> None:
    """Send load to the server at URL, compare every echo byte for byte, and measure.

    URL is tcp://HOST:PORT, udp://HOST:PORT, unix:///PATH, ws://[USER:PASSWORD@]HOST:PORT/TARGET or
    http://[USER:PASSWORD@]HOST:PORT/TARGET; with TLS it is tls://, wss:// or https://. The
    connections are distributed evenly over several URLs.

    First all connections are opened. Then messages are sent, and each echo is compared with what
    was sent. Over HTTP a request is a message, and its response is the echo. Do not send secrets:
    the masking keys of WebSocket are derived from the seed, and can be guessed.

    Write sizes as 32 or 64KiB, and times as 250ms, 5s or 2min.

    \b
    Examples:
      vespiary load ws://127.0.0.1:9001/ --connections 100 --messages 1000
      vespiary load tcp://127.0.0.1:5050 --framing line --fragment --duration 30s
      vespiary load ws://127.0.0.1:9001/ --connections 10000 --messages 0 --hold 60s
      vespiary load tcp://127.0.0.1:5050 --rate 20000 --duration 30s --expect "p99 < 5ms"
      vespiary load https://127.0.0.1:8000/ --ca vespiary-ca.pem --connections 50 --duration 10s
    """  # noqa: D301 - click knows the character by which a paragraph keeps its lines.
    plan = _plan(options)
    expectations = [parse_expectation(text) for text in expected]
    json_file = Path(json_path) if json_path not in (None, "-") else None
    check_writable(json_file, html_path)
    try:
        with interrupted_as_by_ctrl_c():
            told = _run(plan, metrics) if suite is None else _run_on_hosts(plan, metrics, suite)
    except OSError as error:
        raise _Unable(error.strerror or str(error)) from error
    except KeyboardInterrupt:
        click.echo("vespiary load: stopped before any host had begun", err=True)
        sys.exit(exits.INTERRUPTED)
    report = Report.from_native(told)
    text = json.dumps(as_json(plan, told, report, expectations), indent=2)
    _print(text if json_path == "-" else as_text(plan, report, expectations))
    write_all(
        (json_file, lambda: text + "\n"),
        (html_path, lambda: as_html(plan, report, expectations)),
    )
    sys.exit(_status(report, expectations))


def _run(plan: Plan, metrics: str | None) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        watches: list[Callable[[Progress], None]] = []
        if metrics is not None:
            exporter = Exporter()
            stack.enter_context(served(metrics, exporter))
            watches.append(exporter)
        watches.append(stack.enter_context(shown(plan)))

        def watch(progress: Progress) -> None:
            for each in watches:
                each(progress)

        return run_native(plan, watch)


def _run_on_hosts(plan: Plan, metrics: str | None, suite: Path) -> dict[str, Any]:
    # The tools that read suites and reach hosts take time to import.
    from vespiary.prove.acceptance.reading import read_suite
    from vespiary.prove.load.machines import run_on_hosts

    if metrics is not None:
        raise click.UsageError(
            "--openmetrics shows only this machine: remove it, or remove --hosts"
        )
    hosts = read_suite(suite).hosts
    if not hosts:
        raise click.UsageError(f"{suite} has no [hosts.NAME]")
    with shown(plan) as watch:
        return run_on_hosts(
            plan, hosts, lambda text: click.echo(f"vespiary load: {text}", err=True), watch
        )


def _plan(options: dict[str, Any]) -> Plan:
    """The plan of the command's options; contradictions are usage errors."""
    pipeline, after_receive = options.pop("pipeline"), options.pop("send_after_receive")
    if after_receive and pipeline not in (None, 1):
        raise click.UsageError(
            "--send-after-receive is the same as --pipeline 1: remove one of them"
        )
    if options["messages"] is None and options["duration"] is None and not options["steps"]:
        options["messages"] = _MESSAGES if options["script"] is None else 1
    if options["script"] is not None:
        _check_script(options)
    for name in ("fragment_delay", "fragment_frames"):
        if options[name] is not None and not options["fragment"]:
            raise click.UsageError(f"--{name.replace('_', '-')} needs --fragment")
    url, *further_urls = options.pop("urls")
    timeout = options.pop("timeout")
    if timeout is None:
        timeout = 1.0 if url.startswith("udp://") else 10.0
    if options["key"] is not None and options["certificate"] is None:
        raise click.UsageError("--key is the key of --cert, which is missing")
    options |= _messages(url, options)
    options["headers"] = _headers(options)
    return Plan(
        **options,
        url=url,
        further_urls=tuple(further_urls),
        pipeline=1 if pipeline is None else pipeline,
        reply_timeout=timeout,
        connect_timeout=timeout,
    )


def _check_script(options: dict[str, Any]) -> None:
    """What a script does is its own affair."""
    for name in _NOT_FOR_SCRIPTS:
        if options[name]:
            option = {"data_path": "data", "steps": "step"}.get(name, name)
            raise click.UsageError(f"--{option} has no effect with --script: remove it")


def _messages(url: str, options: dict[str, Any]) -> dict[str, Any]:
    """What is sent, and whether it comes back."""
    size, path, method = options.pop("size"), options.pop("data_path"), options.pop("method")
    if size is not None and path is not None:
        raise click.UsageError("the messages of --data have their own sizes: remove --size")
    has_body = size is not None or path is not None
    if method in ("GET", "HEAD") and has_body:
        raise click.UsageError(f"a {method} request has no body: remove --size and --data")
    if method is None:
        method = "POST" if has_body and url.startswith(("http://", "https://")) else "GET"
    return {
        "method": method,
        "size": 32 if size is None else size,
        "data": () if path is None else read_messages(path),
        "echo": options.pop("expect_reply") == "echo",
    }


def _headers(options: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """The handshake's further lines."""
    headers = []
    for line in options.pop("headers"):
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise click.UsageError(f"--header {line!r} is not 'NAME: VALUE'")
        headers.append((name.strip(), value.strip()))
    cookies = options.pop("cookies")
    for cookie in cookies:
        if "=" not in cookie:
            raise click.UsageError(f"--cookie {cookie!r} is not NAME=VALUE")
    return (*headers, ("Cookie", "; ".join(cookies))) if cookies else tuple(headers)


def _print(text: str) -> None:
    """Print the report; that nobody reads it to its end says nothing about the server."""
    try:
        click.echo(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
    except OSError as error:
        _discard_output()
        raise _Unable(f"the report could not be printed: {error.strerror}") from error


def _discard_output() -> None:
    """Let the interpreter, which flushes once more when it ends, find nothing wrong."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _status(report: Report, expectations: Sequence[Expectation]) -> int:
    if has_fault(report, expectations):
        return exits.FAULT
    if not report.complete:
        return exits.INTERRUPTED
    return 0 if all(each.is_met(report) for each in expectations) else exits.EXPECTATION
