"""The curve of the last hour."""

from __future__ import annotations

import pytest

from src.page.throughput import HOUR_SECONDS, Sample, Throughput, curve, scale_of


def test_a_curve_needs_two_samples() -> None:
    assert curve([], 0) is None
    assert curve([Sample(0, 1, 1)], 0) is None


def test_the_hour_is_as_wide_as_the_drawing_and_the_scale_as_high() -> None:
    """1 MB/s is 8 Mbit/s; the next round number is 10."""
    found = curve([Sample(0, 1e6, 0), Sample(1800, 0.5e6, 1.25e6), Sample(3600, 0, 0)], 3600)
    assert found is not None
    assert (found.scale * 8, found.highest_recorded, found.highest_uploaded) == (1e7, 1e6, 1.25e6)
    assert found.recorded == "M0 20L180 60L360 100V100H0Z"
    assert found.uploaded == "M0 100L180 0L360 100"


@pytest.mark.parametrize(
    ("age", "seconds"),
    [(10, 240), (240, 240), (241, 600), (600, 600), (1000, 1200), (1201, 2400), (2401, 3600), (3600, 3600)],
)
def test_soon_after_a_start_the_curve_shows_a_shorter_time(age: float, seconds: float) -> None:
    found = curve([Sample(100, 0, 0), Sample(100 + age, 0, 0)], 100 + age)
    assert found is not None
    assert found.seconds == seconds
    left = round(360 * (1 - age / seconds), 1)
    assert found.uploaded == f"M{left:g} 100L360 100"
    assert found.recorded == f"M{left:g} 100L360 100V100H{left:g}Z"


def test_what_is_older_than_an_hour_is_forgotten_and_not_drawn() -> None:
    throughput = Throughput()
    for n in range(1000):
        throughput.take(Sample(n * 10.0, 1e6, 1e6))
    kept = throughput.samples()
    assert (kept[0].at, kept[-1].at, len(kept)) == (6390.0, 9990.0, 361)
    found = curve(kept, 9990.0 + HOUR_SECONDS / 2)
    assert found is not None and found.uploaded.startswith("M0 ") and found.uploaded.endswith("L180 20")


@pytest.mark.parametrize(
    ("bits", "scale"),
    [(0, 1e6), (999_999, 1e6), (1e6, 1e6), (1_000_200, 2e6), (3e6, 4e6), (4.1e6, 5e6), (7e6, 1e7), (9.9e9, 1e10)],
)
def test_the_scale_ends_at_the_next_round_number_of_bits(bits: float, scale: float) -> None:
    assert scale_of(bits / 8) * 8 == pytest.approx(scale)
