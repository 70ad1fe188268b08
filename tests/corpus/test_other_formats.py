"""Broken files of the other formats: no crash, no wait, no wrong number; and nothing opens another file."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from src.containers import MediaClock, is_whole, read_film
from tests.corpus.asking import asked, calls_nobody, opens_no_fifo
from tests.corpus.media import CANARY, ORDINARY
from tests.corpus.other_formats import BROKEN, SECONDS, Broken, live_mkv, m2ts, mkv, mov, ts, webm, with_references

pytestmark = [pytest.mark.ffmpeg, pytest.mark.timeout(120)]

#: A wrong duration is wrong by more.
TOLERANCE = 0.5
GOOD = {"mkv": mkv, "webm": webm, "ts": ts, "m2ts": m2ts, "mov": mov, "live mkv": live_mkv}


def test_there_are_as_many_as_promised() -> None:
    assert len({one.what for one in BROKEN}) == len(BROKEN) >= 60


@pytest.mark.parametrize("name", GOOD)
async def test_the_films_that_all_this_is_made_of_are_described(name: str, tmp_path: Path) -> None:
    body = GOOD[name]()
    (tmp_path / "x.mp4").write_bytes(body)
    found = await asked(tmp_path)
    if name == "live mkv":
        assert found.error == "its header tells no duration: it was not closed, or written as a live stream"
    else:
        assert found.duration_seconds == pytest.approx(SECONDS, abs=0.1)
        assert found.remarks == ()
    assert {stream.kind for stream in found.streams} == {"video", "audio"}
    (picture,) = (stream for stream in found.streams if stream.kind == "video")
    assert (picture.width, picture.height, picture.frame_rate) == (160, 120, 25.0)
    read = lambda offset, count: body[offset : offset + count]  # noqa: E731
    assert is_whole(read, len(body)) == (name in ("mkv", "webm", "mov"))
    clock = MediaClock()
    clock.walk(read, len(body))
    counted = clock.seconds(0, len(body))
    assert counted is None if name == "mov" else counted == pytest.approx(SECONDS, abs=0.2)


@pytest.mark.parametrize("broken", BROKEN, ids=str)
async def test_nothing_that_is_broken_is_described_with_a_wrong_number(broken: Broken, tmp_path: Path) -> None:
    body = broken.make()
    reads = 0

    def read(offset: int, count: int) -> bytes:
        nonlocal reads
        reads += 1
        assert offset >= 0 and 0 <= count <= 1 << 20
        return body[offset : offset + count]

    assert broken.whole in (None, is_whole(read, len(body)))
    assert not (broken.whole and is_whole(read, len(body) + 1)), "a byte that is promised and not there"
    film = read_film(read, len(body))
    clock = MediaClock()
    for size in (len(body) // 3, len(body) // 2, len(body)):
        for _ in range(20):
            clock.walk(lambda offset, count, end=size: read(offset, min(count, end - offset)), size)  # type: ignore[misc]
    assert reads < 60_000
    counted = clock.seconds(0, len(body))
    assert counted is None or (math.isfinite(counted) and counted >= 0.0)

    (tmp_path / "x.mp4").write_bytes(body)
    found = await asked(tmp_path)
    # An approximate one is only compared with ffprobe's.
    counted_alone = film.seconds if film and not film.is_approximate else None
    for told in (counted_alone, found.duration_seconds):
        assert told is None or told == pytest.approx(broken.seconds, abs=TOLERANCE)


# --- Films that name other files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", with_references("x:1"))
async def test_no_film_makes_it_open_a_file_beside_it(what: str, tmp_path: Path) -> None:
    fifo = tmp_path / f"{CANARY}.mkv"
    targets = (str(fifo), fifo.name, f"file:{fifo}")
    await opens_no_fifo(fifo, {target: with_references(target)[what] for target in targets})


@pytest.mark.parametrize("what", with_references("x:1"))
async def test_no_film_makes_it_call_anybody(what: str, tmp_path: Path) -> None:
    await calls_nobody(tmp_path, lambda address: with_references(address)[what])


@pytest.mark.parametrize("what", with_references("x:1"))
async def test_no_film_shows_what_another_file_holds(what: str, tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(ORDINARY + ORDINARY)
    for target in ("film.mp4", str(tmp_path / "film.mp4")):
        (tmp_path / "x.mp4").write_bytes(with_references(target)[what])
        found = await asked(tmp_path)
        has_its_own = what.startswith(("Matroska", "HLS behind a transport"))
        assert len([stream for stream in found.streams if stream.kind in ("video", "audio")]) == 2 * has_its_own
        assert found.duration_seconds in (None, pytest.approx(SECONDS, abs=0.1))
