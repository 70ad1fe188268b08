"""A restart when everything is finished: the daemon knows it, by Redis or by the objects themselves."""

from __future__ import annotations

import pytest

from tests.harness.e2e.daemon import eventually
from tests.harness.e2e.recorders import CHUNK, Writer, write
from tests.harness.e2e.stage import Stage

pytestmark = [pytest.mark.slow, pytest.mark.versitygw, pytest.mark.redis]


@pytest.mark.also_on("minio")
@pytest.mark.parametrize("wiped", [False, True], ids=["Redis remembers", "Redis is empty"])
def test_what_is_finished_is_not_sent_again(own_stage: Stage, wiped: bool) -> None:
    stage, daemon = own_stage, own_stage.daemon
    names = ["large.mp4", "small.mp4", "in/side.mp4"]
    for number, name in enumerate(names):
        path = stage.folder / name
        path.parent.mkdir(exist_ok=True)
        write(path, (2 * CHUNK + 7, 100, 3000)[number], seed=number)
    daemon.start_and_wait()
    before = {name: stage.wait_until_done(stage.folder / name) for name in names}
    stage.wait_until_clean(*names)
    assert daemon.stop() == 0
    if wiped:
        stage.redis.flushall()

    daemon.start_and_wait(LOG_LEVEL="DEBUG")

    for name in names:
        daemon.wait_for("already_stored", file_path=name)
    assert daemon.lines("part_stored") == daemon.lines("stream_started") == []
    assert daemon.metric("video_bytes_uploaded_total") == 0
    assert {name: stage.wait_until_done(stage.folder / name) for name in names} == before
    stage.wait_until_clean(*names)
    assert len(stage.markers()) == 3


def test_a_finished_recording_that_is_renamed_while_the_daemon_is_away_is_not_sent_again(stage: Stage) -> None:
    daemon, path = stage.daemon, stage.folder / "before.mp4"
    write(path, CHUNK + 1)
    daemon.start_and_wait()
    stage.wait_until_done(path)
    stage.wait_until_clean("before.mp4")
    assert daemon.stop() == 0
    renamed = path.rename(stage.folder / "after.mp4")
    daemon.start_and_wait(LOG_LEVEL="DEBUG")
    daemon.wait_for("already_stored", file_path="after.mp4", key="before.mp4")
    assert daemon.lines("part_stored") == []
    assert stage.bucket.objects() == ["before.mp4"]
    assert stage.bucket.holds("before.mp4", renamed)


def test_redis_emptied_in_mid_recording_costs_no_byte_and_no_second_object(own_stage: Stage) -> None:
    stage, daemon, path = own_stage, own_stage.daemon, own_stage.folder / "wiped.mp4"
    daemon.start_and_wait()
    write(path, 2 * CHUNK + 100)
    stage.wait_until_sent(path, 1, 2)
    stage.redis.flushall()
    stage.wait_until_done(path)
    stage.wait_until_clean("wiped.mp4")
    assert sorted(stage.sent(path)) == [1, 2, 3]
    eventually(lambda: len(stage.markers()) == 1, "the marker is there")


@pytest.mark.also_on("minio")
def test_redis_emptied_and_the_daemon_killed_in_mid_recording_costs_no_part_that_is_stored(own_stage: Stage) -> None:
    stage, daemon, path = own_stage, own_stage.daemon, own_stage.folder / "wiped.mp4"
    daemon.start_and_wait()
    with Writer(path) as writer:
        writer.append(2 * CHUNK + 100)
        stage.wait_until_sent(path, 1, 2)
        daemon.kill()
        stage.redis.flushall()
        writer.append(CHUNK)
    daemon.start()
    stage.wait_until_done(path)
    stage.wait_until_clean("wiped.mp4")
    assert sorted(stage.sent(path)) == [3, 4]


@pytest.mark.also_on("minio")
def test_a_document_that_is_lost_together_with_redis_is_written_again(own_stage: Stage) -> None:
    stage, daemon, path = own_stage, own_stage.daemon, own_stage.folder / "bare.mp4"
    write(path, CHUNK + 9)
    daemon.start_and_wait()
    stage.wait_until_done(path)
    stage.wait_until_clean("bare.mp4")
    assert daemon.stop() == 0
    stage.redis.flushall()
    stage.bucket.client.delete_object(Bucket=stage.bucket.name, Key="bare.mp4.metadata.json")
    daemon.start()
    stage.wait_until_done(path, parts_known=False)
    stage.wait_until_clean("bare.mp4")
    assert stage.sent(path) == []


def test_another_chunk_size_after_a_restart_is_for_new_recordings_only(stage: Stage) -> None:
    daemon, path = stage.daemon, stage.folder / "pinned.mp4"
    large = 24 * 1024 * 1024  # more than the second run keeps in memory at once
    daemon.start_and_wait(CHUNK_SIZE_BYTES=str(large))
    with Writer(path) as writer:
        writer.append(large + 10)
        stage.wait_until_sent(path, 1)
        daemon.kill()
        daemon.start()
        writer.append(large)
        writer.patch(0, 4)
    document = stage.wait_until_done(path)
    stage.wait_until_clean("pinned.mp4")
    assert [chunk["size_bytes"] for chunk in document["chunks"]] == [large, large, 10]
    assert sorted(stage.sent(path)) == [1, 2, 3]  # the head was patched
    write(stage.folder / "new.mp4", CHUNK + 1)
    assert len(stage.wait_until_done(stage.folder / "new.mp4")["chunks"]) == 2
