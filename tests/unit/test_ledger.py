"""The parts that need no second look, however the upload changes."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from src.domain import Checkpoint, Identity, Part, PartSchedule, SendReason, Status
from src.stream_processor.ledger import Ledger
from tests.harness.fakes.checkpoints import FakeCheckpoints
from tests.harness.fakes.telemetry import FakeTelemetry

NOW = datetime(2026, 11, 28, tzinfo=UTC)
WHOLE, TAIL = 8, 3


def _part(number: int, size: int) -> Part:
    return Part(number, size, "etag", 1, NOW, None, (SendReason.NEW,))


def _ledger() -> Ledger:
    record = Checkpoint(
        stream_id="s",
        path="a.mp4",
        identity=Identity(1, 1),
        bucket="b",
        key="a.mp4",
        schedule=PartSchedule(WHOLE),
        started_at=NOW,
        status=Status.ACTIVE,
    )
    return Ledger(record, FakeCheckpoints(), FakeTelemetry().stream("s", "a.mp4"))


def _counted_anew(ledger: Ledger) -> int:
    number = 0
    while (part := ledger.parts.get(number + 1)) is not None and part.size == WHOLE:
        number += 1
    return number


def _leading(ledger: Ledger) -> tuple[int, int]:
    """How many, and how many parts were asked about for it."""
    asked: list[int] = []

    def size_of(number: int) -> int:
        asked.append(number)
        return WHOLE

    return ledger.leading_parts(size_of), len(asked)


async def test_a_part_is_counted_once_however_often_the_recording_is_looked_at() -> None:
    ledger = _ledger()
    await ledger.begin_upload(None, "u", {number: _part(number, WHOLE) for number in range(1, 1001)})
    assert _leading(ledger) == (1000, 1000)
    assert _leading(ledger) == (1000, 0)
    await ledger.part_stored(_part(1001, WHOLE))
    assert _leading(ledger) == (1001, 1)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.integers(1, 6), st.sampled_from([WHOLE, TAIL])),
            st.dictionaries(st.integers(1, 6), st.sampled_from([WHOLE, TAIL])),
        ),
        max_size=12,
    )
)
async def test_it_equals_a_count_from_the_first_part_whatever_happened(
    steps: list[tuple[int, int] | dict[int, int]],
) -> None:
    ledger = _ledger()
    for step in steps:
        if isinstance(step, dict):
            await ledger.begin_upload(None, "u", {number: _part(number, size) for number, size in step.items()})
        else:
            await ledger.part_stored(_part(*step))
        assert _leading(ledger)[0] == _counted_anew(ledger)
