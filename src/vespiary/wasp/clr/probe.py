"""The program that `vespiary check` starts to load a managed plug-in, and to find its class.

Standard input has the plug-in, pickled. What is wrong is the one line on standard error.
"""

from __future__ import annotations

import pickle
import subprocess
import sys

from vespiary.errors import ConfigurationError
from vespiary.wasp.clr.assemblies import Managed
from vespiary.wasp.clr.runtime import Loaded

__all__ = ["main", "probe"]

_PROBE_SECONDS = 120
_LINES_MAX = 20


def probe(managed: Managed) -> None:
    """Load a plug-in in a process of its own, and find its class.

    Raises:
        ConfigurationError: it cannot be loaded.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", __name__],
            input=pickle.dumps(managed),
            capture_output=True,
            timeout=_PROBE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        text = f"loading it has not ended after {_PROBE_SECONDS} seconds"
        raise ConfigurationError(f"{managed.reference}: {text}", subject="plugin") from None
    if done.returncode == 0:
        return
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    text = "\n".join(lines[:_LINES_MAX]) or f"loading it ended with exit code {done.returncode}"
    raise ConfigurationError(text, subject="plugin")


def main() -> None:
    """Load what comes on standard input."""
    managed: Managed = pickle.load(sys.stdin.buffer)
    try:
        managed.chosen(Loaded(managed).names())
    except ConfigurationError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
