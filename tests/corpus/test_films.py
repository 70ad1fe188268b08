"""What is described of odd films is right, or null with a remark; and the same for both of the ffprobe programs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from src.domain import Probe
from tests.corpus.films import FILMS, GSTREAMER, TOLERANCE, Film
from tests.harness.probing import AnyFile

pytestmark = [pytest.mark.ffmpeg, pytest.mark.slow, pytest.mark.timeout(600)]


async def _described(film: Film, folder: Path) -> Probe:
    (folder / "x.mp4").write_bytes(film.make())
    return await AnyFile("ffprobe", folder, timeout_seconds=60.0).probe_any("x.mp4")


def _wrong(film: Film, found: Probe) -> list[str]:
    """What of the description is not as it must be."""
    wrong = []
    told = found.duration_seconds
    if (told is None) != (film.seconds is None) or (told and film.seconds and abs(told - film.seconds) > TOLERANCE):
        wrong.append(f"seconds: {told}, not {film.seconds} ({found.error})")
    if film.seconds is None and not found.error:
        wrong.append("no reason why there is no duration")
    if film.remark and not any(film.remark in remark for remark in found.remarks):
        wrong.append(f"remarks: {found.remarks}, none with {film.remark!r}")
    if film.seconds is not None and not film.remark and found.remarks:
        wrong.append(f"remarks: {found.remarks}")
    if film.streams and len(found.streams) != len(film.streams):
        wrong.append(f"{len(found.streams)} streams, not {len(film.streams)}")
    for number, (wanted, stream) in enumerate(zip(film.streams, found.streams, strict=False)):
        there = asdict(stream)
        for name, value in wanted.items():
            is_same = there[name] == (pytest.approx(value, rel=1e-3) if isinstance(value, float) else value)
            if not is_same:
                wrong.append(f"stream {number}: {name} is {there[name]!r}, not {value!r}")
    return wrong


async def test_every_odd_film_is_described_as_it_is(tmp_path: Path) -> None:
    assert len({film.what for film in FILMS}) == len(FILMS) >= 60 and len(GSTREAMER) == 7
    findings = {film.what: _wrong(film, await _described(film, tmp_path)) for film in FILMS}
    wrong = [f"{what}: {finding}" for what, these in findings.items() for finding in these]
    assert not wrong, "\n".join(wrong)
