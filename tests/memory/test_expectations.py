"""Texts of expectations, and how a run compares with them."""

from pathlib import Path

import pytest

from vespiary.errors import ConfigurationError
from vespiary.prove.memory.expectations import (
    Expectation,
    Peak,
    SlopeMax,
    compare,
    learn,
    name_of,
    read,
)
from vespiary.prove.memory.trend import Slope, Trend

MIB = 1 << 20


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("180 MiB +-10 %", 162 * MIB, 198 * MIB),
        ("180MiB \N{PLUS-MINUS SIGN} 50%", 90 * MIB, 270 * MIB),
        ("100 MiB", 90 * MIB, 110 * MIB),
        ("< 1.5 GiB", 0, 1536 * MIB),
    ],
)
def test_a_peak_has_two_bounds(text: str, low: float, high: float) -> None:
    peak = Peak.parse(text)
    assert peak.low == pytest.approx(low)
    assert peak.high == pytest.approx(high)


@pytest.mark.parametrize(
    ("text", "bytes_max", "of_work"),
    [
        ("0", 0, False),
        ("< 1 KiB per 1000 messages", 1.024, True),
        ("1 KiB per 1,000 messages", 1.024, True),
        ("100 B per message", 100, True),
        ("2KiB/s", 2048, False),
        ("60 KiB per minute", 1024, False),
        ("<= 1 MiB per 2 hours", MIB / 7200, False),
    ],
)
def test_a_slope_is_per_time_or_per_unit_of_work(
    text: str, bytes_max: float, of_work: bool
) -> None:
    slope = SlopeMax.parse(text)
    assert slope.bytes_max == pytest.approx(bytes_max)
    assert slope.of_work is of_work


@pytest.mark.parametrize("text", ["", "much", "1 KiB", "1 KiB per", "per second", "-1 per second"])
def test_what_is_not_a_slope_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="is not a slope such as '0'"):
        SlopeMax.parse(text)


@pytest.mark.parametrize("text", ["", "10 %", "1 MiB +- much", "1 MiB +-10"])
def test_what_is_not_a_peak_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="is not a peak such as"):
        Peak.parse(text)


GROWS = Trend("grows", "", Slope(100, 90, 110), Slope(10, 9, 11))
FLAT = Trend("flat", "", Slope(1, -2, 3), Slope(0.1, -0.2, 0.3))
UNCLEAR = Trend("unclear", "why", Slope(1, -200, 300))
UNKNOWN = Trend("unclear", "too few")


@pytest.mark.parametrize(
    ("text", "trend", "result"),
    [
        ("0", GROWS, "above"),
        ("0", FLAT, "met"),
        ("0", UNCLEAR, "not judged"),
        ("0", UNKNOWN, "not judged"),
        ("120 B per second", GROWS, "met"),
        ("80 B per second", GROWS, "above"),
        ("100 B per second", GROWS, "not judged"),
        ("1 KiB per second", UNCLEAR, "met"),
        ("1 KiB per second", UNKNOWN, "not judged"),
        ("12 B per message", GROWS, "met"),
        ("8 B per message", GROWS, "above"),
        ("8 B per message", UNCLEAR, "not judged"),
    ],
)
def test_a_slope_is_compared_by_its_interval(text: str, trend: Trend, result: str) -> None:
    (found,) = compare(Expectation(slope=SlopeMax.parse(text)), 0, trend)
    assert found.result == result, found


@pytest.mark.parametrize(("peak", "result"), [(80, "below"), (95, "met"), (111, "above")])
def test_a_peak_is_compared_in_both_directions(peak: int, result: str) -> None:
    (found,) = compare(Expectation(peak=Peak.parse("100 MiB")), peak * MIB, FLAT)
    assert found.result == result


def test_what_is_learned_can_be_read_and_is_met(tmp_path: Path) -> None:
    file = tmp_path / "memory.toml"
    for name, trend in [("grows", GROWS), ("flat", FLAT), ('un"clear', UNCLEAR)]:
        learn(file, name, 100 * MIB, trend)
        expected = read(file)[name]
        assert {each.result for each in compare(expected, 100 * MIB, trend)} == {"met"}
    assert list(read(file)) == ["flat", "grows", 'un"clear']


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[a]\npeek = 1\n", "[\"a\"] has no 'peek': did you mean 'peak'?"),
        ('[a]\npeak = "big"\n', "[\"a\"]: 'big' is not a peak"),
        ('peak = "1 MiB"\n', "'peak' is outside of a table"),
        ("[a\n", "is not valid TOML"),
    ],
)
def test_a_mistake_in_the_file_names_the_table_and_what_to_write(
    tmp_path: Path, text: str, words: str
) -> None:
    file = tmp_path / "memory.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as error:
        read(file)
    assert words in str(error.value)
    assert str(file) in str(error.value)


def test_a_file_that_is_not_utf_8_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "memory.toml"
    file.write_bytes(b'["\xff"]\n')
    with pytest.raises(ConfigurationError, match=r"is not valid TOML: .*utf-8"):
        read(file)


def test_a_file_that_cannot_be_written_keeps_what_it_had(tmp_path: Path) -> None:
    path = tmp_path / "expected.toml"
    path.write_text('[one]\npeak = "1 MiB +-10 %"\n')
    (tmp_path / "expected.toml.new").mkdir()
    with pytest.raises(ConfigurationError, match="could not be written"):
        learn(path, "two", 1 << 20, FLAT)
    assert list(read(path)) == ["one"]


def test_a_name_that_is_not_utf_8_can_be_learned_and_found(tmp_path: Path) -> None:
    path = tmp_path / "expected.toml"
    name = name_of(None, ["echo", "\udcff"])
    learn(path, name, 1 << 20, FLAT)
    assert list(read(path)) == [name] == ["echo '\\udcff'"]
