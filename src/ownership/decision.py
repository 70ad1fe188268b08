"""Decides what a file is: already done, to be replaced, or new; and which key it gets.

Pure. ``decide`` either decides or returns the fact that it needs next, the cheapest first: Redis, then a HEAD and a
metadata document per key, then the file's bytes, then the bucket. Redis is only a cache: without it the object and its
document have the same information. If they do not match, the bytes decide. Another program's object is never replaced:
the recording gets the next key.

Call it as ``decision.decide``, with the module name, so that tests can remove a case.

From the marker in Redis (``_by_marker``; M is the marker)

 1 ``DONE``               the stat equals M's, and no process had it open at its last reading: done, without any
                          request.
 2 ``STILL_OPEN``         the stat equals M's, but a process had it open and still has: done as it is, check again
                          later. A patch through a mapping need not show in a stat, so only the bytes tell, and only
                          afterwards.
 3 ``NOBODY_CAN_TELL``    the same where leases are not supported (network file systems): trust the stat; otherwise the
                          file would be read indefinitely.
 4 ``PATCHED_UNSEEN``     the writer has gone, and the bytes differ from M's: replace M's object.
 5 ``OPENED_AGAIN``       the bytes equal M's, but the file was opened while it was read: as 2.
 6 ``CLOSED``             the bytes equal M's, and there is no writer: done, and never to be read again.
 7 ``SHORTER``            shorter than M's object: a new recording in an old file. M's object is kept, because it is all
                          that is left of the earlier recording.
 8 ``TOUCHED``            the same length and bytes, another stat, and an object at M's key: renamed, or its
                          permissions or times changed. Done. Without an object it is 12: to touch a file whose object
                          was deleted uploads it again.
 9 ``NO_BIRTH_TIME``      an inode alone proves nothing, since it may have been reused: M may belong to another file.
10 ``MARKERS_KEY_TAKEN``  another file's active stream is at M's key.
11 ``NOT_MARKERS_OBJECT`` another program's object is at M's key.
12 ``CHANGED``            longer than M's object, or patched: replace the object. Also if it was deleted: the file has
                          changed since, and whoever deleted it did not know this. Then another stat is enough.

From the object at a key (``_at_key``; the keys of the name in order up to the first free one, then others)

13 ``TAKEN``              another file's active stream is there: next key.
14 ``DOCUMENT_ALONE``     no object, but a document: another program's, or left by a recording whose object was deleted.
                          A new object would lie beside a document that is not its own: next key.
15 ``HINT_FAILED``        nothing there, but the key was checked only because of the hint, which is therefore wrong:
                          next key. Gaps are not filled.
16 ``DELETED``            no object, but this file's document, and the file's stat has changed since: free, and the
                          stream keeps its ID, so that it may replace that document.
17 ``FREE``               nothing at all.
18 ``DESCRIBED``          object and document match this very stat: done, without reading the file. Still open if a
                          process has it open for writing.
19 ``SAME_BYTES``         the object has the file's bytes, whoever stored it: proved, to be described.
20 ``MADE_OF_IT``         made from this file by its metadata, not longer, different bytes: to be replaced.
21 ``SAID_TO_BE``         the same by its document: made from an adopted upload, whose metadata name another stream. But
                          not if the metadata are not of a stream of ours: then the document is not sufficient.
22 ``EARLIER``            an earlier recording of this name, with ``ON_NAME_REUSED=replace``: to be replaced, if no
                          object was made from this very file.
23 ``LATER``              made from this file by its document, but longer than it is now: an earlier recording in the
                          same file. If it began after an object that could be replaced, that one is excluded: its
                          recording is not the current one either.
24 ``LATER_UNDESCRIBED``  the same by its metadata alone.
25 ``STRANGER``           anything else: next key.

After all keys were checked (``decide``)

26 ``UP_TO_DATE``         there are objects that can be replaced: of several, the one whose recording began last. The
                          others are earlier recordings in this file. The document tells when it began, or the metadata;
                          those of older releases do not. Without a time, the numbers of the name decide, which only
                          increase. If they cannot either, no object is replaced, unless Redis remembers the latest.
27 ``OPEN_UPLOAD``        an open upload elsewhere holds bytes of the file, which was renamed during its upload while
                          Redis lost its data: continue at its key, if that is free.
28 ``NEW``                a new recording, at the first free key.

Beside 16, at a key

29 ``GONE``               no object, but a document of this very stat: the object was deleted. Done, and not sent
                          again. Still open if a process writes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum

from ..domain import (
    Checkpoint,
    Fact,
    Manifest,
    Marker,
    Naming,
    Ownership,
    PartSchedule,
    Snapshot,
    Status,
    StoredObject,
    Writers,
    after,
    capacity,
    metadata_value,
    origin_of,
    schedule_for,
    whose_object,
)
from ..metadata_generator import StoredDescription
from .facts import Ask, AtKey, ClaimFacts, Compare, LookAtMarker, LookFor, Place, ReadFile, WhoWrites, WhoWritesNow


class Case(IntEnum):
    """The case numbers of the table above."""

    DONE = 1
    STILL_OPEN = 2
    NOBODY_CAN_TELL = 3
    PATCHED_UNSEEN = 4
    OPENED_AGAIN = 5
    CLOSED = 6
    SHORTER = 7
    TOUCHED = 8
    NO_BIRTH_TIME = 9
    MARKERS_KEY_TAKEN = 10
    NOT_MARKERS_OBJECT = 11
    CHANGED = 12
    TAKEN = 13
    DOCUMENT_ALONE = 14
    HINT_FAILED = 15
    DELETED = 16
    FREE = 17
    DESCRIBED = 18
    SAME_BYTES = 19
    MADE_OF_IT = 20
    SAID_TO_BE = 21
    EARLIER = 22
    LATER = 23
    LATER_UNDESCRIBED = 24
    STRANGER = 25
    UP_TO_DATE = 26
    OPEN_UPLOAD = 27
    NEW = 28
    GONE = 29


@dataclass(frozen=True, slots=True)
class Done:
    """The file is done as it is. Redis must have this marker."""

    case: Case
    marker: Marker


@dataclass(frozen=True, slots=True)
class Carry:
    """A stream continues with this checkpoint, if its key can be taken."""

    case: Case
    record: Checkpoint


@dataclass(frozen=True, slots=True)
class Stale:
    """An object that could be replaced, with the checkpoint to do so. ``since``, ``number``: as in ``Later``."""

    case: Case
    record: Checkpoint
    since: datetime | None = None
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Later:
    """An object of another recording in this file; ``since``: when that began, None if unknown. ``number``: the number
    of its key among those of the name, None for another name."""

    case: Case
    since: datetime | None
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Free:
    """A key for a new recording."""

    case: Case
    record: Checkpoint


@dataclass(frozen=True, slots=True)
class Passed:
    """Nothing that belongs to this file."""

    case: Case


@dataclass(frozen=True, slots=True)
class _Latest:
    """A file with several recordings has an object at each of several keys, and only the latest is ever replaced.

    ``record`` replaces it; ``since`` and ``number`` are those of its recording. There is none if the object is longer
    than the file, which then contains another recording, or if it is unclear which recording is the latest.
    ``remembered``: from Redis, which knows the latest. ``reused`` replaces another file's object under this name.
    """

    record: Checkpoint | None = None
    since: datetime | None = None
    number: int | None = None
    remembered: bool = False
    is_known: bool = False
    is_unclear: bool = False
    reused: Checkpoint | None = None

    @property
    def key(self) -> str | None:
        return self.record.key if self.record else None

    @property
    def to_replace(self) -> Checkpoint | None:
        return self.record or self.reused

    def noting(self, found: Stale | Later) -> _Latest:
        if found.case is Case.EARLIER and isinstance(found, Stale):
            return replace(self, reused=self.reused or found.record)
        began_later = self._began_before(found) if self.is_known else True
        if began_later is None:
            return self if self.remembered else replace(self, record=None, is_unclear=True)
        if not began_later:
            return self
        record = found.record if isinstance(found, Stale) and not self.is_unclear else None
        return replace(self, record=record, since=found.since, number=found.number, is_known=True)

    def _began_before(self, found: Stale | Later) -> bool | None:
        """Whether the found recording began after this one; None: unknown."""
        has_higher_number = None
        if self.number is not None and found.number is not None:
            has_higher_number = self.number < found.number
        if self.since is None or found.since is None:
            return has_higher_number
        if self.since == found.since:  # a copy of the same object, or the same recording at its next key
            return has_higher_number is True and isinstance(found, Stale)
        return self.since < found.since

    def carry(self, found: Carry) -> Carry:
        """If the file has the bytes of an earlier recording again, no checkpoint is earlier."""
        started_at = found.record.started_at
        since = started_at if self.since is None else max(started_at, self.since)
        return replace(found, record=replace(found.record, started_at=since))


def decide(facts: ClaimFacts, naming: Naming) -> Ask | Done | Carry:
    """What the file is, or the next fact that is needed."""
    marker = facts.marker
    latest = _Latest()
    if marker is not None:
        known = _by_marker(facts, marker)
        if isinstance(known, Ask | Done):
            return known
        record = known.record if isinstance(known, Stale) else None
        latest = _Latest(record, marker.started_at, remembered=True, is_known=True)
    places = [Place.NAME]
    if marker is None or marker.path != facts.path:
        places.append(Place.ELSEWHERE)  # no object under its name belongs to this file: look for an earlier name
    free: Checkpoint | None = None
    found: Ask | Done | Carry | Stale | Later | Free | Passed | None
    for place in places:
        found = None
        for look in facts.looked(place).at:
            found = _at_key(facts, look, naming)
            match found:
                case Ask() | Done():
                    return found
                case Carry():
                    return latest.carry(found)
                case Stale() | Later():
                    latest = latest.noting(found)
        if isinstance(found, Free):
            free = free or found.record  # elsewhere: deleted after the listing, so the name's own key is as good
        elif not facts.looked(place).ended:
            failed = isinstance(found, Passed) and found.case is Case.HINT_FAILED
            return LookFor(place, latest.key, hint_failed=failed)
    if latest.to_replace is not None:
        return latest.carry(Carry(Case.UP_TO_DATE, latest.to_replace))
    for look in facts.looked(Place.UPLOAD).at:
        found = _at_key(facts, look, naming)
        if isinstance(found, Free):
            return latest.carry(Carry(Case.OPEN_UPLOAD, found.record))
    if not facts.looked(Place.UPLOAD).ended:
        return LookFor(Place.UPLOAD, free.key if free else None)
    assert free is not None
    return latest.carry(Carry(Case.NEW, free))


def _by_marker(facts: ClaimFacts, marker: Marker) -> Ask | Done | Stale | Passed:
    """Cases 1 to 12."""
    snapshot = facts.snapshot
    here = replace(marker, path=facts.path)
    if snapshot == marker.snapshot:
        if not marker.still_open:
            return Done(Case.DONE, here)
        return _by_the_bytes_again(facts, marker)
    if snapshot.size < marker.snapshot.size:
        return Passed(Case.SHORTER)
    if snapshot.size == marker.snapshot.size:
        read = facts.sum_by(marker.schedule)
        if read is None:
            return ReadFile(marker.schedule)
        if read.crc64 == marker.crc64:
            there = facts.at_marker
            if there is None:
                return LookAtMarker(marker.key)
            if there.taken or there.stored is not None:
                return Done(Case.TOUCHED, replace(here, snapshot=snapshot))
            return Stale(Case.CHANGED, _update_of(facts, marker))
    if not snapshot.identity.birth_ns:
        return Passed(Case.NO_BIRTH_TIME)
    stopped = _at_marker(facts, marker)
    if stopped is None:
        return Stale(Case.CHANGED, _update_of(facts, marker))
    return stopped


def _by_the_bytes_again(facts: ClaimFacts, marker: Marker) -> Ask | Done | Stale | Passed:
    """Cases 2 to 6: no change that a stat can show since a process had the file open."""
    if facts.writers is None:
        return WhoWrites()
    if facts.writers is Writers.PRESENT:
        return Done(Case.STILL_OPEN, marker)
    closed = replace(marker, path=facts.path, still_open=False)
    if facts.writers is Writers.UNKNOWN:
        return Done(Case.NOBODY_CAN_TELL, closed)
    read = facts.sum_by(marker.schedule)
    if read is None:
        return ReadFile(marker.schedule)
    if read.crc64 != marker.crc64:
        return _at_marker(facts, marker) or Stale(Case.PATCHED_UNSEEN, _update_of(facts, marker))
    if facts.writers_after is None:
        return WhoWrites(after_reading=True)
    if facts.writers_after is not Writers.NONE:
        return Done(Case.OPENED_AGAIN, marker)
    return Done(Case.CLOSED, closed)


def _at_marker(facts: ClaimFacts, marker: Marker) -> Ask | Passed | None:
    """Cases 10 and 11; None if the object there is the marker's, or is missing."""
    there = facts.at_marker
    if there is None:
        return LookAtMarker(marker.key)
    if there.taken:
        return Passed(Case.MARKERS_KEY_TAKEN)
    stored = there.stored
    if stored is not None and stored.etag != marker.etag:
        origin = origin_of(stored.metadata)
        if origin is None or origin.stream_id != marker.stream_id:
            return Passed(Case.NOT_MARKERS_OBJECT)
    return None


def _update_of(facts: ClaimFacts, marker: Marker) -> Checkpoint:
    """The checkpoint that replaces the marker's object, or stores it again."""
    stored = facts.at_marker.stored if facts.at_marker else None
    return Checkpoint(
        stream_id=marker.stream_id,
        status=after(Status.COMPLETED, Fact.CHANGED_AFTER_COMPLETION),
        path=facts.path,
        bucket=marker.bucket,
        key=marker.key,
        identity=marker.snapshot.identity,
        schedule=marker.schedule,
        started_at=marker.started_at,
        replaces=stored.etag if stored else None,
        replacements=marker.replacements + 1,
    )


def _at_key(facts: ClaimFacts, look: AtKey, naming: Naming) -> Ask | Done | Carry | Stale | Later | Free | Passed:
    """Cases 13 to 25, and 29."""
    said, fresh = look.described.description, _fresh(facts, look, naming)
    identity = facts.snapshot.identity
    if look.taken:
        return Passed(Case.TAKEN)
    if look.stored is not None:
        return _by_the_object(facts, look, look.stored, fresh, naming)
    if said is not None and said.snapshot == facts.snapshot:
        if look.writers is None:
            return WhoWritesNow(look)
        return Done(Case.GONE, replace(said.marker(facts.path), still_open=look.writers is Writers.PRESENT))
    says_this_file = said is not None and said.snapshot.identity == identity and identity.birth_ns != 0
    if (said is not None or look.described.foreign) and not says_this_file:
        return Passed(Case.DOCUMENT_ALONE)
    if not look.may_be_taken:
        return Passed(Case.HINT_FAILED)
    if said is not None:
        return Free(Case.DELETED, replace(fresh, stream_id=said.stream_id, number=look.number))
    return Free(Case.FREE, replace(fresh, number=look.number))


def _by_the_object(
    facts: ClaimFacts, look: AtKey, stored: StoredObject, fresh: Checkpoint, naming: Naming
) -> Ask | Done | Carry | Stale | Later | Passed:
    """Cases 18 to 25."""
    snapshot = facts.snapshot
    said = look.described.description
    is_described = said is not None and said.etag == stored.etag
    if is_described and said is not None and said.snapshot == snapshot:
        if look.writers is None:
            return WhoWritesNow(look)
        return Done(Case.DESCRIBED, replace(said.marker(facts.path), still_open=look.writers is Writers.PRESENT))
    schedule = _schedule_of(said, snapshot, naming)
    whose = _whose(facts, look, stored, schedule)
    if whose is Ownership.UNKNOWN:
        return Compare(look, schedule)
    if whose is Ownership.SAME:
        return Carry(Case.SAME_BYTES, _proved(facts, stored, schedule, fresh, said))
    origin = origin_of(stored.metadata)
    since = said.started_at if said else origin.started_at if origin else None
    if whose is Ownership.OURS:
        return Stale(Case.MADE_OF_IT, _stale(stored, schedule, fresh, said), since, look.number)
    this_file = snapshot.identity if snapshot.identity.birth_ns else None
    says_this_file = is_described and said is not None and said.snapshot.identity == this_file
    if says_this_file and origin is not None and stored.size <= snapshot.size:
        return Stale(Case.SAID_TO_BE, _stale(stored, schedule, fresh, said), since, look.number)
    if whose is Ownership.EARLIER and naming.replace_reused_names:
        return Stale(Case.EARLIER, replace(fresh, replaces=stored.etag), None, look.number)
    if says_this_file:
        return Later(Case.LATER, since, look.number)
    if not is_described and origin is not None and origin.identity == this_file:
        return Later(Case.LATER_UNDESCRIBED, origin.started_at, look.number)
    return Passed(Case.STRANGER)


def _whose(facts: ClaimFacts, look: AtKey, stored: StoredObject, schedule: PartSchedule) -> Ownership:
    """``UNKNOWN`` until both checksums are known, and belong to this very object."""
    read, object_sum = facts.sum_by(schedule), look.object_sum
    crc64 = stored_crc64 = None
    if read is not None and object_sum is not None and object_sum.etag == stored.etag:
        crc64, stored_crc64 = read.crc64, -1 if object_sum.crc64 is None else object_sum.crc64
    path = metadata_value(facts.path)
    return whose_object(stored, path=path, snapshot=facts.snapshot, crc64=crc64, stored_crc64=stored_crc64)


def _schedule_of(said: StoredDescription | None, snapshot: Snapshot, naming: Naming) -> PartSchedule:
    """How the object was cut, from its document; otherwise how the file would be cut now."""
    if said is not None:
        return said.schedule
    if snapshot.size > capacity(naming.schedule, naming.limits):
        return schedule_for(snapshot.size, naming.schedule, naming.limits)
    return naming.schedule


def _fresh(facts: ClaimFacts, look: AtKey, naming: Naming) -> Checkpoint:
    """A new stream at this key."""
    return Checkpoint(
        stream_id=facts.fresh_id,
        status=Status.ACTIVE,
        path=facts.path,
        bucket=facts.bucket,
        key=look.key,
        identity=facts.snapshot.identity,
        schedule=naming.schedule,
        started_at=look.looked_at,
    )


def _stale(
    stored: StoredObject, schedule: PartSchedule, fresh: Checkpoint, said: StoredDescription | None
) -> Checkpoint:
    """The stream that made the object continues."""
    origin = origin_of(stored.metadata)
    started_at = origin.started_at if origin else None
    return replace(
        fresh,
        stream_id=origin.stream_id if origin else fresh.stream_id,
        schedule=schedule,
        replaces=stored.etag,
        replacements=(said.replacements if said else 0) + 1,
        started_at=said.started_at if said else started_at or fresh.started_at,
    )


def _proved(
    facts: ClaimFacts,
    stored: StoredObject,
    schedule: PartSchedule,
    fresh: Checkpoint,
    said: StoredDescription | None,
) -> Checkpoint:
    """The checkpoint of a stream whose object exists and is proved, and whose document is to be written (again).

    The ETags of its parts are lost; the object's ETag takes their place in the document.
    """
    read = facts.sum_by(schedule)
    parts = read.parts if read else ()
    origin = origin_of(stored.metadata)
    return replace(
        fresh,
        stream_id=origin.stream_id if origin else fresh.stream_id,
        status=Status.S3_COMPLETED,
        schedule=schedule,
        started_at=said.started_at if said else fresh.started_at,
        completed_at=said.completed_at if said else fresh.started_at,
        replacements=said.replacements if said else 0,
        manifest=Manifest(facts.snapshot.size, read.crc64 if read else 0, len(parts), facts.snapshot),
        etag=stored.etag,
        parts={part.number: replace(part, etag=stored.etag) for part in parts},
    )
