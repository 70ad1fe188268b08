"""What conduct tells of recordings that are not finished, in every state that one can be in."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from src.domain import (
    SOURCE_MISSING,
    Answer,
    Checkpoint,
    ChunkBody,
    Figures,
    Holding,
    Identity,
    Look,
    Manifest,
    Naming,
    Part,
    PartSchedule,
    SendReason,
    Status,
    StoredObject,
    StoredPart,
    Waiting,
    Watch,
)
from src.exceptions import S3Rejected
from src.stream_processor.ledger import Ledger
from tests.harness.crash.scenes import (
    PATH,
    SECOND,
    BlindSimulation,
    bytes_of,
    failed_reasons,
    finished_file,
    growing_file,
    lived,
    restart,
    settled,
    take_away,
    until,
    uploads,
)
from tests.harness.crash.simulation import CHUNK, LIMITS, SCAN, SOON, Simulation
from tests.harness.crash.virtual_time import run
from tests.harness.fakes.checkpoints import FakeCheckpoints
from tests.harness.fakes.store import FakeStore
from tests.harness.fakes.telemetry import FakeTelemetry


class StoreThatGoesAway(FakeStore):
    """While ``here`` is not set, nothing that is asked of it comes back; ``refuses`` is what it says instead."""

    def __init__(self) -> None:
        super().__init__(limits=LIMITS)
        self.here = asyncio.Event()
        self.here.set()
        self.no_parts = asyncio.Event()  # while it is not set, it takes no part and answers everything else
        self.no_parts.set()
        self.can_be_asked = asyncio.Event()  # while it is not set, nobody learns what it has
        self.can_be_asked.set()
        self.refuses: S3Rejected | None = None

    async def _answer(self) -> None:
        await self.here.wait()
        if self.refuses is not None:
            raise self.refuses

    async def head(self, key: str) -> StoredObject | None:
        await self.can_be_asked.wait()
        return await super().head(key)

    async def create_upload(self, key: str, metadata: object, **more: bool) -> str:
        await self._answer()
        return await super().create_upload(key, metadata, **more)  # type: ignore[arg-type]

    async def put_whole(
        self, key: str, metadata: Mapping[str, str], body: ChunkBody
    ) -> tuple[Answer, StoredObject | None]:
        await self.here.wait()
        return await super().put_whole(key, metadata, body)

    async def upload_part(self, key: str, upload_id: str, number: int, body: ChunkBody) -> StoredPart:
        await self._answer()
        await self.no_parts.wait()
        return await super().upload_part(key, upload_id, number, body)

    async def complete_upload(self, key: str, upload_id: str, manifest: Manifest, parts: object) -> Answer:
        await self._answer()
        return await super().complete_upload(key, upload_id, manifest, parts)  # type: ignore[arg-type]


def holdings(simulation: Simulation) -> dict[str, Holding]:
    assert simulation.dispatcher is not None
    found, _ = simulation.dispatcher.holdings()
    return {holding.path: holding for holding in found}


def waiting(simulation: Simulation) -> Waiting:
    assert simulation.dispatcher is not None
    return simulation.dispatcher.holdings()[1]


def at_risk(simulation: Simulation) -> int:
    return waiting(simulation).bytes + sum(holding.at_risk for holding in holdings(simulation).values())


async def caught_up(simulation: Simulation) -> None:
    """Until the last three bytes are all that is missing."""
    await asyncio.sleep(2 * SCAN)
    await until(lambda: at_risk(simulation) == 3, "only the tail is missing")


def test_while_a_recording_grows_only_its_tail_is_at_risk_and_in_the_end_nothing() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 5)
        await caught_up(simulation)
        held = holdings(simulation)[PATH]
        assert (held.seen.size, held.stored, held.sendable) == (5 * CHUNK + 3, 5 * CHUNK, 0)
        await settled(simulation)
        assert holdings(simulation) == {}

    assert lived(script).problems() == []


def test_while_the_store_is_away_everything_new_is_at_risk_and_can_be_sent_when_it_is_back() -> None:
    store = StoreThatGoesAway()

    async def look(simulation: Simulation, watch: Watch) -> Figures:
        now = simulation.clock
        found = list(holdings(simulation).values())
        return watch.look(Look(now.monotonic(), now.utc_now().timestamp(), found, waiting(simulation), 0.0, 0.0), {})

    async def script(simulation: Simulation) -> None:
        watch = Watch()
        await growing_file(simulation, 2)
        await caught_up(simulation)
        store.here.clear()
        for number in range(24):
            await asyncio.sleep(5)
            simulation.disk.append(PATH, bytes_of(CHUNK, number))
            figures = await look(simulation, watch)
        await asyncio.sleep(SCAN)
        held = holdings(simulation)[PATH]
        assert (held.at_risk, held.sendable) == (24 * CHUNK + 3, 24 * CHUNK)
        assert abs(figures.total.oldest - 24 * 5) <= 15
        assert abs(figures.total.seconds - 24 * 5) <= 15
        store.here.set()
        await until(lambda: at_risk(simulation) == 3, "it has caught up again")
        await settled(simulation)
        assert (await look(simulation, watch)).total.bytes == 0

    assert lived(script, store=store).problems() == []


def test_a_recording_that_has_become_quiet_can_be_sent_with_its_tail() -> None:
    store = StoreThatGoesAway()

    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 2)
        await caught_up(simulation)
        store.here.clear()
        await until(lambda: holdings(simulation)[PATH].sendable == 3, "its quiet time is over")
        store.here.set()

    assert lived(script, store=store).problems() == []


def test_files_that_wait_for_their_turn_are_at_risk() -> None:
    store = StoreThatGoesAway()

    async def script(simulation: Simulation) -> None:
        store.here.clear()
        for number in range(40):
            simulation.disk.write(f"{number:02}.mp4", bytes_of(5, number))
            simulation.disk.files[f"{number:02}.mp4"].mtime_ns -= 10**15
        await asyncio.sleep(3 * SCAN)
        assert waiting(simulation).bytes > 50, "many of them wait"
        assert at_risk(simulation) == 200
        assert simulation.clock.utc_now().timestamp() - (waiting(simulation).born or 0) > 10**6
        take_away(simulation.disk, "39.mp4")
        await until(lambda: at_risk(simulation) == 195, "one that waited is gone")
        store.here.set()
        await settled(simulation)
        assert at_risk(simulation) == 0

    # Each repetition of the unanswered request follows after a longer pause, the last of them after most of a minute.
    assert lived(script, store=store, soon=SOON + 10.0).problems() == []


def test_a_finished_recording_that_goes_on_has_only_its_growth_at_risk() -> None:
    store = StoreThatGoesAway()

    async def script(simulation: Simulation) -> None:
        content = await finished_file(simulation)
        store.here.clear()
        simulation.disk.append(PATH, bytes_of(7, 9))
        await until(lambda: PATH in holdings(simulation), "it is seen")
        for _ in range(20):
            await asyncio.sleep(SCAN)
            assert holdings(simulation)[PATH].at_risk == 7, f"{len(content)} bytes are in its object"
        store.here.set()

    assert lived(script, store=store).problems() == []


def test_what_the_store_lacks_of_a_failed_stream_stays_at_risk_and_is_no_backlog() -> None:
    store = StoreThatGoesAway()

    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 2)
        await caught_up(simulation)
        store.refuses = S3Rejected("no", operation="upload_part", hint="pay")
        simulation.disk.append(PATH, bytes_of(CHUNK, 7))
        await until(lambda: failed_reasons(simulation), "it has failed")
        await asyncio.sleep(2 * SCAN)
        held = holdings(simulation)[PATH]
        assert (held.at_risk, held.sendable, held.stream_id) == (CHUNK + 3, 0, None)
        store.refuses = None
        simulation.disk.append(PATH, bytes_of(1, 8))
        await settled(simulation)
        assert holdings(simulation) == {}

    assert lived(script, store=store).problems() == []


def test_a_failed_recording_that_is_deleted_is_not_at_risk_any_more() -> None:
    store = StoreThatGoesAway()
    store.whole = False
    store.refuses = S3Rejected("no", operation="create_upload", hint="pay")

    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, bytes_of(5, 1))
        await until(lambda: failed_reasons(simulation), "it has failed")
        assert at_risk(simulation) == 5
        take_away(simulation.disk)
        await until(lambda: at_risk(simulation) == 0, "it is gone")

    lived(script, store=store)


def test_a_file_that_is_gone_is_not_on_this_disk() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 2)
        take_away(simulation.disk)
        await until(lambda: holdings(simulation) == {}, "it is seen gone")
        assert failed_reasons(simulation) == [], "it may come back yet"
        await until(lambda: failed_reasons(simulation) == [SOURCE_MISSING], "it counts as missing")
        assert holdings(simulation) == {}

    lived(script)


def test_a_file_that_nobody_can_look_at_counts_as_it_was_seen_last() -> None:
    async def script(simulation: BlindSimulation) -> None:
        await growing_file(simulation, 2)
        await caught_up(simulation)
        simulation.blind_disk.blind.add(PATH)
        simulation.disk.append(PATH, bytes_of(CHUNK, 3))
        await asyncio.sleep(5 * SCAN)
        assert at_risk(simulation) == 3
        simulation.blind_disk.blind.clear()
        await until(lambda: at_risk(simulation) == 0, "it is done")

    async def live() -> Simulation:
        simulation = BlindSimulation()
        await simulation.run(lambda _: script(simulation))
        return simulation

    assert run(live()).problems() == []


async def test_a_part_that_was_sent_twice_is_stored_once() -> None:
    now = datetime.now(UTC)
    identity, first = Identity(1, 1), Part(1, 8, "e", 1, now)
    record = Checkpoint("id", Status.ACTIVE, PATH, "b", "k", identity, PartSchedule(8), now, parts={1: first})
    ledger = Ledger(record, FakeCheckpoints(), FakeTelemetry().stream("id", PATH))
    await ledger.part_stored(replace(first, etag="f", sent_again=(SendReason.HEAD_PATCH,)))
    await ledger.part_stored(replace(first, number=2, size=3))
    assert ledger.stored_bytes == 11
    await ledger.begin_upload(None, "another", {})
    assert ledger.stored_bytes == 0


def test_a_recording_keeps_its_place_when_it_is_renamed() -> None:
    store = StoreThatGoesAway()

    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 2)
        await caught_up(simulation)
        store.here.clear()
        simulation.disk.rename(PATH, SECOND)
        await until(lambda: set(holdings(simulation)) == {SECOND}, "the rename is seen")
        assert holdings(simulation)[SECOND].at_risk == 3
        store.here.set()

    assert lived(script, store=store).problems() == []


def test_a_file_that_is_used_again_in_place_is_at_risk_from_its_first_byte() -> None:
    store = StoreThatGoesAway()

    async def script(simulation: Simulation) -> None:
        content = await finished_file(simulation)
        store.can_be_asked.clear()
        simulation.disk.truncate(PATH, 0)
        await asyncio.sleep(2 * SCAN)
        for size in range(5, 2 * len(content), 5):
            simulation.disk.append(PATH, bytes_of(5, 9))
            await until(lambda size=size: at_risk(simulation) == size, "what is new is at risk")  # type: ignore[misc]
        store.can_be_asked.set()

    lived(script, store=store)


def test_a_recording_that_goes_on_and_is_then_used_again_is_at_risk_from_its_first_byte() -> None:
    store = StoreThatGoesAway()

    async def script(simulation: Simulation) -> None:
        content = await finished_file(simulation)
        store.here.clear()
        simulation.disk.append(PATH, bytes_of(7, 9))
        await until(lambda: at_risk(simulation) == 7, "it goes on")
        simulation.disk.truncate(PATH, 3)
        await until(lambda: at_risk(simulation) == 3, "it is used again")
        simulation.disk.append(PATH, bytes_of(len(content), 9))
        await until(lambda: at_risk(simulation) == len(content) + 3, "and grows beyond the earlier one")
        store.here.set()

    lived(script, store=store)


def test_another_recordings_object_makes_nothing_safe_while_it_is_replaced() -> None:
    store = StoreThatGoesAway()
    naming = Naming(PartSchedule(CHUNK), limits=LIMITS, replace_reused_names=True)

    async def script(simulation: Simulation) -> None:
        content = await finished_file(simulation)
        take_away(simulation.disk)
        await asyncio.sleep(2 * SCAN)
        store.no_parts.clear()
        simulation.disk.write(PATH, bytes_of(len(content) + 5, 9))
        await until(lambda: uploads(simulation), "its upload is open")
        await asyncio.sleep(2 * SCAN)
        assert at_risk(simulation) == len(content) + 5
        store.no_parts.set()

    lived(script, store=store, naming=naming)


def old_files(simulation: Simulation, count: int) -> int:
    """Files that have been lying there for days."""
    for number in range(count):
        simulation.disk.write(f"{number:02}.mp4", bytes_of(5, number))
        file = simulation.disk.files[f"{number:02}.mp4"]
        file.mtime_ns = file.ctime_ns = file.mtime_ns - 10**15
    return count


def test_after_a_start_the_files_that_rest_are_to_look_up_and_not_at_risk() -> None:
    store = StoreThatGoesAway()

    async def script(simulation: Simulation) -> None:
        store.can_be_asked.clear()
        await restart(simulation, lambda: old_files(simulation, 40))
        await until(lambda: waiting(simulation).to_look_up == 40, "nobody knows whether S3 has them")
        assert at_risk(simulation) == 0
        simulation.disk.append("39.mp4", bytes_of(1, 1))
        await until(lambda: (waiting(simulation).to_look_up, at_risk(simulation)) == (39, 6), "one has changed")
        take_away(simulation.disk, "38.mp4")
        await until(lambda: waiting(simulation).to_look_up == 38, "one is gone")
        store.can_be_asked.set()
        await settled(simulation)
        assert (waiting(simulation).to_look_up, at_risk(simulation)) == (0, 0)

    lived(script, store=store)


def test_a_file_from_before_the_start_that_s3_lacks_is_at_risk_once_that_is_known() -> None:
    store = StoreThatGoesAway()

    async def script(simulation: Simulation) -> None:
        store.no_parts.clear()
        await restart(simulation, lambda: old_files(simulation, 1))
        await until(lambda: (waiting(simulation).to_look_up, at_risk(simulation)) == (0, 5), "it was looked up")
        store.no_parts.set()

    lived(script, store=store)
