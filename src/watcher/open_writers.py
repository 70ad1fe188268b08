"""Whether a process may be writing to a file: a read lease is requested and released at once.

The signal for a new writer would be SIGIO, which terminates the process by default; it is replaced by SIGURG, which is
ignored by default.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
import sys
from pathlib import Path

from ..domain import Writers
from ..exceptions import ChunkProcessingError, FileChanged
from .opening import open_file

#: ``statfs`` types whose writers all pass through this kernel, so that a granted lease is a proof. FUSE (also shared
#: folders of desktop virtual machines), NFS, SMB and overlayfs are deliberately not included.
_LOCAL_FILE_SYSTEMS = frozenset(
    {
        0xEF53,  # ext2, ext3, ext4
        0x58465342,  # xfs
        0x9123683E,  # btrfs
        0x01021994,  # tmpfs
        0xF2F52010,  # f2fs
        0x2FC12FC1,  # zfs
        0xCA451A4E,  # bcachefs
        0x2011BAB0,  # exfat
        0x4D44,  # vfat
    }
)

_libc = ctypes.CDLL(None, use_errno=True)


def writers(root: Path, path: str) -> Writers:
    """NONE: at this moment no process has the file open for writing, nor mapped for writing. Blocks."""
    try:
        fd = open_file(root, path)
    except (ChunkProcessingError, FileChanged):
        return Writers.UNKNOWN
    try:
        return _lease(fd)
    finally:
        os.close(fd)


def _lease(fd: int) -> Writers:
    """Take a read lease and release it. ``fd`` must be open for reading only; other readers do not matter."""
    if sys.platform != "linux" or not is_local(fd):
        return Writers.UNKNOWN
    try:
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)  # before the lease: a writer may arrive at once
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return Writers.PRESENT if error.errno == errno.EAGAIN else Writers.UNKNOWN
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return Writers.NONE


def is_local(fd: int) -> bool:
    """Whether every writer of the open file passes through this kernel."""
    return _file_system(fd) in _LOCAL_FILE_SYSTEMS


def _file_system(fd: int) -> int:
    """The ``f_type`` of the file system of an open file; 0 if unknown."""
    buffer = (ctypes.c_long * 64)()  # struct statfs begins with it and is smaller than 256 bytes everywhere
    return int(buffer[0]) & 0xFFFFFFFF if _libc.fstatfs(fd, buffer) == 0 else 0
