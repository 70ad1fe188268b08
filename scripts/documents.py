"""Generates parts of the documents: settings, stores, diagrams, telemetry, the phases' lists of code.

``python -m scripts.documents``, in the checkout. All facts come from the program itself: the error for an invalid value
is that of ``load_settings``. A test compares the files with the generated text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from scripts.commands_page import COMMANDS_PAGE, COMPLETIONS, MANUAL, commands_page, completion, manual
from scripts.doctor_page import DOCTOR_PAGE, doctor_page
from scripts.house import drawn, measured
from scripts.phases import PAGES, PHASES, page, put_between_marks
from scripts.stores_page import which_store
from scripts.telemetry_tables import LOG_EVENTS, METRICS_PAGE, log_events, metrics
from src.config import _HEADINGS, _OLD_NAMES, Settings, defaults, load_settings
from src.domain import TRANSITIONS, Fact, Status
from src.exceptions import ConfigurationError
from src.status import status_schema

ROOT = Path(__file__).resolve().parents[1]
_ARCHITECTURE = ROOT / "docs" / "architecture.md"

#: Tried one after the other until one is refused: no word or number of ours; a slash; a file, no folder; too long.
_BAD = ("no such value", "/", str(Path(__file__)), "x" * 200, "two\nlines")

_COLUMNS = "| name | default | description | older names | error for an invalid value |"

_INTRODUCTION = """# Configuration

All settings, for operators who configure the daemon. Generated from `src/config.py` by `python -m scripts.documents`.
Settings come from the environment and from `.env` in the working directory. The environment takes precedence, and an
empty value counts as unset. [example.env](../example.env) contains the same settings as a file to copy.

**What happens on a bad value**: the daemon does not start. It prints one line for each problem, all at once, and exits
with code 2. The last column shows the end of that line: `PROM_PORT is 'eighty', but must be a whole number from 0 to
65535.`

**Names.** A misspelt name (a missing letter, another unit), or the name that other programs use for the same setting,
is a problem too, and the message gives the correct name. All other names are ignored, so other programs can share the
file. An older name still works and is logged once (`settings_notice`); if both are set, their values must be equal.
`CHUNK_SIZE_MB` and `STREAM_CHUNK_SIZE_MB` are in mebibytes. `REDIS_HOST` and `REDIS_PORT` together stand for
`redis://host:port/0`. With `REDIS_HOST`, the names `REDIS_USERNAME`, `REDIS_PASSWORD` and `REDIS_DB` set the rest of
the URL, each without percent-encoding. Without `REDIS_HOST`, or if `REDIS_URL` is set, these three are ignored, and the
daemon logs a notice at the start.
"""


def configuration() -> str:
    """The text of ``docs/configuration.md``."""
    usual = defaults()
    lines = [_INTRODUCTION]
    for attribute, info in Settings.model_fields.items():
        if attribute in _HEADINGS:
            lines += [f"## {_HEADINGS[attribute]}\n", _COLUMNS, "|---" * 5 + "|"]
        name = attribute.upper()
        cells = (f"`{name}`", _code(usual[name]), info.description or "", _older(name), complaint(name))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        if _last_of_its_group(attribute):
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _older(name: str) -> str:
    return ", ".join(f"`{old}`" for old, new in _OLD_NAMES.items() if new == name)


def _last_of_its_group(attribute: str) -> bool:
    names = list(Settings.model_fields)
    following = names[names.index(attribute) + 1 :]
    return not following or following[0] in _HEADINGS


def complaint(name: str) -> str:
    """The error message for an invalid value, without the value."""
    for value in _BAD:
        try:
            load_settings({name: value})
        except ConfigurationError as refused:
            said = refused.problems[0].removesuffix(".")
            text = "set " + said.rpartition("; set ")[2] if "; set " in said else said.rpartition(", but ")[2]
            return re.split(r"; this (?:one|path)|: No such|: write ", text.removeprefix(f"{name} "))[0]
    raise AssertionError(f"every value of {name} is taken")


def lifecycle(table: Mapping[Status, Mapping[Fact, Status]] = TRANSITIONS) -> str:
    """The text of ``docs/diagrams/lifecycle.mmd``: the table, drawn."""
    return (
        "\n".join(["%% Generated from src/domain/lifecycle.py by python -m scripts.documents.", *_drawn(table)]) + "\n"
    )


def _drawn(table: Mapping[Status, Mapping[Fact, Status]]) -> Iterator[str]:
    yield "stateDiagram-v2"
    yield f"    [*] --> {Status.ACTIVE}"
    for status, ways in table.items():
        for to in dict.fromkeys(ways.values()):  # facts that lead to the same status share an arrow
            facts = [str(fact) for fact, after in ways.items() if after is to]
            yield f"    {status} --> {to}: {'<br/>'.join(facts)}"


def architecture() -> str:
    """The text of ``docs/architecture.md``, with the table of the lifecycle as it is now."""
    rows = [f"| `{status}` | `{fact}` | `{to}` |" for status, ways in TRANSITIONS.items() for fact, to in ways.items()]
    table = "\n".join(["| status | fact | becomes |", "|---|---|---|", *rows]) + "\n"
    return put_between_marks(_ARCHITECTURE, table)


def status_json_schema() -> str:
    """The text of ``docs/status.schema.json``."""
    return json.dumps(status_schema(), indent=2) + "\n"


GENERATED: Mapping[Path, Callable[[], str]] = {
    ROOT / "docs" / "configuration.md": configuration,
    _ARCHITECTURE: architecture,
    ROOT / "docs" / "diagrams" / "lifecycle.mmd": lifecycle,
    ROOT / "docs" / "diagrams" / "house.mmd": lambda: drawn(measured(ROOT / "src")),
    **{path: partial(page, path) for path in (PAGES / f"{name}.md" for name in PHASES)},
    ROOT / "docs" / "how-to" / "which-store.md": which_store,
    ROOT / "docs" / "status.schema.json": status_json_schema,
    COMMANDS_PAGE: commands_page,
    MANUAL: manual,
    **{path: partial(completion, shell) for shell, path in COMPLETIONS.items()},
    DOCTOR_PAGE: doctor_page,
    LOG_EVENTS: log_events,
    METRICS_PAGE: metrics,
}


if __name__ == "__main__":
    for path, text in GENERATED.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text(), encoding="utf-8")
