"""Opens a file folder by folder from the watched root, without following symbolic links.

This includes links that stay inside the tree: a recording behind a link is not a recording here. Only the root itself
may be a link. Everything here blocks: for threads only.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..exceptions import ChunkProcessingError, FileChanged, StreamProcessorError

# O_PATH: a folder on the way needs only search permission, not read permission.
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
# O_NONBLOCK: opening a FIFO must not wait for its writer.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

#: Errors for a file that does not exist (any more), or for another kind of file.
NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO, errno.ENODEV})


@contextmanager
def folder_of(root: Path, path: str) -> Iterator[tuple[int, bytes]]:
    """The open folder that contains ``path``, and the last component. Raises OSError; if the root is missing
    ``ChunkProcessingError``: then the state of all files is unknown."""
    names = _names(path)
    try:
        folder = os.open(root, _FOLDER)
    except OSError as error:
        raise ChunkProcessingError(
            f"cannot open the watched folder: {error.strerror}",
            operation="open",
            hint="Check that WATCH_DIR is mounted and readable.",
        ) from error
    try:
        for name in names[:-1]:
            below = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = below
        yield folder, names[-1]
    finally:
        os.close(folder)


def _names(path: str) -> list[bytes]:
    """The path's components. Raises FileNotFoundError for a path that cannot be inside the tree."""
    try:
        names = os.fsencode(path).split(b"/")
    except UnicodeEncodeError:
        names = [b""]
    if any(name in (b"", b".", b"..") or b"\0" in name for name in names):
        raise FileNotFoundError(errno.ENOENT, "not a path inside the watched folder")
    return names


def trouble(error: OSError, path: str, operation: str) -> StreamProcessorError:
    """Translates an error of the operating system for the caller."""
    if error.errno in NOT_THERE:
        return FileChanged(f"no such recording: {path!r}", operation=operation)
    hint = "Give the daemon's user the right to read the file." if error.errno == errno.EACCES else ""
    return ChunkProcessingError(f"cannot {operation} {path!r}: {error.strerror}", operation=operation, hint=hint)


def open_file(root: Path, path: str) -> int:
    try:
        with folder_of(root, path) as (folder, name):
            return os.open(name, _FILE, dir_fd=folder)
    except OSError as error:
        raise trouble(error, path, "open") from error
