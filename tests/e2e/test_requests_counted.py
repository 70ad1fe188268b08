"""What a recording costs in requests to S3, counted at a proxy.

What is asked for all recordings together is not counted: whether the bucket answers and what the store can do. The
sweep comes five minutes after a start.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from src.domain import PROBE_KEY
from src.ownership.elsewhere import SURELY_LATER
from src.redis_client.format import encode_highest
from tests.harness.e2e.daemon import eventually
from tests.harness.e2e.recorders import CHUNK, Writer, write
from tests.harness.e2e.stage import Stage
from tests.harness.faulty_s3 import LISTINGS, FaultyS3, Request

pytestmark = [pytest.mark.slow, pytest.mark.versitygw, pytest.mark.redis]

LISTING_COUNTS = 12
#: The document and the object at its key; the object, proved by the answer; the document.
SMALL = Counter(GetObject=1, HeadObject=1, PutObject=2)
#: The same look; begun, listed, completed, proved by the answer; the document.
BESIDE_PARTS = Counter(
    GetObject=1, HeadObject=1, CreateMultipartUpload=1, ListParts=1, CompleteMultipartUpload=1, PutObject=1
)


class Bill:
    """What was asked since a moment."""

    def __init__(self, proxy: FaultyS3) -> None:
        self._proxy = proxy
        self._since = len(proxy.requests)

    @property
    def requests(self) -> Counter[str]:
        """By operation."""
        return Counter(each.operation for each in self._asked())

    @property
    def cost(self) -> int:
        """Requests, of which a listing of objects or uploads counts twelve."""
        return sum(LISTING_COUNTS if each.operation in LISTINGS else 1 for each in self._asked())

    def _asked(self) -> Iterator[Request]:
        for each in self._proxy.requests[self._since :]:
            if each.operation != "HeadBucket" and not each.key.endswith(PROBE_KEY):
                yield each


@pytest.fixture
def proxy(stage: Stage) -> Iterator[FaultyS3]:
    """A daemon that has learnt what the store can do is behind it."""
    with FaultyS3(stage.store.port) as proxy:
        stage.daemon.settings["S3_ENDPOINT_URL"] = proxy.url
        stage.daemon.start_and_wait()
        began = time.time()
        stage.wait_until_probed()
        eventually(lambda: time.time() > began + 2 * SURELY_LATER.total_seconds(), "files are younger than the daemon")
        yield proxy
        stage.daemon.end()  # before the proxy


def finish(stage: Stage, path: Path, key: str | None = None) -> None:
    stage.wait_until_done(path, key)
    eventually(lambda: not stage.redis_keys("stream:*"), "no stream is left in Redis")


@pytest.mark.also_on("minio")
def test_what_a_small_closed_recording_costs(stage: Stage, proxy: FaultyS3) -> None:
    bill = Bill(proxy)
    write(stage.folder / "small.mp4", 1000)
    finish(stage, stage.folder / "small.mp4")
    assert bill.requests == SMALL
    assert bill.cost == 4


@pytest.mark.also_on("minio")
def test_what_a_recording_of_several_parts_costs_beside_them(stage: Stage, proxy: FaultyS3) -> None:
    bill = Bill(proxy)
    with Writer(stage.folder / "long.mp4") as writer:
        for _ in range(3):
            writer.append(CHUNK)
        writer.append(100)
    finish(stage, stage.folder / "long.mp4")
    assert bill.requests - Counter(UploadPart=4) == BESIDE_PARTS
    assert bill.cost == 4 + 6


def test_the_fortieth_recording_of_a_name_costs_two_requests_more_than_the_first(stage: Stage, proxy: FaultyS3) -> None:
    path = stage.folder / "cam.mp4"
    write(path, 1000)
    finish(stage, path)
    for number in range(2, 40):  # as forty recordings of one name leave it
        stage.bucket.client.put_object(Bucket=stage.bucket.name, Key=f"cam~{number}.mp4", Body=b"x")
    numbers = f"{stage.redis_prefix}streams:numbers"
    stage.redis.hset(numbers, "cam.mp4", encode_highest(stage.bucket.name, 39))
    path.unlink()
    bill = Bill(proxy)
    write(path, 1100, seed=1)
    finish(stage, path, "cam~40.mp4")
    assert bill.cost <= 4 + 2


def test_a_recording_among_a_thousand_objects_costs_as_the_first(stage: Stage, proxy: FaultyS3) -> None:
    def put(number: int) -> None:
        stage.bucket.client.put_object(Bucket=stage.bucket.name, Key=f"cam/{number:04}.mp4", Body=b"x")

    _ = stage.bucket.client  # made once, before the threads
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(999)))
    (stage.folder / "cam").mkdir()
    bill = Bill(proxy)
    write(stage.folder / "cam" / "0999.mp4", 1000)
    finish(stage, stage.folder / "cam" / "0999.mp4")
    assert bill.cost == 4


def test_where_a_file_is_older_than_the_daemon_what_its_proof_needs_is_asked(stage: Stage, proxy: FaultyS3) -> None:
    """Somebody before this process may have begun an upload of it."""
    bill = Bill(proxy)
    stage.daemon.kill()
    write(stage.folder / "older.mp4", 1000)
    stage.daemon.start_and_wait()
    finish(stage, stage.folder / "older.mp4")
    assert bill.requests["ListMultipartUploads"] >= 1
