"""What the status is made from: plain values, as dispatcher, figures at risk and readiness know them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from ..domain import FailedFor, Figures, Risk, SendReason, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingFacts:
    """One recording that is not done. ``status`` None: no stream carries it yet; ``waits``: it waits to be taken up.
    ``sendable``: bytes that could be sent now. ``size_is_known``: whether the file was looked at.
    ``part_size``: that of its next whole part, 0 if unknown.
    ``hint`` and ``trouble``: what the daemon said of its failure, or of the newest error that is retried."""

    path: str
    size: int
    stored: int
    size_is_known: bool = True
    sendable: int = 0
    risk: Risk = field(default_factory=Risk)
    stream_id: str | None = None
    status: Status | None = None
    waits: bool = False
    key: str | None = None
    parts: int = 0
    part_size: int = 0
    started_at: datetime | None = None
    failure: str | None = None
    failed_for: FailedFor | None = None
    hint: str = ""
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """``name``: s3, redis or watched_folder."""

    name: str
    ok: bool
    since: datetime | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DaemonFacts:
    version: str
    pid: int
    started_at: datetime
    folder: str
    bucket: str
    group: str


@dataclass(frozen=True, slots=True)
class DoneFacts:
    path: str
    key: str
    size: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Again:
    """Bytes that were sent again, and of how many recordings."""

    bytes: int = 0
    recordings: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderFacts:
    """The recordings of one pattern, since the daemon's start. Sizes are in bytes, times in seconds.

    ``index_last``: recordings that could not be played while they were written, and ``index_last_seconds`` the longest
    of them. ``fragment_seconds``: the length of the newest fragments, and ``fill_seconds`` the typical time to fill a
    part of ``part_size``; 0: unknown. ``pauses``: recordings that went on after they counted as finished, and
    ``pause_seconds`` the longest pause.
    """

    pattern: str
    recordings: int = 0
    sent: int = 0
    again: Mapping[SendReason, Again] = field(default_factory=lambda: MappingProxyType({}))
    index_last: int = 0
    index_last_seconds: float = 0.0
    fragment_seconds: float = 0.0
    fill_seconds: float = 0.0
    part_size: int = 0
    pauses: int = 0
    pause_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """``figures`` None: there are none yet. ``waiting``: the number of files that no stream carries and that are not in
    ``recordings``. ``is_stopping``: the folder is not watched any more. ``unreadable``: keys in Redis that cannot be
    read, and why. ``program``: how a command is typed, such as ``cefmp4``. ``recorders``: by pattern."""

    at: datetime
    daemon: DaemonFacts | None = None
    recordings: Sequence[RecordingFacts] = ()
    services: Sequence[ServiceFacts] = ()
    figures: Figures | None = None
    waiting: int = 0
    is_stopping: bool = False
    unreadable: Mapping[str, str] = field(default_factory=dict)
    done_last_day: int = 0
    done_newest: Sequence[DoneFacts] = ()
    program: str = "cefmp4"
    recorders: Sequence[RecorderFacts] = ()
