"""Conduct on fakes in virtual time: whatever a completion answers."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from src.domain import Answer, ChunkBody, Manifest, StoredPart
from src.exceptions import S3Rejected
from tests.harness.crash.scenes import (
    PATH,
    failed_reasons,
    growing_file,
    lived,
    recordings_in,
    settled,
    until,
    uploads,
)
from tests.harness.crash.simulation import CHUNK, LIMITS, Simulation
from tests.harness.fakes.store import FakeStore, Happens

pytestmark = pytest.mark.timeout(120)  # a loop without a pause stops virtual time: it must fail, not hang


@pytest.mark.parametrize("happens", [Happens.NOW, Happens.NEVER])
@pytest.mark.parametrize("answer", list(Answer))
def test_whatever_a_completion_answers_the_file_is_at_its_key_in_the_end(answer: Answer, happens: Happens) -> None:
    async def script(simulation: Simulation) -> None:
        simulation.store.answer_next_completion(answer, happens)
        await growing_file(simulation, 3)

    simulation = lived(script)
    assert simulation.problems(sent_at_most=2 * len(simulation.disk.content(PATH))) == []
    assert set(recordings_in(simulation.store)) == {PATH}


@pytest.mark.parametrize("answer", [Answer.NONE, Answer.UPLOAD_GONE])
def test_a_completion_whose_answer_was_lost_is_not_sent_twice(answer: Answer) -> None:
    async def script(simulation: Simulation) -> None:
        simulation.store.answer_next_completion(answer, Happens.NOW)
        await growing_file(simulation, 3)

    simulation = lived(script)
    assert simulation.problems(sent_at_most=3 * CHUNK + 3) == []
    assert simulation.store.count("complete_upload") == 1


def test_an_object_that_is_still_assembling_is_waited_for() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.store.answer_next_completion(Answer.NONE, Happens.LATER)
        await growing_file(simulation, 3)
        await until(lambda: simulation.store.count("complete_upload"), "the completion")
        await asyncio.sleep(600)
        assert simulation.store.count("create_upload") == 1
        simulation.store.finish_assembling()

    simulation = lived(script)
    assert simulation.problems(sent_at_most=3 * CHUNK + 3) == []


def test_a_completion_that_came_to_nothing_is_waited_for_a_quarter_of_an_hour_and_uploaded_anew() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.store.answer_next_completion(Answer.NONE, Happens.LATER)
        await growing_file(simulation, 3)
        await until(lambda: simulation.store.count("complete_upload"), "the completion")
        asked = simulation.clock.monotonic()
        await until(lambda: simulation.store.count("create_upload") == 2, "the second upload")
        assert 900 <= simulation.clock.monotonic() - asked <= 1100

    assert lived(script).problems() == []


def test_an_upload_that_expired_behind_a_lost_completion_is_made_anew() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.store.answer_next_completion(Answer.NONE, Happens.NEVER)
        await growing_file(simulation, 3)
        await until(lambda: simulation.store.count("complete_upload"), "the completion")
        simulation.store.expire(uploads(simulation)[0].upload_id)

    assert lived(script).problems() == []


@pytest.mark.parametrize("answer", [Answer.CONFLICT, Answer.INVALID_PART, Answer.WRONG_CONTENT])
def test_a_store_that_refuses_again_and_again_is_asked_more_and_more_slowly(answer: Answer) -> None:
    asked: list[float] = []

    class Refusing(FakeStore):
        async def complete_upload(self, key: str, upload_id: str, manifest: Manifest, parts: Any) -> Answer:
            asked.append(asyncio.get_running_loop().time())
            return await super().complete_upload(key, upload_id, manifest, parts)

    async def script(simulation: Simulation) -> None:
        for _ in range(6):
            simulation.store.answer_next_completion(answer, Happens.NEVER)
        await growing_file(simulation, 3)

    simulation = lived(script, store=Refusing(limits=LIMITS))
    assert simulation.problems() == []
    assert len(asked) == 7
    pauses = [later - earlier for earlier, later in pairwise(asked)]
    assert pauses[0] >= 0.5 and pauses[-1] > 2 * pauses[0], pauses


@pytest.mark.parametrize("answer", [Answer.CONFLICT, Answer.WRONG_CONTENT])
def test_a_refused_upload_stays_until_the_next_holds_all_of_the_file(answer: Answer) -> None:
    whole: list[int] = []
    most_open = 0

    class Refusing(FakeStore):
        async def upload_part(self, key: str, upload_id: str, number: int, body: ChunkBody) -> StoredPart:
            nonlocal most_open
            if whole:
                assert any(len(upload.parts) == whole[0] for upload in self.uploads.values()), "nothing is whole"
            most_open = max(most_open, len(self.uploads))
            return await super().upload_part(key, upload_id, number, body)

        async def complete_upload(self, key: str, upload_id: str, manifest: Manifest, parts: Any) -> Answer:
            whole.append(manifest.part_count)
            return await super().complete_upload(key, upload_id, manifest, parts)

    async def script(simulation: Simulation) -> None:
        for _ in range(8):
            simulation.store.answer_next_completion(answer, Happens.NEVER)
        await growing_file(simulation, 3)

    simulation = lived(script, store=Refusing(limits=LIMITS))
    assert simulation.problems() == []
    assert len(whole) == 9 and most_open == 2


def test_a_completion_that_s3_rejects_for_good_fails_the_stream_and_a_change_revives_it() -> None:
    class Rejecting(FakeStore):
        rejects = True

        async def complete_upload(self, key: str, upload_id: str, manifest: Manifest, parts: Any) -> Answer:
            if self.rejects:
                raise S3Rejected("complete_upload: InvalidArgument", code="InvalidArgument", hint="look at the bucket")
            return await super().complete_upload(key, upload_id, manifest, parts)

    store = Rejecting(limits=LIMITS)

    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 3)
        await settled(simulation)
        assert failed_reasons(simulation) == ["complete_upload: InvalidArgument"]
        store.rejects = False
        simulation.disk.append(PATH, b"more")

    assert lived(script, store=store).problems() == []


@pytest.mark.parametrize("answer", [Answer.INVALID_PART, Answer.WRONG_CONTENT, Answer.CONFLICT])
def test_a_failed_stream_whose_completion_had_no_answer_goes_on_whatever_is_answered_then(answer: Answer) -> None:
    class Rejecting(FakeStore):
        rejects = True

        async def complete_upload(self, key: str, upload_id: str, manifest: Manifest, parts: Any) -> Answer:
            if self.rejects:
                raise S3Rejected("complete_upload: InvalidArgument", code="InvalidArgument")
            return await super().complete_upload(key, upload_id, manifest, parts)

    store = Rejecting(limits=LIMITS)

    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 3)
        await settled(simulation)
        store.rejects = False
        store.answer_next_completion(answer, Happens.NEVER)
        simulation.disk.append(PATH, b"more")

    assert lived(script, store=store).problems() == []
