"""The environment of one measurement: a temporary folder, a private Redis, a private VersityGW."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.harness.servers import ToolMissing, start_redis, start_versitygw

from .processes import GIB, MIB, BenchError

BUCKET = "bench"
#: Maximum disk space of most measurements.
_ROOM_BYTES = 14 * GIB


@dataclass(frozen=True, slots=True)
class Place:
    """The watched folder and the two services. ``files``: where files are prepared, on the same disk."""

    root: Path
    watched: Path
    files: Path
    endpoint: str
    access_key: str
    secret_key: str
    objects: Path
    redis_url: str

    def settings(self, **more: str) -> Mapping[str, str]:
        """For the daemon: all addresses, an empty key space in Redis, and otherwise the defaults."""
        return {
            "WATCH_DIR": str(self.watched),
            "S3_ENDPOINT_URL": self.endpoint,
            "S3_ACCESS_KEY_ID": self.access_key,
            "S3_SECRET_ACCESS_KEY": self.secret_key,
            "S3_BUCKET_NAME": BUCKET,
            "REDIS_URL": self.redis_url,
            # otherwise the same file under another name would be done already
            "REDIS_KEY_PREFIX": f"{os.urandom(4).hex()}:",
            **more,
        }

    def make_file(self, name: str, size: int) -> Path:
        """A file of random bytes, ready and in the page cache. ``size``: whole MiB."""
        path = self.files / name
        noise = os.urandom(MIB)
        with path.open("wb") as file:
            for number in range(size // MIB):
                file.write(number.to_bytes(8, "big") + noise[8:])
            file.flush()
            os.fsync(file.fileno())
        return path

    def make_sparse_file(self, name: str, size: int) -> Path:
        """Zeros that take no room on the disk until they are in the store."""
        path = self.files / name
        with path.open("wb") as file:
            file.truncate(size)
        return path

    def drop(self, path: Path, name: str) -> None:
        """Put the complete file into the watched folder at once."""
        os.link(path, self.watched / name)

    def forget(self, name: str) -> None:
        """Free disk space: the file of this name, its object and its metadata document."""
        for path in (
            self.watched / name,
            self.objects / BUCKET / name,
            self.objects / BUCKET / f"{name}.metadata.json",
        ):
            path.unlink(missing_ok=True)


@contextmanager
def new_folder(room_bytes: int = _ROOM_BYTES) -> Iterator[Path]:
    """Removed on exit. Raises ``BenchError`` if the disk has too little space."""
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < room_bytes:
        raise BenchError(f"{tempfile.gettempdir()} has {free / GIB:.0f} GiB free, {room_bytes / GIB:.0f} are needed")
    with tempfile.TemporaryDirectory(prefix="cefmp4-bench-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextmanager
def local_place(room_bytes: int = _ROOM_BYTES) -> Iterator[Place]:
    """Everything on loopback; ``room_bytes`` of disk are needed. Raises ``BenchError`` if a server is missing."""
    with new_folder(room_bytes) as root:
        watched, files = root / "watched", root / "files"
        watched.mkdir()
        files.mkdir()
        try:
            with start_redis(root / "redis", persistent=True) as redis, start_versitygw(root / "s3") as s3:
                assert s3.data is not None
                yield Place(root, watched, files, s3.endpoint, s3.access_key, s3.secret_key, s3.data, redis.url)
        except ToolMissing as missing:
            raise BenchError(str(missing)) from missing
