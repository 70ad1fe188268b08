"""Any order of anything that can happen: recorders, kills, outages, strangers and losses, on up to three files at once.

Hypothesis chooses the steps and, when a promise breaks, finds the shortest way to break it. What must hold after each
step and at the end is in ``model``. ``--hypothesis-profile nightly`` takes 20,000 random orders of 150 steps instead of
the 500 of 60 that are always the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, note, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from src.domain import METADATA_SUFFIX, Answer, Naming, PartSchedule, Writers, next_free, object_key
from tests.harness.auditor import Finding
from tests.harness.crash.model import Bytes, ImpatientLoop, Stage
from tests.harness.crash.scenes import recordings_in
from tests.harness.crash.simulation import CHUNK, LIMITS, TIMEOUT
from tests.harness.fakes.store import FakeObject, Happens

NAMES = ("a.mp4", "a~2.mp4", "cam/b.mp4", "cam/a.mp4")
MOST_FILES = 3
#: The shortest that says by its bytes which file it is.
SHORTEST = 12
ABILITIES: tuple[Mapping[str, Any], ...] = (
    {},
    {"repeat_completion": "gone"},
    {"copy": False},
    {"crc64": False},
    {"copy_checksum": "refused"},
)
COMPLETIONS = (
    (Answer.NONE, Happens.NOW),
    (Answer.NONE, Happens.NEVER),
    (Answer.NONE, Happens.LATER),
    (Answer.CONFLICT, Happens.NEVER),
    (Answer.PRECONDITION_FAILED, Happens.NEVER),
    (Answer.PRECONDITION_FAILED, Happens.NOW),
    (Answer.INVALID_PART, Happens.NEVER),
    (Answer.WRONG_CONTENT, Happens.NEVER),
    (Answer.UPLOAD_GONE, Happens.NOW),
)
TWICE = ("create_upload", "upload_part", "copy_part", "abort_upload", "put_document")
ASKED = (*TWICE, "list_parts", "head", "complete_upload", "list_uploads", "get_document", "list_objects")
WRITTEN = ("save", "finish", "marker", "put_marker", "load", "forget")

#: So many tests share the examples, so that they can run at the same time.
PARTS = 4
CI = settings(
    max_examples=500 // PARTS,
    stateful_step_count=60,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
IS_NIGHTLY = settings.get_current_profile_name() == "nightly"

which = st.integers(0, MOST_FILES - 1)
sizes = st.integers(1, 3 * CHUNK + 1)


class Recordings(RuleBasedStateMachine):
    """Two or three recordings, their daemon, its Redis and its store."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = ImpatientLoop()
        self.bytes = Bytes()
        self.stage = Stage()
        self.pace = 0.0

    @initialize(
        abilities=st.sampled_from(ABILITIES),
        slots=st.integers(1, 3),
        latency=st.sampled_from([0.0, 0.0, 0.3, 4.0]),
        pace=st.sampled_from([0.0, 0.4, 2.0, 9.0, TIMEOUT + 4]),
        size=st.integers(1, 5 * CHUNK),
    )
    def begin(self, abilities: Mapping[str, Any], slots: int, latency: float, pace: float, size: int) -> None:
        """A store of some kind, a daemon, the seconds that pass after each step, and the first recording."""
        self.pace = pace
        for name, value in abilities.items():
            setattr(self.stage.store, name, value)
        self.stage.slots = slots
        self.stage.store.latency = latency
        self._live(self.stage.start())
        self._do(lambda: self.stage.disk.write(NAMES[0], self.bytes.head() + self.bytes.new(size)))

    def _live(self, work: Coroutine[Any, Any, None]) -> None:
        """The world goes on until this is done, and then stands still."""
        self.loop.run_until_complete(work)

    def _do(self, work: Callable[[], object]) -> None:
        """A step of a recorder, or of somebody at the store: the daemon does nothing meanwhile."""

        async def step() -> None:
            work()
            self.stage.disk.remember()

        self._live(step())

    def _file(self, which: int) -> str:
        paths = sorted(self.stage.disk.files)
        path = paths[which % len(paths)]
        note(f"# {path!r}")
        return path

    # -- recorders ------------------------------------------------------------------------------------------------

    def _has_file(self) -> bool:
        return bool(self.stage.disk.files)

    def _has_room(self) -> bool:
        return len(self.stage.disk.files) + len(self.stage.disk.away) < MOST_FILES

    @precondition(_has_room)
    @rule(name=st.sampled_from(NAMES), size=sizes, leases=st.booleans())
    def create(self, name: str, size: int, leases: bool) -> None:
        disk = self.stage.disk
        if name not in disk.files:
            self._do(lambda: disk.write(name, self.bytes.head() + self.bytes.new(size)))
            if leases:
                disk.files[name].writers = Writers.PRESENT

    @precondition(_has_file)
    @rule(which=which, size=sizes)
    def append(self, which: int, size: int) -> None:
        path = self._file(which)
        self._do(lambda: self.stage.disk.append(path, self.bytes.new(size)))

    @precondition(_has_file)
    @rule(which=which, size=sizes)
    def preallocate(self, which: int, size: int) -> None:
        disk, path = self.stage.disk, self._file(which)
        self._do(lambda: disk.truncate(path, max(SHORTEST, len(disk.files[path].data)) + size))

    @precondition(_has_file)
    @rule(which=which, where=st.floats(0, 1), size=st.integers(1, CHUNK + 2))
    def patch_anywhere(self, which: int, where: float, size: int) -> None:
        disk, path = self.stage.disk, self._file(which)
        room = len(disk.files[path].data) - SHORTEST
        if room > 0:
            offset = SHORTEST + int(where * (room - 1))
            self._do(lambda: disk.patch(path, offset, self.bytes.new(min(size, SHORTEST + room - offset))))

    @precondition(_has_file)
    @rule(which=which)
    def rewrite_head(self, which: int) -> None:
        disk, path = self.stage.disk, self._file(which)
        if len(disk.files[path].data) >= SHORTEST:
            self._do(lambda: disk.patch(path, 0, self.bytes.head()[:SHORTEST]))

    @precondition(_has_file)
    @rule(which=which, part=st.floats(0, 1))
    def truncate(self, which: int, part: float) -> None:
        disk, path = self.stage.disk, self._file(which)
        size = len(disk.files[path].data)
        if size > SHORTEST:
            self._do(lambda: disk.truncate(path, SHORTEST + int(part * (size - 1 - SHORTEST))))

    @precondition(_has_file)
    @rule(which=which, size=st.integers(0, 4 * CHUNK))
    def begin_anew(self, which: int, size: int) -> None:
        """Truncated to nothing and rewritten under its inode (or left empty)."""
        path = self._file(which)
        content = self.bytes.head() + self.bytes.new(size) if size else b""
        self._do(lambda: self.stage.disk.write(path, content))

    @precondition(_has_file)
    @rule(which=which, size=sizes, same_number=st.booleans())
    def replace(self, which: int, size: int, same_number: bool) -> None:
        """Another file under the name, whose inode number may be the old one's."""
        disk, path = self.stage.disk, self._file(which)
        number = disk.files[path].identity.inode if same_number else None
        content = self.bytes.head() + self.bytes.new(size)
        self._do(lambda: disk.replace(path, content, inode=number))

    @precondition(_has_file)
    @rule(which=which, name=st.sampled_from(NAMES))
    def rename(self, which: int, name: str) -> None:
        """Inside the tree, over whatever is there."""
        path = self._file(which)
        if path != name:
            self._do(lambda: self.stage.disk.rename(path, name))

    @precondition(_has_file)
    @rule(which=which)
    def finish(self, which: int) -> None:
        """As an ordinary MP4 ends: the index is appended, the size of ``mdat`` patched, the file closed."""
        disk, path = self.stage.disk, self._file(which)
        data = disk.files[path].data

        def close() -> None:
            if data[16:20] == b"mdat":
                disk.patch(path, SHORTEST, (len(data) - SHORTEST).to_bytes(4, "big"))
                disk.append(path, b"\0\0\0\x0cmoov" + self.bytes.new(4))
            disk.files[path].writers = Writers.NONE

        self._do(close)

    @precondition(_has_file)
    @rule(which=which, writers=st.sampled_from(Writers))
    def lease(self, which: int, writers: Writers) -> None:
        """Somebody opens the file, closes it, or nobody can say."""
        self.stage.disk.files[self._file(which)].writers = writers

    @precondition(_has_file)
    @rule(which=which)
    def delete(self, which: int) -> None:
        path = self._file(which)
        if path not in self.stage.disk.away:
            self._do(lambda: self.stage.disk.take_away(path))

    @precondition(lambda self: self.stage.disk.away)
    @rule()
    def bring_back(self) -> None:
        path = min(self.stage.disk.away)
        if path not in self.stage.disk.files:
            self._do(lambda: self.stage.disk.bring_back(path))

    # -- time -----------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.1, 0.5, 0.9]))
    def moment(self, seconds: float) -> None:
        self._live(asyncio.sleep(seconds))

    @rule(seconds=st.sampled_from([2.0, 5.0, 20.0]))
    def seconds(self, seconds: float) -> None:
        self._live(asyncio.sleep(seconds))

    @rule(seconds=st.sampled_from([TIMEOUT + 4, 150.0]))
    def quiet(self, seconds: float) -> None:
        self._live(asyncio.sleep(seconds))

    @rule(seconds=st.sampled_from([1000.0, 5 * 3600.0]))
    def hours(self, seconds: float) -> None:
        self._live(asyncio.sleep(seconds))

    @rule(count=st.integers(1, 12))
    def effects(self, count: int) -> None:
        """Until the daemon has done so much: what follows happens in the midst of its work."""
        self._live(self.stage.pass_effects(count, TIMEOUT + 4))

    # -- the daemon -----------------------------------------------------------------------------------------------

    @precondition(lambda self: self.stage.runs)
    @rule(count=st.integers(0, 12))
    def kill(self, count: int) -> None:
        """Before or after the next effects; at once with 0."""
        if count:
            self.stage.fuse.kill_at = len(self.stage.fuse.effects) + count
        else:
            self._live(self.stage.die())

    @precondition(lambda self: not self.stage.runs)
    @rule()
    def start(self) -> None:
        self._live(self.stage.start())

    @precondition(lambda self: self.stage.runs)
    @rule()
    def restart(self) -> None:
        self._live(self.stage.die())
        self._live(self.stage.start())

    @precondition(lambda self: self.stage.runs)
    @rule()
    def stop(self) -> None:
        self._live(self.stage.stop())

    @precondition(lambda self: not self.stage.runs)
    @rule(
        chunk=st.sampled_from([CHUNK, 2 * CHUNK, 3 * CHUNK]), growing=st.booleans(), prefix=st.sampled_from(["", "p/"])
    )
    def change_settings(self, chunk: int, growing: bool, prefix: str) -> None:
        self.stage.has_moved |= prefix != self.stage.naming.key_prefix
        self.stage.naming = Naming(PartSchedule(chunk, growing), prefix, limits=LIMITS)

    # -- Redis ----------------------------------------------------------------------------------------------------

    @rule()
    def wipe_redis(self) -> None:
        self.stage.redis.wipe()

    @rule(writes=st.integers(1, 8))
    def roll_redis_back(self, writes: int) -> None:
        self.stage.redis.roll_back(writes)

    @rule(seconds=st.sampled_from([3.0, 60.0, 3600.0]))
    def redis_away(self, seconds: float) -> None:
        self.stage.redis.go_away()
        self.loop.call_later(seconds, self.stage.redis.come_back)

    @rule(method=st.sampled_from(WRITTEN), lost=st.booleans())
    def redis_trouble(self, method: str, lost: bool) -> None:
        trouble = self.stage.redis.trouble
        if lost and method in ("save", "finish"):
            trouble.unheard[method] += 1
        else:
            trouble.late[method].append(3.0)

    @rule()
    def refuse_notes(self) -> None:
        self.stage.redis.refused_notes += 3

    # -- the store ------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([3.0, 60.0, 3600.0]))
    def store_away(self, seconds: float) -> None:
        self.stage.store.go_away()
        self.loop.call_later(seconds, self.stage.store.come_back)

    @rule(method=st.sampled_from(ASKED), lost=st.booleans())
    def store_trouble(self, method: str, lost: bool) -> None:
        trouble = self.stage.store.trouble
        if lost and method in TWICE:
            trouble.unheard[method] += 1
        else:
            trouble.late[method].append(3.0)

    @rule(told=st.sampled_from(COMPLETIONS))
    def answer_a_completion(self, told: tuple[Answer, Happens]) -> None:
        self.stage.store.answer_next_completion(*told)

    @rule()
    def finish_assembling(self) -> None:
        self._do(self.stage.store.finish_assembling)

    @precondition(lambda self: self.stage.store.uploads)
    @rule(which=which)
    def expire_upload(self, which: int) -> None:
        uploads = sorted(self.stage.store.uploads)
        self.stage.store.expire(uploads[which % len(uploads)])

    @rule(name=st.sampled_from(NAMES), number=st.integers(1, 2), document=st.booleans())
    def foreign_put(self, name: str, number: int, document: bool) -> None:
        """A stranger's object at a key that we use or may use, or where the description of one belongs."""
        key = object_key(self.stage.naming.key_prefix, name)
        self._put_strangers(key if number == 1 else next_free(key, number), document)

    @precondition(lambda self: self.stage.store.uploads)
    @rule(which=which, document=st.booleans())
    def foreign_put_where_we_upload(self, which: int, document: bool) -> None:
        """A stranger comes first at the key of an upload of ours."""
        keys = sorted({upload.key for upload in self.stage.store.uploads.values()})
        self._put_strangers(keys[which % len(keys)], document)

    def _put_strangers(self, key: str, document: bool) -> None:
        key += METADATA_SUFFIX if document else ""
        theirs = b'{"a stranger": "%s"}' % self.bytes.new(8).hex().encode()
        self._as_a_stranger(lambda: self.stage.store.put_object(key, theirs))

    @precondition(lambda self: self._ours())
    @rule(which=which)
    def delete_object(self, which: int) -> None:
        """Somebody deletes an object of ours."""
        ours = self._ours()
        self._as_a_stranger(lambda: self.stage.store.delete_object(ours[which % len(ours)]))

    def _as_a_stranger(self, work: Callable[[], object]) -> None:
        def step() -> None:
            with self.stage.store.objects.a_stranger():
                work()

        self._do(step)

    def _ours(self) -> list[str]:
        shelf = self.stage.store.objects
        return sorted(set(recordings_in(self.stage.store)) - set(shelf.strangers))

    # -- what must hold -------------------------------------------------------------------------------------------

    @invariant()
    def the_world_goes_on_and_nothing_is_done_that_must_never_be(self) -> None:
        self._live(asyncio.sleep(self.pace))
        _demand("at any time", self.stage.wrongs())

    def teardown(self) -> None:
        try:
            self._end()
        finally:
            self._live(self.stage.die())
            self.loop.close()

    def _end(self) -> None:
        """All trouble ends: each file is one object; after a restart it still is, and without Redis too."""
        stage = self.stage
        for path in [path for path, content in stage.recordings() if not content]:
            self._do(partial(stage.disk.append, path, self.bytes.head()))  # an emptied one waits for its bytes
        self._live(stage.come_to_rest())
        _demand("at the end", stage.unforgiven())
        if stage.redis.has_forgotten:  # what it shows as unfinished may be done again once
            self._live(stage.die())
            self._live(stage.come_to_rest())
            _demand("after the first restart", stage.unforgiven())
        before = dict(recordings_in(stage.store))
        self._live(stage.die())
        self._live(stage.come_to_rest())
        _demand("after a restart", stage.unforgiven(), _differences(stage, before))
        if not stage.has_moved:
            self._live(stage.die())
            stage.redis.wipe()
            self._live(stage.come_to_rest())
            _demand("after a restart without Redis", stage.unforgiven(), _differences(stage, before))
        _demand("in the end", stage.wrongs(), [f"memory: {body}" for body in stage.disk.unreleased])


def _demand(when: str, *problems: Iterable[Finding | str]) -> None:
    found = [str(problem) for some in problems for problem in some]
    if found:
        raise AssertionError(f"{when}: {found}")


def _differences(stage: Stage, before: Mapping[str, FakeObject]) -> Iterator[str]:
    """What was made although it was there; what a stranger has destroyed may be made again."""
    after = recordings_in(stage.store)
    for key in sorted(before.keys() | after.keys()):
        new = after.get(key)
        if before.get(key) != new and (new is None or not stage.may_be_made_again(new.data)):
            yield f"{key} was made again: {before.get(key)} became {new}"


@pytest.mark.no_cover
@pytest.mark.cases(number=CI.max_examples)
@pytest.mark.slow
@pytest.mark.timeout(0 if IS_NIGHTLY else 900)
@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_happens_in_whatever_order_every_file_is_one_object_in_the_end(part: int) -> None:
    class Part(Recordings):
        """With an order of its own."""

    if not IS_NIGHTLY:
        seed(part)(Part)
    run_state_machine_as_test(Part, settings=settings.get_profile("nightly") if IS_NIGHTLY else CI)
