"""Applications of other interfaces on Vespiary's endpoints: ASGI 3 and WSGI (PEP 3333)."""

from vespiary.http.asgi import ASGI
from vespiary.http.wsgi import WSGI

__all__ = ["ASGI", "WSGI"]
