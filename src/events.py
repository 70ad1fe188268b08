"""Hints that a file may have changed. A hint alone never decides anything: the file itself does."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class WatcherChangeType(StrEnum):
    """What seems to have happened to a file."""

    CREATE = "create"
    WRITE = "write"
    DELETE = "delete"
    # part of the interface; the watcher never sends it: the stream's processor observes when a file is quiet
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """A hint about one file. ``path`` is relative to the watched folder (see ``recording``).

    ``is_old``: the first scan found it, and it has been unchanged for longer than ``IGNORE_OLDER_THAN``.
    """

    change_type: WatcherChangeType
    path: str
    is_old: bool = False
