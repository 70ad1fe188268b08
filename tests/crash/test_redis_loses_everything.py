"""Redis wiped or rolled back between two processes, at every kill: the object is right, parts in S3 are used again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.crash import recorders
from tests.crash.simulation import CHUNK, Recorder, Simulation
from tests.crash.virtual_time import run

SHAPES: dict[str, Recorder] = {
    name: getattr(recorders, name)
    for name in ("ordinary", "faststart", "fragmented", "small", "stalled", "renamed", "truncated", "replaced")
}
FATES: dict[str, Callable[[Simulation], None]] = {
    "wiped": lambda simulation: simulation.redis.wipe(),
    "rolled back by one write": lambda simulation: simulation.redis.roll_back(1),
    "rolled back by four writes": lambda simulation: simulation.redis.roll_back(4),
}


def _lived(recorder: Recorder, kill: int, fate: Callable[[Simulation], None]) -> Simulation:
    async def live() -> Simulation:
        simulation = Simulation(kills=(kill,), between_processes=fate)
        await simulation.run(recorder)
        return simulation

    return run(live())


def _calm(recorder: Recorder) -> Simulation:
    async def live() -> Simulation:
        simulation = Simulation()
        await simulation.run(recorder)
        return simulation

    return run(live())


@pytest.mark.parametrize("fate", FATES)
@pytest.mark.parametrize("shape", SHAPES)
def test_redis_may_forget_at_any_kill(shape: str, fate: str) -> None:
    calm = _calm(SHAPES[shape])
    broken = {}
    for kill, effect in enumerate(calm.fuse.effects):
        simulation = _lived(SHAPES[shape], kill, FATES[fate])
        problems = [problem for problem in simulation.problems() if "open upload" not in problem]
        if problems:
            broken[f"{kill}: {effect}"] = problems
    assert broken == {}


def test_parts_from_before_a_wipe_are_not_sent_again() -> None:
    calm = _calm(recorders.fragmented)
    effects = calm.fuse.effects
    kill = [n for n, effect in enumerate(effects) if effect == "after store.upload_part"][3]
    simulation = _lived(recorders.fragmented, kill, FATES["wiped"])
    assert simulation.problems() == []
    assert simulation.store.sent_bytes <= calm.store.sent_bytes + CHUNK
    assert [moment for moment in simulation.telemetry.everything() if moment[0] == "adopted"]
