"""What a start costs in requests to S3 beside finished files, counted at a proxy. What the probe, the sweep and the
checks of the bucket ask is not counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.e2e.test_requests_counted import Bill
from tests.harness.e2e.daemon import eventually
from tests.harness.e2e.recorders import write
from tests.harness.e2e.stage import Stage
from tests.harness.faulty_s3 import FaultyS3

pytestmark = [pytest.mark.slow, pytest.mark.versitygw, pytest.mark.redis]

#: More than are looked up one by one.
MANY = 24


@pytest.fixture
def proxy(stage: Stage) -> Iterator[FaultyS3]:
    with FaultyS3(stage.store.port) as proxy:
        stage.daemon.settings["S3_ENDPOINT_URL"] = proxy.url
        yield proxy
        stage.daemon.end()  # before the proxy


def test_finished_files_cost_no_request_beside_a_kept_redis(stage: Stage, proxy: FaultyS3) -> None:
    """Beside a wiped one each costs its object and its document: the proxy would see it."""
    for number in range(MANY):
        write(stage.folder / f"{number}.mp4", 100)
    stage.daemon.start_and_wait()
    eventually(lambda: len(stage.members("completed")) == MANY, "all are finished")
    stage.wait_until_probed()
    stage.daemon.end()

    kept = _asked_at_a_start(stage, proxy)
    for key in stage.redis_keys("*"):
        stage.redis.delete(key)
    wiped = _asked_at_a_start(stage, proxy)
    assert kept == Counter()
    assert wiped.keys() == {"HeadObject", "GetObject"}
    assert min(wiped.values()) >= MANY


def _asked_at_a_start(stage: Stage, proxy: FaultyS3) -> Counter[str]:
    bill = Bill(proxy)
    stage.daemon.start_and_wait(LOG_LEVEL="DEBUG")
    eventually(lambda: len(stage.daemon.lines("already_stored")) >= MANY, "all are known")
    stage.daemon.end()
    asked = bill.requests
    del asked["GetBucketLifecycleConfiguration"]
    return asked
