"""What is known of a file that is to be claimed, and what the decision may still ask. Words alone, no questions.

A file may have 100 GiB and its name thousands of recordings, so that nothing is gathered before a case needs it: what
nobody has asked yet is None here, or not in its tuple. Each fact is as old as its question; whoever acts on it takes
the key first, and the store's conditions (If-Match, If-None-Match) hold where somebody else was faster.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum, auto

from ..domain import Marker, Part, PartSchedule, Snapshot, StoredObject, Writers
from ..metadata_generator import StoredDescription


@dataclass(frozen=True, slots=True)
class Described:
    """The document beside an object: what it says, or that it is somebody else's."""

    description: StoredDescription | None
    foreign: bool


@dataclass(frozen=True, slots=True)
class FileSum:
    """One pass over the file, cut by ``schedule``. It holds as long as the snapshot does, whatever key is asked for."""

    schedule: PartSchedule
    crc64: int
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class ObjectSum:
    """CRC64NVME of the object that had this ETag; None: it was another before it was fetched."""

    etag: str
    crc64: int | None


@dataclass(frozen=True, slots=True)
class AtKey:
    """What a look at a key showed.

    ``taken``: another file's living stream has the key, and nothing was asked. ``number``: which recording of the name
    the key is for; None for a key that is not one of the name's. ``may_be_taken``: a new recording gets the key if
    nothing is there; the key that only proves a hint is for nobody. ``looked_at`` is the moment before the first
    question: a stream that begins here began then, and whatever was uploaded to the key since may be its own.
    ``writers`` is asked last, of the file, when the document says that it is this very one.
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
    """Where keys come from that are worth a look."""

    NAME = auto()  # the natural key, ``~2``, …, as ``names.Walk`` gives them: there is always another
    ELSEWHERE = auto()  # objects that were made of this file, under whatever name
    UPLOAD = auto()  # keys with an open upload that holds bytes of this file


@dataclass(frozen=True, slots=True)
class Looks:
    """Keys that were looked at in one place, in their order. ``ended``: there is no other."""

    at: tuple[AtKey, ...] = ()
    ended: bool = False


@dataclass(frozen=True, slots=True)
class ClaimFacts:
    """Everything that is known so far of the file at ``path``, which was ``snapshot`` when it was taken up.

    ``marker``: what Redis remembers of this very file in this bucket; None too for a marker that is older than what
    this process completed. ``fresh_id``: the stream's id if it is a new one. ``writers`` was asked before the bytes
    were read, ``writers_after`` afterwards. ``at_marker``: the look at the marker's key.
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
        """The pass that was cut like this."""
        return next((one for one in self.sums if one.schedule == schedule), None)

    def looked(self, place: Place) -> Looks:
        """The looks in one place so far."""
        return self.looks.get(place, Looks())

    def looking(self, place: Place, look: AtKey | None) -> ClaimFacts:
        """The same with one look more in a place; None: there is no other key."""
        looks = self.looked(place)
        more = replace(looks, ended=True) if look is None else replace(looks, at=(*looks.at, look))
        return replace(self, looks={**self.looks, place: more})

    def with_look(self, look: AtKey) -> ClaimFacts:
        """The same with a newer look at a key that was looked at before, wherever it was."""

        def newer(looks: Looks) -> Looks:
            return replace(looks, at=tuple(look if old.key == look.key else old for old in looks.at))

        return replace(self, looks={place: newer(looks) for place, looks in self.looks.items()})


class Ask:
    """A fact that is missing. Whoever gathers answers each once."""


@dataclass(frozen=True, slots=True)
class WhoWrites(Ask):
    """Whether somebody has the file open; ``after_reading``: once more, after its bytes were read."""

    after_reading: bool = False


@dataclass(frozen=True, slots=True)
class WhoWritesNow(Ask):
    """The same for a file whose object was found described at a key."""

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
    """The checksums of the file, cut by ``schedule``, and of the object that lies at the key."""

    look: AtKey
    schedule: PartSchedule


@dataclass(frozen=True, slots=True)
class LookFor(Ask):
    """The next key in a place. ``but``: not this one, of which all is known. ``hint_failed``: nothing was at the key
    before it, although the hint says that something is."""

    place: Place
    but: str | None = None
    hint_failed: bool = False
