import copy
import errno
import pickle
import re

import pytest

from vespiary import errors
from vespiary.errors import (
    CloseReason,
    ConnectionBroken,
    ConnectionClosed,
    DriverUnavailable,
    HandshakeRefused,
    LocalClosed,
    LocalError,
    ReceiveConflict,
    RemoteClosed,
    RemoteError,
    SendRefused,
    VespiaryError,
    WriteQueueFull,
)


def exception_classes() -> dict[str, type[BaseException]]:
    found = {name: getattr(errors, name) for name in errors.__all__}
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, type) and issubclass(value, BaseException)
    }


def test_the_tree_at_the_head_of_the_module_is_the_tree_of_the_classes() -> None:
    tree = errors.__doc__ or ""
    parents: list[tuple[int, str]] = [(-1, "Exception")]
    drawn = {}
    for column, name in re.findall(r"^([ |]*\+-- )(\w+)", tree, re.MULTILINE):
        while parents[-1][0] >= len(column):
            parents.pop()
        drawn[name] = parents[-1][1]
        parents.append((len(column), name))
    real = {name: cls.__bases__[0].__name__ for name, cls in exception_classes().items()}
    assert drawn == real


def test_every_exception_is_a_vespiary_error() -> None:
    assert all(issubclass(cls, VespiaryError) for cls in exception_classes().values())


@pytest.mark.parametrize(
    ("side", "kind", "cls"),
    [
        ("local", "closed", LocalClosed),
        ("remote", "closed", RemoteClosed),
        ("local", "broken", LocalError),
        ("remote", "broken", RemoteError),
    ],
)
def test_a_reason_gives_the_exception_of_its_side_and_kind(
    side: str, kind: str, cls: type[ConnectionClosed]
) -> None:
    reason = CloseReason(side, kind)  # type: ignore[arg-type]
    raised = ConnectionClosed.from_reason(reason, "127.0.0.1:5")
    assert type(raised) is cls
    assert raised.reason is reason
    assert isinstance(raised, ConnectionBroken) == (kind == "broken")


def test_a_close_reason_tells_the_story_with_code_and_the_peers_words() -> None:
    reason = CloseReason("remote", "closed", 1001, "going away")
    assert str(reason) == "closed by the peer with code 1001: going away"


def test_a_close_reason_without_words_says_what_the_kernel_said() -> None:
    error = OSError(errno.ECONNRESET, "Connection reset by peer")
    told = str(CloseReason("remote", "broken", error=error))
    assert told == "broken by the peer: [Errno 104] Connection reset by peer"


def test_a_close_reason_with_a_status_names_it() -> None:
    told = str(CloseReason("local", "broken", status=431, text="too many fields"))
    assert told == "broken by this end with HTTP status 431: too many fields"


def test_a_closed_connection_names_the_peer_and_the_story() -> None:
    raised = ConnectionClosed.from_reason(
        CloseReason("local", "closed", 1000, "done"), "127.0.0.1:5"
    )
    assert (
        str(raised) == "the connection to 127.0.0.1:5 was closed by this end with code 1000: done"
    )
    assert raised.code == 1000


BROKEN = CloseReason("remote", "broken", 1006, "cut\r\nhere")
ANSWER = (403, "no\nentry", "127.0.0.1:5", (("Server", "x"),), b"body")
STEP = errors.Redirect("ws://a/", 302, "ws://b/\r\n")
EXAMPLES = [
    VespiaryError("x"),
    errors.ConfigurationError("x is not a port", subject="port", value="x"),
    errors.EndpointError("x"),
    errors.LimitsError("x"),
    ConnectionClosed(BROKEN, "127.0.0.1:5"),
    LocalClosed(CloseReason("local", "closed")),
    RemoteClosed(CloseReason("remote", "closed", 1000), "127.0.0.1:5"),
    ConnectionBroken(BROKEN),
    LocalError(CloseReason("local", "broken", text="idle_seconds is 5")),
    RemoteError(BROKEN, "127.0.0.1:5"),
    HandshakeRefused(*ANSWER),
    errors.RedirectRefused.of(HandshakeRefused(*ANSWER), "it redirects in a loop", (STEP,)),
    errors.ProxyRefused(*ANSWER),
    SendRefused("no", "127.0.0.1:5"),
    WriteQueueFull(1, 5, "127.0.0.1:5", 1),
    WriteQueueFull(10, 5, message_bytes=7),
    ReceiveConflict("127.0.0.1:5"),
    errors.ThreadCallsFull(1, 1),
    errors.WorkerFailed(1, "its on_start raised an error"),
    errors.ApplicationFailed("no database"),
    DriverUnavailable("uring", "EPERM"),
]


def test_there_is_an_example_of_every_exception() -> None:
    assert {type(error) for error in EXAMPLES} == set(exception_classes().values())


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_the_text_of_an_exception_is_a_sentence_and_its_repr_shows_it(error: VespiaryError) -> None:
    text = str(error)
    assert text.isprintable()
    assert not re.search(r"\b1 \w+s\b|\(\(|<.* object|CloseReason|None", text), text
    assert not text.endswith((".", ":", " "))
    assert repr(error) == f"{type(error).__name__}({text!r})"


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_the_attributes_of_an_exception_are_documented(error: VespiaryError) -> None:
    texts = " ".join(cls.__doc__ or "" for cls in type(error).__mro__)
    for name in vars(error):
        assert re.search(rf"\b{name}\b", texts.partition("Attributes:")[2]), name


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_exception_survives_pickling_and_copying(error: VespiaryError) -> None:
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)


def test_a_full_write_queue_says_what_to_do_and_has_its_facts() -> None:
    error = WriteQueueFull(10, 5, "127.0.0.1:5")
    assert (error.queued_bytes, error.write_bytes_max, error.address) == (10, 5, "127.0.0.1:5")
    assert "await connection.drain()" in str(error)


def test_a_message_that_can_never_fit_is_not_told_to_wait() -> None:
    error = WriteQueueFull(0, 100, "127.0.0.1:5", 200)
    assert error.message_bytes == 200
    assert "200 bytes" in str(error)
    assert "raise the limit" in str(error)
    assert "send_part" in str(error)
    assert "drain() between sends" not in str(error)


def test_a_refused_handshake_names_the_server_and_its_status() -> None:
    told = str(HandshakeRefused(403, "members only", "127.0.0.1:5"))
    assert told == "127.0.0.1:5 refused the handshake with HTTP status 403: members only"


def test_a_receive_conflict_says_what_to_do() -> None:
    assert "asyncio.Queue" in str(ReceiveConflict())


def test_an_unavailable_driver_names_itself_and_the_way_out() -> None:
    told = str(DriverUnavailable("uring", "EPERM"))
    assert "'uring' does not work here: EPERM" in told
    assert "VESPIARY_DRIVER" in told


HOSTILE = "\x1b[2K\n2026-01-01 ERROR forged\r\u2028\x85\u202e\x00\x7f\x9b"


def test_a_peers_words_are_one_printable_line_in_every_text_and_raw_in_the_attributes() -> None:
    reason = CloseReason("remote", "broken", 1011, HOSTILE)
    step = errors.Redirect(HOSTILE, 302, HOSTILE)
    fields = ((HOSTILE, HOSTILE),)
    ended = ConnectionClosed.from_reason(reason, HOSTILE)
    values: list[object] = [
        reason,
        step,
        ended,
        *(cls(reason, HOSTILE) for cls in (LocalClosed, LocalError, RemoteClosed, RemoteError)),
        HandshakeRefused(503, HOSTILE, HOSTILE, fields, HOSTILE.encode(), (step,)),
        errors.RedirectRefused(302, HOSTILE, HOSTILE, fields, b"", (step,)),
        errors.ProxyRefused(502, HOSTILE, HOSTILE),
        SendRefused(HOSTILE, HOSTILE),
        WriteQueueFull(1, 2, HOSTILE),
        ReceiveConflict(HOSTILE),
    ]
    for value in values:
        assert str(value).isprintable(), value
        assert "forged" in str(value)
    assert ended.reason.text == ended.address == HOSTILE


def test_the_text_of_a_redirect_has_no_password_that_the_server_put_into_it() -> None:
    step = errors.Redirect("ws://h/", 302, "ws://user:s3cr3t@h/")
    assert str(step) == "ws://h/ redirected to 'ws://h/' with HTTP status 302"
    assert "s3cr3t" in step.location
