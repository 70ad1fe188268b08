"""Numbers, times and names as people read them, at each boundary."""

from __future__ import annotations

import math

import pytest

from src.status import count, name, rate, shortened, size, span


@pytest.mark.parametrize(
    ("number", "text"),
    [
        *((-1, "0 B"), (0, "0 B"), (1, "1 B"), (999, "999 B"), (1000, "1 kB"), (1049, "1 kB"), (1050, "1.1 kB")),
        *((99_900, "99.9 kB"), (99_960, "100 kB"), (999_400, "999 kB"), (999_500, "1 MB"), (2_140_000_000, "2.1 GB")),
        *((10**12, "1 TB"), (10**15, "1 PB"), (5 * 10**18, "5000 PB")),
    ],
)
def test_a_size_has_two_or_three_digits_and_its_unit(number: float, text: str) -> None:
    assert size(number) == text


@pytest.mark.parametrize(
    ("bits", "text"),
    [
        *((-8, "0 bit/s"), (0, "0 bit/s"), (999, "999 bit/s"), (999.5, "1 kbit/s"), (640_000, "640 kbit/s")),
        *((999_000, "999 kbit/s"), (999_500, "1 Mbit/s"), (18_200_000, "18.2 Mbit/s"), (999_500_000, "1 Gbit/s")),
        *((99_940_000, "99.9 Mbit/s"), (99_950_000, "100 Mbit/s"), (25e9, "25 Gbit/s")),
    ],
)
def test_a_rate_is_in_bits_per_second(bits: float, text: str) -> None:
    assert rate(bits / 8) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((-5, "0 s"), (0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min"), (60, "1 min"), (89, "1 min"), (91, "2 min")),
        *((3569, "59 min"), (3571, "1 h"), (3600, "1 h"), (3660, "1 h 1 min"), (12_000, "3 h 20 min")),
        *((9 * 3600 + 60, "9 h 1 min"), (10 * 3600 + 60, "10 h"), (86_340, "23 h"), (86_400, "1 d")),
        *((90_000, "1 d 1 h"), (9 * 86_400 + 3600, "9 d 1 h"), (10 * 86_400 + 3600, "10 d"), (math.inf, "never")),
    ],
)
def test_a_time_has_at_most_two_units(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_a_count_has_its_noun_in_one_or_many() -> None:
    assert [count(number, "file") for number in (0, 1, 2, 1200)] == ["0 files", "1 file", "2 files", "1,200 files"]
    assert [count(number, "is", "are") for number in (1, 2)] == ["1 is", "2 are"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        *(("a/ü 日.mp4", "a/ü 日.mp4"), ("a\nb\rc\td", "a\\nb\\rc\\td"), ("\x00\x1f\x7f", "\\x00\\x1f\\x7f")),
        *(("\x9f\xad", "\\x9f\\xad"), ("\xff", "ÿ"), ("\u200b\u202e\uffff", "\\u200b\\u202e\uffff")),
        *(("\udc80\udcff", "\\x80\\xff"), ("\udc7f\udd00", "\\udc7f\\udd00"), ("\U000e0041", "\\U000e0041")),
    ],
)
def test_what_cannot_be_seen_in_a_name_is_an_escape(path: str, text: str) -> None:
    assert name(path) == text


def test_only_a_very_long_name_loses_its_middle_and_no_accent_its_letter() -> None:
    longest = "a" * 50 + "b" * 50
    assert shortened(longest) == longest
    assert shortened(longest + "c") == "a" * 48 + "…" + "b" * 47 + "c"
    accents = "a" * 60 + "e" + "\u0301" * 20 + "z" * 30
    assert shortened(accents) == "a" * 48 + "…" + "z" * 30
    assert shortened("a" + "\u0301" * 200) == "a" + "\u0301" * 47 + "…"
