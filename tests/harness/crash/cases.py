"""Every fault in every moment of a recording's life: the cases, generated from lives in which nothing happens.

A life is a list of moments, one before and one after each effect on Redis or the store. A case is a shape of recorder,
what happens in which of its moments, and what becomes of Redis then. Strangers' objects and uploads lie around the
recording's key in every case, and at the key itself in one shape.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

from src.ownership.elsewhere import SURELY_LATER
from tests.harness.crash.recorders import PATH, SHAPES, patched_after_its_end
from tests.harness.crash.scenes import Stuck, until
from tests.harness.crash.simulation import CHUNK, Disk, Fault, Recorder, Simulation
from tests.harness.crash.stores import STORES, store_with
from tests.harness.crash.virtual_time import run
from tests.harness.rotation import share

#: The ordinary recorder, where a stranger's object has the recording's key and the next one.
TAKEN = "ordinary at a stranger's key"
#: Where a copied range proves itself only in an upload without checksums.
PATCHED = "patched after its end"
ALL_SHAPES = (*SHAPES, TAKEN, PATCHED)
_BY_NAME = {TAKEN: SHAPES["ordinary"], PATCHED: patched_after_its_end}

FATES: dict[str, Callable[[Simulation], None]] = {
    "kept": lambda simulation: None,
    "rolled back by 1": lambda simulation: simulation.redis.roll_back(1),
    "rolled back by 4": lambda simulation: simulation.redis.roll_back(4),
    "wiped": lambda simulation: simulation.redis.wipe(),
}
NEXT_PATH = "cam/take 1~2.mp4"
NEIGHBOUR = "cam/take 1.mp4~"
#: So long an upload stays open whose only record Redis forgot between two processes, and which was not adopted.
RETENTION = timedelta(minutes=10)
_LONG = 4000.0
_RANDOM_ID = re.compile(r"[0-9a-f]{32}")
_STRANGERS_FILM = b"a stranger's film"


@dataclass(frozen=True, slots=True)
class Case:
    """``faults`` by moment. ``redis`` names what becomes of Redis at each kill, or at a lost answer without one."""

    shape: str
    faults: tuple[tuple[int, Fault], ...] = ()
    redis: str = "kept"

    @property
    def kills(self) -> int:
        return sum(fault is Fault.KILL for _, fault in self.faults)

    @property
    def forgets(self) -> bool:
        """Whether a process begins without all that the one before it had written."""
        return self.kills > 0 and self.redis != "kept"


@dataclass(frozen=True, slots=True)
class Life:
    """What became of a case. ``at_rest``: what was wrong when it had come to rest for the first time."""

    simulation: Simulation
    at_rest: tuple[str, ...]


def _prepared(case: Case) -> Simulation:
    store = store_with(**STORES["copies without checksums"] if case.shape == PATCHED else {})
    simulation = Simulation(faults=dict(case.faults), orphan_retention=RETENTION, store=store)
    fate = FATES[case.redis]
    if case.kills:
        simulation.between_processes = fate
    else:
        simulation.fuse.when_lost = lambda: fate(simulation)
    taken = [PATH, NEXT_PATH] if case.shape == TAKEN else [NEXT_PATH]
    for key in ("cam/take 1.mp", NEIGHBOUR, *taken):
        simulation.plant(key, _STRANGERS_FILM)
    for key in (PATH, NEIGHBOUR):
        simulation.plant_upload(key, _STRANGERS_FILM)
    return simulation


def lived(case: Case, *, look: bool = False) -> Life:
    """The whole life: faults, rest, once more a start, at which nothing is to be done, and the retention time.

    ``look``: what a kill would leave behind in each moment is kept.
    """

    async def live() -> Life:
        simulation = _prepared(case)
        if look:
            simulation.fuse.look = lambda: world(simulation)
        at_rest: list[str] = []

        async def record(disk: Disk) -> None:
            await _begun(case, disk)
            await simulation.rest(_LONG)
            at_rest.extend(simulation.problems())
            await _start_again(simulation)
            await _outlive_the_retention(simulation, () if case.shape == TAKEN else (PATH,))

        await simulation.run(record)
        return Life(simulation, tuple(at_rest))

    return run(live())


async def _start_again(simulation: Simulation) -> None:
    simulation.between_processes = lambda _: None
    simulation.fuse.blown.set()
    await simulation.rest(_LONG)


async def _outlive_the_retention(simulation: Simulation, own_keys: tuple[str, ...]) -> None:
    """Until nothing is left that the sweep may take. At our own keys it may take strangers' forgotten uploads too, so
    these are taken back before."""
    store = simulation.store
    theirs = [upload for upload in store.uploads.values() if upload.upload_id in simulation.strangers_uploads]
    for upload in [upload for upload in theirs if upload.key in own_keys]:
        store.expire(upload.upload_id)
        del simulation.strangers_uploads[upload.upload_id]
    with suppress(Stuck):
        await until(
            lambda: not store.uploads.keys() - simulation.strangers_uploads.keys(),
            "the end of all orphans",
            seconds=3 * RETENTION.total_seconds(),
            step=60,
        )


def world(simulation: Simulation) -> tuple[object, ...]:
    """All that outlives a process: two kills that leave the same behind at the same time are one case."""
    store, redis, disk = simulation.store, simulation.redis, simulation.disk
    left = (store.objects, store.uploads, store.sent_bytes, redis.state, len(redis.history), disk.files)
    return (simulation.clock.monotonic(), *map(repr, left))


def left_behind(once: Case) -> object:
    """The world between the two processes of a life with one kill; its random ids are numbered."""

    async def live() -> tuple[object, ...]:
        simulation = _prepared(once)
        left: list[tuple[object, ...]] = []
        simulation.between_processes = lambda _: left.append(world(simulation))
        await simulation.run(lambda disk: _begun(once, disk))
        return left[0]

    numbers: dict[str, str] = {}
    return _RANDOM_ID.sub(
        lambda found: numbers.setdefault(found[0], f"id {len(numbers)}"), "\n".join(map(str, run(live())))
    )


async def _begun(case: Case, disk: Disk) -> None:
    """The recording begins under the daemon, which has seen its file come."""
    await disk.pause(2 * SURELY_LATER.total_seconds())
    await _recorder(case)(disk)


def _recorder(case: Case) -> Recorder:
    return _BY_NAME.get(case.shape) or SHAPES[case.shape]


@dataclass(frozen=True, slots=True)
class Calm:
    """What a life has in it when nothing happens to it (any more).

    ``kills``: the moments in which a kill is a case of its own. Between an answer and the next request the world mostly
    stands still, and then a kill after the one effect and a kill before the other are the same.
    """

    moments: tuple[str, ...]
    kills: tuple[int, ...]
    sent_bytes: int


@cache
def calm(case: Case) -> Calm:
    """The moments of a life with the faults of this case and no others."""
    simulation = lived(case, look=True).simulation
    worlds = simulation.fuse.worlds
    kills = tuple(moment for moment, world in enumerate(worlds) if moment == 0 or world != worlds[moment - 1])
    return Calm(tuple(simulation.fuse.effects), kills, simulation.store.sent_bytes)


def single_faults(shape: str, redis: str) -> Iterator[Case]:
    """Killed before and after every effect; its answer lost; its answer lost, and killed at the next effect."""
    alone = calm(Case(shape))
    for moment, name in enumerate(alone.moments):
        if moment in alone.kills:
            yield Case(shape, ((moment, Fault.KILL),), redis)
        if name.startswith("after"):
            yield Case(shape, ((moment, Fault.LOSE_ANSWER),), redis)
            yield Case(shape, ((moment, Fault.LOSE_ANSWER), (moment + 1, Fault.KILL)), redis)


#: Two kills are many cases: a run takes one first kill in so many, and after it one second kill in so many.
_FIRST_KILLS, _SECOND_KILLS = 7, 4


def pairs_of_kills(shape: str, redis: str) -> Iterator[Case]:
    """A recorder's daemon killed in any moment, and the next one in any moment of its own life: this run's share."""
    for once in share(first_kills(shape, redis), _FIRST_KILLS, "first", shape, redis):
        yield from share(second_kills(once), _SECOND_KILLS, "second", shape, redis, str(once.faults[0][0]))


def first_kills(shape: str, redis: str) -> list[Case]:
    """A recorder's daemon killed in any moment."""
    return [Case(shape, ((moment, Fault.KILL),), redis) for moment in calm(Case(shape)).kills]


def second_kills(once: Case) -> list[Case]:
    """The next daemon killed in any moment of its own life."""
    (first,) = once.faults
    later = [moment for moment in calm(once).kills if moment > first[0]]
    return [Case(once.shape, (first, (moment, Fault.KILL)), once.redis) for moment in later]


def problems(case: Case) -> list[str]:
    """What is wrong at the end of this case; also when it was not lived as it was planned."""
    life = lived(case)
    simulation, found = life.simulation, audited(case, life)
    if simulation.fuse.waiting or simulation.processes != 1 + case.kills + 1:
        found.append(f"{simulation.processes} processes, moments that never came: {simulation.fuse.waiting}")
    return found


def audited(case: Case, life: Life) -> list[str]:
    """What the auditor found wrong when all had come to rest, and when the retention time had passed."""
    simulation = life.simulation
    at_rest, found = life.at_rest, simulation.problems(sent_at_most=_sent_at_most(case))
    if case.forgets:
        at_rest = tuple(problem for problem in at_rest if not problem.startswith("open upload"))
    own = set(simulation.store.objects) - set(simulation.strangers)
    if len(own) != 2:
        found.append(f"an object and its document are expected: {sorted(own)}")
    return list(dict.fromkeys([*at_rest, *found]))


def _sent_at_most(case: Case) -> int:
    """A kill costs the parts that are in flight, a lost answer the one that it was for.

    A Redis that is rolled back twice may have forgotten an upload both times, the second time after its completion: of
    the record's upload nothing is left then, and the recording is sent once more, beside the part that was in flight at
    the first kill.
    """
    once = calm(Case(case.shape)).sent_bytes
    lost_answers = len(case.faults) - case.kills
    usual = once + (2 * case.kills + lost_answers) * CHUNK
    return max(usual, 2 * once + CHUNK) if case.kills > 1 and case.redis.startswith("rolled back") else usual


def broken(cases: Iterable[Case]) -> str:
    """A table with a line for each problem of each case; empty when there is none."""
    lines = [f"{_row(case)} | {problem}" for case in cases for problem in problems(case)]
    return "\n".join(["shape | moments and faults | redis | problem", *lines]) if lines else ""


def _row(case: Case) -> str:
    moments = lived(case).simulation.fuse.effects
    what = ", ".join(f"{moment} {moments[moment]}: {fault}" for moment, fault in case.faults)
    return f"{case.shape} | {what} | {case.redis}"
