"""Each fault of the Redis proxy does to a real server and a real client what its name says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlparse
from uuid import uuid4

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.harness.faulty_redis import CONNECT, FAULTS, Fault, FaultyRedis, Rule

pytestmark = pytest.mark.redis

#: For each fault: how often a transaction with an INCRBY was carried out, and what its client was told.
OUTCOMES: dict[str, tuple[int, object]] = {
    "drop": (0, redis.ConnectionError),
    "lose": (1, redis.ConnectionError),
    "twice": (2, [2]),
    "delay": (1, [1]),
    "stall": (1, redis.TimeoutError),
    "half": (1, redis.ConnectionError),
    "garbage": (1, redis.InvalidResponse),
    "another": (1, TypeError),  # a number where the results of a transaction should be
    "swapped": (1, [1]),
    "doubled": (1, [1]),
    "stray": (1, redis.ResponseError),  # every answer is taken for that to the next question
    "reset": (0, redis.ConnectionError),
    "error": (0, redis.ResponseError),
}


@pytest.fixture
def proxy(redis_server: str) -> Iterator[FaultyRedis]:
    with FaultyRedis(urlparse(redis_server).port or 0) as proxy:
        yield proxy


@pytest.fixture
def key() -> str:
    return f"test-{uuid4().hex}"


def client(url: str, **options: Any) -> Any:
    return redis.Redis.from_url(url, socket_timeout=1, retry=Retry(NoBackoff(), 0), protocol=2, **options)


def increased(beside: Any, key: str) -> int:
    return int(beside.get(key) or 0)


def attempt(through: Any, key: str) -> object:
    """What a transaction gave, or the type of what it raised."""
    pipe = through.pipeline(transaction=True)
    pipe.incr(key)
    try:
        return pipe.execute()
    except Exception as exc:  # noqa: BLE001 - the type is what is looked at
        return type(exc)


def test_every_fault_is_tried() -> None:
    assert OUTCOMES.keys() == FAULTS.keys()


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_done_to_what_was_meant_and_only_once(
    proxy: FaultyRedis, redis_server: str, key: str, name: str
) -> None:
    text = "READONLY no" if name == "error" else ""
    rule = proxy.add(Rule(Fault(name, text, seconds=0.05), command="INCRBY", key=key))
    done, told = OUTCOMES[name]
    with closing(client(redis_server)) as beside, closing(client(proxy.url)) as through:
        through.ping()
        outcome = attempt(through, key)
        assert outcome == told or (isinstance(outcome, type) and isinstance(told, type) and issubclass(outcome, told))
        assert increased(beside, key) == done
    with closing(client(proxy.url)) as again:
        assert attempt(again, key) == [done + 1]
    assert rule.injected == proxy.injected == 1


def test_a_doubled_answer_is_left_for_the_next_question(proxy: FaultyRedis, key: str) -> None:
    proxy.add(Rule(Fault("doubled"), command="GET", key=key))
    with closing(client(proxy.url, single_connection_client=True)) as through:
        through.set(key, "first")
        assert through.get(key) == b"first"
        assert through.echo("second") == b"first"


def test_swapped_results_have_changed_places(proxy: FaultyRedis, key: str) -> None:
    proxy.add(Rule(Fault("swapped"), command="ECHO"))
    with closing(client(proxy.url)) as through:
        pipe = through.pipeline(transaction=True)
        pipe.echo("a").echo("b").echo("c")
        assert pipe.execute() == [b"b", b"a", b"c"]


@pytest.mark.parametrize("name", ["drop", "reset", "stall", "error"])
def test_a_connection_can_be_refused_before_its_first_command(proxy: FaultyRedis, name: str) -> None:
    rule = proxy.add(Rule(Fault(name, text="ERR max number of clients reached"), command=CONNECT))
    with closing(client(proxy.url)) as through:
        with pytest.raises((redis.ConnectionError, redis.TimeoutError)):
            through.ping()
        assert through.ping()
    assert rule.injected == 1


def test_everything_passes_where_no_rule_is(proxy: FaultyRedis, key: str) -> None:
    body = bytes(range(256)) * 10_000
    with closing(client(proxy.url)) as through:
        pipe = through.pipeline(transaction=False)
        for number in range(500):
            pipe.hset(key, str(number), b"x" * number)
        assert pipe.execute() == [1] * 500
        through.set(key, body)
        assert through.get(key) == body
        assert through.eval("return {KEYS[1], {ARGV[1], 7}}", 1, key, "v") == [key.encode(), [b"v", 7]]


def test_every_connection_can_be_cut(proxy: FaultyRedis) -> None:
    with closing(client(proxy.url, single_connection_client=True)) as through:
        assert through.ping()
        proxy.cut()
        with pytest.raises(redis.ConnectionError):
            through.ping()
