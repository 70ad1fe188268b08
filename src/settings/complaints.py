"""Error messages for values: what was typed, as far as it may be shown, and what is allowed instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic.fields import FieldInfo

from ..domain import GIB, MIB
from .findings import Findings, Given
from .typed_values import bucket_name, path_syntax, patterns, redis_address, shell_syntax, store_address

CREDENTIALS = frozenset({"s3_access_key_id", "s3_secret_access_key"})
#: Error messages never quote these: a malformed value may contain a secret anywhere.
_CONFIDENTIAL = CREDENTIALS | {"s3_endpoint_url", "redis_url"}
_PATTERNS = frozenset({"watch_filter_globs", "watch_exclude_globs"})
_PATHS = frozenset(
    {
        *("watch_dir", "embedded_data_dir", "ffprobe_path"),
        *("s3_access_key_id_file", "s3_secret_access_key_file", "status_password_file"),
    }
)


def slip(attribute: str, given: Given, found: Findings, fields: Mapping[str, FieldInfo]) -> str | None:
    """An error message for a common typing mistake, with what to type instead; None if there is none."""
    if given.name != attribute.upper():
        return None  # derived from older names, which were checked themselves
    secret = attribute in _CONFIDENTIAL or attribute.endswith("_file")
    wrong = patterns(given.text, of_recordings=attribute == "watch_filter_globs") if attribute in _PATTERNS else None
    if attribute not in _PATTERNS:
        wrong = shell_syntax(given.name, given.text, secret=secret)
    if wrong is None and attribute in _PATHS:
        wrong = path_syntax(given.text)
    if wrong is None and attribute == "redis_url":
        wrong = redis_address(given.text)
    if wrong is None and attribute == "s3_endpoint_url":
        bucket = found.given.get("s3_bucket_name")
        usual = str(fields["s3_bucket_name"].default)
        wrong = store_address(given.text, bucket.text if bucket else usual)
    if wrong is None and attribute == "s3_bucket_name":
        wrong = bucket_name(given.text)
    if wrong is None:
        return None
    return f"{given.name} is {'set' if secret else shown(given.text)}, but {wrong}."


def unusable(given: Given) -> str | None:
    """An error message for text that no setting may contain; None if there is none."""
    if any("\ud800" <= character <= "\udfff" for character in given.text):
        return f"{given.name} contains bytes that are not UTF-8."
    if not given.text.isprintable():
        return f"{given.name} contains a character that is not printable, such as a line break."
    return None


def sentence(given: Given, error: Any, fields: Mapping[str, FieldInfo]) -> str:
    """pydantic's validation error in our own words. ``fields``: the settings, by attribute."""
    attribute = str(error["loc"][0])
    raised = error.get("ctx", {}).get("error")
    allowed = str(raised) if raised is not None else _allowed(attribute, fields[attribute])
    if attribute in _CONFIDENTIAL or "@" in given.text:
        return f"{given.name} is set, but must be {allowed}."
    if isinstance(given.value, int):  # an older name, in another unit
        return f"{given.name} is {shown(given.text)} ({given.value} bytes), but must be {allowed}."
    return f"{given.name} is {shown(given.text)}, but must be {allowed}."


def shown(text: str) -> str:
    """A value, escaped and shortened for an error message."""
    return ascii(text) if len(text) <= 100 else f"{text[:97]!a}..."


def shown_name(name: str) -> str:
    """A name, escaped for an error message."""
    return name if name.isprintable() and name.isascii() else ascii(name)


def _allowed(attribute: str, info: FieldInfo) -> str:
    """The values that the type allows, in words."""
    if get_origin(info.annotation) is Literal:
        *most, last = get_args(info.annotation)
        return f"{', '.join(most)} or {last}"
    if info.annotation is bool:
        return "true or false"
    if info.annotation in (int, float, int | None):
        return _range(info, in_bytes=attribute.endswith("_bytes"))
    return "at most 128 characters of text"


def _range(info: FieldInfo, *, in_bytes: bool) -> str:
    kind = "a number" if info.annotation is float else "a whole number"
    highest = next(_amount(limit.le, in_bytes) for limit in info.metadata if isinstance(limit, Le))
    above = [limit.gt for limit in info.metadata if isinstance(limit, Gt)]
    if above:
        return f"{kind} above {_amount(above[0], in_bytes)} and at most {highest}"
    lowest = next(_amount(limit.ge, in_bytes) for limit in info.metadata if isinstance(limit, Ge))
    return f"{kind} from {lowest} to {highest}"


def _amount(number: object, in_bytes: bool) -> str:
    if not in_bytes or not isinstance(number, int):
        return str(number)
    unit, name = (GIB, "GiB") if number % GIB == 0 else (MIB, "MiB")
    return f"{number} ({number // unit} {name})"
