"""The throughput of the last hour: samples, and the curve that is drawn of them. Pure.

Soon after a start the curve shows a shorter time, so that it can be read from the first minute on.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SAMPLE_SECONDS = 10.0
HOUR_SECONDS = 3600.0
#: How much time a curve shows: the first that has room for all samples. Their halves are round, too.
_SPANS = (240.0, 600.0, 1200.0, 2400.0, HOUR_SECONDS)
#: Size of the drawing. It is stretched to the width of its place.
WIDTH, HEIGHT = 360.0, 100.0
#: The least upper end of the scale, in bytes per second: noise is not drawn as a mountain.
_LEAST_SCALE = 125_000.0


@dataclass(frozen=True, slots=True)
class Sample:
    """Bytes per second at this moment (seconds on the monotonic clock)."""

    at: float
    recorded: float
    uploaded: float


class Throughput:
    """Keeps the samples of one hour."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=int(HOUR_SECONDS / SAMPLE_SECONDS) + 1)

    def take(self, sample: Sample) -> None:
        self._samples.append(sample)

    def samples(self) -> tuple[Sample, ...]:
        return tuple(self._samples)


@dataclass(frozen=True, slots=True)
class Curve:
    """Two SVG paths in a box of ``WIDTH`` by ``HEIGHT``, which is ``seconds`` wide and ``scale`` high (bytes per
    second)."""

    recorded: str
    uploaded: str
    seconds: float
    scale: float
    highest_recorded: float
    highest_uploaded: float


def curve(samples: Sequence[Sample], now: float) -> Curve | None:
    """The curve of the hour before ``now``, or of less; None with fewer than two samples."""
    shown = [each for each in samples if now - HOUR_SECONDS <= each.at <= now]
    if len(shown) < 2:
        return None
    recorded, uploaded = max(each.recorded for each in shown), max(each.uploaded for each in shown)
    scale = scale_of(max(recorded, uploaded))
    seconds = next(each for each in _SPANS if now - shown[0].at <= each)

    across = [f"{round(WIDTH * (1 - (now - each.at) / seconds), 1):g}" for each in shown]

    def path(rates: Iterable[float]) -> str:
        down = (f"{round(HEIGHT * (1 - each / scale), 1):g}" for each in rates)
        return "M" + "L".join(map(" ".join, zip(across, down, strict=True)))

    ground = f"V{HEIGHT:g}H{across[0]}Z"
    line, area = path(each.uploaded for each in shown), path(each.recorded for each in shown) + ground
    return Curve(area, line, seconds, scale, recorded, uploaded)


def scale_of(highest: float) -> float:
    """The next round number of bits per second, in bytes: 1, 2, 4 or 5 and zeros, with a half that is round, too."""
    bits = max(highest, _LEAST_SCALE) * 8
    unit = 10.0 ** math.floor(math.log10(bits))
    return next(round_number * unit for round_number in (1, 2, 4, 5, 10) if bits <= round_number * unit * 1.0001) / 8
