"""Files that change when nobody expects it: the object follows, and no earlier recording is lost."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from dataclasses import astuple
from pathlib import Path

import pytest

from src.domain import PROBE_KEY
from tests.harness.e2e.bucket import sha256
from tests.harness.e2e.daemon import eventually
from tests.harness.e2e.recorders import CHUNK, Writer, write
from tests.harness.e2e.stage import Stage, frozen
from tests.harness.faulty_s3 import FaultyS3
from tests.harness.probing import identity_at

MIB = 1024 * 1024
pytestmark = [pytest.mark.slow, pytest.mark.versitygw, pytest.mark.redis]


@pytest.mark.also_on("minio")
def test_a_recording_that_goes_on_while_it_is_sealed_goes_on_as_active(own_stage: Stage) -> None:
    stage, daemon, path = own_stage, own_stage.daemon, own_stage.folder / "pause.mp4"
    daemon.start_and_wait()
    with Writer(path) as writer:
        writer.append(CHUNK + 100)
        stage.wait_until_sent(path, 1)
        with frozen(stage.store):
            daemon.wait_for("stream_went_idle")  # and hangs while it sends the tail
            writer.append(CHUNK)
            writer.patch(CHUNK - 2, 4)
        daemon.wait_for("stream_grew_again")
        writer.append(100)
    document = stage.wait_until_done(path)
    stage.wait_until_clean("pause.mp4")
    assert document["object"]["replacements"] == 0


@pytest.mark.also_on("minio")
def test_a_patch_after_completion_sends_the_patched_part_and_the_tail_alone(stage: Stage) -> None:
    """Also where copied parts have no checksum, or the whole source's: then their ETag proves them."""
    daemon, path = stage.daemon, stage.folder / "late.mp4"
    with FaultyS3(stage.store.port) as proxy:
        daemon.settings["S3_ENDPOINT_URL"] = proxy.url
        daemon.start_and_wait()
        write(path, 4 * CHUNK + 2 * MIB)
        first = stage.wait_until_done(path)
        daemon.wait_for("stream_completed")
        for patch in (1, 2):
            sent_before, copied_before = sent_by_part(proxy), len(daemon.lines("part_copied"))
            with Writer(path, new=False, seed=patch) as writer:
                writer.patch(patch * CHUNK + 10, 4)
            document = stage.wait_until_done(path)
            assert document["stream_id"] == first["stream_id"]
            assert document["object"]["replacements"] == patch
            assert sent_by_part(proxy) - sent_before == {patch + 1: CHUNK, 5: 2 * MIB}
            assert len(daemon.lines("part_copied")) - copied_before == 3
        stage.wait_until_clean("late.mp4")
    assert daemon.lines("operation_failed") == []


def sent_by_part(proxy: FaultyS3) -> Counter[int]:
    """Bytes that went over the line as parts of recordings, by part number."""
    sent: Counter[int] = Counter()
    for request in proxy.requests:
        if request.operation == "UploadPart" and not request.key.endswith(PROBE_KEY):
            sent[request.part_number] += int(request.headers["content-length"])
    return sent


def test_a_recording_that_grows_after_completion_is_brought_up_to_date(stage: Stage) -> None:
    daemon, path = stage.daemon, stage.folder / "goes on.mp4"
    daemon.start_and_wait()
    write(path, CHUNK // 2)
    stage.wait_until_done(path)
    with Writer(path, new=False, seed=1) as writer:
        writer.append(CHUNK)
    document = stage.wait_until_done(path)
    stage.wait_until_clean("goes on.mp4")
    assert document["object"]["replacements"] == 1


@pytest.mark.also_on("minio")
def test_growth_while_the_daemon_was_away_is_brought_up_to_date(stage: Stage) -> None:
    daemon, path = stage.daemon, stage.folder / "away.mp4"
    daemon.start_and_wait()
    write(path, CHUNK + 100)
    stage.wait_until_done(path)
    stage.wait_until_clean("away.mp4")
    assert daemon.stop() == 0
    with Writer(path, new=False, seed=1) as writer:
        writer.append(100)
    daemon.start()
    document = stage.wait_until_done(path)
    stage.wait_until_clean("away.mp4")
    assert document["object"]["replacements"] == 1


def test_a_recording_that_begins_again_in_the_same_file_ends_as_what_it_is_in_the_end(stage: Stage) -> None:
    daemon, path = stage.daemon, stage.folder / "again.mp4"
    daemon.start_and_wait()
    with Writer(path) as writer:
        writer.append(2 * CHUNK + 100)
        stage.wait_until_sent(path, 1, 2)
        writer.truncate()
        writer.append(CHUNK + 50)
    stage.wait_until_done(path)
    stage.wait_until_clean("again.mp4")


def test_a_file_that_is_replaced_before_completion_ends_as_the_new_one(stage: Stage) -> None:
    daemon, path = stage.daemon, stage.folder / "swapped.mp4"
    daemon.start_and_wait(WATCH_SCAN_SECONDS="0.5")  # a file may be gone for five seconds more
    write(path, CHUNK + 100)
    stage.wait_until_sent(path, 1)
    write(stage.folder / "draft", CHUNK + 300, seed=1)
    os.replace(stage.folder / "draft", path)
    eventually(lambda: stage.bucket.objects(), "an object is there")
    key = stage.bucket.objects()[0]
    stage.wait_until_done(path, key)


@pytest.mark.also_on("minio")
def test_a_recording_that_is_renamed_while_it_grows_keeps_its_upload(stage: Stage) -> None:
    daemon, path = stage.daemon, stage.folder / "draft.mp4"
    daemon.start_and_wait()
    with Writer(path) as writer:
        writer.append(CHUNK + 100)
        stage.wait_until_sent(path, 1)
        final = path.rename(stage.folder / "final.mp4")
        writer.append(100)
    stage.wait_until_done(final, "draft.mp4")
    stage.wait_until_clean("draft.mp4")
    assert sorted(line["number"] for line in daemon.lines("part_stored")) == [1, 2]


def leave_marker_of_earlier_file(stage: Stage, path: Path) -> None:
    """As if the kernel had given the inode of the first recording to this one, which it does when it likes."""
    inode, birth_ns = astuple(identity_at(path))
    first = stage.bucket.client.head_object(Bucket=stage.bucket.name, Key="hour.mp4")["ETag"].strip('"')
    marker = json.loads(stage.markers()[f"{inode}:{birth_ns}"]) | {"key": "hour.mp4", "etag": first}
    stage.redis.hset(f"{stage.redis_prefix}streams:markers", f"{inode}:{birth_ns - 1}", json.dumps(marker))


@pytest.mark.also_on("minio")
def test_a_new_recording_under_an_old_name_gets_the_next_key(stage: Stage) -> None:
    daemon, path = stage.daemon, stage.folder / "hour.mp4"
    daemon.start_and_wait()
    for number, key in enumerate(("hour.mp4", "hour~2.mp4", "hour~3.mp4")):
        write(stage.folder / "draft", CHUNK + number, seed=number)
        shutil.copy(stage.folder / "draft", stage.home / key)
        os.replace(stage.folder / "draft", path)  # a new file, as a recorder makes it
        stage.wait_until_done(path, key)
    for key in ("hour.mp4", "hour~2.mp4", "hour~3.mp4"):
        assert stage.bucket.sha256(key) == sha256(stage.home / key)
    leave_marker_of_earlier_file(stage, path)
    stage.wait_until_clean("hour.mp4", "hour~2.mp4", "hour~3.mp4")


def test_a_new_recording_in_an_old_file_gets_the_next_key_too(stage: Stage) -> None:
    daemon, path = stage.daemon, stage.folder / "loop.mp4"
    daemon.start_and_wait()
    write(path, 2 * CHUNK)
    shutil.copy(path, stage.home / "first")
    stage.wait_until_done(path)
    write(path, CHUNK, seed=1)  # the same inode, truncated first
    stage.wait_until_done(path, "loop~2.mp4")
    assert stage.bucket.sha256("loop.mp4") == sha256(stage.home / "first")
    stage.wait_until_clean("loop.mp4", "loop~2.mp4")


def test_a_new_recording_under_an_old_name_replaces_the_object_when_the_operator_says_so(stage: Stage) -> None:
    daemon, path = stage.daemon, stage.folder / "hour.mp4"
    daemon.start_and_wait(ON_NAME_REUSED="replace")
    write(path, CHUNK + 1)
    stage.wait_until_done(path)
    daemon.wait_for("stream_completed")
    write(stage.folder / "draft", CHUNK + 2, seed=1)
    os.replace(stage.folder / "draft", path)
    stage.wait_until_done(path)
    stage.wait_until_clean("hour.mp4")


@pytest.mark.also_on("minio")
def test_an_object_of_somebody_else_is_never_touched(stage: Stage) -> None:
    stage.daemon.start_and_wait()
    stage.bucket.put("theirs.mp4", b"somebody else's")
    write(stage.folder / "theirs.mp4", 1000)
    stage.wait_until_done(stage.folder / "theirs.mp4", "theirs~2.mp4")
    assert stage.bucket.get("theirs.mp4") == b"somebody else's"


def test_a_file_that_has_the_next_key_as_its_name_loses_nothing_and_takes_nothing(stage: Stage) -> None:
    stage.daemon.start_and_wait()
    first, second = stage.folder / "a.mp4", stage.folder / "a~2.mp4"
    write(second, 1000, seed=1)
    write(first, 1000, seed=2)
    stage.wait_until_done(first)
    stage.wait_until_done(second)
    write(stage.folder / "draft", 1000, seed=3)
    os.replace(stage.folder / "draft", first)
    stage.wait_until_done(first, "a~3.mp4")
    stage.wait_until_done(second)
    stage.wait_until_clean("a.mp4", "a~2.mp4", "a~3.mp4")


def test_an_object_that_somebody_deleted_comes_back_with_the_next_change(stage: Stage) -> None:
    daemon, path = stage.daemon, stage.folder / "deleted.mp4"
    daemon.start_and_wait()
    write(path, CHUNK + 9)
    stage.wait_until_done(path)
    daemon.wait_for("stream_completed")
    stage.bucket.client.delete_object(Bucket=stage.bucket.name, Key="deleted.mp4")
    with Writer(path, new=False, seed=1) as writer:
        writer.append(10)
    stage.wait_until_done(path)
    stage.wait_until_clean("deleted.mp4")


def test_a_copy_that_is_begun_again_has_one_object_also_when_redis_is_lost_later(own_stage: Stage) -> None:
    stage, daemon, path = own_stage, own_stage.daemon, own_stage.folder / "copy.mp4"
    daemon.start_and_wait(WATCH_SCAN_SECONDS="0.5")  # a file may be gone for five seconds more
    with Writer(path) as writer:
        writer.append(CHUNK + 100)
        stage.wait_until_sent(path, 1)
        path.unlink()  # while it is open, so that its inode is not used again
        with Writer(path) as again:  # the same bytes
            again.append(CHUNK + 100)
            again.append(CHUNK)
    eventually(lambda: stage.bucket.documents(), "the copy is described")
    assert stage.bucket.metadata("copy.mp4")["cefmp4-inode"] == str(path.stat().st_ino)
    stage.wait_until_done(path)
    stage.wait_until_clean("copy.mp4")
    daemon.kill()
    stage.redis.flushall()
    with Writer(path, new=False, seed=1) as writer:
        writer.append(10)
    daemon.start()
    stage.wait_until_done(path)
    stage.wait_until_clean("copy.mp4")


def test_a_recording_that_is_gone_has_failed_and_goes_on_when_it_is_seen_again(stage: Stage) -> None:
    daemon, path = stage.daemon, stage.folder / "gone.mp4"
    daemon.start_and_wait(WATCH_SCAN_SECONDS="0.5")  # a file may be gone for five seconds more
    with Writer(path) as writer:
        writer.append(CHUNK + 10)
        stage.wait_until_sent(path, 1)
        path.rename(stage.home / "gone.mp4")
        assert daemon.wait_for("stream_failed")["reason"] == "source_missing"
        assert len(stage.members("failed")) == 1
        assert daemon.metric("streams_failed_total") == 1
        daemon.kill()
        daemon.start()
        (stage.home / "gone.mp4").rename(path)
        writer.append(10)
    stage.wait_until_done(path)
    stage.wait_until_clean("gone.mp4")
    assert stage.sent(path) == [2]


@pytest.mark.also_on("minio")
def test_of_an_aborted_recording_nothing_is_left_but_why(stage: Stage) -> None:
    daemon, path = stage.daemon, stage.folder / "gone.mp4"
    daemon.start_and_wait(ON_SOURCE_MISSING="abort", WATCH_SCAN_SECONDS="0.5")
    with Writer(path) as writer:
        writer.append(2 * CHUNK + 10)
        stage.wait_until_sent(path, 1, 2)
        path.unlink()
        assert daemon.wait_for("stream_failed")["reason"] == "source_missing"
    eventually(lambda: stage.bucket.open_uploads() == [], "the upload is aborted")
    (stream_id,) = stage.members("failed")
    assert stage.redis_keys("stream*") == [
        f"{stage.redis_prefix}{name}" for name in (f"stream:{stream_id}:meta", "streams:failed")
    ]
    left = stage.redis.hgetall(f"{stage.redis_prefix}stream:{stream_id}:meta")
    assert (left["status"], left["failure"], left["path"]) == ("failed", "source_missing", "gone.mp4")
    assert left["total_bytes_sent"] == "0"
    assert left.keys() & {"upload_id", "s3_upload_id", "manifest", "superseded", "etag", "replaces"} == set()
    assert (stage.bucket.objects(), stage.bucket.documents()) == ([], {})


def test_a_watched_folder_that_goes_away_and_comes_back_costs_nothing(stage: Stage) -> None:
    daemon, path = stage.daemon, stage.folder / "mounted.mp4"
    daemon.start_and_wait()
    with Writer(path) as writer:
        writer.append(CHUNK + 1)
        stage.wait_until_sent(path, 1)
        stage.folder.rename(stage.home / "elsewhere")
        daemon.wait_for("folder_missing")
        daemon.wait_for("operation_failed", operation="file_read")
        (stage.home / "elsewhere").rename(stage.folder)
        daemon.wait_for("folder_recovered")
        writer.append(CHUNK)
    stage.wait_until_done(path)
    stage.wait_until_clean("mounted.mp4")
    assert daemon.lines("stream_failed") == []


@pytest.mark.also_on("minio")
def test_polling_and_a_key_prefix_do_the_same_job(stage: Stage) -> None:
    daemon, path = stage.daemon, stage.folder / "polled.mp4"
    daemon.start_and_wait(WATCH_FORCE_POLLING="true", WATCH_SCAN_SECONDS="600", S3_KEY_PREFIX="cam-7/")
    with Writer(path) as writer:
        writer.append(CHUNK + 1)
        stage.wait_until_sent(path, 1)
        writer.patch(0, 4)
    document = stage.wait_until_done(path, "cam-7/polled.mp4")
    assert document["chunks"][0]["sent_again"] == ["head_patch"]
