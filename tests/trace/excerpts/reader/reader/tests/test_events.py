import pytest

from .._events import Request
from .._fields import ProtocolError


def test_events():
    with pytest.raises(ProtocolError):
        Request(method=b"GET", target=b"/", fields=[])

    # HTTP/1.0 needs no Host.
    request = Request(method=b"GET", target=b"/", fields=[], version=b"1.0")
    assert request.fields == []

    with pytest.raises(ProtocolError):
        Request(method=b"GET", target=b"/", fields=[(b"Host", b"a"), (b"Host", b"a")])

    request = Request(method=b"GET", target=b"/", fields=[(b"Host", b"a")])
    assert request.fields == [(b"host", b"a")]
