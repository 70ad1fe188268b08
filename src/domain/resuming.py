"""From what checkpoint, store and disk say to one decision. Look at the object, never guess.

Pure: the facts come in as arguments, a decision goes out. The tables are those of ``docs/architecture.md``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from .part_plan import S3_LIMITS, Limits, part_size
from .recording import (
    Answer,
    Checkpoint,
    Identity,
    Manifest,
    Part,
    PartSchedule,
    Snapshot,
    Status,
    StoredObject,
    StoredPart,
    Superseded,
)

FORMAT_VERSION = "1"
#: Of an object whose schedule has another step than 1,000, which readers of version 1 would cut elsewhere.
FORMAT_WITH_STEP = "2"
_PREFIX = "cefmp4-"


@dataclass(frozen=True, slots=True)
class Origin:
    """What an object's metadata say of the recording that it was made from."""

    stream_id: str
    path: str
    identity: Identity


def object_metadata(stream_id: str, path: str, identity: Identity, schedule: PartSchedule) -> dict[str, str]:
    """The metadata given at the beginning of an upload; ``path`` is already plain ASCII."""
    step = {f"{_PREFIX}step": str(schedule.step)} if schedule.step else {}
    return {
        f"{_PREFIX}format": FORMAT_WITH_STEP if step else FORMAT_VERSION,
        f"{_PREFIX}stream-id": stream_id,
        f"{_PREFIX}path": path,
        f"{_PREFIX}inode": str(identity.inode),
        f"{_PREFIX}birth-ns": str(identity.birth_ns),
        f"{_PREFIX}schedule": f"{'growing' if schedule.growing else 'equal'}-{schedule.chunk_size}",
        **step,
    }


def origin_of(metadata: Mapping[str, str]) -> Origin | None:
    """Where an object comes from; None when it is not one of ours, or of a format that we do not know."""
    if metadata.get(f"{_PREFIX}format") not in (FORMAT_VERSION, FORMAT_WITH_STEP):
        return None
    try:
        identity = Identity(int(metadata[f"{_PREFIX}inode"]), int(metadata[f"{_PREFIX}birth-ns"]))
        return Origin(metadata[f"{_PREFIX}stream-id"], metadata[f"{_PREFIX}path"], identity)
    except (KeyError, ValueError):
        return None


class Ownership(StrEnum):
    """Whose object is at a key."""

    FREE = "free"
    SAME = "same"  # byte for byte this recording, whoever completed it
    UNKNOWN = "unknown"  # same size, bytes not compared yet
    OURS = "ours"  # made from this very file, which has changed since: to be brought up to date
    EARLIER = "earlier"  # an earlier recording of this name
    STRANGER = "stranger"


def whose_object(
    stored: StoredObject | None, *, path: str, snapshot: Snapshot, crc64: int | None, stored_crc64: int | None
) -> Ownership:
    """Whose object is at the key that a recording wants.

    ``crc64`` is the file's, ``stored_crc64`` the object's, each None until known. Without a birth time an inode
    proves nothing (it may have been used again), so such an object is never taken for ours by identity alone.
    """
    if stored is None:
        return Ownership.FREE
    if stored.size == snapshot.size:
        if crc64 is None or stored_crc64 is None:
            return Ownership.UNKNOWN
        if crc64 == stored_crc64:
            return Ownership.SAME
    origin = origin_of(stored.metadata)
    if origin is None:
        return Ownership.STRANGER
    if origin.identity == snapshot.identity and snapshot.identity.birth_ns and stored.size <= snapshot.size:
        return Ownership.OURS
    return Ownership.EARLIER if origin.path == path else Ownership.STRANGER


def equals_manifest(stored: StoredObject, manifest: Manifest) -> bool | None:
    """Whether the object is what the manifest says. None: the store tells too little, the bytes must be fetched."""
    if stored.size != manifest.size:
        return False
    if stored.crc64 is not None:
        return stored.crc64 == manifest.crc64
    if manifest.etag_md5 is not None and stored.etag == manifest.etag_md5:
        return True
    return None


class Step(StrEnum):
    """What to do after a completion was sent."""

    VERIFIED = "verified"
    FETCH_AND_COMPARE = "fetch_and_compare"
    LOOK_AT_UPLOAD = "look_at_upload"
    COMPLETE_AGAIN = "complete_again"
    COMPLETE_WHERE_NOTHING_IS = "complete_where_nothing_is"
    WAIT = "wait"
    UPLOAD_ANEW = "upload_anew"
    NEXT_KEY = "next_key"
    BRING_UP_TO_DATE = "bring_up_to_date"
    PROVE_AGAIN = "prove_again"
    SEAL_AGAIN = "seal_again"


@dataclass(frozen=True, slots=True)
class CompletionFacts:
    """Everything that is known after a completion was sent, or may have been.

    ``object_equals`` is None while nobody knows; ``upload_open`` None while nobody has asked. ``unanswered``: some
    completion of this upload, this one or an earlier one, never got an answer. ``waited_out``: the time in which
    an unanswered completion might still be assembling has passed.
    """

    answer: Answer
    stored: StoredObject | None
    object_equals: bool | None
    upload_open: bool | None
    unanswered: bool
    waited_out: bool


def after_completion(facts: CompletionFacts, manifest: Manifest, stream_id: str) -> Step:
    """The one next step. The object decides first, then the upload, and only then the answer."""
    stored = facts.stored
    if stored is not None:
        if facts.object_equals is None:
            return Step.FETCH_AND_COMPARE
        if facts.object_equals:
            return Step.VERIFIED
        if manifest.replaces is None or stored.etag != manifest.replaces:
            ours = is_ours(stored, stream_id, manifest.snapshot.identity, manifest.size)
            return Step.BRING_UP_TO_DATE if ours else Step.NEXT_KEY
    # Nothing there, or still the object that was to be replaced: this completion has not happened (yet).
    if facts.upload_open is None:
        return Step.LOOK_AT_UPLOAD
    if not facts.upload_open:
        return Step.WAIT if facts.unanswered and not facts.waited_out else Step.UPLOAD_ANEW
    if facts.answer is Answer.PRECONDITION_FAILED and stored is None and manifest.replaces is None and facts.waited_out:
        return Step.NEXT_KEY  # the store says that something is there and that nothing is: it will not change its mind
    return _upload_still_open(facts.answer, gone=stored is None and manifest.replaces is not None)


def is_ours(stored: StoredObject, stream_id: str, identity: Identity, size: int) -> bool:
    """Whether an object was made by this stream, or by one of this very file whose record was lost.

    An object that is longer than the file was an earlier recording in it.
    """
    origin = origin_of(stored.metadata)
    if origin is None:
        return False
    of_this_file = origin.identity == identity and identity.birth_ns != 0 and stored.size <= size
    return origin.stream_id == stream_id or of_this_file


def _upload_still_open(answer: Answer, *, gone: bool) -> Step:
    match answer:
        case Answer.CONFLICT:
            return Step.UPLOAD_ANEW
        case Answer.INVALID_PART:
            return Step.PROVE_AGAIN
        case Answer.WRONG_CONTENT:
            return Step.SEAL_AGAIN
        case _:
            return Step.COMPLETE_WHERE_NOTHING_IS if gone else Step.COMPLETE_AGAIN


#: Bytes a second at which a store is assumed to assemble parts at the slowest, after the first 15 minutes.
_SLOWEST_ASSEMBLY = 50 * 1024 * 1024
_SHORTEST_ASSEMBLY_SECONDS = 900.0


def assembling_seconds(size: int) -> float:
    """How long an unanswered completion may still be at work, before its absence means anything."""
    return _SHORTEST_ASSEMBLY_SECONDS + size / _SLOWEST_ASSEMBLY


def merge_parts(
    recorded: Mapping[int, Part], listed: Mapping[int, StoredPart], now: datetime, *, atomic: bool = True
) -> dict[int, Part]:
    """The parts to go on with: those that the store lists, with what the record knows of the same part.

    A part that only the record knows is not in S3; one that only the store knows is believed as far as its
    checksum goes, and is compared with the file at the seal like any other. So is one that both know differently:
    it was sent again, and nobody heard the answer. But not of a store that is not ``atomic``: killed then, it may
    list the new part's checksum and hold the old one's bytes (seen: VersityGW with its metadata in files of their
    own). There it is sent once more.
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
    """The schedule by which the listed parts were cut; None when no schedule of ours explains them.

    It follows from the parts alone, never from today's chunk size; only whether further parts would grow is taken
    from ``preferred`` where the parts do not tell.
    """
    if not listed:
        return None
    first = min(listed)
    size = listed[first].size
    steps = dict.fromkeys((preferred.step, None))  # ours is tried first, then the usual one
    doubled = min((number for number, part in listed.items() if part.size > size), default=None)
    if first == 1 and doubled is not None and doubled - 1 != limits.parts_per_step:
        steps[doubled - 1] = None  # begun with another step: the first larger part tells
    growing = [PartSchedule(size >> ((first - 1) // (s or limits.parts_per_step)), True, s) for s in steps]
    candidates = [*growing, PartSchedule(size, growing=False)]
    for schedule in sorted(candidates, key=lambda candidate: candidate.growing is not preferred.growing):
        if schedule.chunk_size >= limits.min_part and _is_cut_by(schedule, listed, limits):
            return schedule
    return None


def _is_cut_by(schedule: PartSchedule, listed: Mapping[int, StoredPart], limits: Limits) -> bool:
    """All whole but one: the tail, behind which parts are left of a file that was longer."""
    missing = [part_size(schedule, number, limits) - part.size for number, part in listed.items()]
    return min(missing) >= 0 and sum(size > 0 for size in missing) <= 1


def left_behind(records: Iterable[Checkpoint]) -> tuple[Superseded, ...]:
    """What the successor of these streams is to clean up after it: their uploads, and those they had left before."""
    found = list(records)
    own = [Superseded(r.key, r.upload_id, r.stream_id, r.started_at) for r in found]
    return (*own, *(old for record in found for old in record.superseded))


def believable(records: Iterable[Checkpoint]) -> list[Checkpoint]:
    """One record for each file, and no upload for a key that several files claim: what two daemons have left in one
    Redis, or a record that says what is not true.

    Of a file's records that with the most parts goes on, and cleans up after the others.
    """
    of_file: dict[Identity, list[Checkpoint]] = {}
    for record in records:
        of_file.setdefault(record.identity, []).append(record)
    going_on = [_successor(alike) for alike in of_file.values()]
    claims = Counter(record.key for record in going_on)
    return [record if claims[record.key] == 1 else _begun_anew(record) for record in going_on]


def _successor(alike: list[Checkpoint]) -> Checkpoint:
    best = max(alike, key=lambda record: (record.status is Status.S3_COMPLETED, len(record.parts)))
    others = [record for record in alike if record is not best]
    return replace(best, superseded=(*best.superseded, *left_behind(others))) if others else best


def _begun_anew(record: Checkpoint) -> Checkpoint:
    """Nobody can tell whose the upload is: the store's conditions decide who gets the key."""
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
    """Whether the object is there that a checkpoint says is proved, and can be this file's."""
    manifest = checkpoint.manifest
    if stored is None or manifest is None or stored.etag != checkpoint.etag:
        return False
    return manifest.snapshot.identity == checkpoint.identity and equals_manifest(stored, manifest) is not False


class Resume(StrEnum):
    """Where a recovered stream goes on."""

    BEGIN = "begin"
    UPLOAD = "upload"
    RESOLVE_COMPLETION = "resolve_completion"
    DESCRIBE = "describe"


def where_to_resume(checkpoint: Checkpoint) -> Resume:
    """The step that a stream whose record survived goes on with; each begins by asking the store."""
    if checkpoint.etag is not None and checkpoint.manifest is not None:
        return Resume.DESCRIBE
    if checkpoint.upload_id is None:
        return Resume.BEGIN
    if checkpoint.manifest is not None and checkpoint.unanswered:
        return Resume.RESOLVE_COMPLETION
    return Resume.UPLOAD
