"""What to do after a completion was sent: check the object, never guess.

Pure: facts are arguments, and the result is one step. The three sources have different weight: the object shows what
is, the upload shows what can still happen, and an answer is only a report, which may be late or lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .recording import Answer, Manifest, StoredObject
from .whose import is_ours


def equals_manifest(stored: StoredObject, manifest: Manifest) -> bool | None:
    """Whether the object matches the manifest. None: the store reports too little, so the bytes must be fetched."""
    if stored.size != manifest.size:
        return False
    if stored.crc64 is not None:
        return stored.crc64 == manifest.crc64
    if manifest.etag_md5 is not None and stored.etag == manifest.etag_md5:
        return True
    return None


# The first case that applies. ``docs/architecture.md`` has the same table.
#
#  1  an object exists; whether it equals the manifest is unknown -> fetch and compare it: equal size proves nothing
#  2  it equals the manifest -> verified, whoever completed it
#  3  other bytes, not the object to be replaced, and ours: an earlier completion of this stream, or of a lost stream of
#     this file, came first -> replace it with another upload
#  4  the same, but another owner's -> the next key
#
# From here on there is no object, or still the one to be replaced: this completion has not happened (yet).
#
#  5  whether the upload is still open is unknown -> look
#  6  it is gone, and a completion was never answered -> wait: the store may still be assembling the object, and a new
#     upload would send the whole file for nothing
#  7  it is gone, and all completions were answered, or the time for 6 has passed -> upload again
#  8  it is open, the store reports the key as occupied, and still shows no object after that time -> the next key. The
#     store contradicts itself (seen with VersityGW after a kill during a completion). This does not change.
#  9  it is open, conflict -> restart the upload, as S3 requires after a conflict
# 10  it is open, a part was refused -> prove again: the list of parts was not the store's
# 11  it is open, wrong checksum or size -> seal again: the store holds other bytes than the last pass read
# 12  it is open, any other answer or none, and the object to be replaced is gone -> complete again on the condition
#     that the key is free: the old condition can never be met again
# 13  it is open, any other answer or none -> complete again. Repeating is safe: it makes the same object.


class Step(StrEnum):
    """The next step after a completion was sent, with the case numbers of the table above."""

    FETCH_AND_COMPARE = "fetch_and_compare"  # 1
    VERIFIED = "verified"  # 2
    BRING_UP_TO_DATE = "bring_up_to_date"  # 3
    NEXT_KEY = "next_key"  # 4, 8
    LOOK_AT_UPLOAD = "look_at_upload"  # 5
    WAIT = "wait"  # 6
    UPLOAD_ANEW = "upload_anew"  # 7, 9
    PROVE_AGAIN = "prove_again"  # 10
    SEAL_AGAIN = "seal_again"  # 11
    COMPLETE_WHERE_NOTHING_IS = "complete_where_nothing_is"  # 12
    COMPLETE_AGAIN = "complete_again"  # 13


@dataclass(frozen=True, slots=True)
class CompletionFacts:
    """All facts after a completion was sent, or may have been sent.

    ``object_equals`` is None if not known yet, ``upload_open`` None if not checked yet. ``unanswered``: some completion
    of this upload, this one or an earlier one, got no answer. ``waited_out``: an unanswered completion can no longer be
    in progress.
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
            if is_ours(stored, stream_id, manifest.snapshot.identity, manifest.size):
                return Step.BRING_UP_TO_DATE
            return Step.NEXT_KEY
    if facts.upload_open is None:
        return Step.LOOK_AT_UPLOAD
    if not facts.upload_open:
        if facts.unanswered and not facts.waited_out:
            return Step.WAIT
        return Step.UPLOAD_ANEW
    if facts.answer is Answer.PRECONDITION_FAILED and stored is None and manifest.replaces is None and facts.waited_out:
        return Step.NEXT_KEY
    return _upload_still_open(facts.answer, gone=stored is None and manifest.replaces is not None)


def _upload_still_open(answer: Answer, *, gone: bool) -> Step:
    """Cases 9 to 13."""
    match answer:
        case Answer.CONFLICT:
            return Step.UPLOAD_ANEW
        case Answer.INVALID_PART:
            return Step.PROVE_AGAIN
        case Answer.WRONG_CONTENT:
            return Step.SEAL_AGAIN
        case _ if gone:
            return Step.COMPLETE_WHERE_NOTHING_IS
        case _:
            return Step.COMPLETE_AGAIN


#: Lowest assumed rate at which a store assembles parts, in bytes per second, after the first 15 minutes.
_SLOWEST_ASSEMBLY = 50 * 1024 * 1024
_SHORTEST_ASSEMBLY_SECONDS = 900.0


def assembling_seconds(size: int) -> float:
    """How long an unanswered completion may still be in progress before a missing object means anything."""
    return _SHORTEST_ASSEMBLY_SECONDS + size / _SLOWEST_ASSEMBLY
