"""Sizes and spans of time as options: `64KiB`, `250ms`."""

import re

import click

__all__ = ["SIZE", "SPAN"]

_SIZE_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_SPAN_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


class _Size(click.ParamType[int]):
    name = "size"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        match = re.fullmatch(r"(\d+) *([kmg]?)(?:i?b)?", str(value).lower(), re.ASCII)
        if match is None:
            self.fail(f"{value!r} is not a size such as 1000, 64KiB or 2MiB", param, ctx)
        return int(match[1]) * _SIZE_UNITS[match[2]]


class _Span(click.ParamType[float]):
    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        pattern = r"(\d+\.?\d*|\.\d+) *(ms|s|m|min|h)?"
        match = re.fullmatch(pattern, str(value).lower(), re.ASCII)
        if match is None:
            self.fail(f"{value!r} is not a time such as 10, 250ms, 5s or 2min", param, ctx)
        return float(match[1]) * _SPAN_UNITS[match[2] or ""]


SIZE = _Size()
SPAN = _Span()
