"""The bucket as somebody sees it who knows nothing of the daemon: boto3, and the store's plain files if it has them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from tests.harness import auditor
from tests.harness.e2e import view
from tests.harness.servers import S3Server
from tests.harness.stores.real import REAL, Lack

SUFFIX = view.SUFFIX
PROBE = ".cefmp4-probe"
#: Bytes of a hash in MinIO's files.
_HASH = 32

Document = dict[str, Any]


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Bucket:
    """One bucket of a real store. ``keeps_checksums``: it is asked to keep those of parts, and does."""

    server: S3Server
    name: str
    keeps_checksums: bool = True

    @cached_property
    def client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.server.endpoint,
            aws_access_key_id=self.server.access_key,
            aws_secret_access_key=self.server.secret_key,
            region_name=self.server.region,
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 5}),
        )

    @property
    def folder(self) -> Path:
        """Where the objects lie as plain files."""
        assert self.server.data is not None
        return self.server.data / self.name

    def objects(self) -> list[str]:
        """The keys of the objects that are copies of recordings: no documents, no probe."""
        return sorted(key for key in self._all_keys() if not key.endswith(SUFFIX) and key != PROBE)

    def documents(self) -> dict[str, Document]:
        """Every document by the key of the object that it describes."""
        found = {key: self.document(key) for key in self.described()}
        return {key: document for key, document in found.items() if document is not None}

    def described(self) -> list[str]:
        """The keys that have a document, which may just be being written."""
        return [key.removesuffix(SUFFIX) for key in self._all_keys() if key.endswith(SUFFIX)]

    def document(self, key: str) -> Document | None:
        """The document of the object at ``key``; None where there is none, or where it is just being written."""
        try:
            document: Document = json.loads(self.stored(key + SUFFIX))
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        return document

    def open_uploads(self) -> list[str]:
        """The keys of all multipart uploads that were neither completed nor aborted, but for those of the probe."""
        return [upload["Key"] for upload in self._uploads() if upload["Key"] != PROBE]

    def probe_uploads(self) -> int:
        """How many a daemon has begun, or was killed with, while it learnt what the store can do."""
        return sum(upload["Key"] == PROBE for upload in self._uploads())

    def parts_left_open(self) -> dict[str, int]:
        """How many parts each of ``open_uploads`` holds, by key, for those that hold any."""
        held: Counter[str] = Counter()
        for upload in self._uploads():
            if upload["Key"] != PROBE:
                with suppress(self.client.exceptions.NoSuchUpload):  # it ended after it was listed
                    held[upload["Key"]] += len(self._parts(upload))
        return dict(+held)

    @property
    def lists_by_prefix(self) -> bool:
        """MinIO lists uploads by exact key; without a prefix it tells those that were begun since its own start."""
        return Lack.LISTING_BY_PREFIX not in REAL[self.server.name].lacks

    def uploads_at(self, prefix: str) -> list[Any]:
        answer = self.client.list_multipart_uploads(Bucket=self.name, Prefix=prefix)
        return answer.get("Uploads", [])  # type: ignore[no-any-return]

    def uploads_on_disk(self) -> int:
        """How many a MinIO of our own holds open, in all its buckets."""
        return len(list(self._minios_uploads.glob("*/*")))

    def part(self, upload_id: str, number: int) -> bytes:
        """A part of an open upload, from the store's disk: S3 gives none."""
        if self.lists_by_prefix:
            (path,) = self.folder.glob(f".sgwtmp/multipart/*/{upload_id}/{number}")
            return path.read_bytes()
        name = base64.b64decode(upload_id + "==").decode().partition(".")[2]
        (path,) = self._minios_uploads.glob(f"*/{name}/*/part.{number}")
        raw = path.read_bytes()
        # Before each MiB lies its hash.
        step = _HASH + 1024 * 1024
        return b"".join(raw[offset + _HASH : offset + step] for offset in range(0, len(raw), step))

    @property
    def _minios_uploads(self) -> Path:
        return self.server.directory / "data" / ".minio.sys" / "multipart"

    def _uploads(self) -> list[Any]:
        return self.uploads_at("")

    def _parts(self, upload: Any) -> list[Any]:
        answer = self.client.list_parts(Bucket=self.name, Key=upload["Key"], UploadId=upload["UploadId"])
        return answer.get("Parts", [])  # type: ignore[no-any-return]

    def get(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket=self.name, Key=key)["Body"].read())

    def metadata(self, key: str) -> dict[str, str]:
        return dict(self.client.head_object(Bucket=self.name, Key=key)["Metadata"])

    def put(self, key: str, body: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=body)

    def written_ns(self, key: str) -> int:
        """When the object was written; to the second where it is no file."""
        if self.server.data is not None:
            return (self.folder / key).stat().st_mtime_ns
        return int(self.client.head_object(Bucket=self.name, Key=key)["LastModified"].timestamp() * 1e9)

    def stored(self, key: str) -> bytes:
        """The object from the store's disk, or fetched. Raises ``FileNotFoundError`` where nothing is."""
        if self.server.data is not None:
            return (self.folder / key).read_bytes()
        try:
            return self.get(key)
        except (self.client.exceptions.NoSuchKey, self.client.exceptions.NoSuchBucket) as exc:
            raise FileNotFoundError(key) from exc

    def _all_keys(self) -> list[str]:
        """From the disk where the store has plain files: a listing shows control characters otherwise than they are."""
        if self.server.data is None:
            return self._listed_keys()
        keys = []
        for folder, below, names in os.walk(self.folder):
            if ".sgwtmp" in below:
                below.remove(".sgwtmp")  # uploads that are under way
            keys += [os.path.relpath(os.path.join(folder, name), self.folder) for name in names]
        return keys

    def _listed_keys(self) -> list[str]:
        try:
            pages = list(self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name))
        except self.client.exceptions.NoSuchBucket:
            return []  # the daemon has not made it yet
        return [str(entry["Key"]) for page in pages for entry in page.get("Contents", [])]

    # -- comparing ----------------------------------------------------------------------------------------------

    def holds(self, key: str, recording: Path) -> bool:
        """Whether the object is the file, on the store's disk and as it is fetched."""
        return sha256(recording) == self.sha256(key) == hashlib.sha256(self.get(key)).hexdigest()

    def sha256(self, key: str) -> str | None:
        """Of the object as it lies on the store's disk where it is a plain file, else as it is fetched. None: none."""
        try:
            return hashlib.sha256(self.stored(key)).hexdigest()
        except (FileNotFoundError, IsADirectoryError):
            return None

    def check_document(self, key: str, recording: Path, *, parts_known: bool = True) -> Document:
        """Hold every fact in the document of ``key`` against the file and the store; gives the document.

        ``parts_known`` False: Redis forgot, and nobody need remember the ETags of the parts, or of some of them.
        """
        world = view.one(self, key, recording, parts_known=parts_known)
        auditor.demand(world)
        document: Document = world.documents[key].fields or {}
        return document
