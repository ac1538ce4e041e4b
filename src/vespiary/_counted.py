"""Numbers of things, in words."""

__all__ = ["counted"]


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun, in the singular for 1: `1 task`, `1,000 tasks`.

    Args:
        count: The number.
        noun: What there is one of; words may follow it where `plural` has them too.
        plural: What there are several of; default: the noun with an s.
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
