"""The README's commands and sample outputs: how to find them, how to capture one, and when two are the same.

A sample is a block of the README below ``<!-- sample: NAME -->``. ``python -m scripts.samples`` replaces all of them
with what a real run prints; the test that types the commands compares each with what its own run printed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PATH = ROOT / "README.md"
#: Set by ``scripts.samples``: the test writes the samples instead of comparing them.
WRITING = "WRITE_README_SAMPLES" in os.environ
#: On every line of a recording; left out of the samples, as the README says.
_ON_EVERY_LINE = ("timestamp", "level", "logger_name", "event", "stream_id", "file_path")
#: For lines of no more than a screen's width.
_LEFT_OUT = ("seconds_since_change", "etag", "upload_id", "hint")
_FENCE = re.compile(r"^```(sh|text)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SAMPLE = re.compile(r"(?<=<!-- sample: )([\w-]+)( -->\n```\w+\n)(.*?)(?=^```)", re.MULTILINE | re.DOTALL)
_ELLIPSIS = "…"


def readme() -> str:
    return PATH.read_text(encoding="utf-8")


def commands() -> list[str]:
    """All that a reader is to type: blocks of shell, and lines after a dollar. Without remarks."""
    found: list[str] = []
    for kind, text in _FENCE.findall(readme()):
        lines = text.replace("\\\n", " ").splitlines()
        found += lines if kind == "sh" else [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    typed = [re.sub(r"\s+# .*|^# .*", "", re.sub(r"  +", " ", line)) for line in found]
    return [line for line in typed if line.strip()]


def shown(beginning: str) -> str:
    """The README's own first command with this beginning."""
    return next(command for command in commands() if command.startswith(beginning))


def samples() -> dict[str, str]:
    """Name → text of each sample in the README."""
    return {name: text for name, _, text in _SAMPLE.findall(readme())}


def write(captured: Mapping[str, str]) -> None:
    """Replace these samples. Raises ``KeyError`` for one that the README does not have."""
    missing = captured.keys() - samples().keys()
    if missing:
        raise KeyError(", ".join(sorted(missing)))
    text = _SAMPLE.sub(lambda found: found[1] + found[2] + captured.get(found[1], found[3]), readme())
    PATH.write_text(text, encoding="utf-8")


def transcript(*exchanges: tuple[str, str]) -> str:
    """Commands, each with what it printed."""
    return "".join(f"$ {command}\n{output.strip()}\n" for command, output in exchanges)


def log_lines(lines: Iterable[Mapping[str, Any]]) -> str:
    """The log as on a terminal, less what is on every line; of three equal events in a row the middle is left out."""
    rows = [(str(line["event"]), _fields(line)) for line in lines]
    width = max((len(event) for event, _ in rows), default=0)
    written = [f"{event:{width}}  {fields}".rstrip() for event, fields in rows]
    short: list[str] = []
    for row, following in zip(written, [*written[1:], ""], strict=True):
        if len(short) > 1 and short[-1] == _ELLIPSIS and _same(short[-2], row) and _same(row, following):
            continue
        if short and _same(short[-1], row) and _same(row, following):
            short.append(_ELLIPSIS)
            continue
        short.append(row)
    return "\n".join(short) + "\n"


def _fields(line: Mapping[str, Any]) -> str:
    left = {name: value for name, value in line.items() if name not in (*_ON_EVERY_LINE, *_LEFT_OUT)}
    return " ".join(f"{name}={value!r}" for name, value in left.items())


def _same(one: str, other: str) -> bool:
    return normalised(one) == normalised(other)


def normalised(text: str) -> list[str]:
    """What may not differ between two runs: ids, numbers, times and paths are replaced, repetitions are one."""
    text = re.sub(r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b|\b[0-9a-f]{32,64}\b(?:-\d+)?", "ID", text)
    text = re.sub(r'(?<="crc64": ")[^"]+', "CRC", text)
    text = re.sub(r"\d{4}-\d\d-\d\d[T ][\d:.]+(?:Z|\+00:00)?", "TIME", text)
    text = re.sub(r"(?:/[\w.-]+)*/checkout\b", _ELLIPSIS, text)
    text = re.sub(r"\d+(?:\.\d+)?", "N", text)
    lines = [re.sub(r"\s+", " ", line).strip() for line in text.splitlines()]
    kept = [line for line in lines if line and line != _ELLIPSIS]
    return [line for number, line in enumerate(kept) if not number or kept[number - 1] != line]
