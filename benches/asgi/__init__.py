"""Measures ASGI and WSGI servers side by side."""
