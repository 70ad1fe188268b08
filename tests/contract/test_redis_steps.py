"""Each step in Redis is one script: it may be repeated, undoes nothing when it is late, and knows whose record it is.

The proxy loses the answers, and shows what was sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest

from src.domain import Checkpoint, Identity, Status
from src.exceptions import RedisUnavailable
from src.redis_client import RedisCheckpoints
from src.redis_client.scripts import FINISH, FORGET, MARK, NOTHING, RECALL, SAVE, Script
from tests.contract.test_checkpoints import IDENTITY, client, marker, opened_redis, part, parts, record
from tests.harness import servers
from tests.harness.faulty_redis import Fault, FaultyRedis, Rule
from tests.harness.waiting import until

pytestmark = pytest.mark.redis


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[servers.RedisServer]:
    """Whose scripts may be forgotten, and whose commands be listened to."""
    with servers.start_redis(tmp_path) as server:
        yield server


Step = Callable[[RedisCheckpoints], Awaitable[Any]]
HELD = record(parts=parts(1, 2))
AGAIN = record("again", key="rec/cam~3.mp4", number=3)


async def part_saved(checkpoints: RedisCheckpoints, held: Checkpoint = HELD, number: int = 3) -> None:
    """Until it has worked: it makes one attempt, and whoever calls it comes again."""
    while True:
        try:
            return await checkpoints.save_part(held, [part(number)])
        except RedisUnavailable:
            await asyncio.sleep(0)


#: Each step, and its script; ``HELD`` was saved before.
STEPS: Mapping[str, tuple[Step, Script]] = {
    "a new record": (lambda redis: redis.save(AGAIN), SAVE),
    "a record": (lambda redis: redis.save(record(parts=parts(2, 3), unanswered=True)), SAVE),
    "a part": (part_saved, SAVE),
    "the end": (lambda redis: redis.finish(HELD, marker()), FINISH),
    "the end of a numbered one": (lambda redis: redis.finish(AGAIN, marker()), FINISH),
    "to be forgotten": (lambda redis: redis.forget(HELD.stream_id), FORGET),
    "a marker": (lambda redis: redis.put_marker(marker()), MARK),
    "a look at a marker": (lambda redis: redis.remembered(IDENTITY, "rec/cam.mp4"), RECALL),
    "a look at many markers": (lambda redis: redis.remembered_of([(IDENTITY, "rec/cam.mp4")] * 3), RECALL),
    "the start": (lambda redis: redis.load(), NOTHING),
}


@dataclass
class Scene:
    """Checkpoints that reach a Redis of their own through a proxy."""

    checkpoints: RedisCheckpoints
    proxy: FaultyRedis
    admin: Any

    def sent(self, script: Script) -> list[tuple[bytes, ...]]:
        """The words of each exchange with this script, known to Redis or not."""
        passed = [each[0].words for each in self.proxy.exchanges()]
        return [words for words in passed if len(words) > 1 and words[1] in (script.sha.encode(), script.text.encode())]

    def held(self, but: str = "") -> dict[bytes, object]:
        """All that is in Redis; without this field of hashes."""

        def value(key: bytes) -> object:
            if self.admin.type(key) != b"hash":
                return frozenset(self.admin.smembers(key))
            return {field: told for field, told in self.admin.hgetall(key).items() if field != but.encode()}

        return {key: value(key) for key in self.admin.scan_iter()}


@asynccontextmanager
async def scene(server: servers.RedisServer) -> AsyncIterator[Scene]:
    """``HELD`` is in Redis."""
    with FaultyRedis(urlparse(server.url).port or 0) as proxy, closing(client(server.url)) as admin:
        async with opened_redis(f"{proxy.url}?socket_timeout=1") as checkpoints, asyncio.timeout(60):
            await checkpoints.save(HELD)
            yield Scene(checkpoints, proxy, admin)


@pytest.mark.parametrize(("step", "command"), list(product(STEPS, ("EVALSHA", "EVAL"))))
async def test_a_step_whose_answer_was_lost_is_repeated_and_changes_nothing(
    own_redis: servers.RedisServer, step: str, command: str
) -> None:
    """The same as without a fault; and nothing more is sent than the step once more."""
    work, script = STEPS[step]
    async with scene(own_redis) as there:
        await there.checkpoints.remembered(IDENTITY, "")
        await work(there.checkpoints)  # Redis knows its script
        expected = there.held(but="revision")
        there.admin.flushall()
    async with scene(own_redis) as there:
        if command == "EVAL":
            there.admin.script_flush()
        before = len(there.sent(script))
        lost = there.proxy.add(Rule(Fault("lose"), command=command, says=_named(script, command)))
        await work(there.checkpoints)
        assert lost.injected == 1
        assert there.held(but="revision") == expected
        repeated = [words for words in there.sent(script)[before:] if words[0] == b"EVALSHA"]
        assert len(repeated) == 2, "the lost one and the one that repeats it"
        nonce = 3 + int(repeated[0][2])
        assert repeated[0][nonce] != repeated[1][nonce], "an answer to the first could be taken for one to the second"
        assert repeated[0][nonce + 1 :] == repeated[1][nonce + 1 :], "the same step, with the same revision"


def _named(script: Script, command: str) -> bytes:
    return (script.sha if command == "EVALSHA" else script.text).encode()


@pytest.mark.parametrize("write", ["save", "save_part"])
async def test_what_is_written_after_a_lost_answer_goes_on_from_what_was_written(
    own_redis: servers.RedisServer, write: str
) -> None:
    """Redis tells which revision it has; the parts that it got without an answer are not sent again."""
    many = parts(*range(1, 2001))
    async with scene(own_redis) as there:
        there.proxy.add(Rule(Fault("lose"), command="EVALSHA"))
        with pytest.raises(RedisUnavailable):
            await there.checkpoints.save_part(HELD, list(many.values()))
        wanted = {**many, 2001: part(2001)}
        if write == "save":
            await there.checkpoints.save(record(parts=wanted))
        else:
            await there.checkpoints.save_part(HELD, list(wanted.values()))
        *_, first, second = there.sent(SAVE)
        assert len(first) > 4000 > 200 > len(second)
        assert await there.checkpoints.load() == [record(parts=wanted)]


async def test_what_was_written_without_an_answer_may_have_lost_a_part_since(own_redis: servers.RedisServer) -> None:
    """Redis has its revision and not its parts: the checkpoint is written whole."""
    async with scene(own_redis) as there:
        there.proxy.add(Rule(Fault("lose"), command="EVALSHA"))
        with pytest.raises(RedisUnavailable):
            await there.checkpoints.save_part(HELD, [part(3)])
        there.admin.hdel("stream:a1b2:parts", 2)
        await there.checkpoints.save(record(parts=parts(1, 2, 3, 4)))
        assert await there.checkpoints.load() == [record(parts=parts(1, 2, 3, 4))]


async def test_a_step_that_comes_late_undoes_nothing(own_redis: servers.RedisServer) -> None:
    async with scene(own_redis) as there:
        await there.checkpoints.save_part(HELD, [part(3)])
        await there.checkpoints.save(record(parts=parts(1), status=Status.PENDING_COMPLETION))
        await part_saved(there.checkpoints, record(status=Status.PENDING_COMPLETION), 2)
        held = there.held()
        for words in there.sent(SAVE):
            answer = there.admin.execute_command(*words)
            assert answer[1] == (b"OK" if words is there.sent(SAVE)[-1] else b"OLD"), words
            assert there.held() == held


@pytest.mark.parametrize("step", ["the end", "to be forgotten"])
async def test_an_end_that_comes_late_takes_nothing_that_was_written_since(
    own_redis: servers.RedisServer, step: str
) -> None:
    """The recording goes on under its ID, and may end once more."""
    work, script = STEPS[step]
    more = record(parts=parts(1, 2, 3), replacements=1)
    async with scene(own_redis) as there:
        await work(there.checkpoints)
        late = there.sent(script)[-1]
        await there.checkpoints.save(more)
        held = there.held()
        assert there.admin.execute_command(*late)[1] == b"OLD"
        assert there.held() == held
        await there.checkpoints.finish(more, replace(marker(), etag="later"))
        held = there.held()
        there.admin.execute_command(*late)
        if script is FINISH:
            assert there.held() == held
        found, _ = await there.checkpoints.remembered(IDENTITY, "")
        assert found is not None and found.etag == "later"


@pytest.mark.parametrize("step", ["the end", "to be forgotten"])
@pytest.mark.parametrize("happened", ["rolled back", "forgotten", "written without an answer"])
async def test_a_record_ends_whatever_redis_has_of_it(own_redis: servers.RedisServer, step: str, happened: str) -> None:
    work, script = STEPS[step]
    async with scene(own_redis) as there:
        if happened == "rolled back":
            there.admin.hset("stream:a1b2:meta", "revision", "an earlier one")
        elif happened == "forgotten":
            there.admin.flushall()
        else:
            there.proxy.add(Rule(Fault("lose"), command="EVALSHA"))
            with pytest.raises(RedisUnavailable):
                await there.checkpoints.save_part(HELD, [part(3)])
        await work(there.checkpoints)
        assert not there.admin.keys("stream:*")
        assert await there.checkpoints.load() == []
        found, _ = await there.checkpoints.remembered(IDENTITY, "")
        assert (found is not None) == (script is FINISH)


@pytest.mark.parametrize("step", ["a record", "a part", "the end", "to be forgotten"])
async def test_a_record_that_has_another_owner_is_left_alone(own_redis: servers.RedisServer, step: str) -> None:
    """Whoever meets one says so and waits: the daemon that owns it carries the recording."""
    work, _ = STEPS[step]
    async with scene(own_redis) as there:
        there.admin.hset("stream:a1b2:meta", mapping={"owner": "member 7", "epoch": "3"})
        held = there.held()
        with pytest.raises(RedisUnavailable, match="member 7") as raised:
            await there.checkpoints.save_part(HELD, [part(3)])
        assert raised.value.misconfigured
        waiting = asyncio.ensure_future(work(there.checkpoints))
        await until(lambda: len(there.sent(STEPS[step][1])) > 3)
        assert there.held() == held
        there.admin.hset("stream:a1b2:meta", mapping={"owner": "single", "epoch": "0"})
        await waiting


async def test_a_record_of_a_release_without_owners_is_taken_over(own_redis: servers.RedisServer) -> None:
    async with scene(own_redis) as there:
        there.admin.hdel("stream:a1b2:meta", "owner", "epoch")
        await there.checkpoints.save_part(HELD, [part(3)])
        assert there.admin.hmget("stream:a1b2:meta", "owner", "epoch") == [b"single", b"0"]
        there.admin.hdel("stream:a1b2:meta", "owner", "epoch")
        await there.checkpoints.finish(HELD, marker())
        assert await there.checkpoints.load() == []


async def test_a_script_that_redis_has_forgotten_is_sent_whole_once(own_redis: servers.RedisServer) -> None:
    async with scene(own_redis) as there:
        for _ in range(3):
            there.admin.script_flush()
            before = len(there.sent(SAVE))
            for number in (3, 4, 5):
                await there.checkpoints.save_part(HELD, [part(number)])
            assert [words[0] for words in there.sent(SAVE)[before:]] == [b"EVALSHA", b"EVAL", b"EVALSHA", b"EVALSHA"]


async def test_every_key_that_a_script_touches_is_declared(own_redis: servers.RedisServer) -> None:
    """So that a Redis Cluster finds the one place of all of them, for a prefix with a hash tag."""
    async with scene(own_redis) as there:
        with there.admin.monitor() as monitor:
            for work, _ in STEPS.values():
                await work(there.checkpoints)
                await there.checkpoints.save(HELD)
            there.admin.echo("that was all")
            declared: set[str] = set()
            scripts, touched = set(), 0
            while True:
                heard = monitor.next_command()
                name, *words = heard["command"].split(" ")
                if name == "ECHO":
                    break
                if name in ("EVALSHA", "EVAL"):
                    place = 1  # the number of keys follows the script, whose lines the monitor joins
                    while name == "EVAL" and not (words[place].isdigit() and words[place - 1].endswith("\\n")):
                        place += 1
                    declared = set(words[place + 1 : place + 1 + int(words[place])])
                    scripts.add(words[0])
                elif heard["client_type"] == "lua":
                    touched += 1
                    assert set(words if name == "DEL" else words[:1]) <= declared, heard
        assert {script.sha for script in (SAVE, FINISH, FORGET, MARK, RECALL)} <= scripts
        assert touched > 50


async def test_one_command_alone_is_no_transaction(own_redis: servers.RedisServer) -> None:
    async with scene(own_redis) as there:
        redis, markers, completed = there.checkpoints, "streams:markers", "streams:completed"
        await redis.put_marker(marker())
        there.admin.hset(markers, "7:7", "no JSON")
        assert await redis.remembered(Identity(7, 7), "") == (None, None)  # and sets it aside
        for work in (lambda: redis.markers(0), lambda: redis.completed(0), lambda: redis.leave_completed(["c3d4"])):
            await work()
        await redis.set_ran(5)
        assert await redis.ran() == 5
        for name in (markers, completed):
            there.admin.delete(name)
            there.admin.set(name, "a text")
        assert await redis.completed(0) == (0, [])
        assert set(there.admin.scan_iter(b"bad:*")) == {
            b"bad:streams:markers",
            b"bad:streams:completed",
            b"bad:streams:markers:7:7",
        }
        sent = [tuple(command.name for command in exchange) for exchange in there.proxy.exchanges()]
        assert [names for names in sent if len(names) > 1] == []
        assert {("HSCAN",), ("SSCAN",), ("SREM",), ("HGET",), ("HSET",), ("TYPE",), ("RENAMENX",), ("SET",)} <= set(
            sent
        )
