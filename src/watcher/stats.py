"""A file's stat, including its birth time."""

from __future__ import annotations

import ctypes
import errno
import os

from ..domain import Identity, Snapshot


class _Timestamp(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_int64), ("nanoseconds", ctypes.c_uint32), ("reserved", ctypes.c_int32))


class _Statx(ctypes.Structure):
    """``struct statx`` of linux/stat.h, as far as its times; the kernel fills 256 bytes."""

    _fields_ = (
        ("mask", ctypes.c_uint32),
        ("block_size", ctypes.c_uint32),
        ("attributes", ctypes.c_uint64),
        ("links", ctypes.c_uint32),
        ("owner", ctypes.c_uint32),
        ("group", ctypes.c_uint32),
        ("mode", ctypes.c_uint16),
        ("padding", ctypes.c_uint16),
        ("inode", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
        ("blocks", ctypes.c_uint64),
        ("attributes_mask", ctypes.c_uint64),
        ("accessed", _Timestamp),
        ("born", _Timestamp),
        ("changed", _Timestamp),
        ("modified", _Timestamp),
        ("rest", ctypes.c_uint8 * 128),
    )


_AT_SYMLINK_NOFOLLOW = 0x100
_AT_EMPTY_PATH = 0x1000
_STATX_BASIC = 0x7FF
_STATX_BORN = 0x800

_libc = ctypes.CDLL(None, use_errno=True)
# Python 3.11 has no birth time on Linux; the C library has had statx since glibc 2.28 and musl 1.2.
_statx = getattr(_libc, "statx", None)


def stat_at(folder: int, name: bytes) -> tuple[int, Snapshot]:
    """Mode and snapshot of ``name`` in the open folder, or of the open file itself if ``name`` is empty."""
    if _statx is None:
        return _plain_stat_at(folder, name)
    found = _Statx()
    flags = _AT_SYMLINK_NOFOLLOW if name else _AT_EMPTY_PATH
    if _statx(folder, name, flags, _STATX_BASIC | _STATX_BORN, ctypes.byref(found)) == 0:
        birth_ns = _nanoseconds(found.born) if found.mask & _STATX_BORN else 0
        times = (_nanoseconds(found.modified), _nanoseconds(found.changed))
        return found.mode, Snapshot(Identity(found.inode, birth_ns), found.size, *times)
    error = ctypes.get_errno()
    if error in (errno.ENOSYS, errno.EPERM):  # old kernels, and sandboxes that do not allow the call
        return _plain_stat_at(folder, name)
    raise OSError(error, os.strerror(error))


def _nanoseconds(time: _Timestamp) -> int:
    return int(time.seconds) * 1_000_000_000 + int(time.nanoseconds)


def _plain_stat_at(folder: int, name: bytes) -> tuple[int, Snapshot]:
    found = os.stat(name, dir_fd=folder, follow_symlinks=False) if name else os.fstat(folder)
    birth_ns = int(getattr(found, "st_birthtime", 0) * 1_000_000_000)  # macOS
    identity = Identity(found.st_ino, birth_ns)
    return found.st_mode, Snapshot(identity, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def identity_of(fd: int) -> Identity:
    """The identity of an open file. Raises OSError."""
    return stat_at(fd, b"")[1].identity
