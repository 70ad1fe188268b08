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
    """The event's name, the room in whose name it is logged, and its level. ``{service}`` stands for the moment's."""

    event: str
    room: str
    level: Level = "info"


@dataclass(frozen=True, slots=True)
class Told(Generic[M]):
    """One row."""

    moment: type[M]
    line: Line | None = None
    #: The fields of the line; those of the moment, if nothing else is said. ``digits``: of which seconds are rounded.
    fields: Callable[[M], Fields] | None = None
    digits: Mapping[str, int] = field(default_factory=dict)
    hint: str = ""  # where it is always the same, but for fields in braces
    #: The kind of trouble, and of what: the first is written at once, then one line in a while with the number of
    #: ``failures``. An empty second one stands for the stream whose moment it is.
    limited: Callable[[M], tuple[str, str]] | None = None
    #: Written when this is another than the last time, and not 0.
    when_changed: Callable[[M], object] | None = None
    #: An end of trouble: the line has told of all failures of the kinds that begin so, and the next one of them is the
    #: first again. It is of no stream, whosever work it was that showed it.
    accounts_for: Callable[[M], str] | None = None
    metrics: Callable[[Series, M], None] | None = None
    means: str = ""
    do: str = ""

    def fields_of(self, moment: M) -> Fields:
        found = _as_it_is(moment, self.digits) if self.fields is None else self.fields(moment)
        return {**found, "hint": self.hint.format_map(found)} if self.hint else found


def _as_it_is(moment: moments.Moment, digits: Mapping[str, int]) -> Fields:
    """The fields of a moment as those of its line: an error tells what it is and what to change."""
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
