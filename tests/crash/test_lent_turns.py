"""Turns are lent while their parts are silent: within the same memory, and never at the cost of those who get on."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import count

import pytest

from src.domain import ChunkBody, Errand, Rhythm, StoredObject, StoredPart, current_errand, moments, on_errand
from src.slots import FairSlots
from tests.harness.crash.beside import SOON, live_beside, write
from tests.harness.crash.harm import HARMED, Kind
from tests.harness.crash.scenes import QUIET, heard, lived, settled, until
from tests.harness.crash.simulation import CHUNK, LIMITS, SCAN, TIMEOUT, Simulation
from tests.harness.crash.virtual_time import run
from tests.harness.fakes.store import FakeStore

pytestmark = pytest.mark.timeout(60)

SLOTS = 2
MANY = 8 * (SLOTS + 1)


class TimedStore(FakeStore):
    """Takes ``ask`` seconds for each request, and ``part`` for each part of what is called bad. Of such a part a byte
    is accepted every second, or none before the answer (``silently``)."""

    def __init__(self, *, ask: float = 0.0, part: float = 0.0, silently: bool = True) -> None:
        super().__init__(limits=LIMITS)
        self.ask = ask
        self.part = part
        self.silently = silently
        self.sent: Counter[tuple[str, int]] = Counter()

    async def _call(self, method: str, key: str) -> None:
        await super()._call(method, key)
        if method != "upload_part":
            await asyncio.sleep(self.ask)

    async def upload_part(self, key: str, upload_id: str, number: int, body: ChunkBody) -> StoredPart:
        self.sent[upload_id, number] += 1
        loop = asyncio.get_running_loop()
        answered_at = loop.time() + (self.part if key.startswith(HARMED) else self.ask)
        while (left := answered_at - loop.time()) > 0:
            await asyncio.sleep(left if self.silently else min(left, 1.0))
            if not self.silently:
                current_errand().heard(loop.time())
        return await super().upload_part(key, upload_id, number, body)


def _all_at_once(store: FakeStore, names: str, slots: int = SLOTS) -> Simulation:
    async def script(simulation: Simulation) -> None:
        for number in range(MANY):
            write(simulation, f"{names} {number}.mp4", 3 * CHUNK + number % 3, number)
        await settled(simulation)

    return lived(script, store=store, slots=slots, soon=None)


@pytest.mark.parametrize("slots", [1, SLOTS])
@pytest.mark.parametrize("seconds", [5.0, 12.0])
def test_on_a_store_that_is_slow_as_a_whole_nobody_is_ended_for_others(seconds: float, slots: int) -> None:
    store = TimedStore(ask=seconds)
    simulation = _all_at_once(store, "any", slots)
    assert simulation.problems() == []
    assert store.sent
    assert set(store.sent.values()) == {1}, "no part is sent twice"


@pytest.mark.parametrize("slots", [1, SLOTS])
def test_parts_that_get_on_slowly_are_sent_once_when_all_do(slots: int) -> None:
    store = TimedStore(part=9.0, silently=False)
    simulation = _all_at_once(store, HARMED, slots)
    assert simulation.problems() == []
    assert set(store.sent.values()) == {1}


@pytest.mark.parametrize("slots", [1, SLOTS])
def test_parts_that_every_recording_waits_long_for_are_all_stored(slots: int) -> None:
    """Small requests are fast, so that nobody knows before how long a part takes: some are sent again until it is."""
    store = TimedStore(part=25.0)
    simulation = _all_at_once(store, HARMED, slots)
    assert simulation.problems() == []
    assert sum(store.sent.values()) <= 3 * len(store.sent)


def test_while_nobody_waits_nothing_is_ended() -> None:
    store = TimedStore(part=200.0)

    async def script(simulation: Simulation) -> None:
        write(simulation, "first.mp4", CHUNK, 1)
        await settled(simulation)
        for number in range(simulation.slots):
            write(simulation, f"{HARMED} {number}.mp4", 3 * CHUNK, number)
        await settled(simulation)

    assert lived(script, store=store, soon=None).problems() == []
    assert set(store.sent.values()) == {1}


@pytest.mark.parametrize("silently", [False, True])
def test_a_recording_far_slower_than_others_gets_on_while_others_always_wait(silently: bool) -> None:
    _slow_among_others(TimedStore(ask=0.05, part=14.0, silently=silently), chunks=2)


def test_a_recording_that_is_always_silent_for_longer_than_others_is_not_sent_again_part_by_part() -> None:
    store = TimedStore(ask=0.05, part=9.0)
    _slow_among_others(store, chunks=10)
    assert sum(store.sent.values()) <= len(store.sent) + 4


@pytest.mark.parametrize(
    ("operation", "told"),
    [
        ("read", "no response from the file for "),
        ("upload_part", "the part takes far longer than those of other recordings"),
    ],
)
def test_it_is_told_whose_silence_ended_a_turn(operation: str, told: str) -> None:
    """A hint to look at the store would mislead where a disk hangs, and the other way round."""
    beside = live_beside(operation, Kind.HANGING, slots=1, harmed=4)
    of_files = [moment.error for moment in heard(beside.simulation, moments.Trouble)]
    of_requests = [moment.error for moment in heard(beside.simulation, moments.OperationFailed)]
    ended = [str(error) for error in (*of_files, *of_requests) if not str(error).endswith(Kind.HANGING)]
    assert ended
    assert [error for error in ended if not error.startswith(told)] == []


def _slow_among_others(store: TimedStore, *, chunks: int) -> None:
    """A slow recording, and a small fast one each second. The one turn has memory for one part: nobody is lent it."""

    async def script(simulation: Simulation) -> None:
        others = asyncio.create_task(_one_a_second(simulation))
        await asyncio.sleep(TIMEOUT + 20)
        write(simulation, f"{HARMED}.mp4", chunks * CHUNK, 251)
        await until(lambda: f"{HARMED}.mp4" in store.objects, "the slow one", seconds=300)
        others.cancel()
        await settled(simulation)

    rhythm = Rhythm(timeout=TIMEOUT, missing_grace=SCAN + 1, memory=CHUNK)
    assert lived(script, store=store, slots=1, rhythm=rhythm, soon=None).problems() == []


async def _one_a_second(simulation: Simulation) -> None:
    for number in count():
        write(simulation, f"other {number}.mp4", CHUNK + number // 250, number)
        await asyncio.sleep(1)


# -- the bounds --------------------------------------------------------------------------------------------------------


def _hanging(slots: FairSlots, at_once: int, begun: list[int]) -> asyncio.Task[None]:
    """Somebody who sends parts that hang."""

    async def send() -> None:
        with on_errand(Errand()):
            async with slots.sending(at_once) as turn, turn.giving_way(CHUNK):
                begun.append(turn.at_once)
                with turn.part():
                    await asyncio.sleep(1e6)

    return asyncio.create_task(send())


@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_those_who_share_a_turn_use_no_more_than_its_memory(at_once: int) -> None:
    async def live() -> tuple[list[int], float]:
        begun: list[int] = []
        slots, most = FairSlots(1), 0
        loop = asyncio.get_running_loop()
        slots._pace.asks.note(0.01, loop.time())
        tasks = [_hanging(slots, at_once, begun) for _ in range(30)]
        for _ in range(1000):
            await asyncio.sleep(0.1)
            sending = sum(not task.done() for task in tasks) - len(slots._waiting.sending)
            most = max(most, sending)
            if len(begun) == len(tasks):
                break
        assert most == at_once
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert slots._free == 1
        return begun, loop.time()

    begun, seconds = run(live())
    assert begun == [1] * 30, "the first part of each goes alone"
    assert seconds <= 30 * 4


def test_a_recording_whose_parts_are_taken_sends_several_at_once_again() -> None:
    async def live() -> list[int]:
        slots, errand, found = FairSlots(1), Errand(), []
        with on_errand(errand):
            async with slots.sending(4) as turn:
                found.append(turn.at_once)
                slots.part_stored(CHUNK, 0.1)
                found.append(turn.at_once)
                slots.part_failed()
                found.append(turn.at_once)
        return found

    assert run(live()) == [1, 4, 1]


def test_small_requests_beside_the_turns_stay_within_their_bound_and_let_others_in() -> None:
    async def live() -> float:
        slots, loop = FairSlots(SLOTS), asyncio.get_running_loop()
        most = 0

        async def ask(seconds: float) -> None:
            with on_errand(Errand()):
                async with slots.turn():
                    await asyncio.sleep(seconds)

        await ask(0.01)
        hanging = [asyncio.create_task(ask(1e6)) for _ in range(200)]
        await asyncio.sleep(0)
        good, began = asyncio.create_task(ask(0.01)), loop.time()
        while not good.done():
            await asyncio.sleep(0.1)
            most = max(most, len(slots._beside))
        assert most == 32
        waited = loop.time() - began
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
        assert not slots._beside
        assert slots._free == SLOTS
        return waited

    assert run(live()) <= SOON


# -- the other places --------------------------------------------------------------------------------------------------


class _SlowHead(FakeStore):
    async def head(self, key: str) -> StoredObject | None:
        if key.startswith(HARMED):
            await asyncio.sleep(25)
        return await super().head(key)


def test_files_lying_ready_that_are_slow_keep_no_other_lying_ready_waiting() -> None:
    async def script(simulation: Simulation) -> None:
        await asyncio.sleep(600)
        names = [*(f"{HARMED} {number}.mp4" for number in range(3 * 16)), "good.mp4"]
        for number, name in enumerate(names):
            _write_old(simulation, name, number)
        await until(lambda: "good.mp4" in simulation.store.objects, "the good one", seconds=QUIET + SOON)
        await settled(simulation)

    assert lived(script, store=_SlowHead(limits=LIMITS), soon=None).problems() == []


def _write_old(simulation: Simulation, name: str, seed: int) -> None:
    """As a copy that keeps the times: it has not been written to for long."""
    write(simulation, name, 3 * CHUNK, seed)
    simulation.disk.files[name].mtime_ns -= 300 * 10**9
