"""The result of a verification: its counts, its exit code, and how it is written. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from .choice import Sample
from .verdicts import Finding, Level, Verdict, amount

#: Of the JSON: raised when a field changes its meaning or goes.
SCHEMA_VERSION = 1
#: Lines with the same text, where nothing is wrong; further ones are counted.
MOST_ALIKE = 20


@dataclass(slots=True)
class Report:
    """``findings`` has every verdict but ``PROVED``; ``safe`` the local files whose bytes this call proved.

    ``known`` is the number of recordings that match; ``chosen`` of the sample. ``without_file``: proved objects whose
    file is not in the folder. ``unstored``: files that have no object yet, or not all bytes of which are there yet.
    ``notes``: what else limits the result.
    """

    level: Level
    sample: Sample
    known: int = 0
    chosen: int = 0
    size: int = 0
    counts: Counter[Verdict] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    safe: list[str] = field(default_factory=list)
    without_file: int = 0
    unstored: int = 0
    others: int = 0
    notes: list[str] = field(default_factory=list)

    def add(self, finding: Finding) -> None:
        """Count a verdict, and keep it unless it is good."""
        self.counts[finding.verdict] += 1
        if finding.verdict is not Verdict.PROVED:
            self.findings.append(finding)

    @property
    def faults(self) -> int:
        """How many recordings something is wrong with."""
        return sum(number for verdict, number in self.counts.items() if verdict.is_fault)

    @property
    def unchecked(self) -> int:
        """How many could not be compared."""
        return sum(self.counts.values()) - self.faults - self.counts[Verdict.PROVED]

    @property
    def exit_code(self) -> int:
        """0: all that was chosen is proved; 1: something is wrong; 3: something, or everything, was not compared."""
        if self.faults:
            return 1
        return 3 if self.unchecked or not self.counts[Verdict.PROVED] else 0

    def plan(self) -> str:
        """What is about to be done, in one line."""
        number = f"{self.chosen:,} recordings"
        if not self.sample.is_all:
            number = (
                f"{self.chosen:,} of {self.known:,} recordings (--sample {self._sample()} --seed {self.sample.seed})"
            )
        verb = {Level.FILE: "compares with local files", Level.DOWNLOAD: "downloads"}.get(self.level, "compares")
        return f"level {self.level}: {verb} {number}, {amount(self.size)}"

    def lines(self) -> Iterator[str]:
        """The findings, and a summary."""
        alike: Counter[tuple[Verdict, str]] = Counter()
        for finding in sorted(self.findings, key=lambda one: (one.verdict, one.key)):
            kind = (finding.verdict, finding.text)
            alike[kind] += 1
            if alike[kind] > MOST_ALIKE and not finding.verdict.is_fault:
                continue
            where = finding.key if finding.path is None else f"{finding.key} ({finding.path})"
            yield f"{finding.verdict:<12} {printable(where)}: {printable(finding.text)}"
            if finding.remedy:
                yield f"{'':<12} → {printable(finding.remedy)}"
        for (verdict, text), number in alike.items():
            if number > MOST_ALIKE and not verdict.is_fault:
                yield f"{verdict:<12} {number - MOST_ALIKE:,} more: {printable(text)}"
        yield from map(printable, self.notes)
        yield self.summary()

    def summary(self) -> str:
        """The counts in one line."""
        said = [f"{self.counts[Verdict.PROVED]:,} proved ({self.level})"]
        for number, word in ((self.faults, "wrong"), (self.unchecked, "not compared")):
            if number:
                said.append(f"{number:,} {word}")
        if self.level is Level.FILE and self.without_file:
            said.append(f"{self.without_file:,} of the proved have no file here and were compared by checksum only")
        if self.unstored:
            said.append(f"{self.unstored:,} files here are not in the bucket yet")
        if self.others:
            said.append(f"{self.others:,} objects of other programs")
        if not sum(self.counts.values()):
            return ", ".join(["nothing was compared", *said[1:]])
        return ", ".join(said)

    def as_json(self) -> dict[str, object]:
        """All of it, for programs."""
        return {
            "schema_version": SCHEMA_VERSION,
            "command": "verify",
            "level": str(self.level),
            "sample": self._sample() or None,
            "seed": None if self.sample.is_all else self.sample.seed,
            "recordings": self.known,
            "chosen": self.chosen,
            "size_bytes": self.size,
            "counts": {str(verdict): number for verdict, number in sorted(self.counts.items())},
            "without_file": self.without_file,
            "unstored_files": self.unstored,
            "other_objects": self.others,
            "notes": list(self.notes),
            "findings": [
                {"verdict": str(one.verdict), "fault": one.verdict.is_fault, "key": one.key, "file": _text(one.path)}
                | {"text": one.text, "remedy": one.remedy}
                for one in sorted(self.findings, key=lambda one: (one.verdict, one.key))
            ],
            "exit_code": self.exit_code,
        }

    def _sample(self) -> str:
        if self.sample.number is not None:
            return str(self.sample.number)
        return "" if self.sample.share is None else f"{self.sample.share * 100:g}%"


def _text(path: str | None) -> str | None:
    return None if path is None else path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def printable(text: str) -> str:
    """Without what a terminal would take for a command, or could not show: names are written by others."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
