"""In the moment of any effect of a recording's life something happens, the daemon alive or down: the promise holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from src.domain import Answer, Status
from tests.harness.crash.cases import world
from tests.harness.crash.scenes import PATH, bytes_of, recordings_in, until, without
from tests.harness.crash.simulation import CHUNK, SCAN, Fuse, Simulation
from tests.harness.crash.virtual_time import run
from tests.harness.fakes.store import Happens

pytestmark = [pytest.mark.timeout(120), pytest.mark.no_cover]

Happening = Callable[[Simulation], None]
OLD = bytes_of(4 * CHUNK + 3, 1)
NEW = bytes_of(2 * CHUNK + 1, 200)


class _Moment(Fuse):
    """Lets something happen at the effect of this index."""

    def __init__(self, index: int, happening: Callable[[], None]) -> None:
        super().__init__({})
        self._index = index
        self._happening = happening

    def __call__(self, effect: str, when: str) -> None:
        super().__call__(effect, when)
        if len(self.effects) - 1 == self._index:
            self._happening()


class _Life:
    """A file that lies there whole is uploaded; at one effect something happens, and perhaps the daemon is killed."""

    def __init__(self, happening: Happening, index: int | None, *, kill: bool = False) -> None:
        self.completed_before = False
        self.happened = False
        self._happening = happening
        self._index = index
        self._kill = kill

    def live(self, *answers: tuple[Answer, Happens]) -> Simulation:
        async def life() -> Simulation:
            simulation = Simulation()
            for answer in answers:
                simulation.store.answer_next_completion(*answer)
            if self._index is None:
                simulation.fuse.look = lambda: world(simulation)
            else:
                simulation.fuse = _Moment(self._index, lambda: self._now(simulation))
            simulation.between_processes = self._while_down
            await simulation.run(lambda disk: self._record(simulation))
            return simulation

        return run(life())

    def _now(self, simulation: Simulation) -> None:
        if self._kill:
            simulation.fuse.blown.set()
        else:
            self._happen(simulation)

    def _while_down(self, simulation: Simulation) -> None:
        self._happen(simulation)

    def _happen(self, simulation: Simulation) -> None:
        self.happened = True
        self.completed_before = any(found.data == OLD for found in recordings_in(simulation.store).values())
        self._happening(simulation)

    async def _record(self, simulation: Simulation) -> None:
        simulation.disk.write(PATH, OLD)
        await asyncio.sleep(2 * SCAN)
        if self._index is not None:
            await until(lambda: self.happened, "the moment", step=SCAN)
        await until(lambda: not (simulation.redis.is_away or simulation.store.is_away), "the others", step=SCAN)


#: A film that could not be looked at, because its file was away just then, is not looked at later.
UNSEEN = f"the document of {PATH} says nothing of the film: the file is gone"


def _moments(*answers: tuple[Answer, Happens], kill: bool = False) -> list[tuple[int, str]]:
    """Every moment before and after an effect. Where a kill comes first: those in which it leaves another world."""
    fuse = _Life(lambda _: None, None).live(*answers).fuse
    seen = enumerate(fuse.effects)
    return [(n, effect) for n, effect in seen if not (kill and n > 0 and fuse.worlds[n] == fuse.worlds[n - 1])]


def _broken(
    happening: Happening,
    *answers: tuple[Answer, Happens],
    kill: bool = False,
    keeps_old: bool = False,
    allowed: tuple[str, ...] = (),
) -> dict[str, list[str]]:
    """For each moment at which it happened: what is wrong in the end."""
    broken = {}
    for index, effect in _moments(*answers, kill=kill):
        life = _Life(happening, index, kill=kill)
        simulation = life.live(*answers)
        problems = without(simulation.problems(), *allowed)
        objects = {key: found.data for key, found in recordings_in(simulation.store).items()}
        if not life.happened:
            problems.append("it did not happen")
        if keeps_old and life.completed_before and OLD not in objects.values():
            problems.append("the completed recording was overwritten")
        if len(objects) > 1 + (keeps_old and OLD in objects.values()):
            problems.append(f"more than the keys that are needed: {sorted(objects)}")
        if problems:
            broken[f"{index}: {effect}"] = problems
    return broken


def _later(simulation: Simulation, seconds: float, change: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(seconds, change)


def _patch_head(simulation: Simulation) -> None:
    simulation.disk.patch(PATH, 1, b"\xff\xfe\xfd\xfc")


def _patch_tail(simulation: Simulation) -> None:
    simulation.disk.patch(PATH, 4 * CHUNK + 1, b"\xff")


def _grow_a_little(simulation: Simulation) -> None:
    simulation.disk.append(PATH, b"abc")


def _grow_by_chunks(simulation: Simulation) -> None:
    simulation.disk.append(PATH, bytes_of(2 * CHUNK + 1, 90))


def _rewrite(simulation: Simulation) -> None:
    simulation.disk.patch(PATH, 0, bytes_of(4 * CHUNK, 90))


def _touch(simulation: Simulation) -> None:
    simulation.disk._touch(simulation.disk.files[PATH])


def _rename(simulation: Simulation) -> None:
    simulation.disk.rename(PATH, "elsewhere/final.mp4")


def _rename_and_grow(simulation: Simulation) -> None:
    _rename(simulation)
    simulation.disk.append("elsewhere/final.mp4", bytes_of(CHUNK, 90))


CHANGES: dict[str, Happening] = {
    "a patch of the head": _patch_head,
    "a patch of the tail": _patch_tail,
    "a little growth": _grow_a_little,
    "growth by chunks": _grow_by_chunks,
    "a rewrite of everything": _rewrite,
    "a touch": _touch,
    "a rename": _rename,
    "a rename and growth": _rename_and_grow,
}


@pytest.mark.parametrize("down", [False, True], ids=["alive", "down"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_in_any_moment_ends_with_the_file_at_its_one_key(change: str, down: bool) -> None:
    assert _broken(CHANGES[change], kill=down) == {}


def _begin_anew(simulation: Simulation) -> None:
    simulation.disk.write(PATH, NEW)


def _replace(simulation: Simulation) -> None:
    simulation.disk.replace(PATH, NEW)


def _move_another_over_it(simulation: Simulation) -> None:
    simulation.disk.write("cam/tmp.part", NEW)
    simulation.disk.rename("cam/tmp.part", PATH)


NEW_RECORDINGS: dict[str, Happening] = {
    "begun anew in the same file": _begin_anew,
    "another file under the name": _replace,
    "another file moved over it": _move_another_over_it,
}


@pytest.mark.parametrize("down", [False, True], ids=["alive", "down"])
@pytest.mark.parametrize("change", NEW_RECORDINGS)
def test_a_new_recording_in_any_moment_is_stored_and_costs_no_completed_one(change: str, down: bool) -> None:
    assert _broken(NEW_RECORDINGS[change], kill=down, keeps_old=True) == {}


@pytest.mark.parametrize("down", [False, True], ids=["alive", "down"])
def test_a_file_deleted_in_any_moment_keeps_what_the_store_has_and_its_reason(down: bool) -> None:
    def delete(simulation: Simulation) -> None:
        simulation.disk.delete(PATH)

    broken = {}
    for index, effect in _moments(kill=down):
        life = _Life(delete, index, kill=down)
        simulation = life.live()
        failed = [r.failure for r in simulation.redis.state.records.values() if r.status is Status.FAILED]
        objects = [found.data for found in recordings_in(simulation.store).values()]
        problems = without(simulation.problems(), *(["open upload"] if failed else []))
        if not (objects == [OLD] and not failed) and not (objects == [] and failed in (["source_missing"], [])):
            problems.append(f"{len(objects)} objects and {failed}")
        if objects and f"{PATH}.metadata.json" not in simulation.store.objects:
            problems.append("no document")
        if problems:
            broken[f"{index}: {effect}"] = problems
    assert broken == {}


@pytest.mark.parametrize("down", [False, True], ids=["alive", "down"])
def test_a_file_gone_in_any_moment_and_back_an_hour_later_goes_on(down: bool) -> None:
    def away_for_an_hour(simulation: Simulation) -> None:
        file = simulation.disk.files.pop(PATH)
        _later(simulation, 3600, lambda: simulation.disk.files.__setitem__(PATH, file))

    broken = {}
    for index, effect in _moments(kill=down):

        async def life(index: int = index) -> Simulation:
            simulation = Simulation()
            one = _Life(away_for_an_hour, index, kill=down)
            simulation.fuse = _Moment(index, lambda: one._now(simulation))
            simulation.between_processes = one._while_down

            async def record(_: object) -> None:
                simulation.disk.write(PATH, OLD)
                await asyncio.sleep(4000)

            await simulation.run(record)
            return simulation

        problems = without(run(life()).problems(sent_at_most=len(OLD) + 2 * CHUNK), UNSEEN)
        if problems:
            broken[f"{index}: {effect}"] = problems
    assert broken == {}


def _redis_away(simulation: Simulation) -> None:
    simulation.redis.go_away()
    _later(simulation, 2000, simulation.redis.come_back)


def _store_away(simulation: Simulation) -> None:
    simulation.store.go_away()
    _later(simulation, 2000, simulation.store.come_back)


def _both_away(simulation: Simulation) -> None:
    _redis_away(simulation)
    _store_away(simulation)


def _uploads_expire(simulation: Simulation) -> None:
    simulation.store.uploads.clear()


def _redis_wiped(simulation: Simulation) -> None:
    simulation.redis.wipe()


TROUBLES: dict[str, Happening] = {
    "redis goes away": _redis_away,
    "the store goes away": _store_away,
    "both go away": _both_away,
    "all uploads expire": _uploads_expire,
}


@pytest.mark.parametrize("down", [False, True], ids=["alive", "down"])
@pytest.mark.parametrize("trouble", TROUBLES)
def test_trouble_in_any_moment_ends_with_the_file_at_its_one_key(trouble: str, down: bool) -> None:
    assert _broken(TROUBLES[trouble], kill=down) == {}


def test_redis_wiped_in_any_moment_of_a_living_daemon_costs_nothing() -> None:
    assert _broken(_redis_wiped) == {}


@pytest.mark.slow
@pytest.mark.parametrize("down", [False, True], ids=["alive", "down"])
@pytest.mark.parametrize("change", ["a patch of the head", "growth by chunks", "a rewrite of everything", "a touch"])
@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_change_and_trouble_in_the_same_moment_end_with_the_file_at_its_one_key(
    trouble: str, change: str, down: bool
) -> None:
    def both(simulation: Simulation) -> None:
        TROUBLES[trouble](simulation)
        CHANGES[change](simulation)

    assert _broken(both, kill=down) == {}


@pytest.mark.parametrize("change", ["a patch of the head", "growth by chunks", "a rewrite of everything", "a touch"])
def test_a_change_while_the_daemon_is_down_and_redis_is_wiped_ends_with_the_file_at_its_one_key(change: str) -> None:
    def both(simulation: Simulation) -> None:
        simulation.redis.wipe()
        CHANGES[change](simulation)

    assert _broken(both, kill=True, allowed=("open upload",)) == {}


@pytest.mark.parametrize("change", NEW_RECORDINGS)
def test_a_new_recording_while_the_daemon_is_down_and_redis_is_wiped_costs_no_completed_one(change: str) -> None:
    def both(simulation: Simulation) -> None:
        simulation.redis.wipe()
        NEW_RECORDINGS[change](simulation)

    assert _broken(both, kill=True, keeps_old=True, allowed=("open upload",)) == {}


@pytest.mark.slow
@pytest.mark.parametrize("change", ["nothing", *CHANGES])
@pytest.mark.parametrize("happens", list(Happens))
def test_a_completion_without_an_answer_and_a_kill_in_any_moment_are_resolved_by_the_object(
    happens: Happens, change: str
) -> None:
    def while_down(simulation: Simulation) -> None:
        if change in CHANGES:
            CHANGES[change](simulation)
        _later(simulation, 100, simulation.store.finish_assembling)
        if happens is Happens.LATER:
            simulation.soon = None  # it is the store that takes so long

    assert _broken(while_down, (Answer.NONE, happens), kill=True) == {}


@pytest.mark.parametrize("answer", [Answer.CONFLICT, Answer.INVALID_PART, Answer.WRONG_CONTENT])
def test_a_refused_completion_and_a_kill_in_any_moment_end_with_the_file_at_its_one_key(answer: Answer) -> None:
    assert _broken(lambda _: None, (answer, Happens.NEVER), kill=True) == {}


def test_a_stranger_that_comes_in_any_moment_before_the_completion_stays() -> None:
    broken = {}
    for index, effect in _moments():
        if "complete_upload" in effect:
            break
        life = _Life(lambda simulation: _ignore(simulation.store.put_object(PATH, b"a stranger's film")), index)
        simulation = life.live()
        problems = simulation.problems()
        if simulation.store.objects[PATH].data != b"a stranger's film":
            problems.append("the stranger's object was overwritten")
        if problems:
            broken[f"{index}: {effect}"] = problems
    assert broken == {}


def _ignore(_: object) -> None:
    return
