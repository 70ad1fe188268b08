"""The one auditor of the crash ring: what is wrong when everything has come to rest. Nothing, when the promise held.

It looks at the store, the folder and Redis from outside and asks the product's own code nothing but to read a document.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from awscrt import checksums
from jsonschema import Draft202012Validator

from src.metadata_generator import StoredDescription, document_key, read_document
from src.object_keys import METADATA_SUFFIX
from src.reconcile import origin_of
from src.recording import Status
from tests.harness.fakes.store import FakeObject

if TYPE_CHECKING:
    from tests.harness.crash.simulation import Simulation

_SCHEMA = Path(__file__).parents[3] / "docs" / "metadata.schema.json"


def audit(simulation: Simulation, *, sent_at_most: int | None = None) -> Iterator[str]:
    """Every problem as a sentence. ``sent_at_most``: bytes that may have been sent to the store in all."""
    yield from _files(simulation)
    yield from _doubles(simulation)
    yield from _strangers(simulation)
    yield from _open_uploads(simulation)
    yield from _unfinished(simulation)
    yield from _keys(simulation)
    yield from (f"unforeseen: {moment}" for moment in simulation.telemetry.named("unexpected"))
    yield from (f"unforeseen: {error}" for error in simulation.errors)
    yield from (f"a task is left: {task}" for task in simulation.tasks_left)
    if sent_at_most is not None and simulation.store.sent_bytes > sent_at_most:
        yield f"{simulation.store.sent_bytes} bytes were sent, at most {sent_at_most} expected"


def _own_objects(simulation: Simulation) -> dict[str, FakeObject]:
    """What is neither a document nor a stranger's."""
    found = simulation.store.objects.items()
    return {key: there for key, there in found if not key.endswith(METADATA_SUFFIX) and key not in simulation.strangers}


def _files(simulation: Simulation) -> Iterator[str]:
    """The object equals the file, exactly one key holds it, and the document beside it fits."""
    objects = _own_objects(simulation)
    for path, content in simulation.recordings():
        holders = [key for key, there in objects.items() if there.data == content]
        if content and len(holders) != 1:
            yield f"{path!r} is at {len(holders)} keys: {holders}"
        for key in holders:
            yield from _document(key, objects[key], simulation.store.objects.get(document_key(key)))


def _document(key: str, there: FakeObject, document: FakeObject | None) -> Iterator[str]:
    if document is None:
        yield f"{key} has no document"
        return
    described = read_document(document.data)
    if described is None or described.etag != there.etag:
        yield f"the document of {key} is not its: {document.data!r}"
        return
    yield from (f"the document of {key}: {message}" for message in _against_the_schema(document.data))
    if (described.key, described.snapshot.size) != (key, len(there.data)):
        yield f"the document of {key} describes {described.key} of {described.snapshot.size} bytes"
    if described.crc64 != checksums.crc64nvme(there.data):
        yield f"the document of {key} has another checksum than the object"
    yield from _chunks(described, there)


@cache
def _schema() -> Draft202012Validator:
    return Draft202012Validator(json.loads(_SCHEMA.read_text()))


@lru_cache(maxsize=16)
def _against_the_schema(document: bytes) -> tuple[str, ...]:
    """A life is audited several times, and its document is mostly the same each time."""
    return tuple(error.message for error in _schema().iter_errors(json.loads(document)))


def _chunks(described: StoredDescription, there: FakeObject) -> Iterator[str]:
    if (total := sum(chunk.size for chunk in described.chunks)) != len(there.data):
        yield f"the document of {described.key} has chunks of {total} bytes together"
    for chunk in described.chunks:
        data = there.data[chunk.offset : chunk.offset + chunk.size]
        if chunk.crc64 not in (None, checksums.crc64nvme(data)):
            yield f"the document of {described.key} has another checksum for part {chunk.number} than its bytes"


def _doubles(simulation: Simulation) -> Iterator[str]:
    """No recording has two objects: neither one stream two keys, nor one file the same bytes twice."""
    objects = _own_objects(simulation)
    origins = {key: origin_of(there.metadata) for key, there in objects.items()}
    streams = Counter(origin.stream_id for origin in origins.values() if origin)
    bodies = Counter((origin.identity, objects[key].data) for key, origin in origins.items() if origin)
    yield from (f"stream {name} has {count} objects" for name, count in streams.items() if count > 1)
    yield from (f"{file} has {count} equal objects" for (file, _), count in bodies.items() if count > 1)


def _strangers(simulation: Simulation) -> Iterator[str]:
    """Nothing of anybody else was changed, neither an object nor an open upload."""
    for key, planted in simulation.strangers.items():
        if simulation.store.objects.get(key) is not planted:
            yield f"the stranger's object at {key} was changed"
    for upload_id, parts in simulation.strangers_uploads.items():
        there = simulation.store.uploads.get(upload_id)
        if there is None or there.parts != parts:
            yield f"the stranger's upload {upload_id} was changed"


def _open_uploads(simulation: Simulation) -> Iterator[str]:
    """Nothing half-done is left: an upload is a stranger's, or kept for a failed stream whose file may come back."""
    failed = [record for record in simulation.redis.state.records.values() if record.status is Status.FAILED]
    kept = {record.upload_id for record in failed if record.path not in simulation.disk.files}
    for upload in simulation.store.uploads.values():
        if upload.upload_id not in simulation.strangers_uploads and upload.upload_id not in kept:
            yield f"open upload at {upload.key}"


def _keys(simulation: Simulation) -> Iterator[str]:
    """No key is held by nobody: whoever has one lives, or has failed and is kept, also where Redis forgot it."""
    if simulation.dispatcher is None:
        return
    records = simulation.redis.state.records.values()
    kept = {(record.key, record.identity) for record in records if record.status is not Status.COMPLETED}
    living, failed = simulation.dispatcher._by_identity, simulation.dispatcher._failed
    for key, identity in simulation.dispatcher._keys._owners.items():
        if (key, identity) not in kept and identity not in living and identity not in failed:
            yield f"{key} is held by nobody"


def _unfinished(simulation: Simulation) -> Iterator[str]:
    for status in (Status.ACTIVE, Status.PENDING_COMPLETION):
        if simulation.redis.members(status):
            yield f"{status} is not empty"
