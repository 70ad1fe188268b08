"""Commands, page, JSON and metrics say the same of any state of the daemon.

The states are generated: streams, files that are being looked up, files that wait (some of them after their object was
proved), failed recordings with and without their file. What counts them is real: the register, the queues, the figures
at risk and the view.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from src.cli.status_text import Paper, details, lines
from src.dispatcher import figures as counted
from src.dispatcher.newcomers import Newcomers
from src.dispatcher.register import Register, Stream
from src.domain import (
    STATUSES,
    Checkpoint,
    Figures,
    Holding,
    Identity,
    Look,
    Manifest,
    Marker,
    Observation,
    PartSchedule,
    Snapshot,
    Status,
    Unfinished,
    Watch,
)
from src.metrics import AtRiskCollector
from src.page import shown
from src.status import Chronicle, DaemonFacts, Gathering, RecorderNotes, StatusView, rate, size, span, status_json

NOW = 1_800_000_000.0
SECOND = 1_000_000_000
#: Waiting files that are listed; there are more of them in many states.
MOST_LISTED = 2


@dataclass(frozen=True)
class _File:
    """``kind``: queued, looked up, a status, or gone. ``stored``: how much of it S3 has, in thousandths."""

    kind: str
    size: int
    stored: int
    age: float
    quiet: float
    proved: bool

    def snapshot(self, number: int) -> Snapshot:
        changed = NOW - self.quiet
        born = int((changed - self.age) * SECOND)
        return Snapshot(Identity(number, born), self.size, int(changed * SECOND), int(changed * SECOND))

    @property
    def bytes_stored(self) -> int:
        return self.size * self.stored // 1000


_CARRIED = ("active", "sealing", "describing")
FILES = st.builds(
    _File,
    kind=st.sampled_from([*_CARRIED, "queued", "queued", "looked up", "failed", "failed and gone", "gone"]),
    size=st.integers(0, 10**12),
    stored=st.integers(0, 1000),
    age=st.floats(0, 10**6),
    quiet=st.floats(0, 10**5),
    proved=st.booleans(),
)
_STATUS = {"active": Status.ACTIVE, "sealing": Status.PENDING_COMPLETION, "describing": Status.S3_COMPLETED}


class _Processor:
    """Answers as the processor of a stream does, and is never run."""

    def __init__(self, checkpoint: Checkpoint, stored: int) -> None:
        self._checkpoint, self._stored = checkpoint, stored

    @property
    def checkpoint(self) -> Checkpoint:
        return self._checkpoint

    def holding(self, seen: Snapshot, proved: Snapshot | None) -> Holding:
        return Holding(
            self.checkpoint.path,
            seen,
            self._stored,
            max(0, seen.size - self._stored),
            self.checkpoint.stream_id,
            proved,
        )

    def unfinished(self, seen: Snapshot | None, proved: Snapshot | None) -> Unfinished:
        holding = None if seen is None else self.holding(seen, proved)
        return Unfinished(self.checkpoint.path, holding, self.checkpoint, 1, self._stored)

    def hint(self) -> None: ...
    def renamed(self, path: str) -> None: ...
    def stop(self) -> None: ...
    async def run(self) -> Marker | None: ...


def _checkpoint(path: str, seen: Snapshot, number: int, status: Status) -> Checkpoint:
    manifest = Manifest(seen.size, 0, 1, seen) if status in (Status.PENDING_COMPLETION, Status.FAILED) else None
    return Checkpoint(
        stream_id=f"{number:032x}",
        status=status,
        path=path,
        bucket="b",
        key=path,
        identity=seen.identity,
        schedule=PartSchedule(5),
        started_at=datetime.fromtimestamp(NOW, UTC),
        manifest=manifest,
        failure="source_missing" if status is Status.FAILED else None,
        upload_id="u" if not STATUSES[status].is_proved else None,
    )


def _dispatched(files: Sequence[_File]) -> tuple[Register, Newcomers]:
    register, newcomers = Register(), Newcomers(began_ns=0)
    for number, file in enumerate(files, 1):
        path, seen = f"f{number}.mp4", file.snapshot(number)
        stream = Stream(path, seen.identity, seen)
        if file.kind == "queued":
            proved = replace(seen, size=file.bytes_stored) if file.proved else None
            newcomers.put(path, Observation(seen, 0.0), proved, fresh=True)
        elif file.kind == "looked up":
            stream.proved = replace(seen, size=file.bytes_stored) if file.proved else None
            register.add(stream)
        elif file.kind.startswith("failed"):
            record = _checkpoint(path, seen, number, Status.FAILED)
            stream.processor = _Processor(record, file.bytes_stored)
            stream.seen = None if file.kind.endswith("gone") else seen
            register.fail(stream, record)
        else:
            record = _checkpoint(path, seen, number, _STATUS.get(file.kind, Status.PENDING_COMPLETION))
            stream.processor = _Processor(record, file.bytes_stored)
            stream.seen = None if file.kind == "gone" else seen
            register.add(stream)
    return register, newcomers


class _Clock:
    def utc_now(self) -> datetime:
        return datetime.fromtimestamp(NOW, UTC)

    def monotonic(self) -> float:
        return NOW


def _seen(files: Sequence[_File]) -> tuple[StatusView, dict[str, float]]:
    """The view and the metrics of one moment."""
    register, newcomers = _dispatched(files)
    holdings, waiting = counted.holdings(register, newcomers)
    figures = Watch().look(Look(NOW, NOW, holdings, waiting, 0, 5e9), {})
    registry = CollectorRegistry()
    AtRiskCollector(registry, stream_max=1000).figures = figures
    exported = {
        "/".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }
    return _view(register, newcomers, figures), exported


def _view(register: Register, newcomers: Newcomers, figures: Figures | None) -> StatusView:
    gathering = Gathering(
        DaemonFacts("1", 1, datetime.fromtimestamp(NOW, UTC), "/srv", "b", ""),
        Chronicle(_Clock()),
        _Clock(),
        unfinished=lambda: counted.unfinished(register, newcomers),
        figures=lambda: figures,
        services=dict,
        recorders=RecorderNotes(_Clock()),
        masked=str,
        program="cefmp4",
    )
    return gathering.shown()()


@pytest.fixture(autouse=True, scope="module")
def _few_are_listed() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(counted, "_MOST_WAITING", MOST_LISTED)
        yield


def _about(value: float) -> object:
    return pytest.approx(value, rel=1e-9, abs=1e-3)


@settings(max_examples=200, deadline=None)
@given(st.lists(FILES, max_size=8))
def test_the_view_and_its_json_have_the_figures_of_the_metrics(files: list[_File]) -> None:
    view, exported = _seen(files)
    totals, told = view.totals, status_json(view)["totals"]
    assert totals.at_risk_bytes == told["at_risk_bytes"] == exported["cefmp4_at_risk_bytes"]
    for name in ("at_risk_seconds", "oldest_seconds"):
        metric = "cefmp4_at_risk_seconds" if name.startswith("at") else "cefmp4_at_risk_oldest_seconds"
        assert getattr(totals, name) == _about(exported[metric]), name
        assert told[name] == _about(exported[metric]), name
    assert told["backlog_bytes"] == exported["cefmp4_backlog_bytes"]
    assert told["to_look_up"] == exported["cefmp4_files_to_look_up"]
    assert told["ingest"] == _about(exported["cefmp4_ingest_bytes_per_second"])
    assert told["uplink"] == _about(exported["cefmp4_uplink_bytes_per_second"])
    assert (told["catch_up_seconds"] or math.inf) == (exported["cefmp4_catch_up_seconds"] or math.inf)


@settings(max_examples=200, deadline=None)
@given(st.lists(FILES, max_size=8))
def test_each_row_has_the_figures_of_its_metric_and_all_rows_add_up(files: list[_File]) -> None:
    view, exported = _seen(files)
    for row in view.recordings:
        metric = exported.get(f"cefmp4_stream_at_risk_bytes/{row.id}")
        if metric is not None:
            assert row.at_risk_bytes == metric, row.name
            assert row.at_risk_seconds == _about(exported[f"cefmp4_stream_at_risk_seconds/{row.id}"]), row.name
        if not row.at_risk_bytes:
            assert row.oldest_seconds == 0.0, row.name
    waiting = sum(file.kind == "queued" for file in files)
    if waiting <= MOST_LISTED:
        assert sum(row.at_risk_bytes for row in view.recordings) == view.totals.at_risk_bytes
        assert sum(row.at_risk_seconds for row in view.recordings) == _about(view.totals.at_risk_seconds)
        assert max((row.oldest_seconds for row in view.recordings), default=0.0) == _about(view.totals.oldest_seconds)


@settings(max_examples=200, deadline=None)
@given(st.lists(FILES, max_size=8))
def test_page_and_command_show_the_view_in_the_same_words(files: list[_File]) -> None:
    view, _ = _seen(files)
    page, typed = shown(view, (), 0.0), [line.plain for line in lines(view, Paper(None))]
    totals, figures = view.totals, {each.label: each for each in page.figures}
    risk, seconds, oldest = size(totals.at_risk_bytes), span(totals.at_risk_seconds), span(totals.oldest_seconds)
    assert typed[1].startswith(f"at risk {risk}, {seconds}, oldest {oldest} · ")
    assert figures["Only on this disk"].value == risk
    if totals.at_risk_bytes:
        assert figures["Only on this disk"].note == f"{seconds} of recording, oldest {oldest}"
    assert f"in {rate(totals.ingest)}, out {rate(totals.sent)}" in typed[1]
    assert (figures["Recording"].value, figures["Upload"].value) == (rate(totals.ingest), rate(totals.sent))
    assert ("does not catch up" in typed[1]) == (figures["Upload"].note == "does not catch up")
    assert typed[2] == f"{view.verdict} {view.because}".rstrip() and view.verdict.startswith(page.verdict)

    table = typed[next((n for n, line in enumerate(typed) if line.startswith("RECORDING")), len(typed)) :]
    in_table = {cells[0]: cells for cells in (re.split(r"\s{2,}", line) for line in table if line)}
    for row, on_page in zip(view.recordings, page.rows, strict=True):
        cells = in_table[row.name]
        assert on_page.name.folder + on_page.name.file == row.name
        assert (cells[1] == "file missing") == (on_page.trouble == "file missing")
        assert cells[1] in (on_page.state, "file missing")
        in_store = on_page.in_store if on_page.percent is None else f"{on_page.percent} %"
        assert cells[3] == in_store, row.name
        assert cells[2] == ("-" if on_page.size == "unknown" else on_page.size)
        alone = " ".join(line.plain for line in details(row, Paper(None)))
        assert f"in S3       {in_store}" in alone


@pytest.mark.parametrize("whole", [1, 7, 100, 1000, 10**12 + 1])
def test_every_share_is_rounded_down(whole: int) -> None:
    for stored in {whole * thousandth // 1000 for thousandth in range(1001)}:
        seen = _File("active", whole, 0, 10.0, 1.0, proved=False).snapshot(1)
        register = Register()
        register.add(Stream("a.mp4", seen.identity, seen, proved=replace(seen, size=stored)))
        (row,) = _view(register, Newcomers(began_ns=0), None).recordings
        assert row.percent == stored * 100 // whole
        assert row.progress <= stored / whole < row.progress + 0.001
        assert (row.percent == 100) == (stored == whole)
