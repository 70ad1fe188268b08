"""What S3 can do is read once per process, not once per test: a client's model is a megabyte of JSON."""

from __future__ import annotations

from functools import cache
from typing import Any

from botocore import session
from botocore.loaders import create_loader


@cache
def _loader(folders: str | None) -> Any:
    return create_loader(folders)


def _shared_loader(folders: str | None = None) -> Any:
    """Each session adds the folder of its own models, the same one each time."""
    loader = _loader(folders)
    loader.search_paths[:] = dict.fromkeys(loader.search_paths)
    return loader


def share() -> None:
    """From now on all sessions of botocore in this process share what one of them has read."""
    session.create_loader = _shared_loader
