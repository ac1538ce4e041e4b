"""Find out before a run, which may take an hour, whether its reports can be written."""

from pathlib import Path

from vespiary.errors import ConfigurationError

__all__ = ["check_writable"]


def check_writable(*paths: Path | None) -> None:
    """Check each file that is named.

    Raises:
        ConfigurationError: one cannot be written.
    """
    for path in filter(None, paths):
        try:
            is_new = not path.exists()
            with path.open("a"):
                pass
            if is_new:
                path.unlink()
        except OSError as error:
            raise ConfigurationError(
                f"{path} cannot be written: {error.strerror}; nothing was run", subject=str(path)
            ) from None
