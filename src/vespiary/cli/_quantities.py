"""Sizes, spans of time and rates as options: `64KiB`, `250ms`, `1000:10s`."""

import click

from vespiary.prove.quantities import parse_seconds, parse_size

__all__ = ["SIZE", "SPAN", "STEP"]


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


class _Step(click.ParamType[tuple[float, float]]):
    name = "rate:time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float]:
        if isinstance(value, tuple):
            return value
        rate, _, span = str(value).partition(":")
        try:
            return float(rate), parse_seconds(span)
        except ValueError:
            self.fail(f"{value!r} is not a rate and its time, such as 1000:10s", param, ctx)


SIZE = _Size()
SPAN = _Span()
STEP = _Step()
