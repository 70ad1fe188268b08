"""Keys: no two paths share one, every limit holds, and people can still read them."""

from __future__ import annotations

import hashlib
import os
from fnmatch import fnmatchcase
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from src.domain import (
    LAST_NUMBER,
    METADATA_SUFFIX,
    metadata_value,
    names_of,
    natural_of,
    next_free,
    number_of,
    numbered_prefix,
    object_key,
    path_of,
    prefix_problem,
)
from src.domain.object_keys import (
    KEY_LIMIT,
    LAST_SEGMENT_LIMIT,
    METADATA_VALUE_LIMIT,
    NATURAL_KEY_LIMIT,
    PREFIX_LIMIT,
    SEGMENT_LIMIT,
)


def _is_name(name: bytes) -> bool:
    return name not in (b"", b".", b"..") and b"/" not in name and b"\0" not in name


RAW_NAMES = st.one_of(
    st.binary(min_size=1, max_size=255),
    st.text(min_size=1, max_size=80).map(lambda text: text.encode("utf-8", "surrogatepass")[:255]),
    st.sampled_from("a%é\u0301\x01\x7f\x85~.").flatmap(
        lambda character: st.integers(1, 255).map(lambda count: (character * count).encode()[:255])
    ),
).filter(_is_name)
PATHS = st.lists(RAW_NAMES, min_size=1, max_size=16).map(lambda names: os.fsdecode(b"/".join(names)))
PREFIXES = st.sampled_from(
    ["", "cam/", "cam-1-", "site é/cam 7/", "x" * 100, "d" * 255 + "/" + "e" * 156 + "/" + "f" * 99]
)


def _bytes(text: str) -> int:
    return len(text.encode("utf-8"))


def _assert_within_limits(key: str) -> None:
    described = key + METADATA_SUFFIX
    assert _bytes(described) <= KEY_LIMIT
    assert all(1 <= _bytes(segment) <= SEGMENT_LIMIT for segment in described.split("/"))
    assert not any(segment in (".", "..") for segment in key.split("/"))


@given(PREFIXES, PATHS)
def test_every_key_and_its_description_and_its_numbered_kin_hold_the_limits(prefix: str, path: str) -> None:
    key = object_key(prefix, path)
    _assert_within_limits(key)
    _assert_within_limits(next_free(key, 2))
    _assert_within_limits(next_free(key, LAST_NUMBER))
    assert key.startswith(prefix)


@given(PREFIXES, PATHS)
def test_a_key_that_was_not_cut_gives_the_path_back(prefix: str, path: str) -> None:
    key = object_key(prefix, path)
    assume("%~" not in key.removeprefix(prefix))
    assert unquote_to_bytes(key.removeprefix(prefix)) == os.fsencode(path)
    assert os.fsencode(path_of(prefix, key) or "") == os.fsencode(path)


@pytest.mark.parametrize(
    "key", ["b.mp4", "a/", "a/%2E", "a/x%41.mp4", "a/%ZZ.mp4", "a//x.mp4", "a/../x.mp4", "a/x%~0123456789abcdef.mp4"]
)
def test_a_key_that_no_path_has_gives_none(key: str) -> None:
    assert path_of("a/", key) is None


@given(PREFIXES, PATHS, PATHS)
@example("", "a%2Fb.mp4", "a/b.mp4")
@example("", "%.mp4", "%25.mp4")
@example("", "caf\u00e9.mp4", "cafe\u0301.mp4")
@example("", "\udcff.mp4", "%FF.mp4")
@example("", "\udcc2\udc85.mp4", "\x85.mp4")
@example("", "x" * 230 + "1.mp4", "x" * 230 + "2.mp4")
@example("", "a.mp4.metadata.json", "a.mp4.metadata%2Ejson")
def test_two_paths_never_share_a_key_or_a_metadata_value(prefix: str, one: str, other: str) -> None:
    assume(os.fsencode(one) != os.fsencode(other))
    assert object_key(prefix, one) != object_key(prefix, other)
    assert metadata_value(one) != metadata_value(other)


@given(PATHS)
def test_a_key_has_nothing_that_an_xml_answer_cannot_carry(path: str) -> None:
    key = object_key("", path)
    assert not any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 or c in "\ufffe\uffff" for c in key)
    assert key.encode("utf-8").decode("utf-8") == key


@pytest.mark.parametrize(
    "path",
    [
        "2026-11-21/cam 1.mp4",
        "..mp4",
        ".mp4",
        "-rf.mp4",
        "trailing .mp4 ",
        "back\\slash.mp4",
        "rtl\u202e4pm.mp4",
        "caf\u00e9 \U0001f3a5.mp4",
        "q?x#y&z+w=1.mp4",
        "stem~2.mp4",
    ],
)
def test_ordinary_and_odd_names_stay_as_people_wrote_them(path: str) -> None:
    assert object_key("cam/", path) == "cam/" + path


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("100%.mp4", "100%25.mp4"),
        ("a\nb.mp4", "a%0Ab.mp4"),
        ("\x7f\x85.mp4", "%7F%C2%85.mp4"),
        ("\udcff\udc80.mp4", "%FF%80.mp4"),
        ("\uffff.mp4", "%EF%BF%BF.mp4"),
        ("a.mp4.metadata.json", "a.mp4.metadata%2Ejson"),
        ("a.mp4.metadata.json/b.mp4", "a.mp4.metadata%2Ejson/b.mp4"),
        (".sgwtmp/a.mp4", "%2Esgwtmp/a.mp4"),
        (".cefmp4-probe/a.mp4", "%2Ecefmp4-probe/a.mp4"),
        (".cefmp4-probe", "%2Ecefmp4-probe"),
        ("a.sgwtmp/metadata.json", "a.sgwtmp/metadata.json"),
    ],
)
def test_what_a_store_would_mangle_is_percent_encoded(path: str, key: str) -> None:
    assert object_key("", path) == key


def test_no_recording_takes_the_key_of_anothers_description() -> None:
    assert object_key("", "a.mp4" + METADATA_SUFFIX) != object_key("", "a.mp4") + METADATA_SUFFIX


def test_a_name_of_the_longest_size_that_fits_is_not_cut_and_one_byte_more_is() -> None:
    fits = "x" * (LAST_SEGMENT_LIMIT - 4) + ".mp4"
    assert object_key("", fits) == fits
    longer = "x" + fits
    digest = hashlib.sha256(longer.encode()).hexdigest()[:16]
    assert object_key("", longer) == "x" * (LAST_SEGMENT_LIMIT - 22) + f"%~{digest}.mp4"
    assert _bytes(object_key("", longer)) == LAST_SEGMENT_LIMIT


def test_a_cut_never_splits_a_character_or_an_escape() -> None:
    for name in ("é" * 125 + ".mp4", "a" + "é" * 124 + ".mp4", "\x01" * 240, "a" + "\x01" * 240, "aa" + "\x01" * 240):
        kept = object_key("", name).partition("%~")[0]
        assert name.encode().startswith(unquote_to_bytes(kept))
        assert LAST_SEGMENT_LIMIT - _bytes(kept) <= 25


def test_the_prefix_is_part_of_the_first_segment() -> None:
    key = object_key("p" * 100, "x" * 200 + ".mp4")
    assert _bytes(key) == LAST_SEGMENT_LIMIT
    assert key.endswith(".mp4")


def test_recordings_in_one_long_folder_stay_together() -> None:
    folder = "\x01" * 255
    one, other = object_key("", f"{folder}/a.mp4"), object_key("", f"{folder}/b.mp4")
    assert one.removesuffix("a.mp4") == other.removesuffix("b.mp4")


def test_a_key_of_the_longest_size_that_fits_is_not_cut_and_one_byte_more_is() -> None:
    folders = "/".join(["d" * 200] * 4)
    fits = f"{folders}/{'e' * (NATURAL_KEY_LIMIT - _bytes(folders) - 7)}/a.mp4"
    assert object_key("", fits) == fits
    longer = fits.replace("/a.mp4", "/aa.mp4")
    key = object_key("", longer)
    assert key == f"{folders}/%~{hashlib.sha256(longer.encode()).hexdigest()[:16]}/aa.mp4"


def test_numbers_go_before_the_extension() -> None:
    assert next_free("cam/a.b/rec.mp4", 2) == "cam/a.b/rec~2.mp4"
    assert next_free("rec", 3) == "rec~3"
    assert next_free("a.b/rec", 3) == "a.b/rec~3"
    assert next_free("..mp4", 2) == ".~2.mp4"
    assert next_free("dot.", 2) == "dot.~2"
    assert next_free("no.extension at all", 2) == "no.extension at all~2"
    assert next_free("stem~2.mp4", 2) == "stem~2~2.mp4"


@given(PATHS, st.integers(2, LAST_NUMBER), st.integers(2, LAST_NUMBER))
def test_each_number_is_another_key(path: str, one: int, other: int) -> None:
    key = object_key("", path)
    assert next_free(key, one) != key
    assert (next_free(key, one) == next_free(key, other)) == (one == other)


@pytest.mark.parametrize("number", [-1, 0, 1, 10_000_000])
def test_there_is_no_numbered_key_without_a_number(number: int) -> None:
    with pytest.raises(ValueError):
        next_free("a.mp4", number)


@given(PATHS)
def test_a_metadata_value_is_short_ascii_without_spaces(path: str) -> None:
    value = metadata_value(path)
    assert value.isascii() and value.isprintable() and " " not in value
    assert 0 < len(value) <= METADATA_VALUE_LIMIT
    if "%~" not in value:
        assert unquote_to_bytes(value) == os.fsencode(path)


def test_a_long_metadata_value_is_cut_between_escapes_and_gets_a_hash() -> None:
    value = metadata_value("é" * 120)
    assert len(value) > METADATA_VALUE_LIMIT - 3
    assert fnmatchcase(value, "%C3%A9*%~????????????????")


@pytest.mark.parametrize("path", ["", "/abs.mp4", "a//b.mp4", "a/", ".", "..", "../a.mp4", "a/./b.mp4", "a\0.mp4"])
def test_what_is_no_relative_path_gets_no_key(path: str) -> None:
    with pytest.raises(ValueError):
        object_key("", path)


@pytest.mark.parametrize("prefix", ["", "cam/", "cam", "a/b c/", "é/", "\U0001f3a5/", "x" * 100, ("d" * 255 + "/") * 2])
def test_prefixes_that_can_be_used(prefix: str) -> None:
    assert prefix_problem(prefix) is None


@pytest.mark.parametrize(
    ("prefix", "word"),
    [
        ("/", "slash"),
        ("/cam/", "slash"),
        ("a//b", "slash"),
        ("a/../b/", "folder"),
        ("./", "folder"),
        ("a\n/", "printable"),
        ("\udcff/", "printable"),
        ("x" * 101, "last slash"),
        ("d" * 256 + "/", "folders"),
        (("d" * 250 + "/") * 2 + "d" * 11, str(PREFIX_LIMIT)),
    ],
)
def test_prefixes_that_cannot_be_used_are_refused_with_the_reason(prefix: str, word: str) -> None:
    problem = prefix_problem(prefix)
    assert problem is not None and word in problem
    with pytest.raises(ValueError):
        object_key(prefix, "a.mp4")


@pytest.mark.parametrize(
    "natural", ["cam.mp4", "a/b/cam.mp4", "cam", "a~2.mp4", "x~.mp4", ".mp4", "K~3/ü~2~2.mp4", "pre~cam.m.mp4"]
)
@pytest.mark.parametrize("number", [2, 3, 10, 9_999_999])
def test_the_number_in_a_key_is_found_again(natural: str, number: int) -> None:
    key = next_free(natural, number)
    assert key.startswith(numbered_prefix(natural))
    assert number_of(natural, key) == number_of(natural, key + METADATA_SUFFIX) == number
    assert natural_of(key, number) == natural
    assert names_of(key) == (key, natural)


@pytest.mark.parametrize(
    "key",
    [
        "cam.mp4",
        "cam~.mp4",
        "cam~1.mp4",
        "cam~02.mp4",
        "cam~2.mov",
        "cam~2x.mp4",
        "cam~20000000.mp4",
        "cam~2~3.mp4",
        "cam2.mp4",
    ],
)
def test_a_key_of_another_name_has_no_number(key: str) -> None:
    assert number_of("cam.mp4", key) is None
    assert natural_of(key, 4) is None
    assert "cam.mp4" not in names_of(key) or key == "cam.mp4"


@pytest.mark.parametrize("code", [0x20, 0x24, 0x26, 0x7E, 0xA0, 0xD7FF, 0xE000, 0xFFFD, 0x10000, 0x10FFFF])
def test_the_first_and_last_characters_that_stay(code: int) -> None:
    assert object_key("", f"a{chr(code)}b") == f"a{chr(code)}b"


@pytest.mark.parametrize("code", [0x01, 0x1F, 0x25, 0x7F, 0x80, 0x9F, 0xFFFE, 0xFFFF])
def test_the_first_and_last_characters_that_are_encoded(code: int) -> None:
    encoded = "".join(f"%{byte:02X}" for byte in chr(code).encode())
    assert object_key("", f"a{chr(code)}b") == f"a{encoded}b"


@pytest.mark.parametrize(("length", "is_extension"), [(1, True), (15, True), (16, False), (17, False)])
def test_an_extension_has_up_to_fifteen_bytes(length: int, is_extension: bool) -> None:
    end = "." + "x" * length
    assert next_free("a" + end, 2) == (f"a~2{end}" if is_extension else f"a{end}~2")


def test_a_short_metadata_value_is_the_path_itself() -> None:
    assert [metadata_value(path) for path in ("cam/1_a-b~2.mp4", "a b%ü")] == ["cam/1_a-b~2.mp4", "a%20b%25%C3%BC"]


def test_a_metadata_value_of_512_bytes_is_not_cut_and_one_byte_more_is() -> None:
    assert metadata_value("a" * 512) == "a" * 512
    longer = "a" * 513
    assert metadata_value(longer) == "a" * 494 + "%~" + hashlib.sha256(longer.encode()).hexdigest()[:16]


def test_a_prefix_and_a_name_share_the_room_of_a_segment() -> None:
    """A byte less for each byte behind the prefix's last slash, and in the whole key for each byte of it."""
    fits = "x" * (LAST_SEGMENT_LIMIT - 100)
    assert object_key("d/" + "p" * 100, fits) == "d/" + "p" * 100 + fits
    assert "%~" in object_key("d/" + "p" * 100, "x" + fits)
    folder = "x" * (SEGMENT_LIMIT - 100)
    assert object_key("p" * 100, f"{folder}/a") == "p" * 100 + f"{folder}/a"
    assert "%~" in object_key("p" * 100, f"x{folder}/a")


@pytest.mark.parametrize(("more", "kept"), [(0, 4), (1, 3)])
def test_of_a_key_that_is_too_long_as_many_folders_stay_as_fit(more: int, kept: int) -> None:
    end = len("/%~0123456789abcdef/a.mp4")
    folders = ["d" * 240] * 3 + ["d" * (NATURAL_KEY_LIMIT - end - 3 * 241 + more)]
    path = "/".join([*folders, "e" * 200, "a.mp4"])
    digest = hashlib.sha256(path.encode()).hexdigest()[:16]
    key = object_key("", path)
    assert key == "/".join([*folders[:kept], f"%~{digest}", "a.mp4"])
    assert more or _bytes(key) == NATURAL_KEY_LIMIT
