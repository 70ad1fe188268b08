"""Every fault in every moment of a recording's life: the cases, generated from lives in which nothing happens.

A life is a list of moments, one before and one after each effect on Redis or the store. A case is a shape of recorder,
what happens in which of its moments, and what becomes of Redis then. Strangers' objects and uploads lie around the
recording's key in every case, and at the key itself in one shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

from tests.harness.crash.recorders import PATH, SHAPES
from tests.harness.crash.scenes import Stuck, until
from tests.harness.crash.simulation import CHUNK, Disk, Fault, Simulation
from tests.harness.crash.virtual_time import run

#: The ordinary recorder, where a stranger's object has the recording's key and the next one.
TAKEN = "ordinary at a stranger's key"
ALL_SHAPES = (*SHAPES, TAKEN)

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
    simulation = Simulation(faults=dict(case.faults), orphan_retention=RETENTION)
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


def lived(case: Case) -> Life:
    """The whole life: faults, rest, once more a start, at which nothing is to be done, and the retention time."""

    async def live() -> Life:
        simulation = _prepared(case)
        at_rest: list[str] = []

        async def record(disk: Disk) -> None:
            await SHAPES["ordinary" if case.shape == TAKEN else case.shape](disk)
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


@dataclass(frozen=True, slots=True)
class Calm:
    """What a life has in it when nothing happens to it (any more)."""

    moments: tuple[str, ...]
    sent_bytes: int


@cache
def calm(case: Case) -> Calm:
    """The moments of a life with the faults of this case and no others."""
    simulation = lived(case).simulation
    return Calm(tuple(simulation.fuse.effects), simulation.store.sent_bytes)


def single_faults(shape: str, redis: str) -> Iterator[Case]:
    """Killed before and after every effect; its answer lost; its answer lost, and killed at the next effect."""
    for moment, name in enumerate(calm(Case(shape)).moments):
        yield Case(shape, ((moment, Fault.KILL),), redis)
        if name.startswith("after"):
            yield Case(shape, ((moment, Fault.LOSE_ANSWER),), redis)
            yield Case(shape, ((moment, Fault.LOSE_ANSWER), (moment + 1, Fault.KILL)), redis)


def pairs_of_kills(redis: str, *, every: int = 1, start: int = 0) -> Iterator[Case]:
    """An ordinary recorder's daemon killed in any moment, and the next one in any moment of its own life."""
    for first in range(start, len(calm(Case("ordinary")).moments), every):
        once = Case("ordinary", ((first, Fault.KILL),), redis)
        for second in range(first + 1, len(calm(once).moments)):
            yield Case("ordinary", (*once.faults, (second, Fault.KILL)), redis)


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
    """A kill costs the parts that are in flight, a lost answer the one that it was for."""
    once = calm(Case(case.shape)).sent_bytes
    lost_answers = len(case.faults) - case.kills
    return once + (2 * case.kills + lost_answers) * CHUNK


def broken(cases: Iterable[Case]) -> str:
    """A table with a line for each problem of each case; empty when there is none."""
    lines = [f"{_row(case)} | {problem}" for case in cases for problem in problems(case)]
    return "\n".join(["shape | moments and faults | redis | problem", *lines]) if lines else ""


def _row(case: Case) -> str:
    moments = lived(case).simulation.fuse.effects
    what = ", ".join(f"{moment} {moments[moment]}: {fault}" for moment, fault in case.faults)
    return f"{case.shape} | {what} | {case.redis}"
