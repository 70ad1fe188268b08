"""What to do after a completion was sent: check the object, never guess.

Pure: facts are arguments, and the result is one step. ``docs/architecture.md`` has the same table.
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


class Step(StrEnum):
    """The next step after a completion was sent."""

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
            ours = is_ours(stored, stream_id, manifest.snapshot.identity, manifest.size)
            return Step.BRING_UP_TO_DATE if ours else Step.NEXT_KEY
    # No object, or still the one to be replaced: this completion has not happened (yet).
    if facts.upload_open is None:
        return Step.LOOK_AT_UPLOAD
    if not facts.upload_open:
        return Step.WAIT if facts.unanswered and not facts.waited_out else Step.UPLOAD_ANEW
    if facts.answer is Answer.PRECONDITION_FAILED and stored is None and manifest.replaces is None and facts.waited_out:
        return Step.NEXT_KEY  # the store reports both that an object exists and that it does not: this will not change
    return _upload_still_open(facts.answer, gone=stored is None and manifest.replaces is not None)


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


#: Lowest assumed rate at which a store assembles parts, in bytes per second, after the first 15 minutes.
_SLOWEST_ASSEMBLY = 50 * 1024 * 1024
_SHORTEST_ASSEMBLY_SECONDS = 900.0


def assembling_seconds(size: int) -> float:
    """How long an unanswered completion may still be in progress before a missing object means anything."""
    return _SHORTEST_ASSEMBLY_SECONDS + size / _SLOWEST_ASSEMBLY
