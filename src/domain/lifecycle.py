"""The table of statuses: the properties of each, and which fact moves a stream from one status to another.

A status without an entry for a fact refuses it: ``after`` raises and nothing changes. Every status but the last has a
way out, and even a completed stream becomes active again if its recorder continues.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from .recording import SOURCE_MISSING, Checkpoint, FailedFor, Status

#: Upper limit of the timeout that repeated replacements of one object lead to.
LONGEST_QUIET_SECONDS = 3600.0


class Fact(StrEnum):
    """An observation about a stream."""

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
    """How streams at a status are handled."""

    CARRIED = "carried"  # a processor carries each of them, also after a restart
    KEPT = "kept"  # no processor carries them; their checkpoints stay, and they resume when their files are seen again
    DONE = "done"  # their checkpoints are removed; a marker records the result


@dataclass(frozen=True, slots=True)
class Standing:
    """All properties of a status, read by most code that depends on a status.

    A new status also needs a ``Fact``, ``ways`` to it in the entries of earlier statuses, and code that reports the
    fact: ``StreamProcessor.run`` reports ``CANNOT_CONTINUE`` for every ``Permanent`` error.

    A ``KEPT`` status counts as failed and is never terminal. Also after a restart, the next hint about its file resumes
    the stream (``dispatcher.recovery``, ``Dispatcher._claim``, ``StreamProcessor._take_up``). Without a way for
    ``SEEN_AGAIN`` that raises ``IllegalTransition`` each time.

    A terminal status is ``DONE``. Until now there is only ``COMPLETED``, and its marker says that an object was
    uploaded. For another result, also change what assumes this:

    * the marker: ``recording.Marker``, and ``describing.marker_of``, which requires an ETag;
    * its way into Redis: ``ports.Checkpoints.finish``, and ``redis_client.writer`` and ``redis_client.memory``, which
      use the set of ``COMPLETED``;
    * its readers: ``ownership.decision._by_marker`` and ``Claims.known``; ``Dispatcher._carry`` and ``_settle``;
      ``Register.settle``, from where ``ownership.sweep`` takes the key of an object that must exist, or else is
      reported by ``objects_gone``;
    * its report: an event and its row (``metrics.told``), and ``status.chronicle``, which counts only ``Completed`` as
      finished.

    ``members`` is the last component of the name of the Redis set that holds the streams. ``is_growing``: the file may
    still grow, so only whole chunks are sent. ``is_proved``: S3 has an object that matches the manifest.
    """

    members: str
    care: Care
    ways: Mapping[Fact, Status]
    is_growing: bool = False
    is_proved: bool = False


#: Two statuses share a set: a stream whose object is proved lacks only its metadata document, so one set in Redis shows
#: all streams that are about to complete. Where a stream resumes after a start depends on its checkpoint
#: (``resuming.where_to_resume``), not on its status: a failed stream may have failed at any step.
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
#: Status, fact, and the status that follows.
TRANSITIONS: Mapping[Status, Mapping[Fact, Status]] = MappingProxyType(
    {status: standing.ways for status, standing in STATUSES.items()}
)


class IllegalTransition(ValueError):
    """A fact that cannot occur in this status: a bug in the caller."""


def after(status: Status, fact: Fact) -> Status:
    """The status that ``fact`` leads to. Raises ``IllegalTransition`` if the table has no entry."""
    try:
        return TRANSITIONS[status][fact]
    except KeyError:
        raise IllegalTransition(f"{fact} cannot happen to a stream that is {status}") from None


def quiet_seconds(timeout: float, replacements: int) -> float:
    """How long a recording must be unchanged before it counts as finished.

    Each replacement of its object doubles the time, up to an hour (never below ``timeout``). Otherwise a recorder that
    writes every 40 s would have its object replaced every 40 s indefinitely.
    """
    doubled = timeout * 2.0 ** min(replacements, 32)
    return max(timeout, min(doubled, LONGEST_QUIET_SECONDS))


def failed_for(record: Checkpoint) -> FailedFor:
    """What a failed stream needs in order to continue."""
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
    """The time on the monotonic clock from which the recording is idle, if nothing changes before."""
    return max(changed_at + quiet_for, first_seen_at + min_age)
