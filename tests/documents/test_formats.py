"""docs/formats.md and the JSON Schema say what is really written: every field, and no other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from src.domain import STATUSES, Care, Identity, Manifest, Marker, PartSchedule, Probe, SendReason, Superseded
from src.domain.whose import object_metadata
from src.redis_client.format import decode_marker, decode_part, encode_marker, encode_meta, encode_part
from src.redis_client.names import ALL_SETS
from tests.documents.test_documents import ROOT, _first_names, _section
from tests.unit.test_metadata import BEGAN, SCHEMA, SNAPSHOT, VALIDATOR, part, proved, written

FORMATS = ROOT / "docs" / "formats.md"
#: A record with everything that a record can have.
FULL = replace(
    proved(),
    upload_id="upload",
    replaces="etag",
    unanswered=True,
    still_open=True,
    without_checksums=True,
    failure="a reason",
    number=2,
    probe=Probe(2.5),
    manifest=Manifest(25, 7, 3, SNAPSHOT, replaces="etag", etag_md5="md5"),
    superseded=(Superseded("key", None, "s0", BEGAN),),
)
MARKER = Marker(
    stream_id="s1",
    path="a.mp4",
    bucket="b",
    key="a.mp4",
    snapshot=SNAPSHOT,
    crc64=7,
    etag="etag",
    schedule=PartSchedule(10, growing=True),
    started_at=BEGAN,
    completed_at=BEGAN,
    replacements=0,
    still_open=True,
)


def _below(heading: str) -> str:
    """The text below a heading of the third level."""
    return _section(FORMATS, "Redis").partition(f"\n### {heading}\n")[2].partition("\n### ")[0]


def _examples(text: str) -> list[bytes]:
    return [found.encode() for found in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]


def test_every_set_of_streams_and_every_status_of_a_record_is_named() -> None:
    sets = re.findall(r"^\| `(streams:\w+)` \| set \|", _section(FORMATS, "Redis"), re.MULTILINE)
    assert sorted(sets) == sorted(name.decode() for name in ALL_SETS)
    (row,) = re.findall(r"^\| `status` \| (.*) \|$", _below("`stream:{id}:meta`"), re.MULTILINE)
    recorded = {str(status) for status, standing in STATUSES.items() if standing.care is not Care.DONE}
    assert set(re.findall(r"`(\w+)`", row)) == recorded


def test_every_field_of_a_record_is_explained_and_no_other() -> None:
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", _below("`stream:{id}:meta`"), re.MULTILINE)
    explained = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    of_the_step = {"revision", "owner", "epoch"}  # how it is written, not what
    assert explained - of_the_step == encode_meta(FULL).keys()


def test_what_is_inside_of_a_records_fields_is_explained() -> None:
    fields, text = encode_meta(FULL), _below("`stream:{id}:meta`")
    inside = {*json.loads(fields["manifest"]), *json.loads(fields["manifest"])["snapshot"]}
    inside |= {*json.loads(fields["superseded"])[0], *json.loads(fields["schedule"])}
    assert [name for name in sorted(inside) if not re.search(rf'[`"]{name}[`"]', text)] == []


def test_the_part_that_is_shown_is_one_and_every_field_is_there() -> None:
    text = _below("`stream:{id}:parts`")
    (shown,) = _examples(text)
    assert decode_part(json.loads(shown)["stream_id"], b"1", shown).size > 0
    fields = json.loads(encode_part("s1", replace(part(1, 10, sent_again=(SendReason.LOST,)), md5="md5")))
    assert [name for name in fields if f'"{name}"' not in text and f"`{name}`" not in text] == []


def test_every_reason_for_sending_again_is_explained() -> None:
    text = _below("`stream:{id}:parts`")
    assert [reason for reason in SendReason if reason is not SendReason.NEW and f"`{reason}`" not in text] == []


def test_the_marker_that_is_shown_is_one_and_every_field_is_there() -> None:
    text = _below("`streams:markers`")
    (shown,) = _examples(text)
    snapshot = json.loads(shown)["snapshot"]
    assert decode_marker(Identity(snapshot["inode"], snapshot["birth_ns"]), shown).key == "first.mp4"
    assert [name for name in json.loads(encode_marker(MARKER)) if f'"{name}"' not in text] == []


def test_the_document_that_is_shown_satisfies_the_schema() -> None:
    (shown,) = _examples(_section(FORMATS, "The metadata document"))
    VALIDATOR.validate(json.loads(shown))


def test_every_header_of_an_object_is_explained_and_no_other() -> None:
    schedule = PartSchedule(10, growing=True, step=100)
    headers = object_metadata("s1", "a.mp4", SNAPSHOT.identity, schedule, started_at=MARKER.started_at)
    listed = _first_names(_section(FORMATS, "Object metadata"), r"`x-amz-meta-([\w-]+)`")
    assert listed == {name.removeprefix("x-amz-meta-") for name in headers}


#: What a document has only where its schedule is not the usual one.
_ONLY_IN_2 = {".object.part_schedule.parts_per_step"}


def test_the_schema_describes_every_field_and_no_other() -> None:
    document = written(path="/srv/\udcff.mp4")
    assert set(_fields(document)) | _ONLY_IN_2 == set(_described(SCHEMA))


def _fields(value: Any, at: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield f"{at}.{name}"
            yield from _fields(inner, f"{at}.{name}")
    elif isinstance(value, list):
        for inner in value:
            yield from _fields(inner, at)


def _described(schema: Any, at: str = "") -> Iterator[str]:
    """Like ``_fields``, of a schema; whatever has properties allows no others."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    if "properties" in schema:
        assert schema["additionalProperties"] is False, at
    for name, inner in schema.get("properties", {}).items():
        yield f"{at}.{name}"
        yield from _described(inner, f"{at}.{name}")
    if "items" in schema:
        yield from _described(schema["items"], at)
