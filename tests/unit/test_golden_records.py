"""What release 0.1.0 wrote can be read, and what is written now 0.1.0 can read: fields are added, never changed.

The golden file holds records that 0.1.0 wrote of the same streams, byte for byte (as Latin-1, so that JSON can carry
them). A reader takes fields by their names: with every old field there and unchanged, an old reader finds what it
found before.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from src.checkpoint_format import decode_marker, decode_meta, decode_part, encode_marker, encode_meta, encode_part
from src.metadata_generator import read_document
from src.reconcile import object_metadata
from src.recording import PartSchedule
from tests.contract.test_checkpoints import full_record, marker, record
from tests.unit.test_metadata import SNAPSHOT, written

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "golden" / "records-0.1.0.json").read_text())
STREAM = "a1b2"
FULL = full_record(STREAM)
MARKER = marker(still_open=True)
#: The same records as they are written now.
NOW: dict[str, Any] = {
    "meta": {name: value.decode("latin-1") for name, value in encode_meta(FULL).items()},
    "meta of a new stream": {name: value.decode("latin-1") for name, value in encode_meta(record(STREAM)).items()},
    "parts": {str(n): encode_part(STREAM, part).decode("latin-1") for n, part in FULL.parts.items()},
    "marker": encode_marker(MARKER).decode("latin-1"),
    "object": object_metadata(STREAM, "cam/1.mp4", SNAPSHOT.identity, PartSchedule(10_485_760, growing=True)),
    "document": written(path="/srv/\udcff.mp4"),
}


def _opened(value: Any) -> Any:
    """JSON inside of a text is opened, so that its fields are compared, too."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        return json.loads(value)
    return value


def _missing(old: Any, new: Any, at: str = "") -> list[str]:
    """Where ``new`` lacks or changes something that ``old`` has."""
    old, new = _opened(old), _opened(new)
    if isinstance(old, dict) and isinstance(new, dict):
        gone = [f"{at}.{name} is gone" for name in old if name not in new]
        return gone + [each for name in old if name in new for each in _missing(old[name], new[name], f"{at}.{name}")]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [each for i, pair in enumerate(zip(old, new, strict=True)) for each in _missing(*pair, f"{at}[{i}]")]
    return [] if type(old) is type(new) and old == new else [f"{at} was {old!r}, is {new!r}"]


@pytest.mark.parametrize("kind", GOLDEN)
def test_every_field_of_0_1_0_is_still_written_as_it_was(kind: str) -> None:
    assert _missing(GOLDEN[kind], NOW[kind], kind) == []


def test_a_changed_and_a_lost_field_would_be_seen() -> None:
    assert _missing({"a": '{"b": 1, "c": [true]}'}, {"a": '{"c": [1], "d": 2}'}) == [
        ".a.b is gone",
        ".a.c[0] was True, is 1",
    ]


def test_the_records_of_0_1_0_are_read_as_they_were_meant() -> None:
    fields = {name: text.encode("latin-1") for name, text in GOLDEN["meta"].items()}
    parts = {
        int(number): decode_part(STREAM, number.encode(), text.encode("latin-1"))
        for number, text in GOLDEN["parts"].items()
    }
    read = decode_meta(STREAM, fields)
    assert (read, parts) == (full_record(STREAM, parts={}), FULL.parts)
    new = {name: text.encode("latin-1") for name, text in GOLDEN["meta of a new stream"].items()}
    assert decode_meta(STREAM, new) == record(STREAM)
    assert decode_marker(MARKER.snapshot.identity, GOLDEN["marker"].encode("latin-1")) == MARKER
    assert read_document(json.dumps(GOLDEN["document"]).encode()) == read_document(json.dumps(NOW["document"]).encode())


def test_versions_stay_so_that_0_1_0_does_not_refuse() -> None:
    versions = [
        NOW["meta"]["v"],
        *(json.loads(text)["v"] for text in NOW["parts"].values()),
        json.loads(NOW["marker"])["v"],
    ]
    assert {str(version) for version in versions} == {"1"}
    assert (NOW["document"]["schema_version"], NOW["object"]["cefmp4-format"]) == (1, "1")
