"""When an answer of a store teaches what it can do: never by itself, and never outside of a controlled pair."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from itertools import product

import pytest

from src.domain import moments
from src.exceptions import (
    S3NotAble,
    S3NotUnderstood,
    S3OperationError,
    S3Rejected,
    S3Unavailable,
    S3WrongContent,
    UploadGone,
)
from src.retry import RetryPolicy
from src.s3_client import Choice, StoreSettings
from src.s3_client.abilities import COMPLETION_WAITS, CREATE_WAITS, Ability, Learner, Said, Trial, controlled, said
from tests.harness.fakes.telemetry import FakeTelemetry

A, R, N, X = Said.ACCEPTED, Said.REFUSED, Said.NOT_KNOWN, Said.NOTHING
ELSEWHERE = "http://127.0.0.1:9"


def _says(answers: Iterable[Said]) -> Trial:
    """The answers one after the other; none is left over for a question that is not to be asked."""
    rest: Iterator[Said] = iter(answers)

    async def trial() -> Said:
        return next(rest)

    return trial


@pytest.mark.parametrize(
    ("wrong", "right", "without", "able"),
    [
        # a value that is checked: refused, a right one accepted, refused again
        ([R, R], [A], [], True),
        ([N, N], [A], [], True),
        ([R, A], [A], [], None),
        ([R, X], [A], [], None),
        # ignored, twice
        ([A, A], [], [], False),
        ([A, R], [], [], None),
        # not known: refused with a right value, accepted without, refused again
        ([N], [N, N], [A], False),
        ([R], [N, N], [A], False),
        ([N], [N, A], [A], None),
        ([N], [N, X], [A], None),
        ([N], [N], [N], None),
        ([N], [N], [X], None),
        # a right value that is called wrong speaks of content, or of another writer
        ([R], [R, R], [A], None),
        ([X], [], [], None),
        ([R], [X, X], [A], None),
    ],
)
async def test_a_header_with_a_right_and_a_wrong_value(
    wrong: list[Said], right: list[Said], without: list[Said], able: bool | None
) -> None:
    assert await controlled(wrong=_says(wrong), right=_says(right), without=_says(without)) is able


@pytest.mark.parametrize(
    ("wrong", "without", "able"),
    [
        ([R, R], [A], True),
        ([N, N], [A], False),
        ([A, A], [], False),
        ([A, R], [], None),
        ([R, N], [A], None),
        ([N, R], [A], None),
        ([N, A], [A], None),
        ([N], [N], None),
        ([N], [R], None),
        ([R], [X], None),
        ([X], [], None),
    ],
)
async def test_a_condition_that_must_be_refused(wrong: list[Said], without: list[Said], able: bool | None) -> None:
    assert await controlled(wrong=_says(wrong), without=_says(without)) is able


@pytest.mark.parametrize(
    ("right", "without", "able"), [([A], [], True), ([N, N], [A], False), ([N, A], [A], None), ([R], [A], None)]
)
async def test_a_header_that_is_only_accepted_or_not(right: list[Said], without: list[Said], able: bool | None) -> None:
    assert await controlled(right=_says([*right, R]), without=_says(without)) is able


async def test_no_single_odd_answer_ever_teaches_inability() -> None:
    """A store that knows the header, with trouble or a stray refusal in any one place."""
    for place, odd in product(range(4), (N, X)):
        asked = 0

        def meeting(usual: Said, odd: Said = odd, place: int = place) -> Trial:
            async def trial() -> Said:
                nonlocal asked
                asked += 1
                return odd if asked == place + 1 else usual

            return trial

        assert await controlled(wrong=meeting(R), right=meeting(A), without=meeting(A)) is not False
        asked = 0
        assert await controlled(wrong=meeting(R), without=meeting(A)) is not False
        asked = 0
        assert await controlled(right=meeting(A), without=meeting(A)) is not False


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (S3WrongContent("BadDigest"), R),
        (S3Rejected("no", code="InvalidPart"), R),
        (S3Rejected("no", code="PreconditionFailed"), R),
        (S3Rejected("no", code="ConditionalRequestConflict"), R),
        (S3NotAble("501"), N),
        (S3NotUnderstood("odd"), N),
        (S3Unavailable("a HEAD", code="400"), N),
        (S3Unavailable("503"), X),
        (S3Unavailable("403", misconfigured=True, code="AccessDenied"), X),
        (UploadGone("vanished"), X),
    ],
)
def test_what_a_refusal_says_of_a_header(error: S3OperationError, word: Said) -> None:
    assert said(error) is word


# -- who waits for it --------------------------------------------------------------------------------------------------


class Store:
    """Answers for a probe; ``able`` None: it is not learnt."""

    def __init__(self, able: bool | None = True) -> None:
        self.able = able
        self.odd: dict[Ability, bool | None] = {}
        self.asked: list[Ability] = []
        self.now = 0.0

    async def ready(self) -> None:
        return

    async def ask(self, ability: Ability) -> bool | None:
        self.asked.append(ability)
        return self.odd.get(ability, self.able)

    def learner(self, telemetry: FakeTelemetry, **settings: object) -> Learner:
        return Learner(
            StoreSettings("bucket", **{"endpoint_url": ELSEWHERE, **settings}),  # type: ignore[arg-type]
            ready=self.ready,
            ask=self.ask,
            policy=RetryPolicy(0.001, 0.002),
            emit=telemetry.emit,
            now=lambda: self.now,
        )


async def _until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0.001)


async def test_what_is_set_or_amazons_is_never_asked_and_never_lost() -> None:
    store, telemetry = Store(False), FakeTelemetry()
    amazon = store.learner(telemetry, endpoint_url=None)
    fixed = store.learner(telemetry, checksum=Choice.ON, conditional_writes=Choice.ON)
    for learner in (amazon, fixed):
        learner.suspect()
        abilities = await learner.everything()
        assert abilities.checksum and abilities.if_none_match and abilities.if_match and abilities.put_if_none_match
    half = store.learner(telemetry, checksum=Choice.ON)
    assert (await half.everything()).checksum
    assert not set(store.asked) & {Ability.CHECKSUM, Ability.CHECKSUM_MODE}
    await half.close()


@pytest.mark.parametrize(
    ("settings", "odd", "known"),
    [
        ({}, {}, True),
        ({}, {Ability.PUT_IF_NONE_MATCH: False}, False),
        ({}, {Ability.PUT_IF_NONE_MATCH: None}, False),
        ({}, {Ability.CHECKSUM: False}, False),
        ({}, {Ability.CHECKSUM: None}, False),
        ({}, {Ability.IF_NONE_MATCH: False}, True),  # of a completion: it is another operation
        ({"conditional_writes": Choice.ON}, {}, False),
        ({"conditional_writes": Choice.OFF}, {}, False),
        ({"checksum": Choice.ON}, {}, True),
        ({"checksum": Choice.ON}, {Ability.PUT_IF_NONE_MATCH: False}, False),
        ({"checksum": Choice.OFF}, {}, False),
        ({"endpoint_url": None}, {}, True),
        ({"endpoint_url": None, "conditional_writes": Choice.OFF}, {}, False),
        ({"endpoint_url": None, "checksum": Choice.OFF}, {}, False),
    ],
)
async def test_only_a_trial_of_a_put_shows_that_it_refuses_a_second_object_and_amazon_is_known_to(
    settings: dict[str, object], odd: dict[Ability, bool | None], known: bool
) -> None:
    store, telemetry = Store(True), FakeTelemetry()
    store.odd = odd
    learner = store.learner(telemetry, **settings)
    assert learner.refuses_a_second_put() is (settings.get("endpoint_url", "") is None and known)
    learner.suspect()  # the trials begin
    if learner.asked:
        await _until(lambda: learner._ended_at is not None)
    assert learner.refuses_a_second_put() is known
    await learner.close()


@pytest.mark.parametrize(
    ("settings", "copy", "checksum", "without"),
    [
        ({}, True, True, False),
        ({}, True, False, True),
        ({}, False, False, False),
        ({}, None, False, False),
        ({}, True, None, False),
        ({"part_copy": Choice.ON}, False, False, True),
        ({"part_copy": Choice.OFF}, True, False, False),
        ({"checksum": Choice.ON}, True, False, False),
        ({"checksum": Choice.OFF}, True, False, False),
        ({"endpoint_url": None}, False, False, False),
    ],
)
async def test_only_what_was_learnt_of_copies_makes_an_upload_without_checksums(
    settings: dict[str, object], copy: bool | None, checksum: bool | None, without: bool
) -> None:
    store, telemetry = Store(True), FakeTelemetry()
    store.odd = {Ability.PART_COPY: copy, Ability.COPY_CHECKSUM: checksum}
    learner = store.learner(telemetry, **settings)
    await learner.for_conditions({Ability.IF_NONE_MATCH})
    if None in (copy, checksum):
        store.now = COMPLETION_WAITS + 1
    assert (await learner.for_copies()).copies_without_checksums is without
    await learner.close()


async def test_until_it_is_known_an_upload_has_no_checksums_and_a_completion_has_its_condition() -> None:
    store, telemetry = Store(None), FakeTelemetry()
    learner = store.learner(telemetry)
    store.now = COMPLETION_WAITS + 1
    create, complete = await learner.for_create(), await learner.for_conditions({Ability.IF_NONE_MATCH})
    assert not create.checksum and not create.object_size
    assert complete.if_none_match and complete.if_match
    await learner.close()


async def test_nobody_waits_longer_than_said_for_a_store_that_cannot_be_asked() -> None:
    store, telemetry = Store(None), FakeTelemetry()
    learner = store.learner(telemetry)
    for wait, seconds in ((learner.for_create, CREATE_WAITS), (learner.everything, COMPLETION_WAITS)):
        store.now = seconds - 0.05
        async with asyncio.timeout(20):
            await wait()
    await learner.close()


async def test_what_cannot_be_learnt_is_said_once_and_asked_on() -> None:
    store, telemetry = Store(None), FakeTelemetry()
    learner = store.learner(telemetry)
    learner.suspect()
    await _until(lambda: len(store.asked) > 10)
    assert telemetry.of(moments.AbilitiesUnknown) == []
    store.now = COMPLETION_WAITS + 1
    await _until(lambda: telemetry.of(moments.AbilitiesUnknown))
    seen = len(store.asked)
    await _until(lambda: len(store.asked) > seen + 20)
    assert len(telemetry.of(moments.AbilitiesUnknown)) == 1
    store.able = True
    async with asyncio.timeout(20):
        await _until(lambda: learner.current().checksum)
    await learner.close()


async def test_a_suspicion_asks_anew_and_a_loss_is_told() -> None:
    store, telemetry = Store(True), FakeTelemetry()
    learner = store.learner(telemetry)
    assert (await learner.everything()).if_none_match
    await _until(lambda: learner._ended_at is not None)
    asked = len(store.asked)
    learner.suspect()
    await asyncio.sleep(0.01)
    assert len(store.asked) == asked, "not so soon after it was asked"
    store.now, store.able = 3600.0, False
    learner.suspect()
    await _until(lambda: not learner.current().if_none_match)
    await _until(lambda: len(telemetry.of(moments.AbilityLost)) == len(Ability))
    await learner.close()
