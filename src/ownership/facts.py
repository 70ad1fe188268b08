"""The known facts about a file to be claimed, and the questions that the decision may still ask. Data only.

A file may have 100 GiB and its name thousands of recordings, so no fact is gathered before a case needs it: an unknown
fact is None here, or missing from its tuple. Each fact may be outdated, so the key is taken first, and the store's
conditions (If-Match, If-None-Match) protect against faster writers.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum, auto

from ..domain import Marker, Part, PartSchedule, Snapshot, StoredObject, Writers
from ..metadata_generator import StoredDescription


@dataclass(frozen=True, slots=True)
class Described:
    """The document beside an object: its content, or that it belongs to another program."""

    description: StoredDescription | None
    foreign: bool

    @property
    def is_none(self) -> bool:
        """Nothing is there."""
        return self.description is None and not self.foreign


@dataclass(frozen=True, slots=True)
class FileSum:
    """The checksums of one pass over the file, cut by ``schedule``. Valid for as long as the snapshot is, for any
    key."""

    schedule: PartSchedule
    crc64: int
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class ObjectSum:
    """CRC64NVME of the object that had this ETag; None: the object was replaced before it was downloaded."""

    etag: str
    crc64: int | None


@dataclass(frozen=True, slots=True)
class AtKey:
    """The result of checking a key.

    ``taken``: another file's active stream has the key, and no request was made. ``number``: the number of the key
    among those of the name; None for a key of another name. ``may_be_taken``: a new recording gets the key if nothing
    is there; False for the key that only verifies a hint. ``looked_at`` is the time before the first request: a stream
    that begins here began then, and later uploads to the key may be its own. ``writers`` is requested last, if the
    document says that the object was made from this very file.
    """

    key: str
    looked_at: datetime
    number: int | None = None
    may_be_taken: bool = True
    taken: bool = False
    stored: StoredObject | None = None
    described: Described = Described(None, foreign=False)
    object_sum: ObjectSum | None = None
    writers: Writers | None = None


class Place(Enum):
    """The sources of keys to check."""

    NAME = auto()  # the natural key, ``~2``, …, as ``names.Walk`` returns them: the sequence never ends
    ELSEWHERE = auto()  # objects that were made from this file, under any name
    UPLOAD = auto()  # keys with an open upload that holds bytes of this file


@dataclass(frozen=True, slots=True)
class Looks:
    """The keys checked in one place, in order. ``ended``: there are no more."""

    at: tuple[AtKey, ...] = ()
    ended: bool = False


@dataclass(frozen=True, slots=True)
class ClaimFacts:
    """All known facts about the file at ``path``, which was ``snapshot`` when the claim began.

    ``marker``: what Redis remembers of this very file in this bucket; None also for a marker that is older than what
    this process completed. ``fresh_id``: the stream's ID if it is a new one. ``writers`` was determined before the
    bytes were read, ``writers_after`` afterwards. ``at_marker``: the result at the marker's key.
    """

    path: str
    snapshot: Snapshot
    bucket: str
    fresh_id: str
    marker: Marker | None = None
    writers: Writers | None = None
    writers_after: Writers | None = None
    sums: tuple[FileSum, ...] = ()
    at_marker: AtKey | None = None
    looks: dict[Place, Looks] = field(default_factory=dict)

    def sum_by(self, schedule: PartSchedule) -> FileSum | None:
        """The pass with this schedule."""
        return next((one for one in self.sums if one.schedule == schedule), None)

    def looked(self, place: Place) -> Looks:
        """The results in one place so far."""
        return self.looks.get(place, Looks())

    def looking(self, place: Place, look: AtKey | None) -> ClaimFacts:
        """The facts with one more result in a place; None: there is no other key."""
        looks = self.looked(place)
        more = replace(looks, ended=True) if look is None else replace(looks, at=(*looks.at, look))
        return replace(self, looks={**self.looks, place: more})

    def with_look(self, look: AtKey) -> ClaimFacts:
        """The facts with a newer result for a key that was checked before, in any place."""

        def newer(looks: Looks) -> Looks:
            return replace(looks, at=tuple(look if old.key == look.key else old for old in looks.at))

        return replace(self, looks={place: newer(looks) for place, looks in self.looks.items()})


class Ask:
    """A missing fact. Each is answered once."""


@dataclass(frozen=True, slots=True)
class WhoWrites(Ask):
    """Whether a process has the file open for writing; ``after_reading``: once more, after its bytes were read."""

    after_reading: bool = False


@dataclass(frozen=True, slots=True)
class WhoWritesNow(Ask):
    """The same for a file whose object with its document, or whose deleted object's document, was found at a key."""

    look: AtKey


@dataclass(frozen=True, slots=True)
class ReadFile(Ask):
    """A pass over the file, cut by ``schedule``."""

    schedule: PartSchedule


@dataclass(frozen=True, slots=True)
class LookAtMarker(Ask):
    """The object at the key of the remembered recording; its document does not matter."""

    key: str


@dataclass(frozen=True, slots=True)
class Compare(Ask):
    """The checksums of the file, cut by ``schedule``, and of the object at the key."""

    look: AtKey
    schedule: PartSchedule


@dataclass(frozen=True, slots=True)
class LookFor(Ask):
    """The next key in a place. ``but``: skip this key, which is known already. ``hint_failed``: nothing was at the
    previous key, although the hint says so."""

    place: Place
    but: str | None = None
    hint_failed: bool = False
