"""What to do after a completion was sent: look at the object, never guess.

Pure: the facts come in as arguments, one step goes out. The table is that of ``docs/architecture.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .recording import Answer, Manifest, StoredObject
from .whose import is_ours


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
