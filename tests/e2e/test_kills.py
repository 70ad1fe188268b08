"""SIGKILL at named moments of an upload: nothing is lost, nothing is doubled, nothing is left behind."""

from __future__ import annotations

import os
import random
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.harness.e2e.bucket import PROBE
from tests.harness.e2e.daemon import Daemon, eventually
from tests.harness.e2e.recorders import CHUNK, Shape, Writer, end_recording, recording, write
from tests.harness.e2e.stage import Stage, frozen
from tests.harness.faulty_s3 import Fault, FaultyS3, do_later, hold_answer, stall

pytestmark = [pytest.mark.slow, pytest.mark.versitygw, pytest.mark.redis]

PARTS_IN_FLIGHT = 2
#: Seconds, for one test of seven starts and three recordings: 30 others may work on the same processors.
LONG = 300.0


@pytest.mark.also_on("minio")
@pytest.mark.ffmpeg
def test_kills_while_a_recording_grows_cost_at_most_the_parts_in_flight(stage: Stage, ffmpeg: Path) -> None:
    path, daemon = stage.folder / "live.mp4", stage.daemon
    sent: list[int] = []
    daemon.start_and_wait(STREAM_TIMEOUT_SECONDS="2")
    with recording(ffmpeg, path, Shape.ORDINARY, seconds=LONG) as recorder:
        for part in (1, 3):
            stage.wait_until_sent(path, part)
            daemon.kill()
            sent += stage.sent(path)
            daemon.start(STREAM_TIMEOUT_SECONDS="2")
            daemon.wait_for("stream_resumed", file_path="live.mp4")
        end_recording(recorder)
    document = stage.wait_until_done(path)
    stage.wait_until_clean("live.mp4", killed_at_random=True)
    sent += stage.sent(path)
    repeated = len(sent) - len(set(sent))
    assert repeated <= 1 + 2 * PARTS_IN_FLIGHT  # the patched head, and what each of the two kills may cost
    assert document["chunks"][0]["sent_again"] == ["head_patch"]


@pytest.mark.also_on("minio")
def test_a_kill_during_the_seal_repeats_no_part_that_was_stored(own_stage: Stage) -> None:
    stage, daemon, path = own_stage, own_stage.daemon, own_stage.folder / "sealed.mp4"
    daemon.start_and_wait()
    write(path, 3 * CHUNK + 1000)
    stage.wait_until_sent(path, 1, 2, 3)
    with frozen(stage.store):
        daemon.wait_for("stream_went_idle")
        daemon.kill()
    daemon.start()
    stage.wait_until_done(path)
    stage.wait_until_clean("sealed.mp4")
    assert stage.sent(path) in ([4], [])  # the gateway may have had the tail when it was frozen
    assert daemon.lines("stream_resumed", file_path="sealed.mp4")


@pytest.mark.also_on("minio")
@pytest.mark.parametrize(
    ("operation", "key", "fault"),
    [
        ("GetObject", "short.mp4.metadata.json", stall()),
        ("HeadObject", "short.mp4", hold_answer()),
        ("PutObject", "short.mp4", stall()),
        ("PutObject", "short.mp4", hold_answer()),
        ("PutObject", "short.mp4", do_later(3.0)),
        ("PutObject", "short.mp4.metadata.json", stall()),
        ("PutObject", "short.mp4.metadata.json", hold_answer()),
    ],
    ids=lambda each: each.name if isinstance(each, Fault) else each,
)
def test_a_kill_at_any_request_of_a_short_recording_costs_nothing(
    stage: Stage, operation: str, key: str, fault: Fault
) -> None:
    path, daemon = stage.folder / "short.mp4", stage.daemon
    with FaultyS3(stage.store.port) as proxy:
        daemon.settings["S3_ENDPOINT_URL"] = proxy.url
        daemon.start_and_wait()
        stage.wait_until_probed()
        rule = proxy.on(operation, fault, key=key)
        write(path, 1000)
        eventually(lambda: rule.happened, "the moment has come")
        daemon.kill()
        proxy.lift(rule)
        daemon.start()
        stage.wait_until_done(path)
        stage.wait_until_clean("short.mp4", killed_at_random=True)
        daemon.end()


@pytest.mark.also_on("minio")
def test_a_kill_between_completion_and_document_sends_nothing_again(stage: Stage, tmp_path: Path) -> None:
    slow_probe = tmp_path / "slow-ffprobe"
    slow_probe.write_text('#!/bin/sh\n[ "$1" = -version ] || sleep 30\nexec ffprobe "$@"\n')
    slow_probe.chmod(0o755)
    daemon, path = stage.daemon, stage.folder / "proved.mp4"
    daemon.start_and_wait(FFPROBE_PATH=str(slow_probe))
    write(path, CHUNK + 1000)
    daemon.wait_for("object_proved")
    daemon.kill()
    assert stage.bucket.documents() == {}
    etag = stage.bucket.client.head_object(Bucket=stage.bucket.name, Key="proved.mp4")["ETag"]
    daemon.start()
    document = stage.wait_until_done(path)
    daemon.wait_for("stream_completed")
    assert document["object"]["etag"] == etag.strip('"')
    assert stage.sent(path) == []
    assert daemon.metric("video_bytes_uploaded_total") == 0
    stage.wait_until_clean("proved.mp4")


@pytest.mark.also_on("minio")
@pytest.mark.parametrize("wiped", [False, True], ids=["", "and Redis is empty"])
def test_a_kill_while_the_answer_to_the_completion_is_on_its_way_is_resolved_by_the_object(
    own_stage: Stage, wiped: bool
) -> None:
    stage, path = own_stage, own_stage.folder / "answer.mp4"
    write(path, CHUNK + 1000)
    with FaultyS3(stage.store.port) as proxy:
        held = proxy.on("CompleteMultipartUpload", hold_answer(), key="answer.mp4", times=None)
        daemon = stage.daemon
        daemon.start(S3_ENDPOINT_URL=proxy.url)
        eventually(lambda: held.happened, "the store has answered the completion")
        daemon.kill()
    assert stage.bucket.holds("answer.mp4", path)
    if wiped:
        stage.redis.flushall()
    daemon.start()
    stage.wait_until_done(path, parts_known=not wiped)
    daemon.wait_for("stream_completed")
    assert stage.sent(path) == []
    # The kill may come while it learns what the store can do; its note of that is in Redis.
    stage.wait_until_clean("answer.mp4", killed_at_random=wiped)


def test_a_completion_whose_answer_is_lost_does_not_trouble_a_living_daemon(stage: Stage) -> None:
    path = stage.folder / "cut.mp4"
    write(path, CHUNK + 1000)
    with FaultyS3(stage.store.port) as proxy:
        held = proxy.on("CompleteMultipartUpload", hold_answer(), key="cut.mp4", times=None)
        stage.daemon.start(S3_ENDPOINT_URL=proxy.url)
        eventually(lambda: held.happened, "the store has answered the completion")
        proxy.cut()
        stage.wait_until_done(path)
        stage.wait_until_clean("cut.mp4")
        assert sorted(stage.sent(path)) == [1, 2]


@pytest.mark.also_on("minio")
def test_a_kill_while_an_object_is_brought_up_to_date_is_made_good(stage: Stage) -> None:
    daemon, path = stage.daemon, stage.folder / "late.mp4"
    daemon.start_and_wait()
    write(path, 2 * CHUNK + 10)
    first = stage.wait_until_done(path)
    daemon.wait_for("stream_completed")
    with Writer(path, new=False, seed=1) as writer:
        writer.patch(CHUNK + 5, 4)
        writer.append(CHUNK)
    daemon.wait_for("stream_started", count=2)
    daemon.kill()
    assert stage.bucket.holds("late.mp4", path) is False
    daemon.start()
    document = stage.wait_until_done(path)
    stage.wait_until_clean("late.mp4")
    assert document["stream_id"] == first["stream_id"]


def test_a_kill_while_the_daemon_learns_what_the_store_can_do_leaves_nothing_of_the_probe(
    stage: Stage,
) -> None:
    path = stage.folder / "after the probe.mp4"
    with FaultyS3(stage.store.port) as proxy:
        held = proxy.on("UploadPart", hold_answer(), key=PROBE, times=None)
        stage.daemon.start(S3_ENDPOINT_URL=proxy.url)
        eventually(lambda: held.happened, "the store has a part of the probe")
        stage.daemon.kill()
    assert stage.bucket.probe_uploads() == 1
    write(path, CHUNK + 1000)
    stage.daemon.start()
    stage.wait_until_done(path)
    eventually(lambda: stage.bucket.probe_uploads() == 0, "its process is gone")
    stage.wait_until_clean("after the probe.mp4")
    stage.daemon.stop()
    stage.bucket.client.create_multipart_upload(Bucket=stage.bucket.name, Key=PROBE)  # killed before it was noted
    for upload in stage.bucket.folder.glob(".sgwtmp/multipart/*/*"):
        os.utime(upload, (0, time.time() - 1200))  # the store's word for when it was begun
    stage.daemon.start()
    eventually(lambda: stage.bucket.probe_uploads() == 0, "a later daemon has aborted it")


@pytest.mark.timeout(5 * LONG)
@pytest.mark.also_on("minio")
def test_kills_at_any_moment_of_several_recordings_leave_equal_objects_and_nothing_else(stage: Stage) -> None:
    """A moment is a number of log lines: so it is in the daemon's work on any machine, however slow it starts there."""
    seed, daemon = os.environ.get("KILLS_SEED", "3"), stage.daemon
    print(f"KILLS_SEED={seed}")
    chance = random.Random(seed)
    paths = [stage.folder / f"take {number}.mp4" for number in range(3)]
    writers = [Writer(path, seed=number) for number, path in enumerate(paths)]
    said = []
    try:
        for _ in range(3):
            daemon.start()
            daemon.wait_for("daemon_started", within=LONG)
            _record_until(daemon, chance.randint(1, 15), writers, chance)
            said.append(_kill(daemon, chance))
    finally:
        for writer in writers:
            writer.patch(0, 4)
            writer.close()
    for _ in range(3):  # the seals and completions are killed too
        daemon.start()
        daemon.wait_for("daemon_started", within=LONG)
        _wait_for_lines(daemon, chance.randint(1, 20))
        said.append(_kill(daemon, chance))
    print(f"killed after {said} lines")
    daemon.start()
    for path in paths:
        stage.wait_until_done(path, within=LONG)
    stage.wait_until_clean(*(path.name for path in paths), killed_at_random=True)


def _record_until(daemon: Daemon, lines: int, writers: list[Writer], chance: random.Random) -> None:
    """Write as recorders do until the daemon has written so many lines, or for ten seconds."""
    end = time.monotonic() + 10
    while len(daemon.lines()) < lines and time.monotonic() < end:
        for writer in writers:
            writer.append(CHUNK // 8)
            if chance.random() < 0.2:
                writer.patch_anywhere()
        time.sleep(0.2)  # the pace of a recorder


def _wait_for_lines(daemon: Daemon, lines: int) -> None:
    with suppress(AssertionError):  # the recordings may need no more
        eventually(lambda: len(daemon.lines()) >= lines, f"{lines} lines", within=5)


def _kill(daemon: Daemon, chance: random.Random) -> int:
    """Between two lines, too; how many there were."""
    time.sleep(chance.uniform(0, 0.2))  # any moment is right
    daemon.kill()
    return len(daemon.lines())
