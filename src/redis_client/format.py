"""The storage format of a checkpoint in Redis: readable with ``redis-cli``, strictly validated when read.

``docs/formats.md`` lists the fields. A checkpoint contains its format version and its own stream ID. Invalid values
raise one of ``UNREADABLE`` and are set aside, never guessed. Paths keep every byte: bytes that are not UTF-8 are
percent-encoded. The names from the project's first documents (``s3_key_prefix``, ``size_bytes``) are written in
addition, for people who inspect Redis; nothing here reads them.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from dataclasses import fields as fields_of
from datetime import UTC, datetime
from types import NoneType
from typing import Any, TypeVar

from ..domain import (
    Checkpoint,
    Identity,
    Manifest,
    Marker,
    MediaStream,
    Part,
    PartSchedule,
    Probe,
    Remembered,
    SendReason,
    Snapshot,
    Status,
    Superseded,
    crc64_from_base64,
    crc64_to_base64,
)

T = TypeVar("T")
FORMAT_VERSION = 1
#: For checkpoints whose part schedule has a step other than 1,000, which readers of version 1 would cut differently.
FORMAT_WITH_STEP = 2

#: What our decoders raise for invalid data (RecursionError: deeply nested JSON; OverflowError: a time whose zone leads
#: out of the calendar).
UNREADABLE = (ValueError, KeyError, TypeError, RecursionError, OverflowError)
#: Number of parts that are encoded or decoded before other tasks run: about 5 ms.
PARTS_AT_ONCE = 500
_LONGEST_KEY = 1024  # bytes; the limit of S3, also for part numbers
_LAST_PART = 10_000
_BEFORE_1970 = -(1 << 63)  # a wrong clock must not make a checkpoint invalid
_ESCAPE = re.compile(r"%(.{0,2})", re.DOTALL)


def escape_path(path: str) -> str:
    """A path for JSON: bytes that are not UTF-8, and ``%``, become ``%XX``. Injective; the rest stays readable."""
    text = os.fsencode(path).decode("utf-8", "surrogateescape")
    return "".join(f"%{ord(char) & 0xFF:02X}" if char == "%" or "\udc80" <= char <= "\udcff" else char for char in text)


def unescape_path(text: str) -> str:
    """The original path of ``escape_path``'s result. Raises ``ValueError`` for text that it never produces."""

    def unescaped(found: re.Match[str]) -> str:
        if not re.fullmatch(r"25|[89A-F][0-9A-F]", found[1]):
            raise ValueError(f"{found[0]!r} is not a valid escape")
        byte = int(found[1], 16)
        return "%" if byte == ord("%") else chr(0xDC00 + byte)

    return _path(os.fsdecode(_ESCAPE.sub(unescaped, text).encode("utf-8", "surrogateescape")))


def _path(path: str) -> str:
    if not path or path.startswith("/") or "\0" in path or ".." in path.split("/"):
        raise ValueError("the path does not stay inside the watched folder")
    return path


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r:.80} is not text")
    value.encode()  # JSON can contain half a surrogate pair, which no request can send
    return value


def _word(value: object) -> str:
    """A value from the store: any text without control characters."""
    if any(char < " " or char == "\x7f" for char in _text(value)):
        raise ValueError(f"{value!r:.80} has a control character")
    return str(value)


def _key(value: object) -> str:
    if not 0 < len(_word(value).encode()) <= _LONGEST_KEY:
        raise ValueError(f"{value!r:.80} is not a valid key")
    return str(value)


def _upload_id(value: object) -> str:
    if not _word(value):
        raise ValueError("an upload without an ID")
    return str(value)


def _whole(value: object, least: int = 0) -> int:
    if type(value) is not int or not least <= value < 1 << 64:
        raise ValueError(f"{value!r:.80} is not a whole number of at least {least}")
    return value


def _digits(value: bytes, least: int = 0) -> int:
    if not re.fullmatch(rb"0|-?[1-9][0-9]{0,19}", value):
        raise ValueError(f"{value!r:.80} is not a whole number")
    return _whole(int(value), least)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r:.80} is not true or false")
    return value


def _moment(value: object) -> datetime:
    moment = datetime.fromisoformat(_text(value))
    if moment.tzinfo is None:
        raise ValueError(f"{value!r:.80} has no time zone")
    return moment.astimezone(UTC)


def _optional(convert: Callable[[Any], T], value: object) -> T | None:
    return None if value is None else convert(value)


def _check_version(version: int) -> None:
    if version > FORMAT_WITH_STEP:
        raise ValueError(f"written by a newer release (format {version}, this one reads up to {FORMAT_WITH_STEP})")
    if version < 1:
        raise ValueError(f"format {version} does not exist")


def _dump(values: Mapping[str, object]) -> bytes:
    present = {name: value for name, value in values.items() if value is not None}
    return json.dumps(present, ensure_ascii=False).encode()


def _parse(raw: bytes) -> dict[str, Any]:
    values = json.loads(raw.decode())
    if not isinstance(values, dict):
        raise ValueError("not a JSON object")
    return values


def _schedule_to(schedule: PartSchedule) -> dict[str, object]:
    step = {"step": schedule.step} if schedule.step else {}
    return {"chunk_size": schedule.chunk_size, "growing": schedule.growing, **step}


def _version_of(schedule: PartSchedule) -> int:
    return FORMAT_WITH_STEP if schedule.step else FORMAT_VERSION


def _schedule_from(values: Mapping[str, Any]) -> PartSchedule:
    step = values.get("step")
    if step is not None and _whole(step, 1) > _LAST_PART:
        raise ValueError(f"a step of {step} parts")
    return PartSchedule(chunk_size=_whole(values["chunk_size"], 1), growing=_flag(values["growing"]), step=step)


def _snapshot_to(snapshot: Snapshot) -> dict[str, object]:
    return {
        "inode": snapshot.identity.inode,
        "birth_ns": snapshot.identity.birth_ns,
        "size": snapshot.size,
        "mtime_ns": snapshot.mtime_ns,
        "ctime_ns": snapshot.ctime_ns,
    }


def _snapshot_from(values: Mapping[str, Any]) -> Snapshot:
    return Snapshot(
        identity=Identity(_whole(values["inode"]), _whole(values["birth_ns"], _BEFORE_1970)),
        size=_whole(values["size"]),
        mtime_ns=_whole(values["mtime_ns"], _BEFORE_1970),
        ctime_ns=_whole(values["ctime_ns"], _BEFORE_1970),
    )


def _manifest_to(manifest: Manifest) -> dict[str, object]:
    return {
        "size": manifest.size,
        "crc64": crc64_to_base64(manifest.crc64),
        "part_count": manifest.part_count,
        "snapshot": _snapshot_to(manifest.snapshot),
        "replaces": manifest.replaces,
        "etag_md5": manifest.etag_md5,
    }


def _manifest_from(raw: bytes) -> Manifest:
    values = _parse(raw)
    return Manifest(
        size=_whole(values["size"]),
        crc64=crc64_from_base64(_text(values["crc64"])),
        part_count=_whole(values["part_count"]),
        snapshot=_snapshot_from(values["snapshot"]),
        replaces=_optional(_word, values.get("replaces")),
        etag_md5=_optional(_word, values.get("etag_md5")),
    )


def _superseded_to(uploads: Sequence[Superseded]) -> bytes:
    named = [
        {"key": old.key, "upload_id": old.upload_id, "stream_id": old.stream_id, "since": old.since.isoformat()}
        for old in uploads
    ]
    return json.dumps(named, ensure_ascii=False).encode()


def _superseded_from(raw: bytes) -> tuple[Superseded, ...]:
    return tuple(
        Superseded(
            key=_key(values["key"]),
            upload_id=_optional(_upload_id, values["upload_id"]),
            stream_id=_text(values["stream_id"]),
            since=_moment(values["since"]),
        )
        for values in json.loads(raw.decode())
    )


def _probe_to(probe: Probe) -> bytes:
    return _dump(asdict(probe))


#: The types that a field of the media description may have, as they are annotated.
KINDS: Mapping[str, tuple[type, ...]] = {
    "str": (str,),
    "str | None": (str, NoneType),
    "int | None": (int, NoneType),
    "float | None": (float, NoneType),
    "bool": (bool,),
}


def _probe_from(raw: bytes) -> Probe | None:
    """None for a value that no release of ours writes: ffprobe is run again, and the checkpoint stays valid."""
    try:
        values = _parse(raw)
        streams = tuple(MediaStream(**_told(MediaStream, stream)) for stream in values.pop("streams", ()))
        remarks = tuple(_text(remark) for remark in values.pop("remarks", ()))
        return Probe(**_told(Probe, values), streams=streams, remarks=remarks)
    except (*UNREADABLE, AttributeError):
        return None


def _told(kind: type[Probe | MediaStream], values: Mapping[str, Any]) -> dict[str, Any]:
    """The field values of one of these types, each validated. Raises one of ``UNREADABLE``."""
    types = {field.name: KINDS.get(str(field.type), ()) for field in fields_of(kind)}
    wrong = [name for name, value in values.items() if type(value) not in types[name]]
    if wrong or not all(math.isfinite(value) for value in values.values() if isinstance(value, float)):
        raise ValueError(f"no {kind.__name__}: {wrong}")
    return {name: _text(value) if isinstance(value, str) else value for name, value in values.items()}


def encode_part(stream_id: str, part: Part) -> bytes:
    """One part as the JSON under its number; it contains its stream ID."""
    return _dump(
        {
            "v": FORMAT_VERSION,
            "stream_id": stream_id,
            "part_number": part.number,
            "size": part.size,
            "size_bytes": part.size,
            "etag": part.etag,
            "crc64": _optional(crc64_to_base64, part.crc64),
            "md5": part.md5,
            "uploaded_at": part.uploaded_at.isoformat(),
            "sent_again": list(part.sent_again),
        }
    )


def decode_part(stream_id: str, number: bytes, raw: bytes) -> Part:
    """The decoded part. Raises one of ``UNREADABLE``, also for a part of another stream."""
    values = _parse(raw)
    _check_version(_whole(values["v"]))
    if values["stream_id"] != stream_id:
        raise ValueError("it belongs to another stream")
    if (place := _digits(number, 1)) > _LAST_PART:
        raise ValueError(f"{place} is not a valid part number")
    return Part(
        number=place,
        size=_whole(values["size"]),
        etag=_word(values["etag"]),
        crc64=_optional(crc64_from_base64, _optional(_text, values.get("crc64"))),
        uploaded_at=_moment(values["uploaded_at"]),
        md5=_optional(_text, values.get("md5")),
        sent_again=tuple(SendReason(reason) for reason in values["sent_again"]),
    )


def encode_meta(checkpoint: Checkpoint) -> dict[str, bytes]:
    """The readable fields of a checkpoint; of its parts only the totals."""
    moments = {"completed_at": checkpoint.completed_at, "processed_at": checkpoint.processed_at}
    texts = {
        "upload_id": checkpoint.upload_id,
        "replaces": checkpoint.replaces,
        "etag": checkpoint.etag,
        "failure": checkpoint.failure,
        **{name: _optional(datetime.isoformat, moment) for name, moment in moments.items()},
    }
    fields = {
        "v": b"%d" % _version_of(checkpoint.schedule),
        "stream_id": checkpoint.stream_id.encode(),
        "status": checkpoint.status.encode(),
        "path": os.fsencode(checkpoint.path),
        "bucket": checkpoint.bucket.encode(),
        "key": checkpoint.key.encode(),
        "inode": b"%d" % checkpoint.identity.inode,
        "birth_ns": b"%d" % checkpoint.identity.birth_ns,
        "schedule": _dump(_schedule_to(checkpoint.schedule)),
        "started_at": checkpoint.started_at.isoformat().encode(),
        "replacements": b"%d" % checkpoint.replacements,
        "unanswered": b"1" if checkpoint.unanswered else b"0",
        # A failure message may quote a path, and with it bytes that are not UTF-8.
        **{name: text.encode("utf-8", "surrogateescape") for name, text in texts.items() if text is not None},
    }
    fields |= _also_known_as(checkpoint)
    if checkpoint.still_open:
        fields["still_open"] = b"1"
    if checkpoint.without_checksums:
        fields["without_checksums"] = b"1"
    if checkpoint.manifest is not None:
        fields["manifest"] = _dump(_manifest_to(checkpoint.manifest))
    if checkpoint.probe is not None:
        fields["probe"] = _probe_to(checkpoint.probe)
    if checkpoint.number is not None:
        fields["number"] = b"%d" % checkpoint.number
    if checkpoint.superseded:
        fields["superseded"] = _superseded_to(checkpoint.superseded)
    return fields


def _also_known_as(checkpoint: Checkpoint) -> dict[str, bytes]:
    """The same values under the names of the project's first documents (``status`` is already one of them)."""
    parts = checkpoint.parts.values()
    acted = (checkpoint.started_at, checkpoint.completed_at, checkpoint.processed_at)
    last = max(moment for moment in (*acted, *(part.uploaded_at for part in parts)) if moment is not None)
    words = {
        "s3_bucket": checkpoint.bucket,
        "s3_key_prefix": checkpoint.key,
        "s3_upload_id": checkpoint.upload_id,
        "started_at_utc": _utc(checkpoint.started_at),
        "last_activity_at_utc": _utc(last),
        "total_bytes_sent": str(sum(part.size for part in parts)),
    }
    return {name: text.encode() for name, text in words.items() if text is not None}


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def decode_meta(stream_id: str, fields: Mapping[str, bytes]) -> Checkpoint:
    """The decoded checkpoint, without its parts. Raises one of ``UNREADABLE``, also for that of another stream."""
    _check_version(_digits(fields["v"]))
    if fields["stream_id"].decode() != stream_id:
        raise ValueError("it belongs to another stream")
    if fields["unanswered"] not in (b"0", b"1"):
        raise ValueError("unanswered is not 0 or 1")

    def text(name: str) -> str | None:
        return fields[name].decode() if name in fields else None

    failure = fields.get("failure")
    return Checkpoint(
        stream_id=stream_id,
        status=Status(fields["status"].decode()),
        path=_path(os.fsdecode(fields["path"])),
        bucket=fields["bucket"].decode(),
        key=_key(fields["key"].decode()),
        identity=Identity(_digits(fields["inode"]), _digits(fields["birth_ns"], _BEFORE_1970)),
        schedule=_schedule_from(_parse(fields["schedule"])),
        started_at=_moment(text("started_at")),
        upload_id=_optional(_upload_id, text("upload_id")),
        replaces=_optional(_word, text("replaces")),
        replacements=_digits(fields["replacements"]),
        manifest=_optional(_manifest_from, fields.get("manifest")),
        unanswered=fields["unanswered"] == b"1",
        etag=_optional(_word, text("etag")),
        completed_at=_optional(_moment, text("completed_at")),
        processed_at=_optional(_moment, text("processed_at")),
        probe=_optional(_probe_from, fields.get("probe")),
        still_open="still_open" in fields,
        without_checksums="without_checksums" in fields,
        failure=None if failure is None else failure.decode("utf-8", "surrogateescape"),
        superseded=_superseded_from(fields.get("superseded", b"[]")),
        number=_number_from(fields.get("number")),
    )


def _number_from(raw: bytes | None) -> int | None:
    """The number is a hint: an invalid value counts as unknown."""
    try:
        return None if raw is None else _digits(raw, 1)
    except ValueError:
        return None


def encode_highest(bucket: str, number: int) -> bytes:
    """The stored value for a name, as JSON: the highest number that a recording of it got in this bucket."""
    return _dump({"v": FORMAT_VERSION, "bucket": bucket, "number": number})


def decode_highest(bucket: str, raw: object) -> int | None:
    """The decoded number; None for any invalid value, since it is only a hint."""
    try:
        values = _parse(raw) if isinstance(raw, bytes) else {}
        _check_version(_whole(values["v"]))
        return _whole(values["number"], 2) if values["bucket"] == bucket else None
    except UNREADABLE:
        return None


def encode_marker(marker: Marker) -> bytes:
    """A marker as JSON."""
    return _dump(
        {
            "v": _version_of(marker.schedule),
            "stream_id": marker.stream_id,
            "path": escape_path(marker.path),
            "bucket": marker.bucket,
            "key": marker.key,
            "snapshot": _snapshot_to(marker.snapshot),
            "crc64": crc64_to_base64(marker.crc64),
            "etag": marker.etag,
            "schedule": _schedule_to(marker.schedule),
            "started_at": marker.started_at.isoformat(),
            "completed_at": marker.completed_at.isoformat(),
            "replacements": marker.replacements,
            "still_open": marker.still_open or None,
            "unseen": marker.unseen or None,
        }
    )


def decode_marker(identity: Identity, raw: bytes) -> Marker:
    """The decoded marker. Raises one of ``UNREADABLE``, also for the marker of another file."""
    values = _parse(raw)
    _check_version(_whole(values["v"]))
    snapshot = _snapshot_from(values["snapshot"])
    if snapshot.identity != identity:
        raise ValueError("it belongs to another file")
    return Marker(
        stream_id=_text(values["stream_id"]),
        path=unescape_path(_text(values["path"])),
        bucket=_text(values["bucket"]),
        key=_key(values["key"]),
        snapshot=snapshot,
        crc64=crc64_from_base64(_text(values["crc64"])),
        etag=_word(values["etag"]),
        schedule=_schedule_from(values["schedule"]),
        started_at=_moment(values["started_at"]),
        completed_at=_moment(values["completed_at"]),
        replacements=_whole(values["replacements"]),
        still_open=_flag(values.get("still_open", False)),
        unseen=_whole(values.get("unseen", 0)),
    )


def decode_remembered(bucket: str, identity: Identity, raw: bytes) -> Remembered | None:
    """What pruning needs of a marker; None for one of another bucket. Raises one of ``UNREADABLE``."""
    values = _parse(raw)
    _check_version(_whole(values["v"]))
    if _snapshot_from(values["snapshot"]).identity != identity:
        raise ValueError("it belongs to another file")
    if values["bucket"] != bucket:
        return None
    return Remembered(
        identity=identity,
        path=unescape_path(_text(values["path"])),
        stream_id=_text(values["stream_id"]),
        completed_at=_moment(values["completed_at"]),
        unseen=_whole(values.get("unseen", 0)),
        state=raw,
    )


def stream_of_marker(raw: bytes) -> str | None:
    """The stream of a marker that is of another bucket or unreadable; None if it names none."""
    try:
        return _text(_parse(raw)["stream_id"])
    except UNREADABLE:
        return None


def with_unseen(raw: bytes, unseen: int) -> bytes:
    """The marker with another ``unseen``, and whatever else is in it."""
    return _dump({**_parse(raw), "unseen": unseen or None})
