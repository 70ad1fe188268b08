"""What follows from a hint, case by case: with the real books and queues, and without one of the cases.

Each scene sets the books and the folder up, lets one path be looked at, and says what must have become of them. The
same scene must fail when the case that it is about does not exist.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import pytest

from src.dispatcher import sightings
from src.dispatcher.hints import Hints
from src.dispatcher.newcomers import Newcomers
from src.dispatcher.register import Register, Settled, Stream
from src.dispatcher.sightings import Case
from src.domain import Holding, Observation, Snapshot, moments
from src.exceptions import ChunkProcessingError
from tests.harness.crash.scenes import heard, until
from tests.harness.crash.simulation import Simulation
from tests.harness.crash.virtual_time import run
from tests.harness.numbered_cases import WithoutCase, demand_missed, without_each_case

DAY = 86_400
M = TypeVar("M", bound=moments.Moment)


class Carrier:
    """What a processor would be told."""

    def __init__(self) -> None:
        self.hints = 0
        self.renames: list[str] = []

    def hint(self) -> None:
        self.hints += 1

    def renamed(self, path: str) -> None:
        self.renames.append(path)


class Stage:
    """A folder, the books, the queues of newcomers, and the hints between them."""

    def __init__(self) -> None:
        self.simulation = Simulation()
        self.disk = self.simulation.disk
        self.register = Register()
        self.newcomers = Newcomers(began_ns=0)
        self.hints = Hints(self.simulation._world(), self.register, self.newcomers)

    async def seen(self, path: str) -> Snapshot:
        found = await self.disk.snapshot(path)
        assert found is not None
        return found

    async def carried(self, path: str, size: int = 100) -> tuple[Stream, Carrier]:
        """A file of which a recording is living, its newest stat known."""
        self.disk.write(path, bytes(size))
        snapshot, carrier = await self.seen(path), Carrier()
        stream = Stream(path, snapshot.identity, snapshot, processor=carrier)  # type: ignore[arg-type]
        self.register.add(stream)
        return stream, carrier

    async def old(self, path: str) -> Snapshot:
        """A file that nobody has written to for a day."""
        self.disk.write(path, bytes(100))
        self.disk.files[path].mtime_ns -= DAY * 10**9
        return await self.seen(path)

    async def looked_at(self, *paths: str) -> None:
        """Each is hinted at, and looked at before the next."""
        looking = asyncio.create_task(self.hints.look_at_all())
        for path in paths:
            self.hints.add(path)
            await asyncio.sleep(1)
            await until(lambda: looking.done() or not len(self.hints), "the look")
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        if not looking.cancelled():
            looking.result()  # what it raised

    def waiting(self) -> dict[str, list[str]]:
        return {name: list(queue.files) for name, queue in self.newcomers.queues.items() if queue.files}

    def told(self, kind: type[M]) -> list[M]:
        return heard(self.simulation, kind)


async def _gone(stage: Stage) -> None:
    seen = await stage.old("a.mp4")
    stage.register.settled["a.mp4"] = Settled(seen, "a.mp4")
    stage.register.left["a.mp4"] = Holding("a.mp4", seen, 0, 0)
    stage.newcomers.put_to_read("a.mp4", Observation(seen, 0.0), None)
    stage.disk.link("a.mp4", "b.mp4")
    stage.register.links.add("b.mp4")
    stage.disk.delete("a.mp4")
    await stage.looked_at("a.mp4")
    assert not stage.register.settled and not stage.register.left
    assert stage.waiting() == {"resting": ["b.mp4"]}, "the other name is all that is left of it"


async def _gone_while_carried(stage: Stage) -> None:
    stream, carrier = await stage.carried("a.mp4")
    stage.disk.delete("a.mp4")
    await stage.looked_at("a.mp4")
    assert (stream.seen, carrier.hints) == (None, 1)
    assert stage.register.by_path == {"a.mp4": stream}, "it may come back, or turn up under another name"


async def _its_own_path(stage: Stage) -> None:
    stream, carrier = await stage.carried("a.mp4")
    stream.waiting_paths.add("b.mp4")
    stage.disk.append("a.mp4", b"more")
    await stage.looked_at("a.mp4")
    assert stream.seen == await stage.seen("a.mp4")
    assert (carrier.hints, carrier.renames, stream.waiting_paths) == (1, [], {"b.mp4"})


async def _moved(stage: Stage) -> None:
    stream, carrier = await stage.carried("a.mp4")
    displaced, other = await stage.carried("b.mp4")
    stage.disk.rename("a.mp4", "b.mp4")
    await stage.looked_at("b.mp4")
    assert (stream.path, carrier.renames, stage.register.by_path) == ("b.mp4", ["b.mp4"], {"b.mp4": stream})
    assert (displaced.seen, displaced.waiting_paths, other.hints) == (None, {"b.mp4"}, 1)
    assert stage.told(moments.FileSkipped) == []


async def _link(stage: Stage) -> None:
    stream, carrier = await stage.carried("a.mp4")
    stage.disk.link("a.mp4", "b.mp4")
    await stage.looked_at("b.mp4", "b.mp4")
    assert (stream.path, carrier.hints, carrier.renames) == ("a.mp4", 0, [])
    assert [told.file_path for told in stage.told(moments.FileSkipped)] == ["b.mp4"]


async def _better_name(stage: Stage) -> None:
    stream, carrier = await stage.carried("b.mp4")
    stage.disk.link("b.mp4", "a.mp4")
    await stage.looked_at("a.mp4", "b.mp4")
    assert (stream.path, carrier.renames) == ("a.mp4", ["a.mp4"])
    assert [told.file_path for told in stage.told(moments.FileSkipped)] == ["b.mp4"]


async def _in_anothers_place(stage: Stage) -> None:
    stream, carrier = await stage.carried("a.mp4")
    stage.disk.replace("a.mp4", bytes(200))
    await stage.looked_at("a.mp4")
    assert (stream.waiting_paths, carrier.hints, stage.waiting()) == ({"a.mp4"}, 1, {})


async def _empty(stage: Stage) -> None:
    stage.disk.write("a.mp4", b"")
    await stage.looked_at("a.mp4", "a.mp4")
    assert (len(stage.told(moments.EmptyFile)), stage.waiting()) == (1, {})
    stage.disk.append("a.mp4", b"first")
    await stage.looked_at("a.mp4")
    assert stage.waiting() == {"fresh": ["a.mp4"]} and not stage.register.empty


async def _done(stage: Stage) -> None:
    seen = await stage.old("a.mp4")
    stage.register.settled["a.mp4"] = Settled(seen, "a.mp4")
    await stage.looked_at("a.mp4")
    assert stage.waiting() == {}


async def _waits_to_be_read(stage: Stage) -> None:
    for path in ("a.mp4", "b.mp4"):
        stage.newcomers.put_to_read(path, Observation(await stage.old(path), 0.0), None)
    await stage.looked_at("a.mp4")
    assert stage.waiting() == {"to_read": ["a.mp4", "b.mp4"]}


async def _changed_while_it_waited(stage: Stage) -> None:
    for path, put in (("a.mp4", stage.newcomers.put_to_read), ("b.mp4", None)):
        seen = await stage.old(path)
        if put is not None:
            put(path, Observation(seen, 0.0), None)
        await stage.looked_at(path)
        stage.disk.append(path, b"more")
        stage.disk.files[path].mtime_ns -= DAY * 10**9
        await stage.looked_at(path)
    assert stage.waiting() == {"fresh": ["a.mp4", "b.mp4"]}, "by their times they would lie ready"


async def _written_lately(stage: Stage) -> None:
    await stage.old("b.mp4")
    stage.disk.write("a.mp4", bytes(100))
    await stage.looked_at("b.mp4", "a.mp4")
    assert stage.waiting() == {"fresh": ["a.mp4"], "resting": ["b.mp4"]}


async def _lies_ready(stage: Stage) -> None:
    seen = await stage.old("a.mp4")
    stage.register.left["a.mp4"] = Holding("a.mp4", seen, 0, 0)
    await stage.looked_at("a.mp4")
    assert stage.waiting() == {"resting": ["a.mp4"]}
    assert stage.register.left == {}, "it is at risk as a file that waits, and not twice"


SCENES: dict[Case, Callable[[Stage], Awaitable[None]]] = {
    Case.GONE: _gone,
    Case.GONE_WHILE_CARRIED: _gone_while_carried,
    Case.ITS_OWN_PATH: _its_own_path,
    Case.MOVED: _moved,
    Case.LINK: _link,
    Case.BETTER_NAME: _better_name,
    Case.IN_ANOTHERS_PLACE: _in_anothers_place,
    Case.EMPTY: _empty,
    Case.DONE: _done,
    Case.WAITS_TO_BE_READ: _waits_to_be_read,
    Case.CHANGED_WHILE_IT_WAITED: _changed_while_it_waited,
    Case.WRITTEN_LATELY: _written_lately,
    Case.LIES_READY: _lies_ready,
}


def _play(case: Case) -> None:
    async def play() -> None:
        await SCENES[case](Stage())

    run(play())


@pytest.mark.parametrize("mutant", list(without_each_case(sightings, Case)), ids=str)
def test_what_follows_from_a_hint_needs_each_case(mutant: WithoutCase) -> None:
    case = Case(mutant.case.value)
    # A path where nothing is has no stat to decide by.
    demand_missed(mutant, partial(_play, case), *[AttributeError] * (case is Case.GONE))


def test_a_recording_that_ends_while_its_other_name_is_looked_at_is_taken_as_ended() -> None:
    """The books are read after the last look: the hint is about a file that is not carried any more."""

    async def play() -> None:
        stage = Stage()
        stream, carrier = await stage.carried("a.mp4")
        stage.disk.rename("a.mp4", "b.mp4")
        look = stage.disk.snapshot

        async def ending(path: str) -> Snapshot | None:
            if path == "a.mp4":
                stage.register.remove(stream)
            return await look(path)

        stage.disk.snapshot = ending  # type: ignore[method-assign]
        await stage.looked_at("b.mp4")
        assert (carrier.renames, stage.register.by_path, stage.waiting()) == ([], {}, {"fresh": ["b.mp4"]})

    run(play())


def test_a_file_that_was_shorter_for_a_moment_is_known_to_have_been_cut_though_the_next_look_failed() -> None:
    async def play() -> None:
        stage = Stage()
        stream, _ = await stage.carried("a.mp4")
        stream.proved = stream.seen
        stage.disk.rename("a.mp4", "b.mp4")
        stage.disk.truncate("b.mp4", 10)
        look = stage.disk.snapshot

        async def failing(path: str) -> Snapshot | None:
            if path == "a.mp4":
                stage.disk.append("b.mp4", bytes(1000))
                raise ChunkProcessingError("Permission denied", operation="stat")
            return await look(path)

        stage.disk.snapshot = failing  # type: ignore[method-assign]
        await stage.looked_at("b.mp4")
        assert (stream.proved, stream.path) == (None, "a.mp4")

    run(play())
