"""Upgrades and goes back in mid-recording, between another revision and this checkout: by real daemons and stores.

``python -m tests.try_releases REVISION [STORE]``. No test of the suite: a clone need not have the history. In each
trial a file grows by two parts under each release in turn, which is then stopped, or killed. At the end its head is
patched and it is closed. The object must equal it, and nothing may be left in Redis or as an open upload.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import redis

from tests.harness.e2e.bucket import Bucket, sha256
from tests.harness.e2e.daemon import ROOT, Daemon, eventually
from tests.harness.e2e.recorders import CHUNK, Writer
from tests.harness.servers import S3Server, start_minio, start_redis, start_versitygw

#: Who carries the recording, one after the other, up to its end.
ROUNDS = {"upgrade": "old new", "and back": "old new old", "to and fro": "old new old new"}
STORES = {"versitygw": start_versitygw, "minio": start_minio}
NAME = "recording.mp4"


def main() -> int:
    """0: every trial ended right."""
    revision, *only = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        checkouts = {"old": _checkout(revision, Path(name) / "old"), "new": ROOT}
        for store, started in ((name, each) for name, each in STORES.items() if name in (only or STORES)):
            for title, releases in ROUNDS.items():
                for end in ("stop", "kill"):
                    with ExitStack() as stack:
                        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                        (home / "store").mkdir()
                        (home / "redis").mkdir()
                        server = stack.enter_context(started(home / "store"))
                        url = stack.enter_context(start_redis(home / "redis")).url
                        again = _trial(home, server, url, [checkouts[each] for each in releases.split()], end)
                    print(f"{store}: {title}, {end} in between: equal; stored parts that were sent again: {again}")
    return 0


def _checkout(revision: str, folder: Path) -> Path:
    packed = subprocess.run(["git", "archive", revision, "src"], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder


@contextmanager
def _daemon(checkout: Path, home: Path, server: S3Server, url: str) -> Iterator[Daemon]:
    settings = {
        "PYTHONPATH": str(checkout),
        "WATCH_DIR": str(home / "recordings"),
        "S3_ENDPOINT_URL": server.endpoint,
        "S3_ACCESS_KEY_ID": server.access_key,
        "S3_SECRET_ACCESS_KEY": server.secret_key,
        "S3_BUCKET_NAME": "recordings",
        "REDIS_URL": url,
        "CHUNK_SIZE_BYTES": str(CHUNK),
        "STREAM_TIMEOUT_SECONDS": "3",
        "WATCH_SCAN_SECONDS": "2",
    }
    daemon = Daemon(home / f"{checkout.name}-{len(list(home.iterdir()))}", settings)
    daemon.new_interpreter = True  # of that checkout
    try:
        daemon.start_and_wait()
        yield daemon
    except AssertionError:
        print(daemon.tail())
        raise
    finally:
        daemon.end()


def _trial(home: Path, server: S3Server, url: str, checkouts: list[Path], end: str) -> int:
    """How many stored parts were sent again, unchanged. Raises AssertionError when it went wrong."""
    folder = home / "recordings"
    folder.mkdir()
    numbers: list[int] = []
    parts = 0
    with Writer(folder / NAME) as writer:
        for number, checkout in enumerate(checkouts, 1):
            with _daemon(checkout, home, server, url) as daemon:
                writer.append(2 * CHUNK)
                parts += 2
                daemon.wait_for("part_stored", number=parts)
                if number == len(checkouts):
                    writer.patch(40, 4)
                    writer.append(1000)
                    writer.close()
                    daemon.wait_for("stream_completed", file_path=NAME)
                numbers += [line["number"] for line in daemon.lines("part_stored", reason="new")]
                if end == "stop" or number == len(checkouts):
                    assert daemon.stop() == 0
                else:
                    daemon.kill()
    bucket = Bucket(server, "recordings")
    body = bucket.client.get_object(Bucket=bucket.name, Key=NAME)["Body"]
    copy = home / "copy"
    copy.write_bytes(body.read())
    assert sha256(copy) == sha256(folder / NAME)
    # A stop may come while the probe tries what the store can do; its uploads are the next start's.
    opened = bucket.client.list_multipart_uploads(Bucket=bucket.name, Prefix=NAME).get("Uploads", [])
    assert opened == [], opened
    with redis.Redis.from_url(url) as there:
        assert eventually(lambda: there.scard("streams:completed") == 1, "it is done")
        assert there.keys("stream:*") == []
        assert there.scard("streams:failed") == 0
    return len(numbers) - len(set(numbers))


if __name__ == "__main__":
    sys.exit(main())
