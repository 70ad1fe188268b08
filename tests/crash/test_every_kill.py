"""Killed before and after every effect of a recording's life: nothing lost, nothing doubled, nothing left behind."""

from __future__ import annotations

import pytest

from tests.crash import recorders
from tests.crash.simulation import CHUNK, Recorder, Simulation
from tests.crash.virtual_time import run

SHAPES: dict[str, Recorder] = {
    name: getattr(recorders, name)
    for name in ("ordinary", "faststart", "fragmented", "small", "stalled", "renamed", "truncated", "replaced")
}


def _lived(recorder: Recorder, kills: tuple[int, ...] = ()) -> Simulation:
    async def live() -> Simulation:
        simulation = Simulation(kills=kills)
        await simulation.run(recorder)
        return simulation

    return run(live())


@pytest.mark.parametrize("shape", SHAPES)
def test_a_life_without_a_kill_ends_with_the_file_in_the_store(shape: str) -> None:
    simulation = _lived(SHAPES[shape])
    assert simulation.problems() == []
    assert simulation.processes == 1


@pytest.mark.parametrize("shape", SHAPES)
def test_a_kill_before_or_after_any_effect_loses_doubles_and_leaves_nothing(shape: str) -> None:
    calm = _lived(SHAPES[shape])
    effects = calm.fuse.effects
    allowed = calm.store.sent_bytes + 2 * CHUNK  # the parts that were in flight are sent twice
    broken = {}
    for kill, effect in enumerate(effects):
        simulation = _lived(SHAPES[shape], (kill,))
        problems = simulation.problems(sent_at_most=allowed)
        if simulation.processes != 2:
            problems.append("it was not killed")
        if problems:
            broken[f"{kill}: {effect}"] = problems
    assert broken == {}
