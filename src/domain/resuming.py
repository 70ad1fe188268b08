"""Where to resume a stream from its checkpoint, and with which parts: reconciles checkpoint, store and disk.

Pure. No checkpoint is trusted alone: a part counts if the store lists it, an object after it was checked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from enum import StrEnum

from . import completion
from .lifecycle import STATUSES
from .part_plan import S3_LIMITS, Limits, part_size
from .recording import Checkpoint, Identity, Part, PartSchedule, Status, StoredObject, StoredPart, Superseded


def merge_parts(
    recorded: Mapping[int, Part], listed: Mapping[int, StoredPart], now: datetime, *, atomic: bool = True
) -> dict[int, Part]:
    """The parts to continue with: those that the store lists, combined with the checkpoint's knowledge of the same
    part.

    A part that only the checkpoint knows is not in S3. One that only the store knows is trusted as far as its checksum
    goes, and is compared with the file at the seal like any other. The same applies if both differ: the part was sent
    again and the answer was lost. An exception is a store that is not ``atomic``: killed at that moment, it may list
    the new part's checksum and hold the old part's bytes (observed with VersityGW with its metadata in separate files).
    There the part is sent once more.
    """
    merged = {}
    for number, stored in listed.items():
        known = recorded.get(number)
        if known is not None and known.etag == stored.etag and known.size == stored.size:
            merged[number] = known
        elif known is None or atomic:
            merged[number] = Part(number, stored.size, stored.etag, stored.crc64, stored.modified_at or now)
    return merged


def schedule_of(
    listed: Mapping[int, StoredPart], preferred: PartSchedule, limits: Limits = S3_LIMITS
) -> PartSchedule | None:
    """The schedule by which the listed parts were cut; None if none of our schedules explains them.

    It follows from the parts alone, never from the current chunk size. ``preferred`` only decides whether further parts
    grow, if the parts do not show it.
    """
    if not listed:
        return None
    first = min(listed)
    size = listed[first].size
    steps = dict.fromkeys((preferred.step, None))  # the preferred step first, then the usual one
    doubled = min((number for number, part in listed.items() if part.size > size), default=None)
    if first == 1 and doubled is not None and doubled - 1 != limits.parts_per_step:
        steps[doubled - 1] = None  # begun with another step: the first larger part shows it
    growing = [PartSchedule(size >> ((first - 1) // (s or limits.parts_per_step)), True, s) for s in steps]
    candidates = [*growing, PartSchedule(size, growing=False)]
    for schedule in sorted(candidates, key=lambda candidate: candidate.growing is not preferred.growing):
        if schedule.chunk_size >= limits.min_part and _is_cut_by(schedule, listed, limits):
            return schedule
    return None


def _is_cut_by(schedule: PartSchedule, listed: Mapping[int, StoredPart], limits: Limits) -> bool:
    """Whether all parts are whole except one: the tail, after which parts of a longer file may remain."""
    missing = [part_size(schedule, number, limits) - part.size for number, part in listed.items()]
    return min(missing) >= 0 and sum(size > 0 for size in missing) <= 1


def left_behind(records: Iterable[Checkpoint]) -> tuple[Superseded, ...]:
    """The uploads that the successor of these streams must clean up: theirs, and those that they had left before."""
    found = list(records)
    own = [Superseded(r.key, r.upload_id, r.stream_id, r.started_at) for r in found]
    return (*own, *(old for record in found for old in record.superseded))


def believable(records: Iterable[Checkpoint]) -> list[Checkpoint]:
    """One checkpoint for each file, and no upload for a key that several files claim. Such conflicts come from two
    daemons that shared one Redis, or from a wrong checkpoint.

    Of several checkpoints of a file the one with the most parts continues, and cleans up after the others.
    """
    of_file: dict[Identity, list[Checkpoint]] = {}
    for record in records:
        of_file.setdefault(record.identity, []).append(record)
    going_on = [_successor(alike) for alike in of_file.values()]
    claims = Counter(record.key for record in going_on)
    return [record if claims[record.key] == 1 else _begun_anew(record) for record in going_on]


def _successor(alike: list[Checkpoint]) -> Checkpoint:
    best = max(alike, key=lambda record: (STATUSES[record.status].is_proved, len(record.parts)))
    others = [record for record in alike if record is not best]
    return replace(best, superseded=(*best.superseded, *left_behind(others))) if others else best


def _begun_anew(record: Checkpoint) -> Checkpoint:
    """The upload's owner cannot be determined: the store's conditional writes decide which stream gets the key."""
    return replace(
        record,
        status=Status.ACTIVE,
        upload_id=None,
        without_checksums=False,
        replaces=None,
        manifest=None,
        unanswered=False,
        etag=None,
        completed_at=None,
        processed_at=None,
        probe=None,
        parts={},
        superseded=left_behind([record]),
    )


def is_still_described(stored: StoredObject | None, checkpoint: Checkpoint) -> bool:
    """Whether the object that a checkpoint calls proved exists and can belong to this file."""
    manifest = checkpoint.manifest
    if stored is None or manifest is None or stored.etag != checkpoint.etag:
        return False
    return (
        manifest.snapshot.identity == checkpoint.identity and completion.equals_manifest(stored, manifest) is not False
    )


# The first case that applies. The contents of the checkpoint decide, not its status: a stream may have failed, or been
# killed, at any step.
#
# 1  ETag and manifest: the object was proved -> describe it. An ETag without a manifest proves nothing: there is no
#    checksum to recognise the object by.
# 2  a manifest, and an unanswered completion -> find out its result first: the upload may be an object already. Without
#    an upload the whole file was sent in one request.
# 3  no upload -> begin
# 4  an upload -> continue it. A manifest whose completion was answered is obsolete: the store refused it.


class Resume(StrEnum):
    """Where a recovered stream resumes, in the order of the table above."""

    DESCRIBE = "describe"
    RESOLVE_COMPLETION = "resolve_completion"
    BEGIN = "begin"
    UPLOAD = "upload"


def where_to_resume(checkpoint: Checkpoint) -> Resume:
    """The step at which a recovered stream resumes; each step begins by querying the store."""
    if checkpoint.etag is not None and checkpoint.manifest is not None:
        return Resume.DESCRIBE
    if checkpoint.manifest is not None and checkpoint.unanswered:
        return Resume.RESOLVE_COMPLETION
    if checkpoint.upload_id is None:
        return Resume.BEGIN
    return Resume.UPLOAD
