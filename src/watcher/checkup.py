"""What ``doctor`` judges of the watched folder: its file system, its notifications, and what no pattern matches."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from ..domain import FolderFacts, Snapshot
from .globs import Globs
from .open_writers import is_local
from .stats import stat_at
from .tree import Tree

#: Enough to see that a limit is near, and few enough to take no second.
_MOST_WATCHES = 20_000
_WATCHED = 0x00000100  # IN_CREATE
_libc = ctypes.CDLL(None, use_errno=True)


def examine(root: Path, globs: Globs, stat: Callable[[str], Snapshot | None], *, notifies: bool) -> FolderFacts:
    """The facts. Blocks. ``notifies``: whether the daemon uses notifications, which need a watch for each folder."""
    try:
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        return FolderFacts(error=f"{root}: {exc.strerror}")
    try:
        has_leases = is_local(fd)
        has_birth_times = stat_at(fd, b"")[1].identity.birth_ns != 0
        room = os.fstatvfs(fd)
    finally:
        os.close(fd)
    tree = Tree(root, globs, stat, hints_of_deletion_are_proof=False)
    unmatched = [pair for step in tree.scan() for pair in step.unmatched]
    folders = list(_folders(root, globs))
    return FolderFacts(
        file_system=_file_system(root),
        has_leases=has_leases,
        has_birth_times=has_birth_times,
        folders=len(folders),
        recordings=tree.files,
        watches=_watches(folders) if notifies else None,
        unmatched=tuple(unmatched),
        free=room.f_bavail * room.f_frsize,
        total=room.f_blocks * room.f_frsize,
    )


def _folders(root: Path, globs: Globs) -> Iterator[str]:
    for folder, below, _ in os.walk(root):
        inside = os.path.relpath(folder, root)
        below[:] = [name for name in below if not globs.excludes(os.path.normpath(os.path.join(inside, name)))]
        yield folder


def _watches(folders: list[str]) -> int | None:
    """How many of the folders can be watched, beside what is watched already; None if that is not known."""
    fd = _libc.inotify_init1(os.O_CLOEXEC)
    if fd < 0:
        return 0 if ctypes.get_errno() in (errno.EMFILE, errno.ENFILE) else None
    try:
        for number, folder in enumerate(folders[:_MOST_WATCHES]):
            if _libc.inotify_add_watch(fd, os.fsencode(folder), _WATCHED) < 0 and ctypes.get_errno() == errno.ENOSPC:
                return number
        return len(folders)
    finally:
        os.close(fd)


def _file_system(root: Path) -> str:
    """The name of the file system, from the longest mount point above the folder."""
    best, name = "", ""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    path = os.path.realpath(root)
    for line in mounts:
        fields = line.split(" ")
        point = fields[1].encode().decode("unicode_escape", "replace")
        if len(point) >= len(best) and (path == point or path.startswith(point.rstrip("/") + "/")):
            best, name = point, fields[2]
    return name
