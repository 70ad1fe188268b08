"""What the status is made from: plain values, as dispatcher, figures at risk and readiness know them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ..domain import FailedFor, Figures, Risk, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingFacts:
    """One recording that is not done. ``status`` None: no stream carries it yet. ``sendable``: bytes that could be sent
    now. ``size_is_known``: whether the file was looked at.
    ``hint`` and ``trouble``: what the daemon said of its failure, or of the newest error that is retried."""

    path: str
    size: int
    stored: int
    size_is_known: bool = True
    sendable: int = 0
    risk: Risk = field(default_factory=Risk)
    stream_id: str | None = None
    status: Status | None = None
    key: str | None = None
    parts: int = 0
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """``figures`` None: there are none yet. ``waiting``: the number of files that no stream carries and that are not in
    ``recordings``. ``program``: how a command is typed, such as ``cefmp4``."""

    at: datetime
    daemon: DaemonFacts | None = None
    recordings: Sequence[RecordingFacts] = ()
    services: Sequence[ServiceFacts] = ()
    figures: Figures | None = None
    waiting: int = 0
    done_last_day: int = 0
    done_newest: Sequence[DoneFacts] = ()
    program: str = "cefmp4"
