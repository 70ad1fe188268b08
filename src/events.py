"""Hints that a file deserves a look. A hint alone never decides anything: the file itself does."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class WatcherChangeType(StrEnum):
    """What seems to have happened to a file."""

    CREATE = "create"
    WRITE = "write"
    DELETE = "delete"
    IDLE = "idle"  # of the interface; the watcher never says it: when a file is quiet, whoever carries it sees


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """A hint about one file. ``path`` is relative to the watched folder (see ``recording``).

    ``is_old``: the first scan found it, and it was not changed for longer than new recordings are looked for.
    """

    change_type: WatcherChangeType
    path: str
    is_old: bool = False
