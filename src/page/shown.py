"""What the page shows: finished texts, in the order of the page. ``wording`` makes them, ``files`` draw them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Name:
    """A recording's path: its folder with the slash, and its file name, both safe to show."""

    folder: str
    file: str


@dataclass(frozen=True, slots=True)
class Step:
    """What resolves it, and what to type for it; empty: nothing is typed."""

    what: str
    command: str


@dataclass(frozen=True, slots=True)
class Failure:
    id: str
    name: Name
    facts: str
    why: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Figure:
    label: str
    value: str
    note: str
    at_risk: bool = False


@dataclass(frozen=True, slots=True)
class Service:
    name: str
    ok: bool
    word: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Drawing:
    """The curve: two SVG paths, the labels of its scales, and the same in a sentence."""

    recorded: str
    uploaded: str
    most: str
    half: str
    begin: str
    middle: str
    told: str


@dataclass(frozen=True, slots=True)
class Row:
    id: str
    name: Name
    state: str
    failed: bool
    size: str
    percent: int | None
    in_store: str
    at_risk: str
    safe_in: str
    trouble: str


@dataclass(frozen=True, slots=True)
class Advised:
    """What recordings cost, and what to set in each recorder."""

    id: str
    name: Name
    text: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """The whole page. ``tone`` is good, waiting or bad. ``announced`` is read aloud when it changes, so it has no
    figures that change all the time."""

    title: str
    version: str
    up: str
    folder: str
    rendered: str
    rendered_at: str
    tone: str
    verdict: str
    because: str
    announced: str
    failures: tuple[Failure, ...]
    failures_left_out: str
    figures: tuple[Figure, ...]
    services: tuple[Service, ...]
    curve: Drawing | None
    rows: tuple[Row, ...]
    count: str
    left_out: str
    nothing: str
    advice: tuple[Advised, ...]
    advice_left_out: str
    finished: str
    command: str
