"""One form for the help of all options: the text, and then `[repeatable; default: 8; 1 to 100]`.

And one form of errors for values that an option does not accept.
"""

import re
from typing import Any

import click

__all__ = ["Choice", "Command"]

_NOTES = re.compile(r"  \[([^\]]*)\]")
_RANGES = (
    (re.compile(r"x>=(\S+)"), r"at least \1"),
    (re.compile(r"x<=(\S+)"), r"at most \1"),
    (re.compile(r"(\S+)<=x<=(\S+)"), r"\1 to \2"),
)
_ORDER = ("repeatable", "required", "default: ")
_VALUES = {"INTEGER RANGE": "NUMBER", "INTEGER": "NUMBER", "FLOAT": "NUMBER"}


class Choice(click.Choice[str]):
    """One of several words. The error for another word suggests the nearest one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the word.

        Raises:
            BadParameter: it is not one of the choices.
        """
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            import difflib

            if near := difflib.get_close_matches(str(value), self.choices, n=1, cutoff=0.5):
                raise click.BadParameter(
                    f"{error.message} Did you mean {near[0]!r}?", ctx=ctx, param=param
                ) from None
            raise


class Command(click.Command):
    """Shows defaults and ranges of its options in one form."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the section of the options."""
        rows = []
        for parameter in self.get_params(ctx):
            # Arguments are described in the command's text.
            is_option = isinstance(parameter, click.Option)
            record = parameter.get_help_record(ctx) if is_option else None
            if record is not None:
                rows.append((_name(record[0]), _text(record[1], parameter)))
        with formatter.section("Options"):
            formatter.write_dl(rows)


def _name(words: str) -> str:
    """An option with what it takes."""
    for value, plain in _VALUES.items():
        words = words.replace(value, plain)
    return words


def _text(words: str, parameter: click.Parameter) -> str:
    """What an option does, and its notes between one pair of brackets at the end."""
    notes = [note for group in _NOTES.findall(words) for note in group.split("; ")]
    if getattr(parameter, "multiple", False):
        notes.append("repeatable")
    plain = sorted({_note(note): None for note in notes}, key=_rank)
    text = _NOTES.sub("", words)
    return f"{text}  [{'; '.join(plain)}]" if plain else text


def _note(note: str) -> str:
    for pattern, plain in _RANGES:
        if found := pattern.fullmatch(note):
            return found.expand(plain)
    # click writes a default that was given as a text in parentheses.
    return re.sub(r"^default: \((.*)\)$", r"default: \1", note)


def _rank(note: str) -> int:
    return next((rank for rank, word in enumerate(_ORDER) if note.startswith(word)), len(_ORDER))
