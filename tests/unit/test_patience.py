"""What the store's requests hold while they wait, and what an answer of the store is."""

from __future__ import annotations

import asyncio

import pytest

from src.domain import Errand, Need, StoredObject, on_errand
from src.exceptions import S3OperationError, S3Rejected, S3Unavailable, UploadGone
from src.retry import RetryPolicy
from src.s3_client import PatientStore
from src.slots import FairSlots
from tests.harness.fakes.store import FakeStore
from tests.harness.fakes.telemetry import FakeTelemetry
from tests.harness.waiting import until

POLICY = RetryPolicy(0.001, 0.002)


class _NotLearnt(FakeStore):
    """What it can do is not known until ``known``."""

    def __init__(self) -> None:
        super().__init__()
        self.known = asyncio.Event()
        self.needs: list[Need] = []

    async def learn(self, need: Need) -> None:
        self.needs.append(need)
        await self.known.wait()


class _Refusing(FakeStore):
    error: S3OperationError = S3Rejected("no", operation="head", code="InvalidRequest")

    async def head(self, key: str) -> StoredObject | None:
        raise self.error


def _patient(store: FakeStore) -> tuple[PatientStore, FairSlots]:
    slots = FairSlots(1)
    return PatientStore(store, slots, policy=POLICY, emit=FakeTelemetry().emit), slots


async def test_whoever_waits_for_what_the_store_can_do_holds_no_turn() -> None:
    store = _NotLearnt()
    asked, _ = _patient(store)
    waiting = [
        asyncio.create_task(asked.put_document("d", b"{}", replaces=None)),
        asyncio.create_task(asked.create_upload("a", {})),
        asyncio.create_task(asked.create_upload("b", {}, of_copies=True)),
    ]
    await until(lambda: len(store.needs) == 3, seconds=20)
    async with asyncio.timeout(20):
        assert await asked.head("d") is None, "the one turn is free"
        assert not any(task.done() for task in waiting)
        store.known.set()
        assert await waiting[0]
        await asyncio.gather(*waiting)
    assert set(store.needs) == {Need.DOCUMENT, Need.CREATE, Need.COPY}


@pytest.mark.parametrize("error", [S3Rejected("no", code="InvalidRequest"), UploadGone("gone")])
async def test_a_refusal_ends_the_probation_of_small_requests_as_any_answer_does(error: S3OperationError) -> None:
    store, errand = _Refusing(), Errand(asks_fail=True)
    store.error = error
    asked, _ = _patient(store)
    with on_errand(errand), pytest.raises(type(error)):
        await asked.head("k")
    assert not errand.asks_fail


async def test_silence_begins_the_probation_of_small_requests() -> None:
    store, errand = _Refusing(), Errand()
    store.error = S3Unavailable("403", operation="head", misconfigured=True)
    asked, _ = _patient(store)
    with on_errand(errand):
        task = asyncio.create_task(asked.head("k"))
        await until(lambda: errand.asks_fail, seconds=20)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
