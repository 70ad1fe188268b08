"""What is at risk as metrics: real files are looked at, series stay bounded, and no trouble ends the looking."""

from __future__ import annotations

import asyncio
import math
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from src.containers import Read
from src.domain import Figures, Holding, Identity, Look, SendReason, Structure, Waiting, Watch, moments
from src.metrics import AtRiskCollector, Lookout, Metrics, at_risk
from src.metrics.at_risk import MediaClocks
from src.watcher import RecordingFiles
from tests.harness.fakes.telemetry import FakeTelemetry

FRAGMENTED = Path(__file__).parents[2] / "test_data" / "sample_fragmented.mp4"


class Table:
    """A lookout over a folder of real files, and what a scrape of its metrics shows."""

    def __init__(self, folder: Path, files: RecordingFiles, *, stream_max: int = 200) -> None:
        self.folder = folder
        self.files = files
        self.metrics = Metrics(version="test")
        self.telemetry = FakeTelemetry()
        self.holdings: list[Holding] = []
        self.source: Callable[[], tuple[list[Holding], Waiting]] = lambda: (list(self.holdings), Waiting())
        self.collector = AtRiskCollector(self.metrics.registry, stream_max=stream_max)

    def put(self, name: str, data: bytes, *, stored: int = 0, stream_id: str | None = None) -> None:
        (self.folder / name).write_bytes(data)
        seen = self.files.stat(name)
        assert seen is not None
        self.holdings.append(Holding(name, seen, stored, stream_id=stream_id))

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)

    def streams(self) -> list[str]:
        families = [family for family in self.collector.collect() if family.name == "cefmp4_stream_at_risk_bytes"]
        return [sample.labels["stream_id"] for family in families for sample in family.samples]

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        lookout = Lookout(
            self.collector,
            holdings=lambda: self.source(),
            files=self.files,
            folder=self.folder,
            emit=self.telemetry.emit,
        )
        self.metrics.listen(lookout.hear)
        task = asyncio.create_task(lookout.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 - a scrape has no event
                await asyncio.sleep(0.01)


@pytest.fixture
async def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Table]:
    monkeypatch.setattr(at_risk, "LOOK_SECONDS", 0.05)
    files = RecordingFiles(tmp_path, in_memory_limit=1)
    yield Table(tmp_path, files)
    await files.close()


async def test_a_scrape_shows_what_is_at_risk_and_what_the_disk_has_left(table: Table) -> None:
    table.put("a.mp4", bytes(100), stored=60, stream_id="one")
    table.put("b.mp4", bytes(5))
    async with table.looking():
        await table.until(lambda: table.value("cefmp4_at_risk_bytes") == 45)
    assert table.value("cefmp4_stream_at_risk_bytes", stream_id="one") == 40
    free = table.value("cefmp4_disk_free_bytes")
    assert free is not None and 0 < free < shutil.disk_usage(table.folder).total


async def test_a_stream_has_series_of_its_own_only_while_it_lives(table: Table) -> None:
    table.put("a.mp4", bytes(100), stream_id="one")
    async with table.looking():
        await table.until(lambda: table.streams() == ["one"])
        table.holdings.clear()
        await table.until(lambda: table.streams() == [])
        assert table.value("cefmp4_at_risk_bytes") == 0


@pytest.mark.parametrize(("most", "shown"), [(0, []), (2, ["7", "8"]), (50, [str(n) for n in range(9)])])
async def test_never_more_streams_have_series_than_may(table: Table, most: int, shown: list[str]) -> None:
    table.collector = AtRiskCollector(Metrics(version="test").registry, stream_max=most)
    for number in range(9):
        table.put(f"{number}.mp4", b"x", stream_id=str(number))
    async with table.looking():
        await table.until(lambda: table.collector.figures)
        assert table.streams() == shown


async def test_before_the_first_look_there_is_no_figure(table: Table) -> None:
    assert table.value("cefmp4_at_risk_bytes") is None


async def test_what_the_daemon_has_sent_is_the_uplink(table: Table) -> None:
    stream = table.metrics.stream("one", "a.mp4")
    table.put("a.mp4", bytes(100), stream_id="one")
    table.holdings[0] = replace(table.holdings[0], sendable=100)
    async with table.looking():
        await table.until(lambda: table.value("cefmp4_backlog_bytes") == 100)
        assert table.value("cefmp4_uplink_bytes_per_second") == 0
        stream.emit(moments.PartStored(number=1, size=10**9, seconds=1, reason=SendReason.NEW))
        await table.until(lambda: (table.value("cefmp4_uplink_bytes_per_second") or 0) > 10**6)


async def test_a_look_knows_what_was_sent_and_whether_the_store_is_away(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Look] = []

    class Noted(Watch):
        def look(self, look: Look, media_seconds: Mapping[Identity, float]) -> Figures:
            looks.append(look)
            return super().look(look, media_seconds)

    monkeypatch.setattr(at_risk, "Watch", Noted)
    stream = table.metrics.stream("one", "a.mp4")

    async def seen() -> tuple[float, bool]:
        """What a look saw that began after now."""
        before = len(looks)
        await table.until(lambda: len(looks) >= before + 2)
        return looks[-1].sent, looks[-1].away

    async with table.looking():
        assert await seen() == (0, False)
        stream.emit(moments.PartStored(1, 5, 1.0, SendReason.NEW))
        stream.emit(moments.PartCopied(2, 7, 1.0))
        stream.emit(moments.PartStored(1, 6, 1.0, SendReason.HEAD_PATCH))
        assert await seen() == (11, False)
        table.metrics.emit(moments.OutageBegan("redis", since=1.0))
        assert await seen() == (11, False)
        table.metrics.emit(moments.OutageBegan("s3", since=1.0))
        table.metrics.emit(moments.OutageEnded("redis"))
        assert await seen() == (11, True)
        table.metrics.emit(moments.OutageEnded("s3"))
        assert await seen() == (11, False)


async def test_a_folder_that_is_away_costs_only_the_disks_figures(table: Table) -> None:
    table.put("a.mp4", bytes(100), stream_id="one")
    shutil.rmtree(table.folder)
    async with table.looking():
        await table.until(lambda: table.value("cefmp4_at_risk_bytes") == 100)
    assert math.isnan(table.value("cefmp4_disk_free_bytes") or 0)
    assert table.telemetry.moments == []


async def test_a_look_that_fails_is_told_and_the_next_one_is_made(table: Table) -> None:
    def broken() -> tuple[list[Holding], Waiting]:
        raise RuntimeError("a bug")

    table.source = broken
    async with table.looking():
        await table.until(lambda: table.telemetry.of(moments.Unexpected))
        table.source = lambda: ([], Waiting())
        await table.until(lambda: table.value("cefmp4_at_risk_bytes") == 0)


async def test_a_fragmented_recording_is_measured_by_its_own_clock(table: Table) -> None:
    table.put("a.mp4", FRAGMENTED.read_bytes(), stream_id="one")
    async with table.looking():
        await table.until(lambda: table.value("cefmp4_stream_at_risk_seconds", stream_id="one"))
    assert table.value("cefmp4_stream_at_risk_seconds", stream_id="one") == pytest.approx(2.0, abs=0.1)


async def test_a_clock_goes_on_from_look_to_look_and_begins_anew_in_a_shorter_file(table: Table) -> None:
    film, clocks = FRAGMENTED.read_bytes(), MediaClocks(table.files, table.telemetry.emit)
    found = []
    for size in (len(film) // 2, len(film), len(film) // 2, 10, len(film)):
        table.holdings.clear()
        (table.folder / "a.mp4").write_bytes(film[:size])  # under the same inode
        seen = table.files.stat("a.mp4")
        assert seen is not None
        known = await clocks.seconds([Holding("a.mp4", seen, stream_id="one")])
        found.append(known.get(seen.identity))
    assert found[3] is None, "ten bytes tell nothing"
    assert found[1] == found[4] == pytest.approx(2.0, abs=0.1)
    assert found[0] == found[2] == pytest.approx(1.0, abs=0.6)


@pytest.mark.parametrize(
    ("film", "structure", "seconds"),
    [
        ("sample.mp4", Structure.INDEX_LAST, 0.0),
        ("sample_faststart.mp4", Structure.INDEX_FIRST, 0.0),
        ("sample_fragmented.mp4", Structure.FRAGMENTED, pytest.approx(1.0, abs=0.1)),
    ],
)
async def test_how_a_recording_is_laid_out_is_told_while_it_grows_and_never_of_a_closed_one(
    table: Table, film: str, structure: Structure, seconds: float
) -> None:
    data, clocks = (FRAGMENTED.parent / film).read_bytes(), MediaClocks(table.files, table.telemetry.emit)

    async def look(name: str, size: int) -> None:
        (table.folder / name).write_bytes(data[:size])
        seen = table.files.stat(name)
        assert seen is not None
        await clocks.seconds([Holding(name, seen, stream_id="one")])

    for size in (len(data), len(data)):
        await look("closed.mp4", size)
    assert table.telemetry.moments == []
    for share in (20, 40, 60, 80, 99, 100):
        await look("grows.mp4", len(data) * share // 100)
    told = table.telemetry.of(moments.MediaSeen)
    assert {(each.file_path, each.structure) for each in told} == {("grows.mp4", structure)}
    assert len(told) <= 2, "again only for twice as many fragments"
    assert told[-1].fragment_seconds == seconds


async def test_a_recording_that_cannot_be_read_is_measured_by_its_growth(table: Table) -> None:
    table.put("gone.mp4", FRAGMENTED.read_bytes(), stream_id="one")
    (table.folder / "gone.mp4").unlink()
    async with table.looking():
        await table.until(lambda: table.value("cefmp4_stream_at_risk_bytes", stream_id="one"))
    assert table.telemetry.moments == []


async def test_a_disk_that_hangs_costs_the_medias_clock_and_nothing_else(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(at_risk, "_PATIENCE_SECONDS", 0.05)
    answers, asked = threading.Event(), 0

    async def hang(path: str, identity: Identity, work: Callable[[Read], None]) -> None:
        nonlocal asked
        asked += 1
        await asyncio.to_thread(answers.wait)

    monkeypatch.setattr(table.files, "examine", hang)
    table.put("a.mp4", FRAGMENTED.read_bytes(), stream_id="one")
    try:
        async with table.looking():
            await table.until(lambda: table.value("cefmp4_at_risk_bytes"))
            table.put("b.mp4", bytes(5))
            await table.until(lambda: table.value("cefmp4_at_risk_bytes") == len(FRAGMENTED.read_bytes()) + 5)
            assert asked == 1, "a thread for each look would hang"
    finally:
        answers.set()
