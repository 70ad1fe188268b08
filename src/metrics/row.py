"""The shape of a row in the table of events: the log line and its fields, the metrics, and the reference text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Generic, Literal, TypeVar

from ..domain import moments
from ..exceptions import described
from .series import Series

M = TypeVar("M", bound=moments.Moment)
Level = Literal["debug", "info", "warning", "error", "critical"]
Fields = dict[str, object]


@dataclass(frozen=True, slots=True)
class Line:
    """The event's name, the package that logs it, and its level. ``{service}`` is replaced by the moment's service."""

    event: str
    room: str
    level: Level = "info"


@dataclass(frozen=True, slots=True)
class Told(Generic[M]):
    """One row."""

    moment: type[M]
    line: Line | None = None
    #: The fields of the line; default: those of the moment. ``digits``: decimals of rounded seconds.
    fields: Callable[[M], Fields] | None = None
    digits: Mapping[str, int] = field(default_factory=dict)
    hint: str = ""  # a constant text, with fields in braces
    #: The kind of failure, and its subject: the first is logged at once, then one line per interval with the number of
    #: ``failures``. An empty subject stands for the stream of the moment.
    limited: Callable[[M], tuple[str, str]] | None = None
    #: Logged if this value differs from the last one, and is not 0.
    when_changed: Callable[[M], object] | None = None
    #: The end of failures: the line covers all failures whose kind begins with this text, and the next one of them
    #: counts as the first again. It belongs to no stream.
    accounts_for: Callable[[M], str] | None = None
    metrics: Callable[[Series, M], None] | None = None
    means: str = ""
    do: str = ""

    def fields_of(self, moment: M) -> Fields:
        found = _as_it_is(moment, self.digits) if self.fields is None else self.fields(moment)
        return {**found, "hint": self.hint.format_map(found)} if self.hint else found


def _as_it_is(moment: moments.Moment, digits: Mapping[str, int]) -> Fields:
    """A moment's fields as those of its log line: an error becomes its message and its hint."""
    found: Fields = {}
    for each in fields(moment):  # type: ignore[arg-type]
        value = getattr(moment, each.name)
        if isinstance(value, BaseException):
            found |= described(value)
        elif isinstance(value, StrEnum):
            found[each.name] = str(value)
        else:
            found[each.name] = round(value, digits[each.name]) if each.name in digits else value
    return found
