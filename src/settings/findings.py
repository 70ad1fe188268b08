"""The result of reading all sources: values, problems and notices."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Given:
    """One value: the name and text as written by the operator, and the value that the text stands for."""

    name: str
    text: str
    value: object


@dataclass(slots=True)
class Findings:
    """The result of reading all sources: values, problems and notices."""

    given: dict[str, Given] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    #: Where each name was set: "environment", or the env file with the line.
    origins: dict[str, str] = field(default_factory=dict)
