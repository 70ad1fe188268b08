"""What must be true when everything has settled; each thing that is not becomes one line of text.

Every file is at exactly one key, byte for byte, and described there. Nothing else is in the bucket but what a recording
explains: what was at its path before, and what somebody else had put there. Nothing is open, nothing is left in Redis,
no file was touched, and no secret was told.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from src.object_keys import next_free
from tests.e2e.bucket import PROBE, Bucket
from tests.e2e.recorders import CHUNK
from tests.e2e.stage import Stage

from .soak_recorders import Facts, Take, digest

_MOST_NUMBERS = 12


@dataclass(frozen=True, slots=True)
class Foreign:
    """Somebody else's object, put there before the daemon began."""

    key: str
    body: bytes
    etag: str


@dataclass
class Audit:
    """One round, looked at from outside. ``wiped``: Redis forgot everything at least once on the way."""

    stage: Stage
    takes: Sequence[Take]
    foreign: Sequence[Foreign] = ()
    secrets: Sequence[str] = ()
    wiped: bool = False
    bytes: int = 0
    explained: set[str] = field(default_factory=set)

    def mismatches(self) -> list[str]:
        """Empty when all is well."""
        return [
            *self._local_files(),
            *self._files_at_keys(),
            *self._earlier_recordings(),
            *self._foreign_objects(),
            *self._unexplained(),
            *self._open_uploads(),
            *self._redis(),
            *self._logs(),
        ]

    @property
    def bucket(self) -> Bucket:
        return self.stage.bucket

    @cached_property
    def objects(self) -> Mapping[str, str]:
        """SHA-256 of what GET gives, by key."""
        return {key: digest(self.bucket.get(key)) for key in self.bucket.objects()}

    @cached_property
    def probe_uploads(self) -> int:
        """Left at the probe's key: a kill in mid-probe leaves one."""
        return self.bucket.open_uploads().count(PROBE)

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

    def _files_at_keys(self) -> Iterator[str]:
        for take, facts in self._finished:
            self.bytes += facts.size
            keys = [key for key, found in self.objects.items() if found == facts.sha256]
            self.explained.update(keys)
            if len(keys) != 1:
                yield f"{take.path.name!r} ({take.what}) is at {len(keys)} keys: {keys}"
            for key in keys:
                if key not in self._keys_of(take):
                    yield f"{take.path.name!r} ({take.what}) is at {key!r}, not at one of {take.roots}"
                yield from self._document(key, take)

    def _document(self, key: str, take: Take) -> Iterator[str]:
        """Where Redis was wiped, nobody need remember the ETags of the parts."""
        trouble: Exception | None = None
        for parts_known in (True, False) if self.wiped else (True,):
            try:
                self.bucket.check_document(key, take.path, parts_known=parts_known)
                return
            except Exception as exc:  # noqa: BLE001 - whatever it is, the document is not as it should be
                trouble = exc
        yield f"the document of {key!r} ({take.what}): {type(trouble).__name__}: {trouble}"

    def _earlier_recordings(self) -> Iterator[str]:
        for take in self.takes:
            for key, wanted in take.kept.items():
                if self.objects.get(key) != wanted:
                    yield f"the earlier recording at {key!r} is not there any more, or not the same"

    def _foreign_objects(self) -> Iterator[str]:
        for foreign in self.foreign:
            self.explained.add(foreign.key)
            if self.objects.get(foreign.key) != digest(foreign.body):
                yield f"somebody else's object at {foreign.key!r} is not what it was"
            elif self.bucket.client.head_object(Bucket=self.bucket.name, Key=foreign.key)["ETag"] != foreign.etag:
                yield f"somebody else's object at {foreign.key!r} was written again"

    # -- what else is there ---------------------------------------------------------------------------------------

    def _unexplained(self) -> Iterator[str]:
        for key in self.objects.keys() - self.explained:
            if not self._is_earlier(key):
                yield f"nothing explains the object {key!r}: {self.bucket.metadata(key)}"
        for key in self.bucket.documents().keys() - self.objects.keys():
            yield f"a document describes {key!r}, where nothing is"

    def _is_earlier(self, key: str) -> bool:
        """Of something that was at the path of a recording before; each such thing explains one object."""
        body = self.bucket.get(key)
        for take in self._takes_at(key):
            for copy in take.copies:
                if copy.read_bytes().startswith(body):
                    return True
            if take.in_place and self.wiped and take.path.read_bytes().startswith(body):
                return True
        return False

    def _open_uploads(self) -> Iterator[str]:
        client, name = self.bucket.client, self.bucket.name
        kept = {record.get("upload_id") for record in self._failed.values()}
        for upload in client.list_multipart_uploads(Bucket=name).get("Uploads", []):
            key, upload_id = upload["Key"], upload["UploadId"]
            if key == PROBE or upload_id in kept:
                continue
            parts = client.list_parts(Bucket=name, Key=key, UploadId=upload_id).get("Parts", [])
            if not any(self._explains(take, parts) for take in self._takes_at(key)):
                listed = [(part["PartNumber"], part["Size"]) for part in parts]
                yield f"an upload is open at {key!r}, begun {upload['Initiated']}, parts {listed}"

    def _explains(self, take: Take, parts: Sequence[Mapping[str, object]]) -> bool:
        """An upload that nobody remembers: Redis forgot it, and its bytes are of no file that is at this path now,
        or it was begun by a stream that had not noted it when it was killed, and whose source is gone."""
        if take.renamed and self.wiped:
            return True
        forgotten = self.wiped and (take.vanished or take.in_place)
        return (forgotten or (take.vanished and not parts)) and self._are_bytes_of(take.copies, parts)

    @staticmethod
    def _are_bytes_of(copies: Iterable[Path], parts: Sequence[Mapping[str, object]]) -> bool:
        return all(_holds(copy.read_bytes(), parts) for copy in copies)

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
        gone = {str(take.path.relative_to(self.stage.folder)) for take in self.takes if take.deleted}
        for stream_id, record in self._failed.items():
            if record.get("failure") != "source_missing" or record.get("path") not in gone:
                yield f"{stream_id} has failed: {record}"
        left = [key for key in self.stage.redis_keys("stream:*") if key.rsplit(":", 2)[-2] not in self._failed]
        yield from (f"{key} is left in Redis" for key in left)
        yield from (f"{key} was set aside" for key in self.stage.redis_keys("bad:*"))

    def _logs(self) -> Iterator[str]:
        said = self.stage.daemon.everything_said()
        yield from (f"a secret is in the log ({said.count(secret)} times)" for secret in self.secrets if secret in said)
        for line in re.findall(r'^.*"event": ?"unexpected_error".*$', said, re.MULTILINE):
            yield f"unexpected_error: {line[:2000]}"
        for path in sorted(self.stage.daemon.home.glob("run-*.err")):
            if text := path.read_text(errors="replace").strip():
                yield f"{path.name} is not empty: {text[-1000:]}"

    # -- keys -----------------------------------------------------------------------------------------------------

    def _takes_at(self, key: str) -> list[Take]:
        return [take for take in self.takes if key in self._family(take)]

    def _keys_of(self, take: Take) -> set[str]:
        return self._family(take) if take.numbered else set(take.roots)

    @staticmethod
    def _family(take: Take) -> set[str]:
        numbered = {next_free(root, number) for root in take.roots for number in range(2, _MOST_NUMBERS)}
        return {*take.roots, *numbered}


def _holds(body: bytes, parts: Sequence[Mapping[str, object]]) -> bool:
    """Whether each part is what lies at its place in these bytes; VersityGW's ETag of a part is its MD5."""
    for part in parts:
        offset = (int(str(part["PartNumber"])) - 1) * CHUNK
        piece = body[offset : offset + int(str(part["Size"]))]
        if _md5(piece) != str(part["ETag"]).strip('"'):
            return False
    return True


def _md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()
