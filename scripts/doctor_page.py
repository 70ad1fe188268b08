"""The tables in ``docs/reference/doctor.md``: the faults by which ``doctor`` judges, and the advice on recorders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from scripts.phases import put_between_marks
from src.doctor import FAULTS
from src.status import REMEDIES, SHORTER_FILES, Costly, Remedy

DOCTOR_PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "doctor.md"
_VALUES = {"file": "FILE", "days": "N", "prefix": "PREFIX", "pid": "PID", "remedy": "what its line says"}
_SEEN: Mapping[Costly, str] = {
    Costly.FASTSTART: "the whole file is moved at the end, and sent twice",
    Costly.REWRITTEN: "three recordings or more are changed in the middle, and a tenth of the bytes is sent again",
    Costly.HEADS: "three recordings or more are overwritten at the beginning, and a tenth of the bytes is sent again; "
    "recordings of many parts cost less and are not named",
    Costly.PAUSES: "three recordings or more, a tenth of all, counted as finished during a pause",
    Costly.INDEX_LAST: "recordings of more than a minute cannot be played before they are closed: what is in the "
    "bucket is useless if the machine is lost",
    Costly.LONG_FRAGMENTS: "a fragment is longer than 4 s: until it ends, it exists only in the recorder's memory",
    Costly.SLOW_PARTS: "a part takes more than a minute to fill: until then, it exists only on this disk",
}


def doctor_page() -> str:
    """The text of the page, with the tables as they are now."""
    faults = [
        f"| {fault.check} | {fault.verdict} | `{name}` | {fault.remedy.format(**_VALUES)} |"
        for name, fault in FAULTS.items()
    ]
    advice = [f"| `{kind}` | {_SEEN[kind]} | {_settings(kind)} |" for kind in Costly]
    lines = [
        *("| check | line | fault | what to do |", "|---|---|---|---|", *faults),
        *("", "## Recorders", "", _RECORDERS, ""),
        *("| advice | what was seen | settings |", "|---|---|---|", *advice),
    ]
    return put_between_marks(DOCTOR_PAGE, "\n".join(lines) + "\n")


_RECORDERS = (
    "What the way in which a recorder writes costs, in bytes that are sent again or in seconds of recording that\n"
    "would be lost with this machine. The running daemon knows it since its start. `doctor` asks it, the\n"
    "status page shows it, and the log has it once a day (`recorder_advice`). Recordings\n"
    "are named by folder and ending, such as `obs/*.mp4`; folders that are named by a date count as one."
)


def _settings(kind: Costly) -> str:
    text = "; ".join(map(_setting, REMEDIES[kind]))
    if kind is Costly.SLOW_PARTS:
        text += f"; if parts are as small as S3 allows: {'; '.join(map(_setting, SHORTER_FILES))}"
    return text.format(seconds="N", bytes="N")


def _setting(remedy: Remedy) -> str:
    return f"{remedy.program}: {remedy.setting}"
