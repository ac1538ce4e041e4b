import pytest

from .._fields import ProtocolError, decoded, normalized


def test_unfolded():
    lines = [b"aaa: 1", b"\t two", b"bbb: 3"]
    assert decoded(lines) == [(b"aaa", b"1 two"), (b"bbb", b"3")]


@pytest.mark.parametrize("line", [b" folded: at the beginning", b"\tso"])
def test_unusual(line):
    with pytest.raises(ProtocolError):
        decoded([line, b"a: b"])


def test_space_before_the_colon():
    with pytest.raises(ProtocolError) as refused:
        decoded([b"a : b"])
    assert "illegal header line" in str(refused.value)


def test_normalized():
    assert normalized([(b"Content-Length", b"1, 1")]) == [(b"content-length", b"1")]
    assert normalized([(b"Content-Length", b"1")] * 2) == [(b"content-length", b"1")]
    for lengths in ([b"1, 2"], [b"1", b"2"]):
        with pytest.raises(ProtocolError):
            normalized([(b"Content-Length", length) for length in lengths])
    with pytest.raises(ProtocolError) as refused:
        normalized([(b"Transfer-Encoding", b"gzip")])
    assert refused.value.status == 501
