"""The results as a table: plain text, or Markdown."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

_COLUMNS = ("what", "measured", "target", "met", "to aws s3 cp", "to s5cmd cp", "remarks")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. ``target``: the maximum, in the same ``unit``. Ratios are ours to the rivals'.

    ``failed``: figures that have targets could not be measured.
    """

    what: str
    figure: float | None
    unit: str
    target: float | None = None
    to_aws: float | None = None
    to_s5cmd: float | None = None
    remarks: str = ""
    failed: bool = False

    @property
    def missed(self) -> bool:
        """Whether a target was not met, or could not be measured."""
        return self.failed or (self.target is not None and (self.figure is None or self.figure > self.target))

    def cells(self) -> tuple[str, ...]:
        met = "NO" if self.missed else "" if self.target is None else "yes"
        target = "" if self.target is None else f"<= {self.target:g} {self.unit}"
        measured = "-" if self.figure is None else f"{_digits(self.figure)} {self.unit}"
        return self.what, measured, target, met, _ratio(self.to_aws), _ratio(self.to_s5cmd), self.remarks


def _digits(figure: float) -> str:
    return f"{figure:.0f}" if figure >= 100 else f"{figure:.1f}" if figure >= 10 else f"{figure:.2f}"


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def machine() -> str:
    """The date and the machine of this measurement, in one line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    shape = f"{os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}, Python {platform.python_version()}"
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {shape}, load {os.getloadavg()[0]:.1f}"


def as_text(rows: Sequence[Row]) -> str:
    """Columns side by side; remarks come last and may be long."""
    lines = [_COLUMNS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_COLUMNS) - 1)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1]]).rstrip()
        for line in lines
    )


def as_markdown(rows: Sequence[Row]) -> str:
    """The same table for a document."""
    lines = [_COLUMNS, tuple("---" for _ in _COLUMNS), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
