"""Sizes and spans of time as options: `64KiB`, `250ms`."""

import click

from vespiary.prove.quantities import parse_seconds, parse_size

__all__ = ["SIZE", "SPAN"]


class _Size(click.ParamType[int]):
    name = "size"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        try:
            return parse_size(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _Span(click.ParamType[float]):
    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            return parse_seconds(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


SIZE = _Size()
SPAN = _Span()
