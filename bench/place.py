"""Where one measurement happens: a folder of its own under the system's temp, a private Redis, a private VersityGW."""

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
#: The most that a measurement puts on the disk at once.
_ROOM_BYTES = 14 * GIB


@dataclass(frozen=True, slots=True)
class Place:
    """The watched folder and the two services. ``files``: where files are made ready, on the same disk."""

    root: Path
    watched: Path
    files: Path
    endpoint: str
    access_key: str
    secret_key: str
    objects: Path
    redis_url: str

    def settings(self, **more: str) -> Mapping[str, str]:
        """For the daemon: where everything is, a clean slate in Redis, and nothing else unless it is asked for."""
        return {
            "WATCH_DIR": str(self.watched),
            "S3_ENDPOINT_URL": self.endpoint,
            "S3_ACCESS_KEY_ID": self.access_key,
            "S3_SECRET_ACCESS_KEY": self.secret_key,
            "S3_BUCKET_NAME": BUCKET,
            "REDIS_URL": self.redis_url,
            "REDIS_KEY_PREFIX": f"{os.urandom(4).hex()}:",  # else the same file under another name is done already
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
        """The file is in the watched folder, whole and at once."""
        os.link(path, self.watched / name)

    def forget(self, name: str) -> None:
        """Make room on the disk: the file of this name, its object and the document beside it."""
        for path in (
            self.watched / name,
            self.objects / BUCKET / name,
            self.objects / BUCKET / f"{name}.metadata.json",
        ):
            path.unlink(missing_ok=True)


@contextmanager
def new_folder() -> Iterator[Path]:
    """Removed on the way out. Raises ``BenchError`` where the disk has too little room."""
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < _ROOM_BYTES:
        raise BenchError(f"{tempfile.gettempdir()} has {free / GIB:.0f} GiB free, {_ROOM_BYTES / GIB:.0f} are needed")
    with tempfile.TemporaryDirectory(prefix="cefmp4-bench-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextmanager
def local_place() -> Iterator[Place]:
    """Everything on loopback. Raises ``BenchError`` where a server is missing."""
    with new_folder() as root:
        watched, files = root / "watched", root / "files"
        watched.mkdir()
        files.mkdir()
        try:
            with start_redis(root / "redis", persistent=True) as redis, start_versitygw(root / "s3") as s3:
                assert s3.data is not None
                yield Place(root, watched, files, s3.endpoint, s3.access_key, s3.secret_key, s3.data, redis.url)
        except ToolMissing as missing:
            raise BenchError(str(missing)) from missing
