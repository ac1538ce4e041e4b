"""An address that the kernel refuses: the error says what to do about it."""

import errno

import pytest

from vespiary import Handler
from vespiary._listening_errors import explained
from vespiary._site import Site


@pytest.mark.parametrize(
    ("url", "remedies"),
    [
        (
            "ws://0.0.0.0:80",
            ("another port", "proxy", "CAP_NET_BIND_SERVICE", "ip_unprivileged_port_start"),
        ),
        ("unix:///run/x.sock", ("a file in /run", "another folder", "permissions")),
    ],
)
def test_a_forbidden_address_is_reported_with_what_to_do(
    url: str, remedies: tuple[str, ...]
) -> None:
    site = Site.make(Handler(), url, {})
    text = str(explained(PermissionError(errno.EACCES, "Permission denied"), site))
    assert f"cannot listen on {site.url}: Permission denied (" in text
    for remedy in remedies:
        assert remedy in text
