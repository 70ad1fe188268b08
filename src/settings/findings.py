"""What one reading of all sources brings to light."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Given:
    """One value: the name under which the operator wrote it, his text, and the value that it stands for."""

    name: str
    text: str
    value: object


@dataclass(slots=True)
class Findings:
    """What one reading of all sources brings to light."""

    given: dict[str, Given] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
