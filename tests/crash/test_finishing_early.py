"""Where nobody writes any more and the file's boxes are complete, finishing does not wait for the quiet time."""

from __future__ import annotations

import pytest

from src.domain import Writers
from tests.harness.crash.scenes import PATH, lived, until
from tests.harness.crash.simulation import CHUNK, SCAN, TIMEOUT, Simulation


def _box(kind: bytes, size: int) -> bytes:
    return (size + 8).to_bytes(4, "big") + kind + bytes(size)


FILM = _box(b"ftyp", 4) + _box(b"mdat", 5 * CHUNK) + _box(b"moov", 0)
EARLY = 2.0 + 2 * SCAN


def _seconds_until_stored(simulation: Simulation, since: float) -> float:
    modified = simulation.store.objects[PATH].modified_at
    return modified.timestamp() - simulation.clock.utc_now().timestamp() + simulation.clock.monotonic() - since


def _stored_after(
    film: bytes,
    writers: Writers,
    *,
    min_age: float = 0.0,
    closes_after: float | None = None,
    finish_early: float | None = 2.0,
) -> float:
    """Seconds from the last byte to the object."""
    seconds: list[float] = []

    async def script(simulation: Simulation) -> None:
        object.__setattr__(simulation.rhythm, "min_age", min_age)
        object.__setattr__(simulation.rhythm, "finish_early", finish_early)
        since = simulation.clock.monotonic()
        simulation.disk.write(PATH, film)
        simulation.disk.files[PATH].writers = writers
        if closes_after is not None:
            await simulation.disk.pause(closes_after)
            simulation.disk.files[PATH].writers = Writers.NONE
        await until(lambda: PATH in simulation.store.objects, "the object")
        seconds.append(_seconds_until_stored(simulation, since))

    simulation = lived(script)
    assert simulation.problems() == []
    return seconds[0]


def test_a_closed_and_complete_film_is_there_after_two_quiet_seconds() -> None:
    assert 2.0 <= _stored_after(FILM, Writers.NONE) <= EARLY


def test_a_film_that_is_closed_later_is_there_soon_after() -> None:
    assert 10.0 <= _stored_after(FILM, Writers.PRESENT, closes_after=10.0) <= 10.0 + EARLY


@pytest.mark.parametrize("writers", [Writers.PRESENT, Writers.UNKNOWN])
def test_without_proof_that_nobody_writes_the_quiet_time_must_pass(writers: Writers) -> None:
    assert _stored_after(FILM, writers) >= TIMEOUT


def test_a_film_without_its_index_must_wait() -> None:
    assert _stored_after(FILM[:-8], Writers.NONE) >= TIMEOUT


def test_a_film_below_its_smallest_age_must_wait() -> None:
    assert _stored_after(FILM, Writers.NONE, min_age=20.0) >= 20.0


def test_a_writer_that_comes_during_the_seal_is_waited_for() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, FILM)
        simulation.disk.files[PATH].writers = Writers.NONE

        def opened(path: str, _: object) -> None:
            simulation.disk.on_read = None
            simulation.disk.files[path].writers = Writers.PRESENT

        simulation.disk.on_read = opened
        await simulation.disk.pause(TIMEOUT / 2)
        assert PATH not in simulation.store.objects
        simulation.disk.patch(PATH, 20, b"\1\2\3")
        simulation.disk.files[PATH].writers = Writers.NONE

    simulation = lived(script)
    assert simulation.problems() == []
    assert simulation.store.count("complete_upload", PATH) == 1


def test_a_film_that_went_on_after_its_completion_has_its_whole_quiet_time() -> None:
    stored_at: list[float] = []

    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, FILM)
        simulation.disk.files[PATH].writers = Writers.NONE
        await until(lambda: PATH in simulation.store.objects, "the object")
        await simulation.disk.pause(TIMEOUT)
        before, since = simulation.store.objects[PATH].etag, simulation.clock.monotonic()
        simulation.disk.append(PATH, _box(b"free", 3))
        await until(lambda: simulation.store.objects[PATH].etag != before, "the object, up to date")
        stored_at.append(simulation.clock.monotonic() - since)

    assert lived(script).problems() == []
    assert stored_at[0] >= 2 * TIMEOUT


# --- What proves an end, and what does not --------------------------------------------------------------------

HEAD = _box(b"ftyp", 4) + (8 + 16).to_bytes(4, "big") + b"moov" + _box(b"mvex", 8)
FRAGMENT = _box(b"moof", 20) + _box(b"mdat", 2 * CHUNK)
INDEX = _box(b"mfra", 16)


def _appended_every(seconds: float, times: int, last: bytes = b"") -> tuple[float, int]:
    """A recorder that opens its file, appends a whole fragment and closes it, every so many seconds.

    Returns the seconds from its last write to the object, and the number of completions.
    """
    taken: list[float] = []

    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, HEAD + FRAGMENT)
        simulation.disk.files[PATH].writers = Writers.NONE
        for turn in range(times):
            await simulation.disk.pause(seconds)
            simulation.disk.append(PATH, FRAGMENT + (last if turn == times - 1 else b""))
        since = simulation.clock.monotonic()
        whole = len(simulation.disk.files[PATH].data)
        await until(lambda: PATH in simulation.store.objects, "the object")
        assert len(simulation.store.objects[PATH].data) == whole, "an object of half of the recording"
        taken.append(_seconds_until_stored(simulation, since))

    simulation = lived(script)
    assert simulation.problems() == []
    return taken[0], simulation.store.count("complete_upload", PATH)


@pytest.mark.parametrize("last", [b"", INDEX], ids=["no index at the end", "an index at the end"])
def test_a_recorder_that_closes_after_each_fragment_has_one_completion(last: bytes) -> None:
    seconds, completions = _appended_every(4.0, 5, last)
    assert completions == 1
    assert TIMEOUT <= seconds <= TIMEOUT + EARLY


def test_a_fragmented_film_without_an_index_at_its_end_must_wait() -> None:
    assert _stored_after(HEAD + FRAGMENT * 3, Writers.NONE) >= TIMEOUT


def test_a_fragmented_film_with_an_index_at_its_end_is_there_after_two_quiet_seconds() -> None:
    assert _stored_after(HEAD + FRAGMENT * 3 + INDEX, Writers.NONE) <= EARLY


@pytest.mark.parametrize("early", [0.5, 7.0, 20.0])
def test_the_quiet_time_of_a_proved_end_can_be_chosen(early: float) -> None:
    assert early <= _stored_after(FILM, Writers.NONE, finish_early=early) <= early + 2 * SCAN + 2.0


def test_without_an_early_end_every_recording_waits_for_the_quiet_time() -> None:
    assert _stored_after(FILM, Writers.NONE, finish_early=None) >= TIMEOUT


def test_a_film_that_is_renamed_while_it_waits_is_not_opened_again() -> None:
    async def script(simulation: Simulation) -> None:
        object.__setattr__(simulation.rhythm, "min_age", 12.0)
        simulation.disk.write(PATH, FILM)
        simulation.disk.files[PATH].writers = Writers.NONE
        await simulation.disk.pause(8.0)
        simulation.disk.rename(PATH, "cam/take 2.mp4")
        since = simulation.clock.monotonic()
        await until(lambda: PATH in simulation.store.objects, "the object")
        assert simulation.clock.monotonic() - since < TIMEOUT / 2

    assert lived(script).problems() == []
