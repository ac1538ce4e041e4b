import pytest

from .._bodies import ChunkedReader, LengthReader, framing, keeps_alive
from .._events import Data, EndOfMessage, Request, Response
from .._fields import ProtocolError


def read(reader, data):
    buffer, got = bytearray(data), []
    while not got or not isinstance(got[-1], EndOfMessage):
        got.append(reader.read(buffer))
    return got


def request(*fields, version=b"1.1"):
    return Request(b"GET", b"/", [(b"Host", b"a"), *fields], version)


CODED = (b"Transfer-Encoding", b"chunked")
LONG = (b"Content-Length", b"100")


def test_framing():
    assert framing(request()) == ("length", 0)
    assert framing(request(LONG)) == ("length", 100)
    assert framing(request(CODED)) == ("chunked", 0)
    assert framing(request(CODED, LONG)) == ("chunked", 0)
    assert framing(request(LONG, CODED)) == ("chunked", 0)
    assert framing(Response(200, [])) == ("until the end", 0)
    for status in (204, 304):
        assert framing(Response(status, [LONG])) == ("length", 0)
    for method in (b"HEAD", b"CONNECT"):
        assert framing(Response(204, [LONG]), method) == ("length", 0)


def test_length_reader():
    assert read(LengthReader(5), b"12345") == [Data(b"12345"), EndOfMessage([])]
    with pytest.raises(ProtocolError):
        LengthReader(5).read_eof()


class TestChunkedReader:
    def test_it(self):
        wire = b"5\r\n01234\r\n3;ext=1\r\n567\r\n0\r\nt: u\r\n\r\n"
        assert read(ChunkedReader(), wire) == [
            Data(b"01234"),
            Data(b"567"),
            EndOfMessage([(b"t", b"u")]),
        ]


@pytest.mark.parametrize(
    ("connection", "version", "kept"),
    [
        (b"keep-alive", b"1.1", True),
        (b"upgrade, close", b"1.1", False),
        (b"keep-alive", b"1.0", True),
        (b"upgrade", b"1.0", False),
    ],
    ids=["1.1", "1.1: closes", "1.0 [asks]", "1.0 / über"],
)
def test_keep_alive(connection, version, kept):
    assert keeps_alive(request((b"Connection", connection), version=version)) is kept
