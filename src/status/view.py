"""``StatusView``: what is being recorded, what is at risk, what failed and what to do. Pure.

Commands, page and JSON show this one object, so that they never disagree. ``facts`` has what goes in, ``conclusions``
makes the view from it, and ``schema`` describes its JSON.

Sizes are in bytes, rates in bytes per second, times in seconds or aware UTC datetimes. None: unknown, or never; each
field says which.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from .advice import Advice

#: Raised when a field is removed or changes its meaning; a new field raises nothing.
SCHEMA_VERSION = 1
#: The ``trouble`` of a recording whose file is gone, and that has not failed yet.
FILE_MISSING = "file missing"


class State(StrEnum):
    """Where a recording is on its way to S3."""

    WAITING = "waiting"  # not taken up yet
    RECORDING = "recording"  # the file may grow; whole chunks are uploaded
    SEALING = "sealing"  # the file is quiet; what is missing is uploaded and all of it is compared
    DESCRIBING = "describing"  # the object is proved; its metadata document is missing
    FAILED = "failed"  # set aside until something changes


class Tone(StrEnum):
    """Good: nothing to do. Waiting: something is unavailable and retried. Bad: an operator has to act."""

    GOOD = "good"
    WAITING = "waiting"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Action:
    """A way to resolve a failure: what it does, and the command, if there is one to type."""

    what: str
    command: str | None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a recording failed. ``reason`` is as in the log and in Redis; ``text`` says it in words.

    ``waits_for``: ``source_missing`` (its file), ``disposed`` (nothing: the file is gone and so is the upload) or
    ``other`` (a change by the operator).
    """

    reason: str
    waits_for: str
    text: str
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class RecordingView:
    """One recording that is not done.

    ``id``: the stream's ID; None until one carries it. ``short_id``: the shortest beginning of it that no other
    recording here has; commands accept both. ``name``: the path, safe to show; ``path``: exactly, None if it is not
    UTF-8. ``in_s3``: how much of the file S3 has; ``progress``: its share, 0 to 1, rounded down. If not
    ``size_is_known``, the file is missing, or no daemon looked at it: then ``size`` is what S3 has, or is to have, and
    nothing is known to be at risk. ``at_risk_seconds``: recording
    time; ``oldest_seconds``: the age of the oldest byte at risk. ``ends_in_s3_seconds``: when a finished recording is
    likely to be complete in S3; None while it is being recorded, or unknown.
    """

    id: str | None
    short_id: str | None
    name: str
    path: str | None
    state: State
    size: int
    size_is_known: bool
    in_s3: int
    progress: float
    at_risk_bytes: int
    at_risk_seconds: float
    oldest_seconds: float
    ends_in_s3_seconds: float | None
    parts: int
    key: str | None
    started_at: datetime | None
    failure: Failure | None
    trouble: str | None

    @property
    def percent(self) -> int | None:
        """The share of the file that S3 has, rounded down: 100 means that nothing is missing. None: unknown."""
        return round(self.progress * 1000) // 10 if self.size_is_known else None


@dataclass(frozen=True, slots=True)
class ServiceView:
    """What the daemon depends on: ``s3``, ``redis`` and ``watched_folder``. It has been so since ``since``.

    ``reason`` is empty while it is available; it never contains a secret.
    """

    name: str
    ok: bool
    since: datetime | None
    reason: str


@dataclass(frozen=True, slots=True)
class Totals:
    """All recordings together.

    ``catch_up_seconds``: until the backlog is uploaded while recording continues; None: never at the current rates.
    ``waiting``: files that no stream carries yet; ``to_look_up``: files from before the start whose state in S3 is not
    known yet, which count in no other field.
    """

    at_risk_bytes: int
    at_risk_seconds: float
    oldest_seconds: float
    backlog_bytes: int
    ingest: float
    uplink: float
    sent: float
    catch_up_seconds: float | None
    waiting: int
    to_look_up: int
    failed: int
    failed_at_risk_bytes: int


@dataclass(frozen=True, slots=True)
class Disk:
    """The disk of the watched folder. ``free`` None: unknown. ``full_in_seconds`` None: nothing is being written."""

    free: int | None
    full_in_seconds: float | None


@dataclass(frozen=True, slots=True)
class DoneView:
    """A recording whose object was proved and described."""

    name: str
    key: str
    size: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Finished:
    """Recordings done since the daemon's start: in the last 24 hours, and the newest of them, newest first."""

    last_day: int
    newest: tuple[DoneView, ...]


@dataclass(frozen=True, slots=True)
class DaemonView:
    """The daemon that answers, its folder and its bucket. ``group`` is ``REDIS_KEY_PREFIX``."""

    version: str
    pid: int
    started_at: datetime
    up_seconds: float
    folder: str
    bucket: str
    group: str


@dataclass(frozen=True, slots=True)
class UnreadableView:
    """A key in Redis that cannot be read, and why; it is left as it is."""

    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class StatusView:
    """All of it. ``daemon`` None: no daemon answered, and this was read from Redis; rates, disk and services are then
    unknown, and sizes are those in S3.

    ``advice``: what recorders cost, known since the daemon's start, worst first.
    ``verdict`` is one sentence, and ``because`` explains it if there is more to say. In ``recordings`` failures come
    first, and then all by name, so that a live table stands still. ``unreadable``: what may be recordings, too; a
    daemon sets such keys aside at its start, so that it has none.
    """

    at: datetime
    tone: Tone
    verdict: str
    because: str
    daemon: DaemonView | None
    services: tuple[ServiceView, ...]
    totals: Totals
    disk: Disk
    recordings: tuple[RecordingView, ...]
    finished: Finished | None
    advice: tuple[Advice, ...]
    unreadable: tuple[UnreadableView, ...] = ()
