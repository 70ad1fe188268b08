"""What a file is by the facts: done already, to be brought up to date, or new; and which key it gets.

Pure. ``decide`` either decides or says which fact it still needs, the cheapest first: Redis, then a HEAD and a document
a key, then the file's bytes, then the bucket. Redis only remembers; without it the object and the document beside it
say the same; where they do not fit, the bytes decide. A stranger's object is never taken: the next key is.

Who asks for a decision calls ``decision.decide``, with the module in front, so that the tests can take a case away.

What Redis remembers of the file (``_by_marker``; M is the marker)

 1 ``DONE``               the stat is M's, and nobody had it open at its last reading: done. Neither read nor asked for.
 2 ``STILL_OPEN``         the stat is M's, but a writer was there and is still: done as it is, look again later. A patch
                          through a mapping need not show in any stat, so that only the bytes tell, and only afterwards.
 3 ``NOBODY_CAN_TELL``    the same where no lease is to be had (network file systems): believe the stat, or the file
                          would be read for ever.
 4 ``PATCHED_UNSEEN``     the writer has gone, and the bytes are not M's: bring M's object up to date.
 5 ``OPENED_AGAIN``       the bytes are M's, but somebody opened it while it was read: as 2.
 6 ``CLOSED``             the bytes are M's, and still nobody writes: done, and never to be read again.
 7 ``SHORTER``            shorter than M's object: a new recording in an old file. M's object stays as it is, for it is
                          all that is left of the earlier one.
 8 ``TOUCHED``            the same length and bytes, another stat: renamed, or its rights or times changed. Done.
 9 ``NO_BIRTH_TIME``      an inode alone proves nothing, it may have been used again: M may be of another file.
10 ``MARKERS_KEY_TAKEN``  another file's living stream is at M's key.
11 ``NOT_MARKERS_OBJECT`` a stranger's object lies at M's key.
12 ``CHANGED``            longer than M's object, or patched: bring that up to date. Also when it was deleted: the file
                          goes on, and whoever deleted it has not seen this.

What lies at a key (``_at_key``; the keys of the name in the walk's order up to the first free one, then others)

13 ``TAKEN``              another file's living stream is there: next key.
14 ``DOCUMENT_ALONE``     no object, but a document: somebody's, or left by a recording whose object was deleted. A new
                          object would lie beside a document that is not its own: next key.
15 ``HINT_FAILED``        nothing there, but the key was only looked at because a hint says that something is: the hint
                          is worth nothing, next key. A hole is not filled.
16 ``DELETED``            no object, but this very file's document: free, and the stream keeps its id, so that it may
                          replace that document.
17 ``FREE``               nothing at all.
18 ``DESCRIBED``          object and document are of this very stat: done, without reading it. Still open if somebody
                          writes.
19 ``SAME_BYTES``         the object has the file's bytes, whoever put it there: proved, to be described.
20 ``MADE_OF_IT``         made of this file by its metadata, not longer, other bytes: to be brought up to date.
21 ``SAID_TO_BE``         the same by its document: made from an adopted upload, whose metadata name another stream. But
                          not where the metadata are no stream's of ours: then the document's word is not enough.
22 ``EARLIER``            an earlier recording of this name, where ``ON_NAME_REUSED=replace``: to be replaced.
23 ``LATER``              made of this file by its document, but longer than it is now: a recording that was in the file
                          before the present one. If it was begun after an object that could be brought up to date,
                          that one is out: its recording is not the one in the file either.
24 ``LATER_UNDATED``      the same by its metadata alone, which do not say when it was begun: nothing is put over it,
                          nor over any other, unless Redis remembers which one is the latest.
25 ``STRANGER``           anything else: next key.

When all keys were looked at (``decide``)

26 ``UP_TO_DATE``         there are objects that can be brought up to date: of several, the latest begun. The others are
                          earlier recordings in this file.
27 ``OPEN_UPLOAD``        an open upload elsewhere holds bytes of the file, which was renamed while it was sent, and
                          Redis forgot it: go on at its key, if that is free.
28 ``NEW``                a new recording, at the first free key.
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
    """The numbers of the table above."""

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
    LATER_UNDATED = 24
    STRANGER = 25
    UP_TO_DATE = 26
    OPEN_UPLOAD = 27
    NEW = 28


@dataclass(frozen=True, slots=True)
class Done:
    """The file is done as it is. Redis is to have this marker."""

    case: Case
    marker: Marker


@dataclass(frozen=True, slots=True)
class Carry:
    """A stream is to go on with this record, if its key can be taken."""

    case: Case
    record: Checkpoint


@dataclass(frozen=True, slots=True)
class Stale:
    """An object that could be brought up to date by this record."""

    case: Case
    record: Checkpoint


@dataclass(frozen=True, slots=True)
class Later:
    """An object of another recording in this file; ``since``: when that was begun, None where nobody knows."""

    case: Case
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Free:
    """A key for a new recording."""

    case: Case
    record: Checkpoint


@dataclass(frozen=True, slots=True)
class Passed:
    """Nothing of this file."""

    case: Case


@dataclass(frozen=True, slots=True)
class _Latest:
    """A file that was begun anew has recordings at several keys, and only the latest is ever brought up to date.

    ``record`` does that, ``since`` is when that recording was begun; there is none if it is longer than the file, which
    is another recording then. ``remembered``: by Redis, which knows the latest.
    """

    record: Checkpoint | None = None
    since: datetime | None = None
    remembered: bool = False

    @property
    def key(self) -> str | None:
        return self.record.key if self.record else None

    def noting(self, found: Stale | Later) -> _Latest:
        match found:
            case Stale(_, record) if self.since is None or record.started_at >= self.since:
                return replace(self, record=record, since=record.started_at)
            case Later(_, None) if not self.remembered:
                return replace(self, record=None)
            case Later(_, datetime() as since) if self.since is None or since > self.since:
                return replace(self, record=None, since=since)
        return self

    def carry(self, found: Carry) -> Carry:
        """Whose file got the bytes of an earlier recording back is no earlier record for it."""
        started_at = found.record.started_at
        since = started_at if self.since is None else max(started_at, self.since)
        return replace(found, record=replace(found.record, started_at=since))


def decide(facts: ClaimFacts, naming: Naming) -> Ask | Done | Carry:
    """What the file is, or what is to be asked before that can be said."""
    marker = facts.marker
    latest = _Latest()
    if marker is not None:
        known = _by_marker(facts, marker)
        if isinstance(known, Ask | Done):
            return known
        record = known.record if isinstance(known, Stale) else None
        latest = _Latest(record, marker.started_at, remembered=True)
    places = [Place.NAME]
    if marker is None or marker.path != facts.path:
        places.append(Place.ELSEWHERE)  # nothing that is this file lies under its name: under an earlier one?
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
            free = free or found.record  # elsewhere: deleted since it was listed, and no better than the name's own
        elif not facts.looked(place).ended:
            failed = isinstance(found, Passed) and found.case is Case.HINT_FAILED
            return LookFor(place, latest.key, hint_failed=failed)
    if latest.record is not None:
        return latest.carry(Carry(Case.UP_TO_DATE, latest.record))
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
            return Done(Case.TOUCHED, replace(here, snapshot=snapshot))
    if not snapshot.identity.birth_ns:
        return Passed(Case.NO_BIRTH_TIME)
    stopped = _at_marker(facts, marker)
    if stopped is None:
        return Stale(Case.CHANGED, _update_of(facts, marker))
    return stopped


def _by_the_bytes_again(facts: ClaimFacts, marker: Marker) -> Ask | Done | Stale | Passed:
    """Cases 2 to 6: nothing that a stat can show has changed since somebody had the file open."""
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
    """Cases 10 and 11; None when the object there is the marker's, or is gone."""
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
    """The record that brings the marker's object up to date, or puts it there again."""
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
    """Cases 13 to 25."""
    said, fresh = look.described.description, _fresh(facts, look, naming)
    identity = facts.snapshot.identity
    if look.taken:
        return Passed(Case.TAKEN)
    if look.stored is not None:
        return _by_the_object(facts, look, look.stored, fresh, naming)
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
    if whose is Ownership.OURS:
        return Stale(Case.MADE_OF_IT, _stale(stored, schedule, fresh, said))
    origin = origin_of(stored.metadata)
    this_file = snapshot.identity if snapshot.identity.birth_ns else None
    says_this_file = is_described and said is not None and said.snapshot.identity == this_file
    if says_this_file and origin is not None and stored.size <= snapshot.size:
        return Stale(Case.SAID_TO_BE, _stale(stored, schedule, fresh, said))
    if whose is Ownership.EARLIER and naming.replace_reused_names:
        return Stale(Case.EARLIER, replace(fresh, replaces=stored.etag))
    if says_this_file and said is not None:
        return Later(Case.LATER, said.started_at)
    if not is_described and origin is not None and origin.identity == this_file:
        return Later(Case.LATER_UNDATED, None)
    return Passed(Case.STRANGER)


def _whose(facts: ClaimFacts, look: AtKey, stored: StoredObject, schedule: PartSchedule) -> Ownership:
    """``UNKNOWN`` until both checksums are there, and those of this very object."""
    read, object_sum = facts.sum_by(schedule), look.object_sum
    crc64 = stored_crc64 = None
    if read is not None and object_sum is not None and object_sum.etag == stored.etag:
        crc64, stored_crc64 = read.crc64, -1 if object_sum.crc64 is None else object_sum.crc64
    path = metadata_value(facts.path)
    return whose_object(stored, path=path, snapshot=facts.snapshot, crc64=crc64, stored_crc64=stored_crc64)


def _schedule_of(said: StoredDescription | None, snapshot: Snapshot, naming: Naming) -> PartSchedule:
    """How the object was cut, by its document; or how the file would be today."""
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
    """The stream goes on that made the object. When it began, the document alone knows."""
    origin = origin_of(stored.metadata)
    return replace(
        fresh,
        stream_id=origin.stream_id if origin else fresh.stream_id,
        schedule=schedule,
        replaces=stored.etag,
        replacements=(said.replacements if said else 0) + 1,
        started_at=said.started_at if said else fresh.started_at,
    )


def _proved(
    facts: ClaimFacts,
    stored: StoredObject,
    schedule: PartSchedule,
    fresh: Checkpoint,
    said: StoredDescription | None,
) -> Checkpoint:
    """The record of a stream whose object is there and proved, and whose document is to be written (again).

    Nobody remembers the ETags of its parts any more; the document has the object's in their place.
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
