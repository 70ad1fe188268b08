"""What the auditor is shown of real things: a folder, a bucket of an S3 server, a Redis, the output of a daemon."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections import Counter
from collections.abc import Collection, Hashable, Iterator
from dataclasses import astuple, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.domain import crc64_from_base64
from tests.harness.audit_view import Body, Document, File, Marker, Media, Object, Record, Upload, World
from tests.harness.canary import is_told
from tests.harness.probing import identity_at

if TYPE_CHECKING:
    from tests.harness.e2e.bucket import Bucket
    from tests.harness.e2e.stage import Stage

SUFFIX = ".metadata.json"
_UNFINISHED = ("active", "pending_completion", "failed")
#: Seconds by which the duration of a film may differ from what ffprobe says of it alone.
TOLERANCE = 0.25


def file_at(path: Path, name: str, **more: Any) -> File:
    """A file as it is now; ``name`` is its path in the folder."""
    status = path.stat()
    with path.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return File(
        name,
        status.st_ino,
        Body(digest, status.st_size, path.read_bytes),
        path_bytes=os.fsencode(path),
        mtime_ns=status.st_mtime_ns,
        inode=status.st_ino,
        **more,
    )


def object_at(bucket: Bucket, key: str, digest: str | None = None) -> Object:
    """``digest``: SHA-256 of what GET gives, or why it gives nothing. Raises ``ClientError`` where nothing is."""
    head = bucket.client.head_object(Bucket=bucket.name, Key=key, ChecksumMode="ENABLED")
    told, metadata = head.get("ChecksumCRC64NVME"), head["Metadata"]
    inode = metadata.get("cefmp4-inode")
    size = int(head["ContentLength"])
    return Object(
        key,
        Body(digest or hashlib.sha256(bucket.get(key)).hexdigest(), size, lambda: bucket.stored(key)),
        head["ETag"].strip('"'),
        bucket.written_ns(key),
        stream_id=metadata.get("cefmp4-stream-id"),
        file=int(inode) if inode else None,
        crc64=crc64_from_base64(told) if told else None,
        content_type=head["ContentType"] if metadata else None,  # a stranger's may be of any
        stored_at=head["LastModified"].timestamp(),
    )


def document_of(bucket: Bucket, key: str) -> Document | None:
    """The one beside the object of this key."""
    try:
        answer = bucket.client.get_object(Bucket=bucket.name, Key=key + SUFFIX)
    except bucket.client.exceptions.NoSuchKey:
        return None
    return Document(key, answer["Body"].read(), answer["LastModified"].timestamp(), answer["ContentType"])


def one(bucket: Bucket, key: str, recording: Path, *, parts_known: bool) -> World:
    """This object, its document and the file that it was made from."""
    document = document_of(bucket, key)
    return World(
        files=[file_at(recording, recording.name)],
        objects={key: object_at(bucket, key)},
        documents={key: document} if document else {},
        **_facts(bucket, parts_known=parts_known),
    )


def whole(stage: Stage, keys: Collection[str], *, empty_uploads: bool = False, set_aside: bool = False) -> World:
    """The whole stage, where these keys have objects and no others. ``empty_uploads`` may be left, and what was
    ``set_aside`` in Redis."""
    bucket = stage.bucket
    objects = {key: object_at(bucket, key) for key in bucket.objects()}
    documents = {key: found for key in bucket.described() if (found := document_of(bucket, key)) is not None}
    there = {key: objects[key].body.digest if key in objects else None for key in keys}
    return World(
        files=[*_finished(stage.folder, documents)],
        objects=objects,
        documents=documents,
        uploads=[*_uploads(bucket, excused=empty_uploads)],
        records=[Record(name, status) for status in _UNFINISHED for name in stage.members(status)],
        markers=[*markers(stage)],
        completed=stage.members("completed"),
        kept=there,
        sources=lambda found: [found.key] if found.key in keys else [],
        left_in_redis=[*stage.redis_keys("stream:*"), *([] if set_aside else stage.redis_keys("bad:*"))],
        secrets_told=[str(one.home) for one in stage.daemons if one.runs and is_told(one.everything_said())],
        **_facts(bucket, parts_known=stage.parts_known),
    )


def _facts(bucket: Bucket, *, parts_known: bool) -> dict[str, Any]:
    return {
        "bucket": bucket.name,
        "etags_are_md5": True,
        "parts_known": parts_known,
        "checksums_kept": bucket.keeps_checksums,
        "media": media_in,
        "media_tolerance": TOLERANCE,
    }


def _finished(folder: Path, documents: dict[str, Document]) -> list[File]:
    """The files that a document is about, as they are now; of several names of one, any. Files that are equal to each
    other are left out: each may be at a key of its own."""
    told = [document.fields["file"] for document in documents.values() if document.fields and "file" in document.fields]
    finished = {(file["inode"], file["mtime_ns"], file["size_bytes"]) for file in told}
    found: dict[int, File] = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        if stat.S_ISREG(status.st_mode) and (status.st_ino, status.st_mtime_ns, status.st_size) in finished:
            # It may have got another name since it was described.
            found[status.st_ino] = replace(file_at(path, str(path.relative_to(folder))), path_bytes=None)
    bodies = Counter(file.body.digest for file in found.values())
    return [file for file in found.values() if bodies[file.body.digest] == 1]


def _uploads(bucket: Bucket, *, excused: bool) -> Iterator[Upload]:
    held = bucket.parts_left_open() if excused else {}
    for key in bucket.open_uploads():
        yield Upload(key, excused=excused and key not in held)


def markers(stage: Stage) -> Iterator[Marker]:
    """Those of the files in the folder. An inode alone does not say which file: the kernel gives it away again."""
    kept = stage.markers()
    for inode, birth_ns in {astuple(identity_at(path)) for path in stage.folder.rglob("*") if path.is_file()}:
        if raw := kept.get(f"{inode}:{birth_ns}"):
            told = json.loads(raw)
            yield Marker(told["key"], told["etag"], inode)


_KNOWN: dict[Hashable, Media] = {}  # by digest
#: Behind some films of the tests, so that no two are equal: a box that players skip, with a number in it.
_NUMBER = re.compile(rb"\x00\x00\x00\x0cfree.{4}\Z", re.DOTALL)


def media_in(body: Body) -> Media:
    """What an ffprobe of our own says of these bytes; films that differ by their number are asked about once."""
    if body.digest not in _KNOWN:
        film = _NUMBER.sub(b"", body.read())
        digest = hashlib.sha256(film).hexdigest()
        if digest not in _KNOWN:
            _KNOWN[digest] = _asked(film)
        _KNOWN[body.digest] = _KNOWN[digest]
    return _KNOWN[body.digest]


def _asked(data: bytes) -> Media:
    ffprobe = shutil.which("ffprobe")
    assert ffprobe is not None, "no ffprobe"
    with tempfile.NamedTemporaryFile(suffix=".mp4") as film:
        film.write(data)
        film.flush()
        command = [ffprobe, "-v", "quiet", "-of", "json", "-show_streams", "-show_format", film.name]
        answer = subprocess.run(command, capture_output=True, timeout=60, check=False)
    told = json.loads(answer.stdout or b"{}")
    streams = [each for each in told.get("streams", ()) if each.get("codec_type") in ("video", "audio")]
    duration = told.get("format", {}).get("duration")
    return Media(
        None if duration is None else float(duration),
        tuple((each.get("codec_name"), each.get("width"), each.get("height")) for each in streams),
    )
