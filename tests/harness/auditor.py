"""The one auditor: what is wrong with a world that has come to rest. Nothing, when the promise held.

The crash ring, the model, the end-to-end tests and the soak show it their worlds (``audit_view``) and demand no
findings. Each check has a name, and a mutant in ``tests/crash/test_auditor.py`` that it alone catches. It asks the
product's own code nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, lru_cache
from pathlib import Path

from awscrt.checksums import crc64nvme
from jsonschema import Draft202012Validator, FormatChecker

from tests.harness.audit_view import Body, File, Media, Object, World

_SCHEMA = Path(__file__).parents[2] / "docs" / "metadata.schema.json"
_SUFFIX = ".metadata.json"


class Check(StrEnum):
    """What is checked, in the order of the findings."""

    FOLDER = "the folder is as the recorders left it"
    ONE_KEY = "each file is at one key"
    ITS_KEY = "each file is at a key of its name"
    STALE = "no finished file has another object that is out of date"
    DOCUMENT = "each object has a document"
    DOCUMENT_OF_IT = "the document is this object's"
    DOCUMENT_SCHEMA = "the document is valid"
    DOCUMENT_FACTS = "the document tells the file's facts"
    DOCUMENT_CHECKSUM = "the document tells the object's checksum"
    DOCUMENT_CHUNKS = "the document's parts are the object's"
    MEDIA = "the document describes the film in its file"
    CONTENT_TYPE = "object and document have their content types"
    STORED_CHECKSUM = "the store's checksum is that of the bytes"
    KEPT = "earlier recordings stay"
    STREAM_TWICE = "no stream has two objects"
    FILE_TWICE = "no file has two equal objects"
    STRANGER = "nothing of anybody else is changed"
    EXPLAINED = "each object comes from a recording"
    DOCUMENT_OF_NOTHING = "no document describes nothing"
    WRITTEN = "what is written was the content of a file"
    PUT_OVER = "no recording is put over another"
    SHRANK = "no object loses bytes"
    DELETED = "no object is deleted"
    UPLOAD = "no upload is held by nobody"
    STREAM = "no stream is under way in Redis"
    REDIS = "nothing is left over in Redis"
    COMPLETED = "finished streams are known as such"
    MARKER = "a marker names its file's object"
    HELD = "no key and no room is held by nobody"
    WAITED = "no recording that nothing met has waited"
    UNFORESEEN = "nothing unforeseen is reported"
    TASK = "no task is left"
    SECRET = "no secret is told"
    STOP = "a stop takes no longer than its grace"
    SENT = "no more is sent than has to be"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong; ``subject`` is the path, key or name that it is wrong with."""

    check: Check
    subject: str
    words: str

    def __str__(self) -> str:
        return self.words


@dataclass(frozen=True, slots=True)
class Excuse:
    """A declared exception: what this check says of this subject, or of any, is no finding. ``saying``: only where its
    words have this in them."""

    check: Check
    subject: str | None = None
    saying: str = ""

    def covers(self, finding: Finding) -> bool:
        is_meant = finding.check is self.check and self.subject in (None, finding.subject)
        return is_meant and self.saying in finding.words


_Look = Callable[[World], Iterator[Finding]]
_CHECKS: list[tuple[frozenset[Check], _Look]] = []


def audit(world: World, excuses: Iterable[Excuse] = (), *, off: Iterable[Check] = ()) -> list[Finding]:
    """Every finding that nothing excuses. ``off``: checks that are not made."""
    declared, unmade = list(excuses), frozenset(off)
    found: list[Finding] = []
    for checks, look in _CHECKS:
        if not checks <= unmade:
            found += look(world)
    wanted = [finding for finding in found if finding.check not in unmade]
    return [finding for finding in wanted if not any(excuse.covers(finding) for excuse in declared)]


def _finds(*checks: Check) -> Callable[[_Look], _Look]:
    def register(look: _Look) -> _Look:
        _CHECKS.append((frozenset(checks), look))
        return look

    return register


# -- files and their objects ---------------------------------------------------------------------------------------


@_finds(Check.FOLDER)
def _folder(world: World) -> Iterator[Finding]:
    for file in world.files:
        if file.harm is not None:
            yield Finding(Check.FOLDER, file.path, f"{file.path!r} {file.harm}")
    for path in world.foreign_files:
        yield Finding(Check.FOLDER, path, f"nobody made the file {path!r}")


def _own(world: World) -> Iterator[Object]:
    return (there for key, there in world.objects.items() if key not in world.foreign_keys)


def _holders(world: World, file: File) -> list[Object]:
    return [there for there in _own(world) if there.body.digest == file.body.digest]


@_finds(Check.ONE_KEY, Check.ITS_KEY)
def _one_key(world: World) -> Iterator[Finding]:
    for file in world.files:
        keys = [there.key for there in _holders(world, file)]
        if file.body.size and len(keys) != 1:
            yield Finding(Check.ONE_KEY, file.path, f"{file.path!r} is at {len(keys)} keys: {keys}")
        for key in keys:
            if file.keys is not None and key not in file.keys:
                words = f"{file.path!r} is at {key!r}, which is no key of its name"
                yield Finding(Check.ITS_KEY, file.path, words)


@_finds(Check.STALE)
def _stale(world: World) -> Iterator[Finding]:
    """A file that is finished somewhere has no object of an earlier content: that one was to be brought up to date.

    An object that the file was once shorter than since is an earlier recording's: that stays. One that is what another
    file holds now is that file's.
    """
    by_file: dict[Hashable, list[Object]] = {}
    contents = {file.body.digest for file in world.files}
    for there in _own(world):
        if there.file is not None and there.body.digest not in contents:
            by_file.setdefault(there.file, []).append(there)
    for file in world.files:
        for there in by_file.get(file.identity, ()):
            if _is_former(file, there) and _holders(world, file):
                words = (
                    f"the object of {file.path!r} at {there.key} is stale: its {there.body.size} bytes were the file's"
                )
                yield Finding(Check.STALE, there.key, words)


def _is_former(file: File, there: Object) -> bool:
    """Whether the file has held this and was never shorter since."""
    since = [number for number, body in enumerate(file.past) if body.digest == there.body.digest]
    return bool(since) and all(body.size >= there.body.size for body in (*file.past[since[-1] :], file.body))


# -- documents -----------------------------------------------------------------------------------------------------


@_finds(
    Check.DOCUMENT,
    Check.DOCUMENT_OF_IT,
    Check.DOCUMENT_SCHEMA,
    Check.DOCUMENT_FACTS,
    Check.DOCUMENT_CHECKSUM,
    Check.DOCUMENT_CHUNKS,
    Check.MEDIA,
    Check.CONTENT_TYPE,
    Check.STORED_CHECKSUM,
)
def _documents(world: World) -> Iterator[Finding]:
    """Of the object of each file that is there; of a former one, and where it describes nothing else, also its."""
    for file in world.files:
        for there in _holders(world, file):
            yield from _described(world, there, file)
    files = {file.body.digest for file in world.files}
    if world.parts_known:
        for there in _own(world):
            if there.ours and there.stream_id is not None and there.body.digest not in files:
                yield from _described(world, there, None)


def _described(world: World, there: Object, file: File | None) -> Iterator[Finding]:
    def wrong(check: Check, words: str) -> Finding:
        return Finding(check, there.key, f"the document of {there.key} {words}")

    document = world.documents.get(there.key)
    if document is None:
        yield Finding(Check.DOCUMENT, there.key, f"{there.key} has no document")
        return
    told = document.fields
    if told is None or _etag(told) != there.etag:
        yield wrong(Check.DOCUMENT_OF_IT, f"is not its: {document.raw!r}")
        return
    if errors := _against_the_schema(document.raw):
        yield from (wrong(Check.DOCUMENT_SCHEMA, f"is no document: {message}") for message in errors)
        return  # what is not there cannot be compared
    for name, said, wanted in _facts(world, there, file, told):
        if said != wanted:
            yield wrong(Check.DOCUMENT_FACTS, f"tells {name} {said!r}, which is {wanted!r}")
    data = there.body.read()
    if told["object"]["checksum_crc64nvme"] != _crc64(data):
        yield wrong(Check.DOCUMENT_CHECKSUM, "has another checksum than the object")
    yield from (wrong(Check.DOCUMENT_CHUNKS, words) for words in _chunks(world, there, told, data))
    yield from (wrong(Check.MEDIA, words) for words in _media(world, there, file, told))
    if document.content_type not in (None, "application/json"):
        yield wrong(Check.CONTENT_TYPE, f"is of type {document.content_type}")
    if there.content_type not in (None, "video/mp4"):
        yield Finding(Check.CONTENT_TYPE, there.key, f"{there.key} is of type {there.content_type}")
    if there.crc64 not in (None, crc64nvme(data)):
        yield Finding(Check.STORED_CHECKSUM, there.key, f"the store has another checksum of {there.key} than its bytes")


def _etag(told: dict[str, object]) -> object:
    about = told.get("object")
    return about.get("etag") if isinstance(about, dict) else None


@cache
def _schema() -> Draft202012Validator:
    return Draft202012Validator(json.loads(_SCHEMA.read_text()), format_checker=FormatChecker())


@lru_cache(maxsize=16)
def _against_the_schema(document: bytes) -> tuple[str, ...]:
    """A life is audited several times, and its document is mostly the same each time."""
    return tuple(error.message for error in _schema().iter_errors(json.loads(document)))


def _facts(
    world: World, there: Object, file: File | None, told: dict[str, object]
) -> Iterator[tuple[str, object, object]]:
    """Name, what the document says, what is true."""
    about = told["file"]
    assert isinstance(about, dict)  # by its schema
    yield "the key", told["s3_key_prefix"], there.key
    yield "the size", told["total_size_bytes"], there.body.size
    yield "the file's size", about["size_bytes"], there.body.size
    if world.bucket is not None:
        yield "the bucket", told["s3_bucket"], world.bucket
    if there.stream_id is not None:
        yield "the stream", told["stream_id"], there.stream_id
    times = [str(told[f"{name}_at_utc"]) for name in ("stream_started", "stream_completed", "processed")]
    if world.begun_once or max(times) != times[-1]:
        yield "the times", times, sorted(times)
    if file is not None and file.path_bytes is not None:
        yield "the path", _path_of(told), file.path_bytes
    if file is not None and file.inode is not None:
        yield "the inode", about["inode"], file.inode
    if file is not None and file.mtime_ns is not None:
        yield "the time of the file", about["mtime_ns"], file.mtime_ns


def _path_of(told: dict[str, object]) -> bytes:
    exact = told.get("original_file_path_bytes_base64")
    return base64.b64decode(str(exact)) if exact else str(told["original_file_path"]).encode()


def _chunks(world: World, there: Object, told: dict[str, object], data: bytes) -> Iterator[str]:
    chunks = told["chunks"]
    assert isinstance(chunks, list)  # by its schema
    offset, md5s = 0, []
    for number, chunk in enumerate(chunks, start=1):
        if (chunk["part_number"], chunk["offset_bytes"]) != (number, offset):
            yield f"has part {chunk['part_number']} at {chunk['offset_bytes']}, not {number} at {offset}"
        piece = data[chunk["offset_bytes"] : chunk["offset_bytes"] + chunk["size_bytes"]]
        forgotten = not world.parts_known and chunk["etag"] == there.etag
        checksum = chunk["checksum_crc64nvme"]
        if checksum is None and world.checksums_kept and there.crc64 is not None and not forgotten:
            yield f"has no checksum for part {number}"
        elif checksum is not None and checksum != _crc64(piece):
            yield f"has another checksum for part {number} than its bytes"
        if world.etags_are_md5:
            md5s.append(hashlib.md5(piece))
            if not forgotten and chunk["etag"] != md5s[-1].hexdigest():
                yield f"has another ETag for part {number} than its bytes"
        offset += chunk["size_bytes"]
    if offset != len(data):
        yield f"has chunks of {offset} bytes together"
    elif world.etags_are_md5:
        whole = f"{hashlib.md5(b''.join(md5.digest() for md5 in md5s)).hexdigest()}-{len(md5s)}"
        in_one_request = len(md5s) == 1 and there.etag == md5s[0].hexdigest()
        if there.etag != whole and not in_one_request:
            yield "has other parts than the object's ETag"


def _media(world: World, there: Object, file: File | None, told: dict[str, object]) -> Iterator[str]:
    """Either what is in the object's bytes, or nothing, with the reason; of a file that is there, what is in it."""
    about = told["media"]
    assert isinstance(about, dict)  # by its schema
    streams = tuple(
        (stream["codec"], stream["width"], stream["height"])
        for stream in about["streams"]
        if stream["kind"] in ("video", "audio")
    )
    duration = told["duration_seconds"]
    assert duration is None or isinstance(duration, int | float)
    if duration is None and not streams:
        is_known = world.films_known and file is not None and file.excused is None
        if about["probe_error"] is None or (is_known and world.media and world.media(there.body) != Media(None)):
            yield f"says nothing of the film: {about['probe_error']}"
    elif world.media is not None and not _is_of(
        said := Media(duration, streams), is_there := world.media(there.body), world
    ):
        yield f"describes another film: {said}, not {is_there}"


def _is_of(said: Media, is_there: Media, world: World) -> bool:
    """A duration that is not told, beside streams that are, is one that nobody knows for sure."""
    if said.streams != is_there.streams:
        return False
    if said.duration is None or is_there.duration is None:
        return said.duration is None
    return abs(said.duration - is_there.duration) <= world.media_tolerance


def _crc64(data: bytes) -> str:
    return base64.b64encode(int(crc64nvme(data)).to_bytes(8, "big")).decode()


# -- what else is in the bucket ------------------------------------------------------------------------------------


@_finds(Check.KEPT)
def _kept(world: World) -> Iterator[Finding]:
    for key, digest in world.kept.items():
        there = world.objects.get(key)
        if there is None or there.body.digest != digest:
            words = f"the earlier recording at {key!r} is not there any more, or not the same"
            yield Finding(Check.KEPT, key, words)


@_finds(Check.STREAM_TWICE, Check.FILE_TWICE)
def _doubles(world: World) -> Iterator[Finding]:
    """No recording has two objects: neither one stream two keys, nor one file the same bytes twice."""
    streams: Counter[str] = Counter()
    bodies: Counter[tuple[Hashable, Hashable]] = Counter()
    for there in _own(world):
        if there.stream_id is not None:
            streams[there.stream_id] += 1
            bodies[there.file, there.body.digest] += 1
    for name, count in streams.items():
        if count > 1:
            yield Finding(Check.STREAM_TWICE, name, f"stream {name} has {count} objects")
    for (file, _), count in bodies.items():
        if count > 1:
            yield Finding(Check.FILE_TWICE, str(file), f"{file} has {count} equal objects")


@_finds(Check.STRANGER)
def _strangers(world: World) -> Iterator[Finding]:
    for stranger in world.strangers:
        if stranger.now != stranger.before:
            yield Finding(Check.STRANGER, stranger.what, f"the stranger's {stranger.what} {stranger.words}")


@_finds(Check.EXPLAINED)
def _explained(world: World) -> Iterator[Finding]:
    """Of what is no file's that is there: each content that a file had explains one object."""
    files = {file.body.digest for file in world.files}
    used: set[Hashable] = set()
    for there in _own(world):
        if not there.ours or there.body.digest in files:
            continue
        sources = _sources(world, there)
        if sources is None:
            return
        if not set(sources) - used:
            yield Finding(Check.EXPLAINED, there.key, f"nothing explains the object {there.key!r}")
        used.update(sources)


def _sources(world: World, there: Object) -> list[Hashable] | None:
    if world.sources is not None:
        return list(world.sources(there))
    if world.histories is None:
        return None
    digest = there.body.digest
    return [(file, digest) for file, past in world.histories.items() if _was(world, past, there.body)]


def _was(world: World, past: Sequence[Body], body: Body) -> bool:
    """Whether a file held this; or began with it, where what is left of one that is gone is completed."""
    if any(content.digest == body.digest for content in past):
        return True
    return world.rescues and any(content.read().startswith(body.read()) for content in past)


@_finds(Check.DOCUMENT_OF_NOTHING)
def _documents_of_nothing(world: World) -> Iterator[Finding]:
    for key in sorted(world.documents.keys() - world.objects.keys()):
        if world.documents[key].ours and key + _SUFFIX not in world.foreign_keys:
            yield Finding(Check.DOCUMENT_OF_NOTHING, key, f"a document describes {key!r}, where nothing is")


@_finds(Check.WRITTEN, Check.PUT_OVER, Check.SHRANK, Check.DELETED)
def _writes(world: World) -> Iterator[Finding]:
    histories = list((world.histories or {}).values())
    for write in world.writes:
        if write.new is None:
            yield Finding(Check.DELETED, write.key, f"{write.key} was deleted")
            continue
        new, old = write.new, write.old
        made_of = [past for past in histories if _was(world, past, new)]
        if world.histories is None:
            pass
        elif not made_of:
            yield Finding(Check.WRITTEN, write.key, f"the object at {write.key} was never the content of a file")
        elif old is not None and not any(_was(world, past, old) for past in made_of):
            yield Finding(Check.PUT_OVER, write.key, f"another recording was put over that at {write.key}")
        if old is not None and new.size < old.size:
            yield Finding(Check.SHRANK, write.key, f"the recording at {write.key} lost bytes")


@_finds(Check.UPLOAD)
def _uploads(world: World) -> Iterator[Finding]:
    for upload in world.uploads:
        if not upload.excused:
            yield Finding(Check.UPLOAD, upload.key, f"open upload at {upload.key}{upload.words}")


# -- Redis and the daemon ------------------------------------------------------------------------------------------


@_finds(Check.STREAM)
def _streams(world: World) -> Iterator[Finding]:
    for record in world.records:
        if not record.excused:
            yield Finding(
                Check.STREAM, record.stream_id, f"{record.status} is not empty: {record.stream_id}{record.words}"
            )


@_finds(Check.REDIS)
def _redis(world: World) -> Iterator[Finding]:
    for key in world.left_in_redis:
        yield Finding(Check.REDIS, key, f"{key} is left in Redis")


@_finds(Check.COMPLETED)
def _completed(world: World) -> Iterator[Finding]:
    """Each file that is there is finished for Redis too, by the stream that its object names."""
    if world.completed is None:
        return
    for file in world.files:
        for there in _holders(world, file):
            if there.stream_id is not None and there.stream_id not in world.completed:
                words = f"Redis does not know that {there.key} is finished (stream {there.stream_id})"
                yield Finding(Check.COMPLETED, there.key, words)


@_finds(Check.MARKER)
def _markers(world: World) -> Iterator[Finding]:
    files = {file.identity: file for file in world.files}
    for marker in world.markers:
        file = files.get(marker.file)
        if file is None:
            continue
        holders = [(there.key, there.etag) for there in _holders(world, file)]
        if holders and (marker.key, marker.etag) not in holders:
            words = f"the marker of {file.path!r} names {marker.key} ({marker.etag}), its object is {holders}"
            yield Finding(Check.MARKER, file.path, words)


@_finds(Check.HELD)
def _held(world: World) -> Iterator[Finding]:
    for held in world.held:
        if held.holder not in world.alive:
            yield Finding(Check.HELD, held.what, f"{held.what} is held by nobody")


@_finds(Check.WAITED)
def _waited(world: World) -> Iterator[Finding]:
    """Complete, with its document, soon after the quiet time of its last change."""
    soon = world.limits.soon
    if soon is None:
        return
    for file in world.files:
        if file.closed_at is None or file.excused is not None or not file.body.size:
            continue
        for there in _holders(world, file):
            document = world.documents.get(there.key)
            if there.stored_at is None or document is None or document.stored_at is None:
                continue
            late = max(there.stored_at, document.stored_at) - file.closed_at - file.quiet
            if late > soon:
                waited = "; ".join(wait.what for wait in world.waits if wait.path == file.path) or "nothing is logged"
                words = f"{file.path!r} was complete {late:.0f} s after its quiet time; what it waited for: {waited}"
                yield Finding(Check.WAITED, file.path, words)


@_finds(Check.UNFORESEEN, Check.TASK, Check.SECRET, Check.STOP, Check.SENT)
def _the_rest(world: World) -> Iterator[Finding]:
    yield from (Finding(Check.UNFORESEEN, "", f"unforeseen: {words}") for words in world.unforeseen)
    yield from (Finding(Check.TASK, name, f"a task is left: {name}") for name in world.tasks_left)
    yield from (Finding(Check.SECRET, "", f"a secret is in the log: {words}") for words in world.secrets_told)
    for seconds in world.stops:
        if world.limits.grace is not None and seconds > world.limits.grace:
            yield Finding(Check.STOP, "", f"the stop took {seconds:.0f} s, longer than its grace")
    most = world.limits.sent_bytes
    if most is not None and world.sent_bytes > most:
        yield Finding(Check.SENT, "", f"{world.sent_bytes} bytes were sent, at most {most} expected")


def demand(world: World) -> None:
    """Raises ``AssertionError`` with every finding."""
    found = audit(world)
    assert not found, "\n".join(map(str, found))


def words(findings: Iterable[Finding]) -> list[str]:
    return [finding.words for finding in findings]
