"""Every name of the corpus: its key, its place in S3's headers, and whether it is a recording at all.

Its line in the log is tested with the log, its whole way with the daemon.
"""

from __future__ import annotations

import os
from collections import Counter
from urllib.parse import unquote_to_bytes

import pytest

from src.config import Settings
from src.domain import LAST_NUMBER, METADATA_SUFFIX, PROBE_KEY, metadata_value, next_free, object_key
from src.domain.object_keys import KEY_LIMIT, METADATA_VALUE_LIMIT, SEGMENT_LIMIT
from src.watcher import Globs
from tests.corpus.names import NO_RECORDINGS, RECORDINGS, Odd
from tests.harness.findings import each

PREFIXES = ["", "cam/", "cam-1-", "d" * 255 + "/" + "e" * 156 + "/" + "f" * 99]
USUAL = Globs(Settings.model_fields["watch_filter_globs"].default)

each_recording = each("name", RECORDINGS)


def test_there_are_as_many_as_promised_and_no_two_are_the_same() -> None:
    assert len({name.path for name in RECORDINGS}) == len(RECORDINGS) >= 100
    assert len({name.what for name in RECORDINGS}) == len(RECORDINGS)
    assert all(len(part) <= 255 for name in RECORDINGS for part in name.path.split(b"/"))


@each_recording
def test_it_is_a_recording(name: Odd) -> None:
    assert USUAL.match(os.fsdecode(name.path))


@each("name", NO_RECORDINGS)
def test_it_is_no_recording(name: Odd) -> None:
    assert not USUAL.match(os.fsdecode(name.path))


@each_recording
@pytest.mark.parametrize("prefix", PREFIXES, ids=["no prefix", "folder", "half a name", "long"])
def test_its_key_fits_with_document_and_number(prefix: str, name: Odd) -> None:
    natural = object_key(prefix, os.fsdecode(name.path))
    for key in (natural, next_free(natural, 2), next_free(natural, LAST_NUMBER)):
        described = key + METADATA_SUFFIX
        assert len(described.encode()) <= KEY_LIMIT
        assert all(0 < len(segment.encode()) <= SEGMENT_LIMIT for segment in described.split("/"))
        assert not any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 for c in key)
        assert not {".", "..", PROBE_KEY, ".sgwtmp"} & set(key.removeprefix(prefix).split("/"))


@each_recording
def test_its_key_says_what_it_was(name: Odd) -> None:
    key = object_key("", os.fsdecode(name.path))
    assert (key.encode() == name.path) == name.plain
    if "%~" not in key:
        assert unquote_to_bytes(key) == name.path


@each_recording
def test_its_place_in_the_objects_metadata_is_a_header_that_every_proxy_passes(name: Odd) -> None:
    value = metadata_value(os.fsdecode(name.path))
    assert value.isascii() and value.isprintable() and " " not in value
    assert len(value) <= METADATA_VALUE_LIMIT
    if "%~" not in value:
        assert unquote_to_bytes(value) == name.path


@pytest.mark.parametrize("prefix", PREFIXES, ids=["no prefix", "folder", "half a name", "long"])
def test_no_two_share_a_key_or_a_document_and_none_lies_where_another_ones_folder_must_be(prefix: str) -> None:
    keys = [object_key(prefix, os.fsdecode(name.path)) for name in RECORDINGS + NO_RECORDINGS]
    lying = Counter([*keys, *(key + METADATA_SUFFIX for key in keys), prefix + PROBE_KEY])
    assert [key for key, count in lying.items() if count > 1] == []
    folders = {key[:end] for key in keys for end in range(len(key)) if key[end] == "/"}
    assert folders & lying.keys() == set()


def test_no_two_share_a_metadata_value() -> None:
    assert len({metadata_value(os.fsdecode(name.path)) for name in RECORDINGS}) == len(RECORDINGS)
