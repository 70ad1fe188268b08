"""The soak's auditor names every harm that is done to a clean place by hand, and names nothing else.

One daemon makes the place: a recording in two parts, one under an earlier one's name, one at a stranger's key, one that
was deleted before its end. Each test harms a copy of its store and of its records.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bench.soak_auditor import Audit, Foreign
from bench.soak_recorders import Facts, Take
from tests.harness.e2e.bucket import SUFFIX, Bucket, sha256
from tests.harness.e2e.daemon import eventually
from tests.harness.e2e.recorders import CHUNK, Writer, write
from tests.harness.e2e.stage import Stage, set_stage
from tests.harness.servers import start_versitygw

pytestmark = [pytest.mark.slow, pytest.mark.versitygw, pytest.mark.redis]

CANARY = "canary-7d1f0c"


@dataclass(frozen=True)
class Place:
    """What a round leaves behind, and what is known of it."""

    stage: Stage
    takes: list[Take]
    foreign: list[Foreign]

    def audit(self, **more: Any) -> list[str]:
        return Audit(self.stage, self.takes, self.foreign, [CANARY], **more).mismatches()

    @property
    def bucket(self) -> Bucket:
        return self.stage.bucket

    def plain(self, key: str) -> Path:
        """The object as it lies on the store's disk."""
        return self.bucket.folder / key

    def open_upload(self, key: str, *parts: bytes) -> None:
        where = {"Bucket": self.bucket.name, "Key": key}
        upload_id = self.bucket.client.create_multipart_upload(**where)["UploadId"]
        for number, body in enumerate(parts, start=1):
            self.bucket.client.upload_part(**where, UploadId=upload_id, PartNumber=number, Body=body)

    def delete(self, *keys: str) -> None:
        for key in keys:
            self.bucket.client.delete_object(Bucket=self.bucket.name, Key=key)

    def note(self, name: str, stream_id: str, **record: str) -> None:
        """A stream in one of the sets of Redis, with its record."""
        prefix = self.stage.redis_prefix
        self.stage.redis.sadd(f"{prefix}streams:{name}", stream_id)
        if record:
            self.stage.redis.hset(f"{prefix}stream:{stream_id}:meta", mapping=record)

    def say(self, file: str, text: str) -> None:
        with (self.stage.daemon.home / file).open("a") as log:
            log.write(text + "\n")


# -- a clean place --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory, redis_server: str) -> Iterator[Place]:
    home = tmp_path_factory.mktemp("settled")
    with start_versitygw(home / "store") as store, set_stage(home, store, redis_server) as stage:
        stage.bucket.client.create_bucket(Bucket=stage.bucket.name)
        foreign = [Foreign.put(stage.bucket, "taken.mp4", b"somebody's")]
        stage.daemon.start_and_wait()
        takes = [_deleted(stage), _plain(stage), _repeated(stage), _taken(stage)]
        stage.daemon.wait_for("stream_failed", file_path="gone.mp4")
        assert stage.daemon.stop() == 0
        yield Place(stage, takes, foreign)


def _plain(stage: Stage) -> Take:
    path = stage.folder / "plain.mp4"
    write(path, CHUNK + 1000, seed=1)
    stage.wait_until_done(path)
    return Take("plain", path, ["plain.mp4"], facts=Facts.of(path))


def _repeated(stage: Stage) -> Take:
    path, copy = stage.folder / "again.mp4", stage.home / "first again.mp4"
    write(path, 3000, seed=2)
    stage.wait_until_done(path)
    shutil.copyfile(path, copy)
    write(stage.home / "draft", 4000, seed=3)
    (stage.home / "draft").replace(path)
    stage.wait_until_done(path, "again~2.mp4")
    kept = {"again.mp4": sha256(copy)}
    return Take("repeated", path, ["again.mp4"], numbered=True, copies=[copy], kept=kept, facts=Facts.of(path))


def _taken(stage: Stage) -> Take:
    path = stage.folder / "taken.mp4"
    write(path, 2000, seed=4)
    stage.wait_until_done(path, "taken~2.mp4")
    return Take("taken", path, ["taken.mp4"], numbered=True, facts=Facts.of(path))


def _deleted(stage: Stage) -> Take:
    """It grows until its first part is sent, so that it is never idle."""
    path, copy = stage.folder / "gone.mp4", stage.home / "gone.mp4"
    with Writer(path, seed=5) as writer:
        writer.append(CHUNK)

        def sent() -> list[int]:
            writer.append(1)
            return stage.sent(path)

        eventually(sent, "its first part is sent")
        shutil.copyfile(path, copy)
        path.unlink()
    return Take("deleted", path, ["gone.mp4"], copies=[copy], vanished=True, deleted=True)


@pytest.fixture
def place(tmp_path: Path, settled: Place) -> Iterator[Place]:
    """A copy of the store, of the records and of the logs; the folder is the same one."""
    original = settled.stage
    shutil.copytree(original.home / "store", tmp_path / "store")
    shutil.copytree(original.daemon.home, tmp_path / "daemon")
    with start_versitygw(tmp_path / "store") as store:
        bucket = Bucket(store, settled.bucket.name)
        stage = Stage(tmp_path, store, original.redis_url, f"audit-{secrets.token_hex(6)}:", bucket)
        stage.folder = original.folder
        for key in original.redis_keys("*"):
            stage.redis.copy(key, stage.redis_prefix + key.removeprefix(original.redis_prefix))
        yield replace(settled, stage=stage)


@pytest.mark.parametrize("forgot", [False, True])
def test_a_clean_place_gives_nothing(place: Place, forgot: bool) -> None:
    assert place.bucket.objects() == ["again.mp4", "again~2.mp4", "plain.mp4", "taken.mp4", "taken~2.mp4"]
    assert place.bucket.open_uploads() == ["gone.mp4"]
    assert place.audit(forgot=forgot) == []


# -- harms to the store, the records and the logs -------------------------------------------------------------


def _alter(place: Place) -> None:
    with place.plain("plain.mp4").open("r+b") as file:
        file.seek(CHUNK)
        byte = file.read(1)[0]
        file.seek(CHUNK)
        file.write(bytes([byte ^ 1]))


def _double(place: Place) -> None:
    place.bucket.put("plain~2.mp4", place.plain("plain.mp4").read_bytes())


def _double_the_earlier(place: Place) -> None:
    place.bucket.put("again~3.mp4", place.plain("again.mp4").read_bytes())


def _swap_documents(place: Place) -> None:
    place.bucket.put(f"plain.mp4{SUFFIX}", place.plain(f"again~2.mp4{SUFFIX}").read_bytes())


def _swap_documents_of_the_earlier(place: Place) -> None:
    place.bucket.put(f"again.mp4{SUFFIX}", place.plain(f"again~2.mp4{SUFFIX}").read_bytes())


def _replace(place: Place) -> None:
    body = place.plain("plain.mp4").read_bytes()
    place.delete("plain.mp4")
    place.bucket.put("plain.mp4", body[::-1])


NOWHERE = r"'plain.mp4' is at 0 keys"
OPEN = r"open upload at plain.mp4"
HARMS: dict[str, tuple[Callable[[Place], object], list[str]]] = {
    "object altered": (
        _alter,
        [
            NOWHERE,
            "has another checksum than the object",
            "has another checksum for part 2 than its bytes",
            "has another ETag for part 2 than its bytes",
            "has other parts than the object's ETag",
            "the store has another checksum of plain.mp4",
            "nothing explains the object 'plain.mp4'",
        ],
    ),
    "object replaced": (_replace, [NOWHERE, "nothing explains the object 'plain.mp4'"]),
    "object missing": (
        lambda place: place.delete("plain.mp4"),
        [NOWHERE, "a document describes 'plain.mp4', where nothing is"],
    ),
    "object and document missing": (lambda place: place.delete("plain.mp4", f"plain.mp4{SUFFIX}"), [NOWHERE]),
    "object at two keys": (
        _double,
        [
            r"'plain.mp4' is at 2 keys",
            "is at 'plain~2.mp4', which is no key of its name",
            "plain~2.mp4 has no document",
        ],
    ),
    "earlier object at two keys": (_double_the_earlier, ["nothing explains the object 'again~3.mp4'"]),
    "earlier object missing": (
        lambda place: place.delete("again.mp4", f"again.mp4{SUFFIX}"),
        ["the earlier recording at 'again.mp4' is not there"],
    ),
    "an object that nobody recorded": (
        lambda place: place.bucket.put("void.mp4", b"void"),
        ["nothing explains the object 'void.mp4'"],
    ),
    "document of another object": (_swap_documents, ["the document of plain.mp4 is not its"]),
    "document missing": (
        lambda place: place.delete(f"plain.mp4{SUFFIX}"),
        ["plain.mp4 has no document"],
    ),
    "earlier object with the document of another": (
        _swap_documents_of_the_earlier,
        ["the document of again.mp4 is not its"],
    ),
    "earlier object without its document": (
        lambda place: place.delete(f"again.mp4{SUFFIX}"),
        ["again.mp4 has no document"],
    ),
    "a document of nothing": (
        lambda place: place.bucket.put(f"void.mp4{SUFFIX}", b"{}"),
        ["a document describes 'void.mp4', where nothing is"],
    ),
    "upload left open": (lambda place: place.open_upload("plain.mp4", b"a part"), [OPEN]),
    "upload left open without a part": (lambda place: place.open_upload("plain.mp4"), [OPEN]),
    "upload left open where nothing is": (
        lambda place: place.open_upload("void.mp4"),
        ["open upload at void.mp4"],
    ),
    "second upload of a deleted file": (
        lambda place: place.open_upload("gone.mp4", b"a part"),
        ["open upload at gone.mp4"],
    ),
    "failed stream": (
        lambda place: place.note("failed", "ab12", failure="s3_permanent"),
        ["failed is not empty: ab12"],
    ),
    "failed stream of a file that is there": (
        lambda place: place.note("failed", "ab12", failure="source_missing", path="plain.mp4"),
        ["failed is not empty: ab12"],
    ),
    "stream under way": (lambda place: place.note("active", "ab12"), ["active is not empty: ab12"]),
    "stream being completed": (
        lambda place: place.note("pending_completion", "ab12"),
        ["pending_completion is not empty: ab12"],
    ),
    "record left": (
        lambda place: place.note("completed", "ab12", status="completed"),
        ["stream:ab12:meta is left in Redis"],
    ),
    "record set aside": (
        lambda place: place.stage.redis.set(f"{place.stage.redis_prefix}bad:ab12", "?"),
        ["bad:ab12 is left in Redis"],
    ),
    "stranger's object changed": (
        lambda place: place.bucket.put("taken.mp4", b"ours now"),
        ["the stranger's object at 'taken.mp4' is not what it was"],
    ),
    "stranger's object written again": (
        lambda place: place.bucket.put("taken.mp4", b"somebody's"),
        ["the stranger's object at 'taken.mp4' was written again"],
    ),
    "stranger's object gone": (
        lambda place: place.delete("taken.mp4"),
        ["the stranger's object at 'taken.mp4' is not what it was"],
    ),
    "secret in the log": (
        lambda place: place.say("run-1.log", f'{{"event": "s3_unavailable", "url": "redis://:{CANARY}@host"}}'),
        ["a secret is in the log: 1 times"],
    ),
    "error that nobody foresaw": (
        lambda place: place.say("run-1.log", '{"level": "error", "event": "unexpected_error"}'),
        ["unexpected_error"],
    ),
    "traceback": (lambda place: place.say("run-1.err", "Traceback"), ["run-1.err is not empty: Traceback"]),
    "recording that could not be made": (
        lambda place: place.takes.append(Take("film", place.stage.folder, [], trouble="no ffmpeg")),
        ["a film recording could not be made: no ffmpeg"],
    ),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_harm_is_named_and_nothing_else(place: Place, harm: str) -> None:
    plant, expected = HARMS[harm]
    place = replace(place, takes=list(place.takes))
    plant(place)
    _expect(place.audit(), *expected)


# -- harms to the folder, undone afterwards: it is the same for all -------------------------------------------


@contextmanager
def _other_bytes_at_the_same_time(path: Path) -> Iterator[None]:
    body, status = path.read_bytes(), path.stat()
    times = (status.st_atime_ns, status.st_mtime_ns)
    path.write_bytes(body[::-1])
    os.utime(path, ns=times)
    yield
    path.write_bytes(body)
    os.utime(path, ns=times)


@contextmanager
def _another_time(path: Path) -> Iterator[None]:
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    yield
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@contextmanager
def _moved_away(path: Path) -> Iterator[None]:
    elsewhere = path.rename(path.parent.parent / "elsewhere")
    yield
    elsewhere.rename(path)


@contextmanager
def _another_file(path: Path) -> Iterator[None]:
    path.with_name("void.mp4").touch()
    yield
    path.with_name("void.mp4").unlink()


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (_other_bytes_at_the_same_time, "'plain.mp4' was touched"),
        (_another_time, "'plain.mp4' was touched"),
        (_moved_away, "'plain.mp4' is gone"),
        (_another_file, "nobody made the file 'void.mp4'"),
    ],
)
def test_a_harm_to_a_file_is_named_and_nothing_else(
    place: Place, harm: Callable[[Path], AbstractContextManager[None]], expected: str
) -> None:
    with harm(place.stage.folder / "plain.mp4"):
        mismatches = place.audit()
    _expect(mismatches, expected)


# -- who waited ----------------------------------------------------------------------------------------------


def test_a_recording_that_waited_is_named_unless_the_log_tells_why(place: Place) -> None:
    """All have come an hour too late. What was logged before the last fault was over is no reason any more."""
    calm = time.time()
    for path, at in (("plain.mp4", calm + 1), ("again.mp4", calm - 1)):
        told = {"level": "warning", "event": "operation_failed", "error": "503", "file_path": path}
        place.say("run-1.log", json.dumps(told | {"timestamp": datetime.fromtimestamp(at, UTC).isoformat()}))
    late = "was complete .* after its quiet time; what it waited for: nothing is logged"
    _expect(place.audit(calm_since=calm, quiet=-3600.0), f"'again.mp4' {late}", f"'taken.mp4' {late}")


# -- what is excused where Redis forgot -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("forgot", "own_bytes", "excused"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_an_upload_at_the_earlier_key_of_a_renamed_file_is_excused_for_its_bytes(
    place: Place, forgot: bool, own_bytes: bool, excused: bool
) -> None:
    renamed = [replace(take, roots=["old.mp4", *take.roots], renamed=take.what == "plain") for take in place.takes[1:2]]
    path = renamed[0].path
    place.open_upload("old.mp4", path.read_bytes()[:CHUNK] if own_bytes else bytes(CHUNK))
    place = replace(place, takes=[place.takes[0], *renamed, *place.takes[2:]])
    _expect(place.audit(forgot=forgot), *([] if excused else ["open upload at old.mp4"]))


@pytest.mark.parametrize(("forgot", "own_bytes", "excused"), [(True, True, True), (True, False, False)])
def test_a_forgotten_upload_of_a_deleted_file_is_excused_for_its_bytes(
    place: Place, forgot: bool, own_bytes: bool, excused: bool
) -> None:
    place.open_upload("gone.mp4", place.takes[0].copies[0].read_bytes()[:CHUNK] if own_bytes else bytes(CHUNK))
    _expect(place.audit(forgot=forgot), *([] if excused else ["open upload at gone.mp4"]))


@pytest.mark.parametrize(("forgot", "excused"), [(True, True), (False, False)])
def test_a_forgotten_upload_of_a_file_whose_bytes_have_moved_since_is_excused(
    place: Place, forgot: bool, excused: bool
) -> None:
    body = place.plain("plain.mp4").read_bytes()
    place.open_upload("plain.mp4", body[1000:][:CHUNK])
    _expect(place.audit(forgot=forgot), *([] if excused else [OPEN]))


@pytest.mark.parametrize(
    ("forgot", "older", "excused"), [(2, True, False), (2, False, True), (1, False, False), (0, False, False)]
)
def test_a_forgotten_upload_is_excused_where_redis_forgot_twice_and_the_object_was_there_before_it(
    place: Place, forgot: int, older: bool, excused: bool
) -> None:
    """One that is older than the object could have been used: the object need not have been made from another."""
    place.open_upload("plain.mp4", place.plain("plain.mp4").read_bytes()[:CHUNK])
    stored_at = time.time() + (60 if older else -60)
    os.utime(place.plain("plain.mp4"), (stored_at, stored_at))
    _expect(place.audit(forgot=forgot), *([] if excused else [OPEN]))


@pytest.mark.parametrize(
    ("forgot", "path", "replaced", "excused"),
    [
        (True, "again.mp4", True, True),
        (False, "again.mp4", True, False),
        (True, "again.mp4", False, False),
        (True, "plain.mp4", True, False),
    ],
)
def test_a_failed_stream_of_a_replaced_file_is_excused_where_redis_was_rolled_back(
    place: Place, forgot: bool, path: str, replaced: bool, excused: bool
) -> None:
    inode = 1 if replaced else (place.stage.folder / path).stat().st_ino
    place.note("failed", "ab12", failure="source_missing", path=path, inode=str(inode))
    _expect(place.audit(forgot=forgot), *([] if excused else ["failed is not empty: ab12"]))


def _expect(mismatches: list[str], *expected: str) -> None:
    """As many as expected, and each is what was expected."""
    assert len(mismatches) == len(expected), mismatches
    for mismatch, pattern in zip(mismatches, expected, strict=True):
        assert re.search(pattern, mismatch), mismatch
