"""Objects as commands see them that examine a bucket and change nothing. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from .recording import StoredObject


@dataclass(frozen=True, slots=True)
class ListedEntry:
    """One object of a listing. ``etag`` has no quotes."""

    key: str
    size: int
    etag: str
    modified_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class InspectedObject:
    """An object's properties. ``archived``: the storage class whose objects cannot be read before they are restored."""

    stored: StoredObject
    archived: str | None = None
