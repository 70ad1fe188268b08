"""What a soak shows the auditor when everything has settled; each violation becomes one line of text.

Every file must be at exactly one key, byte for byte, and described there. The bucket must contain nothing else except
what a recording explains: earlier contents of its path, and objects of other programs. No upload may be open, nothing
may be left in Redis, no file may have changed, and no secret may be logged.

Some violations are excused after a data loss in Redis (it was wiped or rolled back): an upload may stay open, or an
object without its document, if only Redis knew of it; its bytes must still come from a recording at this path. A stream
that Redis shows as unfinished again, and whose file has been replaced, may fail.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from src.domain import next_free
from tests.harness import auditor
from tests.harness.audit_view import Body, File, Limits, Object, Record, Stranger, Upload, Wait, World
from tests.harness.e2e import view
from tests.harness.e2e.bucket import PROBE, Bucket
from tests.harness.e2e.recorders import CHUNK
from tests.harness.e2e.stage import Stage

from .soak_recorders import Facts, Take

#: Seconds after the timeout in which a recording must become an object with its document, once faults have ended. Long:
#: it includes the back-off after the last outage, and the machine may be busy.
SOON = 600.0
Part = bytes  # by another name in the class that counts them

_MOST_NUMBERS = 12
_SAMPLES, _SAMPLE = 40, 64


@dataclass(frozen=True, slots=True)
class Foreign:
    """Another program's object, stored before the daemon began."""

    key: str
    sha256: str
    written_ns: int

    @classmethod
    def put(cls, bucket: Bucket, key: str, body: bytes) -> Foreign:
        bucket.put(key, body)
        return cls(key, _sha256(body), bucket.written_ns(key))


@dataclass
class Audit:
    """One round, observed from outside. ``forgot``: the number of data losses in Redis, complete or of the newest
    writes. ``calm_since``: when the last fault was over and the last daemon had begun (seconds since 1970); None:
    waiting times are not checked. ``quiet``: the timeout of a recording, in seconds."""

    stage: Stage
    takes: Sequence[Take]
    foreign: Sequence[Foreign] = ()
    secrets: Sequence[str] = ()
    forgot: int = 0
    calm_since: float | None = None
    quiet: float = 0.0
    bytes: int = 0

    def mismatches(self) -> list[str]:
        """Empty if all is well."""
        return auditor.words(auditor.audit(self.world))

    @cached_property
    def world(self) -> World:
        """The state that the auditor is shown."""
        self.bytes = sum(facts.size for _, facts in self._finished)
        documents = {key: view.document_of(self.bucket, key) for key in self.bucket.described()}
        return World(
            files=[*self._files()],
            foreign_files=[path.name for path in self._made_by_nobody()],
            objects=self.objects,
            documents={key: document for key, document in documents.items() if document is not None},
            uploads=[*self._open_uploads()],
            records=[*self._records()],
            markers=[] if self.forgot else [*view.markers(self.stage)],
            completed=None if self.forgot else self.stage.members("completed"),
            waits=self._waits,
            kept={key: wanted for take in self.takes for key, wanted in take.kept.items()},
            sources=self._sources,
            strangers=[*self._strangers()],
            foreign_keys={foreign.key for foreign in self.foreign},
            left_in_redis=[*self._left_in_redis()],
            unforeseen=[*self._troubles(), *self._errors()],
            secrets_told=[*self._secrets_told()],
            limits=Limits(soon=SOON if self.calm_since else None),
            media=view.media_in,
            media_tolerance=view.TOLERANCE,
            bucket=self.bucket.name,
            etags_are_md5=True,
            parts_known=not self.forgot,
            checksums_kept=self.bucket.keeps_checksums,
        )

    @property
    def bucket(self) -> Bucket:
        return self.stage.bucket

    @cached_property
    def objects(self) -> Mapping[str, Object]:
        """By key; the digest is that of a GET, or the reason why it fails."""
        return {key: view.object_at(self.bucket, key, self._fetched(key)) for key in self.bucket.objects()}

    def _fetched(self, key: str) -> str:
        try:
            return _sha256(self.bucket.get(key))
        except (BotoCoreError, ClientError) as exc:  # also if the bytes do not match their checksum
            return f"{type(exc).__name__}: {exc}"

    @cached_property
    def probe_uploads(self) -> int:
        """Left at the probe's key: a kill during a probe leaves one, for at most ten minutes after a later start."""
        return self.bucket.probe_uploads()

    @property
    def _finished(self) -> Iterator[tuple[Take, Facts]]:
        return ((take, take.facts) for take in self.takes if take.facts is not None)

    # -- files ------------------------------------------------------------------------------------------------------

    def _files(self) -> Iterator[File]:
        for take, facts in self._finished:
            past = [copy.read_bytes() for copy in take.copies]
            if take.in_place:
                past.append(b"")  # it was emptied, and is another recording since
            seen: dict[str, Any] = {
                "identity": facts.inode,
                "body": Body(facts.sha256, facts.size, take.path.read_bytes),
                "keys": self._family(take) if take.numbered else take.roots,
                "past": [*map(_body, past)],
            }
            if not take.path.exists():
                yield File(take.path.name, harm="is gone", **seen)
            elif (now := Facts.of(take.path)) != facts:
                yield File(take.path.name, harm=f"was touched: {facts} became {now}", **seen)
            else:
                met = next((wait.what for wait in self._waits if wait.path == take.path.name), None)
                times: dict[str, Any] = {
                    "closed_at": max(facts.mtime_ns / 1e9, self.calm_since or 0.0),
                    "quiet": self.quiet,
                }
                yield replace(view.file_at(take.path, take.path.name), excused=met, **times, **seen)

    def _made_by_nobody(self) -> set[Path]:
        return set(self.stage.folder.iterdir()) - {take.path for take in self.takes}

    def _troubles(self) -> Iterator[str]:
        for take in self.takes:
            if take.trouble:
                yield f"a {take.what} recording could not be made: {take.trouble}"

    @cached_property
    def _waits(self) -> list[Wait]:
        """The waiting times of recordings in the log, since faults have ended."""
        found = []
        for line in re.findall(r'^\{.*"level": ?"(?:warning|error)".*$', self._said, re.MULTILINE):
            told = json.loads(line)
            if "file_path" not in told:
                continue
            at = datetime.fromisoformat(told["timestamp"]).timestamp()
            if at >= (self.calm_since or 0.0):
                found.append(Wait(told["file_path"], f"{told['event']}: {told.get('error', '')}", at))
        return found

    @cached_property
    def _said(self) -> str:
        return self.stage.daemon.everything_said()

    # -- what else is there ---------------------------------------------------------------------------------------

    def _strangers(self) -> Iterator[Stranger]:
        for foreign in self.foreign:
            there = self.objects.get(foreign.key)
            what = f"object at {foreign.key!r}"
            yield Stranger(what, foreign.sha256, there and there.body.digest, "is not what it was")
            if there is not None and there.body.digest == foreign.sha256:
                yield Stranger(what, foreign.written_ns, there.version, "was written again")

    def _sources(self, there: Object) -> Sequence[Path]:
        """Earlier contents of a recording's path; each explains one object, whole or in part."""
        body = there.body.read()
        return [path for path in self._earlier_at(there.key) if path.read_bytes().startswith(body)]

    def _earlier_at(self, key: str) -> Iterator[Path]:
        for take in self._takes_at(key):
            yield from take.copies
            if take.in_place and self.forgot:
                yield take.path  # in its intermediate state: the object of the first recording is replaced

    def _open_uploads(self) -> Iterator[Upload]:
        client, name = self.bucket.client, self.bucket.name
        kept = {record.get("upload_id") for record in self._failed.values()}
        for upload in self._uploads():
            key, upload_id = upload["Key"], upload["UploadId"]
            if key == PROBE or upload_id in kept:
                continue
            parts = client.list_parts(Bucket=name, Key=key, UploadId=upload_id).get("Parts", [])
            held = {part["PartNumber"]: self.bucket.part(upload_id, part["PartNumber"]) for part in parts}
            is_late = self.forgot > 1 and upload["Initiated"] > self._stored_at(key)
            excused = any(self._excuses(take, held, is_late=is_late) for take in self._takes_at(key))
            listed = [(part["PartNumber"], part["Size"]) for part in parts]
            yield Upload(key, excused=excused, words=f", begun {upload['Initiated']}, parts {listed}")

    def _uploads(self) -> list[Any]:
        if self.bucket.lists_by_prefix:
            return self.bucket.uploads_at("")
        found = [upload for key in sorted({*self._keys_of_takes(), PROBE}) for upload in self.bucket.uploads_at(key)]
        assert len(found) == self.bucket.uploads_on_disk(), "an upload is open at a key that no recording has"
        return found

    def _stored_at(self, key: str) -> datetime:
        """When the object was stored; the end of all time if there is none."""
        try:
            stored: datetime = self.bucket.client.head_object(Bucket=self.bucket.name, Key=key)["LastModified"]
        except ClientError:
            return datetime.max.replace(tzinfo=UTC)
        return stored

    def _excuses(self, take: Take, parts: Mapping[int, Part], *, is_late: bool) -> bool:
        """Whether an upload is untraceable: it was begun by a stream that was killed before it had saved it, and whose
        source is gone; or Redis lost it, and it holds bytes that its recording has changed since; or Redis lost, twice,
        that the object existed when it was begun (``is_late``): left to the sweep, after its retention."""
        if not parts:
            return take.vanished or is_late or (self.forgot > 0 and (take.in_place or take.renamed))
        sources = [source.read_bytes() for source in (take.path, *take.copies) if source.exists()]
        is_of_now = not take.deleted and all(_is_piece(number, part, sources[0]) for number, part in parts.items())
        if not self.forgot or (is_of_now and not (take.renamed or take.in_place or is_late)):
            return False  # it can be adopted, and otherwise must be aborted
        unwritten = [bytes(_SAMPLE)] if take.what == "holes" else []
        return all(_comes_from(part, [*sources, *unwritten]) for part in parts.values())

    # -- Redis and the log ----------------------------------------------------------------------------------------

    @cached_property
    def _failed(self) -> dict[str, dict[str, str]]:
        """The checkpoints of failed streams by their IDs."""
        prefix, redis = self.stage.redis_prefix, self.stage.redis
        return {each: redis.hgetall(f"{prefix}stream:{each}:meta") for each in self.stage.members("failed")}

    def _records(self) -> Iterator[Record]:
        for name in ("active", "pending_completion"):
            yield from (Record(stream_id, name) for stream_id in self.stage.members(name))
        for stream_id, record in self._failed.items():
            yield Record(stream_id, "failed", excused=self._may_have_failed(record), words=f" {record}")

    def _left_in_redis(self) -> Iterator[str]:
        yield from (key for key in self.stage.redis_keys("stream:*") if key.rsplit(":", 2)[-2] not in self._failed)
        yield from self.stage.redis_keys("bad:*")

    def _may_have_failed(self, record: Mapping[str, str]) -> bool:
        """Its file was deleted; or another is in its place, and only a Redis that was rolled back has the
        checkpoint."""
        if record.get("failure") != "source_missing":
            return False
        for take in self.takes:
            if str(take.path.relative_to(self.stage.folder)) == record.get("path"):
                replaced = take.facts is not None and record.get("inode") != str(take.facts.inode)
                return take.deleted or (self.forgot > 0 and replaced and bool(take.copies))
        return False

    def _secrets_told(self) -> Iterator[str]:
        yield from (f"{self._said.count(secret)} times" for secret in self.secrets if secret in self._said)

    def _errors(self) -> Iterator[str]:
        for line in re.findall(r'^.*"event": ?"unexpected_error".*$', self._said, re.MULTILINE):
            yield line[:2000]
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
        """The keys that it could have, and the following ones."""
        numbered = {next_free(root, number) for root in take.roots for number in range(2, _MOST_NUMBERS)}
        return {*take.roots, *numbered}


def _is_piece(number: int, part: bytes, body: bytes) -> bool:
    """Whether it equals the bytes at its place."""
    offset = (number - 1) * CHUNK
    return part == body[offset : offset + len(part)]


def _comes_from(body: bytes, bodies: Sequence[bytes]) -> bool:
    """Whether most of it is in one of these, at any offset: a recorder may have patched it, or moved all of it."""
    samples = [body[offset : offset + _SAMPLE] for offset in range(0, len(body), len(body) // _SAMPLES + 1)]
    return 2 * sum(any(sample in other for other in bodies) for sample in samples) > len(samples)


def _body(data: bytes) -> Body:
    """The bodies of files and objects, as they are compared here."""
    return Body(_sha256(data), len(data), data)


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
