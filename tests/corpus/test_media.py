"""Every item of the media corpus: ffprobe is asked inside its fence, the document is valid, and boxes tell no lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from src.containers.boxes import is_whole
from src.watcher import RecordingFiles
from tests.contract.test_recordings import seen
from tests.corpus.asking import asked, calls_nobody, opens_no_fifo
from tests.corpus.media import CANARY, FASTSTART, FRAGMENTED, MEDIA, ORDINARY, Media, playlists

pytestmark = [pytest.mark.ffmpeg, pytest.mark.timeout(120)]


def test_there_are_as_many_as_promised() -> None:
    assert len({media.what for media in MEDIA}) == len(MEDIA) >= 60


@pytest.mark.parametrize("media", MEDIA, ids=str)
async def test_ffprobe_says_what_it_can_within_its_limits_and_the_document_is_valid(
    media: Media, tmp_path: Path
) -> None:
    (tmp_path / "x.mp4").write_bytes(media.make())
    found = await asked(tmp_path)
    assert media.described in (None, found.error is None), found


@pytest.mark.parametrize("media", MEDIA, ids=str)
async def test_its_boxes_are_walked_once_and_only_a_file_that_ends_with_them_is_whole(
    media: Media, tmp_path: Path
) -> None:
    body = media.make()
    reads: list[tuple[int, int]] = []

    def read(offset: int, count: int) -> bytes:
        reads.append((offset, count))
        return body[offset : offset + count]

    assert is_whole(read, len(body)) == media.whole
    offsets = [offset for offset, _ in reads]
    assert offsets == sorted(set(offsets)), "it goes on, never back, and never stays"
    assert all(count <= 16 for _, count in reads)
    assert len(reads) <= 1 + len(body) // 8
    assert not (media.whole and is_whole(read, len(body) + 1)), "a byte that is promised and not there"

    (tmp_path / "x.mp4").write_bytes(body)
    files = RecordingFiles(tmp_path, in_memory_limit=1)
    assert await files.is_whole("x.mp4", (await seen(files, "x.mp4")).identity, len(body)) == media.whole
    await files.close()


def test_the_films_that_all_this_is_made_of_are_whole() -> None:
    for film in (ORDINARY, FASTSTART, FRAGMENTED):
        assert is_whole(lambda offset, count, film=film: film[offset : offset + count], len(film))  # type: ignore[misc]


# --- Texts that lead to other files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("what", playlists("x:1"))
async def test_no_text_makes_it_open_a_file_beside_it(what: str, tmp_path: Path) -> None:
    fifo = tmp_path / f"{CANARY}.mp4"
    await opens_no_fifo(fifo, {target: playlists(target)[what] for target in (str(fifo), fifo.name)})


@pytest.mark.parametrize("what", playlists("x:1"))
async def test_no_text_makes_it_call_anybody(what: str, tmp_path: Path) -> None:
    await calls_nobody(tmp_path, lambda address: playlists(address)[what])


@pytest.mark.parametrize("what", playlists("x:1"))
async def test_no_text_shows_what_another_file_holds(what: str, tmp_path: Path) -> None:
    """Neither the other film's duration and streams nor a text of its own."""
    (tmp_path / "film.mp4").write_bytes(ORDINARY)
    (tmp_path / "secret").write_text(f"{CANARY}\n")
    for target in ("film.mp4", str(tmp_path / "secret")):
        (tmp_path / "x.mp4").write_bytes(playlists(target)[what])
        found = await asked(tmp_path)
        if what != "tracks in another file":  # whose own index tells its duration
            assert (found.duration_seconds, found.streams) == (None, ())
