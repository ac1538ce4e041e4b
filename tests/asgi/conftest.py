"""Tests of ASGI and WSGI applications, in coroutines over loopback sockets, on each driver."""

from pathlib import Path

import pytest

from tests.api.conftest import certificates as certificates
from tests.api.conftest import driver as driver
from tests.api.conftest import loop as loop
from tests.api.conftest import pytest_pyfunc_call as pytest_pyfunc_call
from tests.api.conftest import tls as tls
from tests.api.conftest import trusting as trusting

from .folders import filled


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with files to be served, in which nothing else is; there is a secret beside it."""
    return filled(tmp_path)
