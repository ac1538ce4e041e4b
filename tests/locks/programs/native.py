"""The library of mutexes, with the GIL given away while it is called, and with it kept."""

import ctypes
import os
from collections.abc import Callable

_path = os.environ["NATIVE"]

free = ctypes.CDLL(_path)
"""Its functions, called as most libraries are: without the GIL."""

held = ctypes.PyDLL(_path)
"""The same, called while it holds the GIL."""

_CALLBACK = ctypes.CFUNCTYPE(None)


def callback(function: Callable[[], None]) -> Callable[[], None]:
    """A function that the library can call; it takes the GIL for as long as it runs."""
    return _CALLBACK(function)
