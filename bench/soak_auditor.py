"""What must be true when everything has settled; each thing that is not becomes one line of text.

Every file is at exactly one key, byte for byte, and described there. Nothing else is in the bucket but what a recording
explains: what was at its path before, and what somebody else had put there. Nothing is open, nothing is left in Redis,
no file was touched, and no secret was told.

Some things are excused where Redis forgot (it was wiped or rolled back): an upload may stay open, or an object without
its document, when nothing but Redis knew of it; their bytes must still come from a recording at this path. A stream
that Redis believes unfinished again, and whose file has been replaced, may fail.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from src.object_keys import next_free
from src.reconcile import origin_of
from tests.harness.e2e.bucket import PROBE, Bucket, Document
from tests.harness.e2e.recorders import CHUNK
from tests.harness.e2e.stage import Stage

from .soak_recorders import Facts, Take

Body = bytes  # by another name in the class that counts them

_MOST_NUMBERS = 12
_SAMPLES, _SAMPLE = 40, 64


@dataclass(frozen=True, slots=True)
class Foreign:
    """Somebody else's object, put there before the daemon began."""

    key: str
    sha256: str
    written_ns: int

    @classmethod
    def put(cls, bucket: Bucket, key: str, body: bytes) -> Foreign:
        bucket.put(key, body)
        return cls(key, _sha256(body), _written_ns(bucket, key))


@dataclass
class Audit:
    """One round, looked at from outside. ``forgot``: Redis lost what it knew, or the newest of it, so many times."""

    stage: Stage
    takes: Sequence[Take]
    foreign: Sequence[Foreign] = ()
    secrets: Sequence[str] = ()
    forgot: int = 0
    bytes: int = 0
    _explained: set[str] = field(default_factory=set)

    def mismatches(self) -> list[str]:
        """Empty when all is well."""
        return [
            *self._local_files(),
            *self._files_at_keys(),
            *self._earlier_recordings(),
            *self._foreign_objects(),
            *self._other_objects(),
            *self._documents(),
            *self._open_uploads(),
            *self._redis(),
            *self._logs(),
        ]

    @property
    def bucket(self) -> Bucket:
        return self.stage.bucket

    @cached_property
    def objects(self) -> Mapping[str, str]:
        """SHA-256 of what GET gives, by key; where it gives nothing, the reason."""
        return {key: self._fetched(key) for key in self.bucket.objects()}

    def _fetched(self, key: str) -> str:
        try:
            return _sha256(self.bucket.get(key))
        except (BotoCoreError, ClientError) as exc:  # also when the bytes do not fit their checksum
            return f"{type(exc).__name__}: {exc}"

    @cached_property
    def probe_uploads(self) -> int:
        """Left at the probe's key: a kill in mid-probe leaves one, for ten minutes after a later start at most."""
        return self.bucket.probe_uploads()

    @property
    def _finished(self) -> Iterator[tuple[Take, Facts]]:
        return ((take, take.facts) for take in self.takes if take.facts is not None)

    # -- files and their objects ----------------------------------------------------------------------------------

    def _local_files(self) -> Iterator[str]:
        for take in self.takes:
            if take.trouble:
                yield f"a {take.what} recording could not be made: {take.trouble}"
        for take, facts in self._finished:
            if not take.path.exists():
                yield f"{take.path.name!r} is gone"
            elif (now := Facts.of(take.path)) != facts:
                yield f"{take.path.name!r} was touched: {facts} became {now}"
        for path in set(self.stage.folder.iterdir()) - {take.path for take in self.takes}:
            yield f"nobody made the file {path.name!r}"

    def _files_at_keys(self) -> Iterator[str]:
        for take, facts in self._finished:
            self.bytes += facts.size
            keys = [key for key, found in self.objects.items() if found == facts.sha256]
            self._explained.update(keys)
            if len(keys) != 1:
                yield f"{take.path.name!r} ({take.what}) is at {len(keys)} keys: {keys}"
            for key in keys:
                if key not in (self._family(take) if take.numbered else take.roots):
                    yield f"{take.path.name!r} ({take.what}) is at {key!r}, not at one of {take.roots}"
            if len(keys) == 1 and take.path.exists() and Facts.of(take.path) == facts:
                yield from self._description(keys[0], take)

    def _description(self, key: str, take: Take) -> Iterator[str]:
        """Where Redis forgot, nobody need remember the ETags of the parts."""
        try:
            self.bucket.check_document(key, take.path, parts_known=not self.forgot)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the document is not as it should be
            yield f"the document of {key!r} ({take.what}) is wrong: {type(exc).__name__}: {exc}"

    def _earlier_recordings(self) -> Iterator[str]:
        for take in self.takes:
            for key, wanted in take.kept.items():
                if self.objects.get(key) != wanted:
                    yield f"the earlier recording at {key!r} is not there any more, or not the same"

    def _foreign_objects(self) -> Iterator[str]:
        for foreign in self.foreign:
            self._explained.add(foreign.key)
            if self.objects.get(foreign.key) != foreign.sha256:
                yield f"somebody else's object at {foreign.key!r} is not what it was"
            elif _written_ns(self.bucket, foreign.key) != foreign.written_ns:
                yield f"somebody else's object at {foreign.key!r} was written again"

    # -- what else is there ---------------------------------------------------------------------------------------

    def _other_objects(self) -> Iterator[str]:
        """Of what was at the path of a recording before; each such thing explains one object, whole or in part."""
        used: set[Path] = set()
        for key in sorted(self.objects.keys() - self._explained):
            body = self.bucket.stored(key)
            sources = [path for path in self._earlier_at(key) if path.read_bytes().startswith(body)]
            if not set(sources) - used:
                yield f"nothing explains the object {key!r}: {self.bucket.metadata(key)}"
            used.update(sources)

    def _earlier_at(self, key: str) -> Iterator[Path]:
        for take in self._takes_at(key):
            yield from take.copies
            if take.in_place and self.forgot:
                yield take.path  # as it was in between: the object of the first recording is brought up to date

    def _documents(self) -> Iterator[str]:
        documents = self.bucket.documents()
        for key in sorted(documents.keys() - self.objects.keys()):
            yield f"a document describes {key!r}, where nothing is"
        if self.forgot:
            return
        for key in sorted(self.objects.keys() - self._explained):
            if origin_of(self.bucket.metadata(key)) is not None and not self._fits(key, documents.get(key)):
                yield f"no document describes {key!r} as it is"

    def _fits(self, key: str, document: Document | None) -> bool:
        return document is not None and document["object"]["etag"] == _etag(self.bucket, key)

    def _open_uploads(self) -> Iterator[str]:
        client, name = self.bucket.client, self.bucket.name
        kept = {record.get("upload_id") for record in self._failed.values()}
        for upload in self._uploads():
            key, upload_id = upload["Key"], upload["UploadId"]
            if key == PROBE or upload_id in kept:
                continue
            parts = client.list_parts(Bucket=name, Key=key, UploadId=upload_id).get("Parts", [])
            held = {part["PartNumber"]: self.bucket.part(upload_id, part["PartNumber"]) for part in parts}
            is_late = self.forgot > 1 and upload["Initiated"] > self._stored_at(key)
            if not any(self._excuses(take, held, is_late=is_late) for take in self._takes_at(key)):
                listed = [(part["PartNumber"], part["Size"]) for part in parts]
                yield f"an upload is open at {key!r}, begun {upload['Initiated']}, parts {listed}"

    def _uploads(self) -> list[Any]:
        if self.bucket.lists_by_prefix:
            return self.bucket.uploads_at("")
        found = [upload for key in sorted({*self._keys_of_takes(), PROBE}) for upload in self.bucket.uploads_at(key)]
        assert len(found) == self.bucket.uploads_on_disk(), "an upload is open at a key that no recording has"
        return found

    def _stored_at(self, key: str) -> datetime:
        """When the object came to be; at the end of all time where there is none."""
        try:
            stored: datetime = self.bucket.client.head_object(Bucket=self.bucket.name, Key=key)["LastModified"]
        except ClientError:
            return datetime.max.replace(tzinfo=UTC)
        return stored

    def _excuses(self, take: Take, parts: Mapping[int, Body], *, is_late: bool) -> bool:
        """Whether nobody can know of an upload: it was begun by a stream that had not noted it when it was killed, and
        whose source is gone; or Redis forgot it, and it holds what its recording has changed since; or Redis forgot,
        twice, that the object was there already when it was begun (``is_late``): the sweep's, after its retention."""
        if not parts:
            return take.vanished or is_late or (self.forgot > 0 and (take.in_place or take.renamed))
        sources = [source.read_bytes() for source in (take.path, *take.copies) if source.exists()]
        is_of_now = not take.deleted and all(_is_piece(number, part, sources[0]) for number, part in parts.items())
        if not self.forgot or (is_of_now and not (take.renamed or take.in_place or is_late)):
            return False  # it can be adopted, and else must be aborted
        unwritten = [bytes(_SAMPLE)] if take.what == "holes" else []
        return all(_comes_from(part, [*sources, *unwritten]) for part in parts.values())

    # -- Redis and the log ----------------------------------------------------------------------------------------

    @cached_property
    def _failed(self) -> dict[str, dict[str, str]]:
        """The records of failed streams by their ids."""
        prefix, redis = self.stage.redis_prefix, self.stage.redis
        return {each: redis.hgetall(f"{prefix}stream:{each}:meta") for each in self.stage.members("failed")}

    def _redis(self) -> Iterator[str]:
        for name in ("active", "pending_completion"):
            for stream_id in self.stage.members(name):
                yield f"{stream_id} is in streams:{name}"
        for stream_id, record in self._failed.items():
            if not self._may_have_failed(record):
                yield f"{stream_id} has failed: {record}"
        left = [key for key in self.stage.redis_keys("stream:*") if key.rsplit(":", 2)[-2] not in self._failed]
        yield from (f"{key} is left in Redis" for key in left)
        yield from (f"{key} was set aside" for key in self.stage.redis_keys("bad:*"))

    def _may_have_failed(self, record: Mapping[str, str]) -> bool:
        """Its file was deleted; or another is in its place, and only a Redis that was rolled back knows of it."""
        if record.get("failure") != "source_missing":
            return False
        for take in self.takes:
            if str(take.path.relative_to(self.stage.folder)) == record.get("path"):
                replaced = take.facts is not None and record.get("inode") != str(take.facts.inode)
                return take.deleted or (self.forgot > 0 and replaced and bool(take.copies))
        return False

    def _logs(self) -> Iterator[str]:
        said = self.stage.daemon.everything_said()
        yield from (f"a secret is in the log ({said.count(secret)} times)" for secret in self.secrets if secret in said)
        for line in re.findall(r'^.*"event": ?"unexpected_error".*$', said, re.MULTILINE):
            yield f"unexpected_error: {line[:2000]}"
        for path in sorted(self.stage.daemon.home.glob("run-*.err")):
            if text := path.read_text(errors="replace").strip():
                yield f"{path.name} is not empty: {text[-1000:]}"

    # -- keys -----------------------------------------------------------------------------------------------------

    def _keys_of_takes(self) -> set[str]:
        return {key for take in self.takes for key in self._family(take)}

    def _takes_at(self, key: str) -> list[Take]:
        return [take for take in self.takes if key in self._family(take)]

    @staticmethod
    def _family(take: Take) -> set[str]:
        """The keys that it could have, and those that would be next."""
        numbered = {next_free(root, number) for root in take.roots for number in range(2, _MOST_NUMBERS)}
        return {*take.roots, *numbered}


def _is_piece(number: int, part: bytes, body: bytes) -> bool:
    """Whether it is what lies at its place."""
    offset = (number - 1) * CHUNK
    return part == body[offset : offset + len(part)]


def _comes_from(body: bytes, bodies: Sequence[bytes]) -> bool:
    """Whether most of it is in one of these, at whatever place: a recorder may have patched it, or moved all of it."""
    samples = [body[offset : offset + _SAMPLE] for offset in range(0, len(body), len(body) // _SAMPLES + 1)]
    return 2 * sum(any(sample in other for other in bodies) for sample in samples) > len(samples)


def _etag(bucket: Bucket, key: str) -> str:
    return str(bucket.client.head_object(Bucket=bucket.name, Key=key)["ETag"]).strip('"')


def _written_ns(bucket: Bucket, key: str) -> int:
    return bucket.written_ns(key)


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
