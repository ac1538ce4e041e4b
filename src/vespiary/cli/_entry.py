"""Where the command `vespiary` begins.

The modules of a command take some tenths of a second to import. An interrupt during this time ends
the command as a later one does: with one line, and not with a traceback.
"""

import os
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    try:
        from vespiary.cli.main import main as run

        run()
    except KeyboardInterrupt:
        os.write(2, b"vespiary: interrupted\n")
        sys.exit(130)
