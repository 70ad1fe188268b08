"""Maps a recording's path to its S3 key: readable, within all limits, and unique for each path.

Rules:

* UTF-8 stays as it is, so that bucket browsers show the original names; NFC and NFD forms stay different.
* ``%``, control characters (C0, DEL, C1), bytes that are not UTF-8, and U+FFFE and U+FFFF (which XML responses cannot
  contain) become ``%XX`` per byte. ``urllib.parse.unquote_to_bytes`` restores the path's bytes.
* In a segment that ends in ``.metadata.json`` the dot before ``json`` becomes ``%2E``, so that no recording occupies
  the metadata key of another. The same applies to ``.sgwtmp``, a folder that VersityGW reserves, and to the name of the
  probe's object: a store whose objects are files has no room below it.
* A name that is too long is cut between characters and gets ``%~`` and a hash of the whole name (64 bits of SHA-256);
  the extension stays. No uncut name contains ``%~``.

Limits are in bytes of UTF-8. S3 allows 1,024 for a key; VersityGW, whose objects are files, 255 for a segment. Both
limits also apply to the metadata document beside the object and to ``~<n>``, which distinguishes objects of one name.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from itertools import accumulate
from urllib.parse import quote_from_bytes, unquote_to_bytes

METADATA_SUFFIX = ".metadata.json"
#: After the prefix: the one object that is neither a recording nor a metadata document.
PROBE_KEY = ".cefmp4-probe"
KEY_LIMIT = 1024
SEGMENT_LIMIT = 255
METADATA_VALUE_LIMIT = 512
LAST_NUMBER = 9_999_999

_NUMBER_ROOM = len(f"~{LAST_NUMBER}")
#: Limit for the natural key, so that ``next_free`` and the metadata key fit without another cut.
NATURAL_KEY_LIMIT = KEY_LIMIT - len(METADATA_SUFFIX) - _NUMBER_ROOM
LAST_SEGMENT_LIMIT = SEGMENT_LIMIT - len(METADATA_SUFFIX) - _NUMBER_ROOM
#: A longer prefix would leave no room for the recording's own name.
PREFIX_LIMIT = 512
PREFIX_NAME_LIMIT = 100

_CUT = "%~"
_HASH_DIGITS = 16
_EXTENSION_LIMIT = 16
_UNIT = re.compile(r"%[0-9A-F]{2}|.", re.DOTALL)
_RESERVED = re.compile(rf"\.(?=json\Z)(?<=\.metadata\.)|\A\.(?=(?:sgwtmp|{PROBE_KEY[1:]})\Z)")


def object_key(prefix: str, path: str) -> str:
    """The natural key of the recording at ``path`` (relative, as returned by ``os.fsdecode``).

    ``prefix`` is prepended unchanged. Raises ``ValueError`` for a prefix that ``prefix_problem`` rejects and for a path
    that is not relative.
    """
    if problem := prefix_problem(prefix):
        raise ValueError(f"the prefix {prefix!r} {problem}")
    names = os.fsencode(path).split(b"/")
    if any(name in (b"", b".", b"..") or b"\0" in name for name in names):
        raise ValueError(f"{path!r} is not a path relative to the watched folder")
    rooms = _rooms(len(names), taken=_size(prefix.rpartition("/")[2]))
    segments = [_segment(name, room) for name, room in zip(names, rooms, strict=True)]
    return prefix + _within_key(segments, names, NATURAL_KEY_LIMIT - _size(prefix))


def path_of(prefix: str, key: str) -> str | None:
    """The path with this natural key; None if no path has it, or if only a hash of the path is left."""
    if not key.startswith(prefix) or _CUT in key:
        return None
    path = os.fsdecode(unquote_to_bytes(key[len(prefix) :]))
    try:
        return path if object_key(prefix, path) == key else None
    except ValueError:
        return None


def prefix_problem(prefix: str) -> str | None:
    """The problem with a key prefix, as the end of a sentence; None if there is none."""
    folders = prefix.split("/")
    if any(not part.isprintable() or not _is_utf8(part) for part in folders):
        return "contains characters that are not printable"
    if "" in folders[:-1]:
        return "begins with a slash or has two in a row"
    if any(part in (".", "..") for part in folders):
        return 'has "." or ".." as a folder'
    if _size(prefix) > PREFIX_LIMIT or any(_size(part) > SEGMENT_LIMIT for part in folders):
        return f"is longer than {PREFIX_LIMIT} bytes, or one of its folders is longer than {SEGMENT_LIMIT}"
    if _size(folders[-1]) > PREFIX_NAME_LIMIT:
        return f"has more than {PREFIX_NAME_LIMIT} bytes after its last slash"
    return None


def next_free(key: str, number: int) -> str:
    """The key to try if ``key`` and those with smaller numbers are occupied: ``stem~2.mp4``, ``stem~3.mp4``, …

    ``key`` is the natural key. A file may itself be named ``stem~2.mp4``: the conditional completion decides which one
    gets the key. Raises ``ValueError`` for a number that is not between 2 and 9,999,999.
    """
    if not 2 <= number <= LAST_NUMBER:
        raise ValueError(f"numbers of keys are between 2 and {LAST_NUMBER}, not {number}")
    folder, slash, name = key.rpartition("/")
    stem, extension = _split_extension(name)
    return f"{folder}{slash}{stem}~{number}{extension}"


def numbered_prefix(key: str) -> str:
    """The common prefix of all keys that ``next_free`` derives from a natural key."""
    folder, slash, name = key.rpartition("/")
    return f"{folder}{slash}{_split_extension(name)[0]}~"


def number_of(key: str, found: str) -> int | None:
    """The number with which ``next_free`` made ``found``, which may be a metadata key; None for other keys."""
    digits = re.match(r"[0-9]{1,7}", found.removeprefix(numbered_prefix(key)))
    number = int(digits[0]) if digits else 0
    if not 2 <= number <= LAST_NUMBER or found.removesuffix(METADATA_SUFFIX) != next_free(key, number):
        return None
    return number


def natural_of(key: str, number: int) -> str | None:
    """The natural key from which ``next_free`` made this key; None for other keys."""
    folder, slash, name = key.rpartition("/")
    stem, extension = _split_extension(name)
    natural = f"{folder}{slash}{stem.removesuffix(f'~{number}')}{extension}"
    return natural if number >= 2 and next_free(natural, number) == key else None


def names_of(key: str) -> tuple[str, ...]:
    """The natural keys that this key may belong to: itself, and the one from which ``next_free`` may have made it."""
    stem, _ = _split_extension(key.rpartition("/")[2])
    digits = re.search(r"~([1-9][0-9]{0,6})\Z", stem)
    natural = natural_of(key, int(digits[1])) if digits else None
    return (key,) if natural is None else (key, natural)


def metadata_value(path: str) -> str:
    """The path as an ``x-amz-meta-`` value: ASCII without spaces, at most 512 bytes, injective.

    Everything but letters, digits and ``_.-~/`` is percent-encoded; longer values are cut and get ``%~`` and a hash.
    """
    raw = os.fsencode(path)
    value = quote_from_bytes(raw, safe="/")
    if len(value) <= METADATA_VALUE_LIMIT:
        return value
    end = _CUT + _hash(raw)
    return _cut(value, METADATA_VALUE_LIMIT - len(end)) + end


def _rooms(count: int, *, taken: int) -> Iterable[int]:
    """Bytes for each segment; the first segment shares its limit with the ``taken`` bytes of the prefix's last
    segment."""
    rooms = [SEGMENT_LIMIT] * (count - 1) + [LAST_SEGMENT_LIMIT]
    rooms[0] -= taken
    return rooms


def _segment(name: bytes, room: int) -> str:
    text = "".join(_encoded(character) for character in name.decode("utf-8", "surrogateescape"))
    text = _RESERVED.sub("%2E", text)
    if _size(text) <= room:
        return text
    stem, extension = _split_extension(text)
    end = f"{_CUT}{_hash(name)}{extension}"
    return _cut(stem, room - _size(end)) + end


def _within_key(segments: list[str], names: list[bytes], room: int) -> str:
    """The segments joined; if that is too long, as many folders as fit, a hash of the whole path, and the name."""
    key = "/".join(segments)
    if _size(key) <= room:
        return key
    folders, end = segments[:-1], f"{_CUT}{_hash(b'/'.join(names))}/{segments[-1]}"
    while _size("/".join([*folders, end])) > room:
        folders.pop()
    return "/".join([*folders, end])


def _encoded(character: str) -> str:
    code = ord(character)
    safe = 0x20 <= code < 0x7F or (code >= 0xA0 and not 0xD800 <= code < 0xE000 and code not in (0xFFFE, 0xFFFF))
    if safe and character != "%":
        return character
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogateescape"))


def _split_extension(name: str) -> tuple[str, str]:
    """Name and extension with its dot. A longer "extension" belongs to the name; a leading dot starts an extension."""
    stem, dot, extension = name.rpartition(".")
    if not dot or not extension or _size(extension) >= _EXTENSION_LIMIT:
        return name, ""
    return stem, dot + extension


def _cut(text: str, room: int) -> str:
    """As many whole characters (``%XX`` counts as one) from the beginning as fit into ``room`` bytes."""
    units = _UNIT.findall(text)
    ends = accumulate(_size(unit) for unit in units)
    return "".join(unit for unit, end in zip(units, ends, strict=True) if end <= room)


def _hash(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:_HASH_DIGITS]


def _size(text: str) -> int:
    return len(text.encode("utf-8"))


def _is_utf8(text: str) -> bool:
    return not any(0xD800 <= ord(character) < 0xE000 for character in text)
