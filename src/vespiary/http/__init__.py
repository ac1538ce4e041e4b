"""Hosts on Vespiary's endpoints: ASGI 3 and WSGI (PEP 3333) applications, and files of a folder."""

from vespiary.http.asgi import ASGI
from vespiary.http.static import StaticFiles
from vespiary.http.wsgi import WSGI

__all__ = ["ASGI", "WSGI", "StaticFiles"]
