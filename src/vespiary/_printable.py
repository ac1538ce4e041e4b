"""Texts of peers, made fit for one line of a log or of an error."""

__all__ = ["escaped"]


def escaped(text: str) -> str:
    """A peer's text for one line: control characters are written as escapes."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )
