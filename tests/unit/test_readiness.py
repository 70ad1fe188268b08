"""What the daemon knows of the parts that it needs: asked rarely, told at a limited rate, with times and reasons."""

from __future__ import annotations

import asyncio
import errno
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from src.exceptions import RedisUnavailable, S3Rejected, S3Unavailable
from src.metrics import Metrics, Readiness
from src.metrics.readiness import Check, Condition

AWAY = S3Unavailable("away")
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


class Bench:
    """One part that can be broken, a readiness that asks for it, and a clock that is moved by hand."""

    def __init__(self, *, part: str = "s3") -> None:
        self.metrics = Metrics(version="test")
        self.seconds = 0.0
        self.asked = 0
        self.error: Exception | None = None
        self.part = part
        self.readiness = self.of({part: self.check})

    def of(self, checks: dict[str, Check]) -> Readiness:
        return Readiness(
            checks,
            emit=self.metrics.emit,
            now=lambda: self.seconds,
            utc_now=lambda: NOON + timedelta(seconds=self.seconds),
        )

    async def check(self) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error

    async def after(self, seconds: float) -> Condition:
        self.seconds += seconds
        return (await self.readiness.answer())[self.part]

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


async def test_a_crowd_of_askers_is_one_question_in_two_seconds() -> None:
    bench = Bench()
    await asyncio.gather(*(bench.readiness.answer() for _ in range(50)))
    assert bench.asked == 1
    await bench.after(1.9)
    assert bench.asked == 1
    await bench.after(0.1)
    assert bench.asked == 2


async def test_who_is_content_with_an_older_answer_asks_nobody() -> None:
    bench = Bench()
    await bench.readiness.answer()
    bench.seconds += 14
    await bench.readiness.answer(not_older_than=15)
    assert bench.asked == 1
    bench.seconds += 1
    await bench.readiness.answer(not_older_than=15)
    assert bench.asked == 2


async def test_a_state_is_told_with_the_time_when_it_began_not_when_it_was_last_seen() -> None:
    bench = Bench()
    assert await bench.after(0) == Condition(True, NOON)
    bench.error = S3Unavailable("away", hint="look at S3_ENDPOINT_URL")
    away = Condition(False, NOON + timedelta(seconds=10), "no answer; look at S3_ENDPOINT_URL")
    assert [await bench.after(10), await bench.after(10), await bench.after(100)] == [away] * 3
    bench.error = None
    assert await bench.after(10) == Condition(True, NOON + timedelta(seconds=130))
    assert await bench.after(500) == Condition(True, NOON + timedelta(seconds=130))


async def test_the_metrics_follow() -> None:
    bench = Bench(part="redis")
    assert bench.value("cefmp4_ready") == 0  # nobody knows yet
    bench.readiness = bench.of({"redis": bench.check, "s3": Bench().check})
    for error, ready in ((None, 1), (RedisUnavailable("away"), 0), (None, 1)):
        bench.error = error
        await bench.after(5)
        assert bench.value("cefmp4_ready") == ready
        assert bench.value("cefmp4_service_ready", service="redis") == ready
        assert bench.value("cefmp4_service_ready", service="s3") == 1


async def test_one_bad_look_is_no_news() -> None:
    """At the first start there is no bucket yet; it is made meanwhile."""
    bench = Bench()
    with capture_logs() as lines:
        for error in (S3Unavailable("not yet"), None, S3Unavailable("a hiccup"), None):
            bench.error = error
            await bench.after(15)
    assert lines == []


async def test_what_stays_away_is_told_again_once_a_minute_with_how_long_and_what_to_change() -> None:
    bench = Bench()
    bench.error = S3Unavailable("head_bucket: NoSuchBucket", hint="create the bucket", misconfigured=True)
    with capture_logs() as lines:
        for _ in range(12):
            await bench.after(15)
    assert [(line["event"], line["seconds"]) for line in lines] == [("not_ready", at) for at in (15, 75, 135)]
    assert {line["hint"] for line in lines} == {"create the bucket"}


async def test_what_goes_away_again_is_told_at_once() -> None:
    bench = Bench()
    with capture_logs() as lines:
        for error in (AWAY, AWAY, None, AWAY, AWAY):
            bench.error = error
            await bench.after(5)
    assert [line["event"] for line in lines] == ["not_ready", "ready_again", "not_ready"]


async def test_what_stays_away_is_one_line_and_its_return_another_with_its_length() -> None:
    bench = Bench()
    with capture_logs() as lines:
        await bench.after(5)
        assert lines == []
        bench.error = S3Unavailable("nobody at 10.0.0.1", hint="look there")
        for _ in range(3):
            await bench.after(15)
        bench.error = None
        for _ in range(3):
            await bench.after(15)
    assert [(line["event"], line["log_level"], line["service"]) for line in lines] == [
        ("not_ready", "warning", "s3"),
        ("ready_again", "info", "s3"),
    ]
    assert lines[0]["error"] == "nobody at 10.0.0.1" and lines[0]["reason"] == "no answer; look there"
    assert lines[1]["seconds"] == 45


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (S3Unavailable("at http://user:password@host"), "no answer; see the log"),
        (S3Unavailable("403", hint="rights", misconfigured=True), "refused; rights"),
        (S3Rejected("x", hint="ask them", code="AccessDenied"), "refused; ask them"),
        (TimeoutError(), "no answer before the timeout"),
        (FileNotFoundError(errno.ENOENT, "it is gone"), "it is gone"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_reason_is_a_sentence_for_the_operator_and_never_the_error_itself(
    error: Exception, reason: str
) -> None:
    bench = Bench()
    bench.error = error
    assert (await bench.after(0)).reason == reason


async def test_a_bug_in_a_check_is_no_answer_of_the_part() -> None:
    bench = Bench()
    bench.error = KeyError("bug")
    with pytest.raises(ExceptionGroup):
        await bench.readiness.answer()
