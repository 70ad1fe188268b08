"""What an auditor is shown of a world, whatever the world is made of: fakes in virtual time, or S3, Redis and a folder.

Plain facts and nothing to ask. Times are seconds of one clock of the caller's. What a world cannot say is None, and
the checks that need it leave it out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes. Two with one ``digest`` are equal; in memory it is the bytes themselves."""

    digest: Hashable
    size: int
    source: bytes | Callable[[], bytes]

    @classmethod
    def of(cls, data: bytes) -> Body:
        return cls(data, len(data), data)

    def read(self) -> bytes:
        return self.source if isinstance(self.source, bytes) else self.source()


@dataclass(frozen=True, slots=True)
class Media:
    """Of a film: ``duration`` in seconds, and of each stream its codec, width and height."""

    duration: float | None
    streams: tuple[tuple[str | None, int | None, int | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Wait:
    """What the log says that a recording waited for."""

    path: str
    what: str
    at: float | None = None


@dataclass(frozen=True, slots=True)
class File:
    """A recording that is in the folder now.

    ``past``: what it held before, the oldest first. ``keys``: those that its object may have; None: any.
    ``harm``: how it differs from how its recorder left it. ``closed_at``: the last change, or what came later and kept
    everybody (a start, the end of an outage); ``quiet``: the quiet time after it. ``excused``: why it may be late.
    ``path_bytes``, ``mtime_ns``, ``inode``: as its document must tell them.
    """

    path: str
    identity: Hashable
    body: Body
    past: Sequence[Body] = ()
    keys: Collection[str] | None = None
    harm: str | None = None
    closed_at: float | None = None
    quiet: float = 0.0
    excused: str | None = None
    path_bytes: bytes | None = None
    mtime_ns: int | None = None
    inode: int | None = None


@dataclass(frozen=True, slots=True)
class Object:
    """``version`` differs whenever it was written again. ``stream_id`` and ``file`` are what its metadata say.
    ``ours``: the product wrote it. ``crc64``: as the store tells it."""

    key: str
    body: Body
    etag: str
    version: object
    stream_id: str | None = None
    file: Hashable = None
    ours: bool = True
    crc64: int | None = None
    content_type: str | None = None
    stored_at: float | None = None


@dataclass(frozen=True)
class Document:
    """``key`` is that of the object which it describes."""

    key: str
    raw: bytes
    stored_at: float | None = None
    content_type: str | None = None
    ours: bool = True

    @cached_property
    def fields(self) -> dict[str, Any] | None:
        """None: it is no JSON object."""
        try:
            fields = json.loads(self.raw)
        except ValueError:
            return None
        return fields if isinstance(fields, dict) else None


@dataclass(frozen=True, slots=True)
class Upload:
    """An open upload. ``excused``: it may be, or has to be."""

    key: str
    excused: bool = False
    words: str = ""


@dataclass(frozen=True, slots=True)
class Stranger:
    """What somebody else has put there; ``now`` is what lies there now, ``before`` what they put."""

    what: str
    before: object
    now: object
    words: str = "was changed"


@dataclass(frozen=True, slots=True)
class Record:
    """A stream in Redis. ``status`` is the set that it is in. ``excused``: it may be there."""

    stream_id: str
    status: str
    excused: bool = False
    words: str = ""


@dataclass(frozen=True, slots=True)
class Marker:
    """What Redis keeps of a finished recording."""

    key: str
    etag: str
    file: Hashable


@dataclass(frozen=True, slots=True)
class Held:
    """A key that a living daemon holds, a room, a turn, memory. ``holder``: None is nobody."""

    what: str
    holder: Hashable


@dataclass(frozen=True, slots=True)
class Write:
    """What the product put where something was, or nothing; ``new`` None: it deleted the object."""

    key: str
    old: Body | None
    new: Body | None


@dataclass(frozen=True, slots=True)
class Limits:
    """What there may be at most. ``soon``: seconds from the end of the quiet time to the object and its document; None:
    the scene itself keeps recordings waiting."""

    soon: float | None = None
    sent_bytes: int | None = None
    grace: float | None = None


@dataclass(frozen=True)
class World:
    """All that an audit looks at.

    ``histories``: every content that each file ever had, in order, also files that are gone; None: nobody knows.
    ``sources``: for each object that belongs to no file which is there, the bodies that may explain it, each one
    object; None: the histories do. ``kept``: objects of earlier recordings that must stay, by key their digest.
    ``media``: what the film in these bytes is. ``alive``: who lives, of those that can hold something.
    ``begun_once``: no file is taken up again as one that is stored already, which is then begun after it was completed.
    ``parts_known``: nobody has forgotten the ETags of parts. ``checksums_kept``: the store keeps those of parts.
    ``films_known``: ffprobe always answers. ``rescues``: of a file that is gone, its beginning counts.
    ``unforeseen``: errors that were reported.
    """

    files: Sequence[File] = ()
    objects: Mapping[str, Object] = field(default_factory=dict)
    documents: Mapping[str, Document] = field(default_factory=dict)
    uploads: Sequence[Upload] = ()
    records: Sequence[Record] = ()
    markers: Sequence[Marker] = ()
    completed: Collection[str] | None = None
    held: Sequence[Held] = ()
    alive: Collection[Hashable] = ()
    waits: Sequence[Wait] = ()
    writes: Sequence[Write] = ()
    histories: Mapping[Hashable, Sequence[Body]] | None = None
    sources: Callable[[Object], Sequence[Hashable]] | None = None
    kept: Mapping[str, Hashable] = field(default_factory=dict)
    strangers: Sequence[Stranger] = ()
    foreign_keys: Collection[str] = ()
    foreign_files: Sequence[str] = ()
    media: Callable[[Body], Media] | None = None
    media_tolerance: float = 0.0
    bucket: str | None = None
    etags_are_md5: bool = False
    parts_known: bool = True
    begun_once: bool = True
    rescues: bool = False
    films_known: bool = False
    checksums_kept: bool = True
    left_in_redis: Sequence[str] = ()
    unforeseen: Sequence[str] = ()
    tasks_left: Sequence[str] = ()
    secrets_told: Sequence[str] = ()
    stops: Sequence[float] = ()
    sent_bytes: int = 0
    limits: Limits = Limits()
