"""JSON of the view, and its JSON Schema. Both follow from the dataclasses, so that neither can be forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from enum import StrEnum
from types import UnionType
from typing import Any, cast, get_args, get_origin, get_type_hints

from .view import SCHEMA_VERSION, StatusView

_PLAIN: Mapping[Any, Mapping[str, object]] = {
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    str: {"type": "string"},
    datetime: {"type": "string", "format": "date-time"},
}


def as_json(view: object) -> Any:
    """A value of the view as JSON has it. Times are ISO 8601 in UTC; there is no infinity and no NaN."""
    if is_dataclass(view):
        return {each.name: as_json(getattr(view, each.name)) for each in fields(view)}
    if isinstance(view, tuple):
        return [as_json(each) for each in view]
    if isinstance(view, datetime):
        return view.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if isinstance(view, float):
        return round(view, 3)
    return str(view) if isinstance(view, StrEnum) else view


def status_json(view: StatusView) -> dict[str, Any]:
    """The whole document, with ``schema_version``."""
    return {"schema_version": SCHEMA_VERSION, **as_json(view)}


def status_from_json(document: Any) -> StatusView:
    """The view again. Raises ``ValueError`` for what is no such document; fields that it does not know are ignored."""
    try:
        view = _from(StatusView, document)
    except (KeyError, TypeError, AttributeError) as exc:
        raise ValueError("not a status") from exc
    assert isinstance(view, StatusView)
    return view


def _from(hint: Any, value: Any) -> Any:
    if get_origin(hint) is tuple:
        return tuple(_from(get_args(hint)[0], each) for each in value)
    if get_origin(hint) is UnionType:
        (one,) = (each for each in get_args(hint) if each is not type(None))
        return None if value is None else _from(one, value)
    if is_dataclass(hint):
        hints, make = get_type_hints(hint), cast(Any, hint)
        # A field with a default is newer than the others: an older daemon does not send it.
        known = [each for each in fields(hint) if each.name in value or each.default is MISSING]
        return make(**{each.name: _from(hints[each.name], value[each.name]) for each in known})
    if hint is datetime:
        return datetime.fromisoformat(value)
    if not isinstance(value, (int, float) if hint is float else hint if hint in _PLAIN else str):
        raise TypeError(value)
    return hint(value)


def status_schema() -> dict[str, Any]:
    """The JSON Schema of ``status_json``; readers must accept further fields."""
    definitions: dict[str, Any] = {}
    whole = _of_class(StatusView, definitions)
    whole["properties"] = {"schema_version": {"const": SCHEMA_VERSION}, **whole["properties"]}
    whole["required"] = ["schema_version", *whole["required"]]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole, "$defs": definitions}


def _of_class(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    told = " ".join((kind.__doc__ or "").replace("``", "").split())
    return {
        "title": kind.__name__,
        "description": told,
        "type": "object",
        "properties": {each.name: _of(hints[each.name], definitions) for each in fields(kind)},
        "required": [each.name for each in fields(kind)],
    }


def _of(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if hint in _PLAIN:
        return dict(_PLAIN[hint])
    if get_origin(hint) is tuple:
        return {"type": "array", "items": _of(get_args(hint)[0], definitions)}
    if get_origin(hint) is UnionType:
        (one,) = (each for each in get_args(hint) if each is not type(None))
        return {"anyOf": [_of(one, definitions), {"type": "null"}]}
    if issubclass(hint, StrEnum):
        return {"enum": [str(each) for each in hint]}
    if hint.__name__ not in definitions:
        definitions[hint.__name__] = {}
        definitions[hint.__name__] = _of_class(hint, definitions)
    return {"$ref": f"#/$defs/{hint.__name__}"}
