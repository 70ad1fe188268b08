"""A recording's whole life on every kind of store that the public has written about, behind a proxy that acts like it.

Six courses for each: plain, patched while it grows, grown after its completion, resumed after a kill, adopted after a
kill with Redis wiped, and all of them known again although Redis has forgotten them.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.harness.e2e.recorders import Writer, write
from tests.harness.e2e.stage import Stage
from tests.harness.stores.personalities import PERSONALITIES, Personality
from tests.harness.stores.proxy import PersonalS3

pytestmark = [pytest.mark.slow, pytest.mark.redis, pytest.mark.timeout(300)]

COURSES = ("plain.mp4", "patched.mp4", "grown.mp4", "resumed.mp4", "adopted.mp4")


def _marks(personality: Personality) -> list[pytest.MarkDecorator]:
    store = getattr(pytest.mark, personality.behind)
    # Not run: a life that cannot begin waits for minutes. The contract suite sees when it can.
    fault = personality.fault or personality.fault_in_life
    return [store, pytest.mark.xfail(reason=fault, run=False)] if fault else [store]


ALL = [pytest.param(each, each.behind, id=each.name, marks=_marks(each)) for each in PERSONALITIES]


@pytest.mark.parametrize(("personality", "store_name"), ALL)
def test_a_recording_lives_its_whole_life(stage: Stage, personality: Personality) -> None:
    stage.bucket = replace(stage.bucket, keeps_checksums=personality.keeps_checksums)
    with PersonalS3(stage.store, personality) as proxy:
        stage.settings = {
            "S3_ENDPOINT_URL": proxy.url,
            "CHUNK_SIZE_BYTES": str(personality.chunk),
            "FFPROBE_PATH": "/nowhere/ffprobe",
            **personality.settings,
        }
        _plain_patched_and_grown(stage, personality)
        _resumed(stage, personality)
        _adopted_and_known_again(stage, personality)
        stage.wait_until_clean(*COURSES)
        assert stage.daemon.metric("cefmp4_service_ready", service="s3") == 1


def _plain_patched_and_grown(stage: Stage, personality: Personality) -> None:
    plain, patched, grown, resumed = (stage.folder / name for name in COURSES[:4])
    chunk = personality.chunk
    stage.daemon.start()
    write(plain, (2 + personality.long_parts) * chunk + 1000, seed=1)
    write(grown, chunk + 10, seed=2)
    with Writer(patched, seed=3) as writer:
        writer.append(chunk + 100)
        stage.wait_until_sent(patched, 1)
        writer.patch(0, 8)
    for path in (plain, patched, grown):
        stage.wait_until_done(path)
    stage.daemon.wait_for("stream_completed", file_path=grown.name)
    with Writer(grown, seed=4, new=False) as writer:
        writer.append(chunk)
    document = stage.wait_until_done(grown)
    assert document["object"]["replacements"] == 1
    stage.daemon.wait_for("stream_completed", file_path=grown.name, count=2)
    write(resumed, chunk + 100, seed=5)
    stage.wait_until_sent(resumed, 1)
    if personality.is_exact:
        assert len(stage.sent(plain)) == 3 or personality.long_parts
        assert sorted(stage.sent(patched)) in ([1, 1, 2], [1, 2]), "the patched head is sent again and nothing else"
        assert len(stage.sent(grown)) <= 2 + 3
    stage.daemon.kill()


def _resumed(stage: Stage, personality: Personality) -> None:
    resumed, adopted = stage.folder / "resumed.mp4", stage.folder / "adopted.mp4"
    with Writer(resumed, seed=6, new=False) as writer:
        writer.append(personality.chunk)
    stage.daemon.start()
    stage.wait_until_done(resumed)
    sent = sorted(stage.sent(resumed))
    assert sent == list(range(2, sent[-1] + 1)), "what was stored before the kill is not sent again"
    write(adopted, personality.chunk + 100, seed=7)
    stage.wait_until_sent(adopted, 1)
    stage.daemon.kill()


def _adopted_and_known_again(stage: Stage, personality: Personality) -> None:
    adopted = stage.folder / "adopted.mp4"
    for key in stage.redis_keys("*"):
        stage.redis.delete(key)
    with Writer(adopted, seed=8, new=False) as writer:
        writer.append(personality.chunk)
    stage.daemon.start(LOG_LEVEL="DEBUG")
    stage.wait_until_done(adopted)
    sent = sorted(stage.sent(adopted))
    assert sent == list(range(2, sent[-1] + 1)), "its upload is found without Redis"
    for name in COURSES[:4]:
        stage.daemon.wait_for("already_stored", file_path=name)
        assert stage.sent(stage.folder / name) == []
        stage.wait_until_done(stage.folder / name)
