"""ffprobe, asked about whatever file lies at a path."""

from __future__ import annotations

import os
from pathlib import Path

from src.domain import Identity, Probe
from src.metadata_generator import Ffprobe
from src.watcher import identity_of


class AnyFile(Ffprobe):
    """``Ffprobe`` for tests that do not care which file it is."""

    def __init__(self, binary: str, root: Path, *, timeout_seconds: float = 30.0, at_once: int | None = None) -> None:
        super().__init__(binary, root, identity_of=identity_of, timeout_seconds=timeout_seconds, at_once=at_once)

    async def probe_any(self, path: str) -> Probe:
        return await self.probe(path, identity_at(self._root / path))


def identity_at(path: Path) -> Identity:
    """Of the file at the path, through links; nobody's, where there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (OSError, ValueError):
        return Identity(0, 0)
    try:
        return identity_of(descriptor)
    finally:
        os.close(descriptor)
