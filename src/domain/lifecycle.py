"""The one table of statuses: what follows from each, and which fact moves a stream from which status to which.

Statuses that have no entry for a fact refuse it: ``after`` raises and nothing changes. Every status but the
last has a way out, and even a completed stream comes back when its recorder writes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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


class Care(StrEnum):
    """What is done for the streams that stand at a status."""

    CARRIED = "carried"  # a processor carries each of them on, after a start too
    KEPT = "kept"  # nobody carries them; their records stay, and they go on when their files are seen again
    DONE = "done"  # their records are gone; a marker says what came of them


@dataclass(frozen=True, slots=True)
class Standing:
    """All that follows from a status: what is derived from it asks here, so that a new status is an entry and no more.

    Beside its entry a status needs who says the fact that leads to it. One that is ``KEPT`` also needs a way back for
    when its file is seen again (``Fact.SEEN_AGAIN``), and counts as failed; one that is ``DONE`` a way through
    ``Checkpoints.finish``, which ends streams as completed.

    ``members`` is the last word of the name of the set in Redis that holds the streams. ``is_growing``: the file may be
    longer at the next look, so that only whole chunks of it are sent. ``is_proved``: S3 holds an object that is what
    the manifest says.
    """

    members: str
    care: Care
    ways: Mapping[Fact, Status]
    is_growing: bool = False
    is_proved: bool = False


#: Two statuses share a set: a record whose object is proved lacks only its document, and whoever looks into Redis for
#: what is about to be completed finds both. Where a stream goes on after a start does not follow from its status, but
#: from what its record holds (``resuming.where_to_resume``): one that has failed may have done so at any step.
STATUSES: Mapping[Status, Standing] = MappingProxyType(
    {
        Status.ACTIVE: Standing(
            members="active",
            care=Care.CARRIED,
            is_growing=True,
            ways=MappingProxyType(
                {
                    Fact.WENT_IDLE: Status.PENDING_COMPLETION,
                    Fact.UPLOAD_LOST: Status.ACTIVE,
                    Fact.OBJECT_PROVED: Status.S3_COMPLETED,
                    Fact.SOURCE_MISSING: Status.FAILED,
                    Fact.CANNOT_CONTINUE: Status.FAILED,
                }
            ),
        ),
        Status.PENDING_COMPLETION: Standing(
            members="pending_completion",
            care=Care.CARRIED,
            ways=MappingProxyType(
                {
                    Fact.GREW: Status.ACTIVE,
                    Fact.UPLOAD_LOST: Status.ACTIVE,
                    Fact.OBJECT_PROVED: Status.S3_COMPLETED,
                    Fact.SOURCE_MISSING: Status.FAILED,
                    Fact.CANNOT_CONTINUE: Status.FAILED,
                }
            ),
        ),
        Status.S3_COMPLETED: Standing(
            members="pending_completion",
            care=Care.CARRIED,
            is_proved=True,
            ways=MappingProxyType(
                {
                    Fact.METADATA_STORED: Status.COMPLETED,
                    Fact.UPLOAD_LOST: Status.ACTIVE,
                    Fact.CANNOT_CONTINUE: Status.FAILED,
                }
            ),
        ),
        Status.FAILED: Standing(
            members="failed",
            care=Care.KEPT,
            ways=MappingProxyType({Fact.SEEN_AGAIN: Status.ACTIVE}),
        ),
        Status.COMPLETED: Standing(
            members="completed",
            care=Care.DONE,
            ways=MappingProxyType({Fact.CHANGED_AFTER_COMPLETION: Status.ACTIVE}),
        ),
    }
)
#: Which fact moves a stream from which status to which.
TRANSITIONS: Mapping[Status, Mapping[Fact, Status]] = MappingProxyType(
    {status: standing.ways for status, standing in STATUSES.items()}
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
