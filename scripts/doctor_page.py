"""The table of faults in ``docs/reference/doctor.md``, from the table by which ``doctor`` judges."""

from __future__ import annotations

from pathlib import Path

from scripts.phases import put_between_marks
from src.doctor import FAULTS

DOCTOR_PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "doctor.md"
_VALUES = {"file": "FILE", "days": "N", "prefix": "PREFIX", "remedy": "what the store's line says"}


def doctor_page() -> str:
    """The text of the page, with the table as it is now."""
    rows = [
        f"| {fault.check} | {fault.verdict} | `{name}` | {fault.remedy.format(**_VALUES)} |"
        for name, fault in FAULTS.items()
    ]
    table = "\n".join(["| check | line | fault | what to do |", "|---|---|---|---|", *rows]) + "\n"
    return put_between_marks(DOCTOR_PAGE, table)
