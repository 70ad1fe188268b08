"""A recording that is not done, as the dispatcher knows it at one moment."""

from __future__ import annotations

from dataclasses import dataclass

from .at_risk import Holding, WaitingFile
from .recording import Checkpoint


@dataclass(frozen=True, slots=True)
class Unfinished:
    """``holding`` None: its file is not in the folder. ``record`` None: no stream carries it yet. It may lack its
    parts, of which there are ``parts`` with ``stored`` bytes. ``waits``: it waits to be taken up."""

    path: str
    holding: Holding | None
    record: Checkpoint | None = None
    parts: int = 0
    stored: int = 0
    waits: WaitingFile | None = None
