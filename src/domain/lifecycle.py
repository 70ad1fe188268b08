"""The one table: which fact moves a stream from which status to which.

Statuses that have no entry for a fact refuse it: ``after`` raises and nothing changes. Every status but the
last has a way out, and even a completed stream comes back when its recorder writes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from .recording import SOURCE_MISSING, Checkpoint, FailedFor, Status

#: Longest quiet time that repeated replacements of one object can lead to.
LONGEST_QUIET_SECONDS = 3600.0


class Fact(StrEnum):
    """What was seen of a stream."""

    WENT_IDLE = "went_idle"
    GREW = "grew"
    UPLOAD_LOST = "upload_lost"
    OBJECT_PROVED = "object_proved"
    METADATA_STORED = "metadata_stored"
    CHANGED_AFTER_COMPLETION = "changed_after_completion"
    SOURCE_MISSING = "source_missing"
    CANNOT_CONTINUE = "cannot_continue"
    SEEN_AGAIN = "seen_again"


TRANSITIONS: Mapping[Status, Mapping[Fact, Status]] = MappingProxyType(
    {
        Status.ACTIVE: MappingProxyType(
            {
                Fact.WENT_IDLE: Status.PENDING_COMPLETION,
                Fact.UPLOAD_LOST: Status.ACTIVE,
                Fact.OBJECT_PROVED: Status.S3_COMPLETED,
                Fact.SOURCE_MISSING: Status.FAILED,
                Fact.CANNOT_CONTINUE: Status.FAILED,
            }
        ),
        Status.PENDING_COMPLETION: MappingProxyType(
            {
                Fact.GREW: Status.ACTIVE,
                Fact.UPLOAD_LOST: Status.ACTIVE,
                Fact.OBJECT_PROVED: Status.S3_COMPLETED,
                Fact.SOURCE_MISSING: Status.FAILED,
                Fact.CANNOT_CONTINUE: Status.FAILED,
            }
        ),
        Status.S3_COMPLETED: MappingProxyType(
            {
                Fact.METADATA_STORED: Status.COMPLETED,
                Fact.UPLOAD_LOST: Status.ACTIVE,
                Fact.CANNOT_CONTINUE: Status.FAILED,
            }
        ),
        Status.FAILED: MappingProxyType({Fact.SEEN_AGAIN: Status.ACTIVE}),
        Status.COMPLETED: MappingProxyType({Fact.CHANGED_AFTER_COMPLETION: Status.ACTIVE}),
    }
)


class IllegalTransition(ValueError):
    """A fact that cannot be true in this status: a bug of the caller."""


def after(status: Status, fact: Fact) -> Status:
    """The status that ``fact`` leads to. Raises ``IllegalTransition`` where the table has no entry."""
    try:
        return TRANSITIONS[status][fact]
    except KeyError:
        raise IllegalTransition(f"{fact} cannot happen to a stream that is {status}") from None


def quiet_seconds(timeout: float, replacements: int) -> float:
    """How long a recording must be unchanged before it counts as finished.

    Each replacement of its object doubles the time, up to an hour (never below ``timeout`` itself): a recorder
    that writes every 40 s would otherwise have its object replaced every 40 s for ever.
    """
    doubled = timeout * 2.0 ** min(replacements, 32)
    return max(timeout, min(doubled, LONGEST_QUIET_SECONDS))


def failed_for(record: Checkpoint) -> FailedFor:
    """What a failed stream waits for."""
    if record.failure != SOURCE_MISSING:
        return FailedFor.OTHER
    left = [record.upload_id, *(old.upload_id for old in record.superseded if old.stream_id == record.stream_id)]
    return FailedFor.SOURCE_MISSING if any(left) else FailedFor.DISPOSED


def idle_at(
    changed_at: float,
    first_seen_at: float,
    *,
    quiet_for: float,
    min_age: float,
) -> float:
    """The moment on the monotonic clock from which the recording is idle, if nothing changes before."""
    return max(changed_at + quiet_for, first_seen_at + min_age)
