"""Sizes and times: what is too large for the programs that get them is refused, and says so."""

import pytest

from vespiary.prove.quantities import parse_seconds, parse_size


@pytest.mark.parametrize("text", ["9" * 400, "9" * 20, "5000000T"])
def test_a_size_that_no_number_of_64_bits_holds_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"too large: at most 4194304TiB"):
        parse_size(text)
    assert parse_size("4194304TiB") == 1 << 62


@pytest.mark.parametrize("text", ["9" * 400, "9" * 20, "300000h"])
def test_a_time_that_no_clock_holds_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"too long: at most 1000000000s"):
        parse_seconds(text)
    assert parse_seconds("277777h") == 277_777 * 3600
