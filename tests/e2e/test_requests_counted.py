"""What a recording costs in requests to S3, counted at a proxy.

What is asked for all recordings together is not counted: whether the bucket answers and what the store can do. The
sweep comes five minutes after a start.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.domain import PROBE_KEY
from tests.harness.e2e.daemon import eventually
from tests.harness.e2e.recorders import CHUNK, Writer, write
from tests.harness.e2e.stage import Stage
from tests.harness.faulty_s3 import FaultyS3, Request

pytestmark = [pytest.mark.slow, pytest.mark.versitygw, pytest.mark.redis]

SMALL = Counter(
    HeadObject=2,
    GetObject=1,
    CreateMultipartUpload=1,
    UploadPart=1,
    ListParts=1,
    CompleteMultipartUpload=1,
    PutObject=1,
    ListMultipartUploads=2,
)
OF_PARTS = SMALL - Counter(UploadPart=1)
#: VersityGW answers a HEAD with a bare 404, which a GET has to confirm.
CONFIRMING = {"versitygw": Counter(GetObject=1), "minio": Counter[str]()}


class Bill:
    """What was asked since a moment."""

    def __init__(self, proxy: FaultyS3) -> None:
        self._proxy = proxy
        self._since = len(proxy.requests)

    @property
    def requests(self) -> Counter[str]:
        """By operation."""
        return Counter(each.operation for each in self._asked())

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
        stage.wait_until_probed()
        yield proxy
        stage.daemon.end()  # before the proxy


def finish(stage: Stage, path: Path) -> None:
    stage.wait_until_done(path)
    eventually(lambda: not stage.redis_keys("stream:*"), "no stream is left in Redis")


@pytest.mark.also_on("minio")
def test_what_a_small_closed_recording_costs(stage: Stage, proxy: FaultyS3) -> None:
    bill = Bill(proxy)
    write(stage.folder / "small.mp4", 1000)
    finish(stage, stage.folder / "small.mp4")
    assert bill.requests == SMALL + CONFIRMING[stage.store.name]


@pytest.mark.also_on("minio")
def test_what_a_recording_of_several_parts_costs_beside_them(stage: Stage, proxy: FaultyS3) -> None:
    bill = Bill(proxy)
    with Writer(stage.folder / "long.mp4") as writer:
        for _ in range(3):
            writer.append(CHUNK)
        writer.append(100)
    finish(stage, stage.folder / "long.mp4")
    assert bill.requests - Counter(UploadPart=4) == OF_PARTS + CONFIRMING[stage.store.name]
