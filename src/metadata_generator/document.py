"""The metadata document beside an object: encoding and decoding.

The document is complete: with only the object and its JSON one knows the recording's file, its parts and their
checksums, and can determine after a data loss in Redis that this file is done, or which parts to copy when it has
changed. Everything comes from the checkpoint, including times, so that a second write has the same bytes. Nothing is
guessed: a checkpoint that lacks a fact is refused, and a document that lacks one is invalid.

Times are RFC 3339 in UTC with microseconds, checksums are base64 as in S3, sizes and offsets are in bytes.
``docs/metadata.schema.json`` is its schema.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import accumulate

from ..domain import (
    METADATA_SUFFIX,
    Checkpoint,
    Identity,
    Manifest,
    Marker,
    Part,
    PartSchedule,
    Probe,
    Snapshot,
    crc64_from_base64,
    crc64_to_base64,
)

#: An added field needs no new version: ``read_document`` ignores fields that it does not know. It refuses higher
#: versions, so with a new one an older release would no longer recognise which files are done.
SCHEMA_VERSION = 1
#: For documents whose part schedule has a step other than 1,000, which readers of version 1 would cut differently.
SCHEMA_WITH_STEP = 2

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
_UINT64 = 2**64 - 1


@dataclass(frozen=True, slots=True)
class DescribedChunk:
    """A part of the described object. ``crc64`` is None if it is unknown."""

    number: int
    offset: int
    size: int
    crc64: int | None


@dataclass(frozen=True, slots=True)
class StoredDescription:
    """The content of a document of ours. Whether it is still true, only the object and the file can show."""

    stream_id: str
    bucket: str
    key: str
    etag: str
    crc64: int
    snapshot: Snapshot
    schedule: PartSchedule
    chunks: tuple[DescribedChunk, ...]
    started_at: datetime
    completed_at: datetime
    processed_at: datetime
    replacements: int

    def marker(self, path: str) -> Marker:
        """The marker that Redis has lost; ``path`` is the current path of the file."""
        return Marker(
            stream_id=self.stream_id,
            path=path,
            bucket=self.bucket,
            key=self.key,
            snapshot=self.snapshot,
            crc64=self.crc64,
            etag=self.etag,
            schedule=self.schedule,
            started_at=self.started_at,
            completed_at=self.completed_at,
            replacements=self.replacements,
        )


def document_key(object_key: str) -> str:
    """The metadata key of the object at this key."""
    return object_key + METADATA_SUFFIX


# --- Writing ------------------------------------------------------------------------------------------------------


def metadata_document(checkpoint: Checkpoint, *, original_file_path: str, probe: Probe) -> dict[str, object]:
    """The document of a proved object.

    ``original_file_path`` as returned by ``os.fsdecode``. A name that is not UTF-8 has U+FFFD in the text, and its
    exact bytes as base64 in the additional field ``original_file_path_bytes_base64``. Raises ``ValueError`` if the
    checkpoint is not that of a proved object with all its parts.
    """
    manifest, etag = checkpoint.manifest, checkpoint.etag
    completed, processed = checkpoint.completed_at, checkpoint.processed_at
    if manifest is None or etag is None or completed is None or processed is None:
        raise ValueError("the checkpoint is not that of a proved object: manifest, ETag or a time is missing")
    return {
        "schema_version": SCHEMA_WITH_STEP if checkpoint.schedule.step else SCHEMA_VERSION,
        "stream_id": checkpoint.stream_id,
        **_path_fields(original_file_path),
        "s3_bucket": checkpoint.bucket,
        "s3_key_prefix": checkpoint.key,
        "total_size_bytes": manifest.size,
        "duration_seconds": probe.duration_seconds,
        "processed_at_utc": _time(processed),
        "stream_started_at_utc": _time(checkpoint.started_at),
        "stream_completed_at_utc": _time(completed),
        "file": _file(manifest.snapshot),
        "object": {
            "etag": etag,
            "checksum_crc64nvme": crc64_to_base64(manifest.crc64),
            "part_schedule": _schedule(checkpoint.schedule),
            "replacements": checkpoint.replacements,
        },
        "media": _media(probe),
        "chunks": _chunks(checkpoint, manifest),
    }


def encode_document(document: Mapping[str, object]) -> bytes:
    """The document as UTF-8 JSON: one line for each field and for each chunk, the same bytes for the same facts.

    Raises ``ValueError`` for values that JSON cannot represent (NaN).
    """
    fields = ",\n".join(f"  {_json(name)}: {_lines(value)}" for name, value in document.items())
    return f"{{\n{fields}\n}}\n".encode()


def _lines(value: object) -> str:
    # Not ``indent=``: the encoder in C does not support it, and 10,000 chunks would take 0.1 s.
    if not isinstance(value, list) or not value:
        return _json(value)
    return "[\n" + ",\n".join(f"    {_json(item)}" for item in value) + "\n  ]"


def _json(value: object) -> str:
    return _ENCODER.encode(value)


def _path_fields(path: str) -> dict[str, object]:
    raw = os.fsencode(path)
    text = raw.decode("utf-8", "replace")
    if text.encode("utf-8") == raw:
        return {"original_file_path": text}
    exact = base64.b64encode(raw).decode("ascii")
    return {"original_file_path": text, "original_file_path_bytes_base64": exact}


def _time(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise ValueError("a time without a zone says nothing")
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _file(snapshot: Snapshot) -> dict[str, object]:
    return {
        "size_bytes": snapshot.size,
        "mtime_ns": snapshot.mtime_ns,
        "ctime_ns": snapshot.ctime_ns,
        "inode": snapshot.identity.inode,
        "birth_ns": snapshot.identity.birth_ns,
    }


def _schedule(schedule: PartSchedule) -> dict[str, object]:
    step = {"parts_per_step": schedule.step} if schedule.step else {}
    return {"chunk_size_bytes": schedule.chunk_size, "growing": schedule.growing, **step}


def _media(probe: Probe) -> dict[str, object]:
    streams = [asdict(stream) for stream in probe.streams]
    return {"streams": streams, "probe_error": probe.error, "remarks": list(probe.remarks)}


def _chunks(checkpoint: Checkpoint, manifest: Manifest) -> list[dict[str, object]]:
    numbers = range(1, manifest.part_count + 1)
    parts = [checkpoint.parts[number] for number in numbers if number in checkpoint.parts]
    if not parts or len(parts) != manifest.part_count or sum(part.size for part in parts) != manifest.size:
        raise ValueError("the checkpoint's parts are not those of the object")
    offsets = accumulate((part.size for part in parts), initial=0)
    return [_chunk(part, offset) for part, offset in zip(parts, offsets, strict=False)]


def _chunk(part: Part, offset: int) -> dict[str, object]:
    return {
        "part_number": part.number,
        "size_bytes": part.size,
        "etag": part.etag,
        "uploaded_at_utc": _time(part.uploaded_at),
        "offset_bytes": offset,
        "checksum_crc64nvme": None if part.crc64 is None else crc64_to_base64(part.crc64),
        "sent_again": [reason.value for reason in part.sent_again],
    }


# --- Reading ------------------------------------------------------------------------------------------------------


def read_document(body: bytes) -> StoredDescription | None:
    """The content of a stored document; None if it is not one of ours, has another version, or is damaged."""
    try:
        document = _Fields(json.loads(body.decode("utf-8"), parse_constant=_refuse))
        return _description(document)
    except (ValueError, RecursionError):
        return None


class _Fields:
    """A JSON object whose members are read by name and type; raises ``ValueError`` for anything else."""

    __slots__ = ("_members",)

    def __init__(self, members: object) -> None:
        if not isinstance(members, dict):
            raise ValueError("not a JSON object")
        self._members = members

    def within(self, name: str) -> _Fields:
        return _Fields(self._members.get(name))

    def text(self, name: str) -> str:
        value = self._members.get(name)
        if not isinstance(value, str) or not value:
            raise ValueError(f"{name} is not text")
        value.encode("utf-8")  # a lone surrogate, written as \\udXXX, is not valid text
        return value

    def number(self, name: str, *, least: int = 0, most: int = _UINT64) -> int:
        value = self._members.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"{name} is not a number between {least} and {most}")
        return value

    def step(self, name: str) -> int | None:
        return None if self._members.get(name) is None else self.number(name, least=1, most=10_000)

    def flag(self, name: str) -> bool:
        value = self._members.get(name)
        if not isinstance(value, bool):
            raise ValueError(f"{name} is not true or false")
        return value

    def time(self, name: str) -> datetime:
        value = self.text(name)
        if not _TIME.fullmatch(value):
            raise ValueError(f"{name} is not a time")
        return datetime.fromisoformat(value)

    def crc64(self, name: str) -> int:
        return crc64_from_base64(self.text(name))

    def optional_crc64(self, name: str) -> int | None:
        return None if self._members.get(name) is None else self.crc64(name)

    def each(self, name: str) -> list[_Fields]:
        value = self._members.get(name)
        if not isinstance(value, list):
            raise ValueError(f"{name} is not a list")
        return [_Fields(item) for item in value]


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _description(document: _Fields) -> StoredDescription:
    document.number("schema_version", least=SCHEMA_VERSION, most=SCHEMA_WITH_STEP)
    stored, schedule = document.within("object"), document.within("object").within("part_schedule")
    size = document.number("total_size_bytes", least=1)
    return StoredDescription(
        stream_id=document.text("stream_id"),
        bucket=document.text("s3_bucket"),
        key=document.text("s3_key_prefix"),
        etag=stored.text("etag"),
        crc64=stored.crc64("checksum_crc64nvme"),
        snapshot=_read_snapshot(document.within("file"), size),
        schedule=PartSchedule(
            schedule.number("chunk_size_bytes", least=1), schedule.flag("growing"), schedule.step("parts_per_step")
        ),
        chunks=_read_chunks(document.each("chunks"), size),
        started_at=document.time("stream_started_at_utc"),
        completed_at=document.time("stream_completed_at_utc"),
        processed_at=document.time("processed_at_utc"),
        replacements=stored.number("replacements"),
    )


def _read_snapshot(file: _Fields, size: int) -> Snapshot:
    return Snapshot(
        identity=Identity(inode=file.number("inode"), birth_ns=file.number("birth_ns", least=-(2**63))),
        size=file.number("size_bytes", least=size, most=size),
        mtime_ns=file.number("mtime_ns", least=-(2**63)),
        ctime_ns=file.number("ctime_ns", least=-(2**63)),
    )


def _read_chunks(items: list[_Fields], size: int) -> tuple[DescribedChunk, ...]:
    """The chunks, which must be contiguous from 0 to ``size``."""
    chunks, offset = [], 0
    for number, item in enumerate(items, 1):
        chunk = DescribedChunk(
            number=item.number("part_number", least=number, most=number),
            offset=item.number("offset_bytes", least=offset, most=offset),
            size=item.number("size_bytes", least=1),
            crc64=item.optional_crc64("checksum_crc64nvme"),
        )
        chunks.append(chunk)
        offset += chunk.size
    if offset != size:
        raise ValueError("the chunks are not the object's")
    return tuple(chunks)
