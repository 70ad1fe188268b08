"""What a recording costs Redis: its exchanges are counted at a proxy, and do not depend on the machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from src.redis_client.scripts import RECALL
from tests.e2e.test_redis_faults import faulty_stage
from tests.harness.e2e.daemon import eventually
from tests.harness.e2e.recorders import CHUNK, write
from tests.harness.e2e.stage import Stage
from tests.harness.faulty_redis import Command, Fault, FaultyRedis, Rule

pytestmark = [pytest.mark.slow, pytest.mark.versitygw, pytest.mark.redis]

#: Its look-up, what is to be made of it, its proof, the facts of its document, its end.
SMALL = 5
#: The object of another program is at its key when it is sent: another key, and again what is to be made of it.
KEY_TAKEN = SMALL + 2
#: Before its parts: its look-up, the intent, the upload. After them: as for a small one.
BESIDE_PARTS = 7
SIZE = 60_000
MANY = 24


@dataclass(slots=True)
class Meanwhile(Rule):
    """Breaks nothing: right before an exchange something happens elsewhere."""

    action: Callable[[], None] = field(default=lambda: None)

    def takes(self, exchange: tuple[Command, ...]) -> bool:
        taken = super(Meanwhile, self).takes(exchange)
        if taken:
            self.action()
        return taken


def appears(stage: Stage, made: Path, name: str) -> Path:
    """A closed file, at once."""
    return made.rename(stage.folder / name)


def exchanges(stage: Stage, proxy: FaultyRedis, name: str, *, key: str = "") -> list[str]:
    """The commands of each exchange about a recording that is done."""
    document = stage.wait_until_done(stage.folder / name, key=key or name)
    file, stream_id = f"{(stage.folder / name).stat().st_ino}:", str(document["stream_id"])
    eventually(lambda: any(field.startswith(file) for field in stage.markers()), f"the marker of {name} is there")
    found = proxy.exchanges(file.encode(), stream_id.encode())
    return [" ".join(command.name for command in exchange) for exchange in found]


def test_each_exchange_about_a_recording_has_its_reason(tmp_path: Path) -> None:
    with faulty_stage(tmp_path) as (stage, proxy):
        small, again, taken, long = (tmp_path / f"{name}.mp4" for name in ("small", "again", "taken", "long"))
        for seed, path in enumerate((small, again, taken)):
            write(path, SIZE, seed=seed)
        write(long, 3 * CHUNK + 10, seed=9)
        stage.daemon.start_and_wait()
        stage.wait_until_probed()  # before, recordings have uploads
        appears(stage, small, "small.mp4")
        exchanges(stage, proxy, "small.mp4")  # Redis knows the scripts afterwards
        appears(stage, again, "again.mp4")
        found = exchanges(stage, proxy, "again.mp4")
        assert found == ["EVALSHA"] * SMALL
        proxy.add(
            Meanwhile(
                Fault("delay"),
                command="EVALSHA",
                about=b"taken.mp4",
                says=b"manifest",
                action=lambda: stage.bucket.put("taken.mp4", b"a stranger's"),
            )
        )
        appears(stage, taken, "taken.mp4")
        found = exchanges(stage, proxy, "taken.mp4", key="taken~2.mp4")
        assert found == ["EVALSHA"] * KEY_TAKEN
        appears(stage, long, "long.mp4")
        found = exchanges(stage, proxy, "long.mp4")
        assert found == ["EVALSHA"] * (4 + BESIDE_PARTS)
        assert stage.bucket.get("taken.mp4") == b"a stranger's"
        assert stage.daemon.stop() == 0


def test_the_files_of_a_start_are_looked_up_together(tmp_path: Path) -> None:
    with faulty_stage(tmp_path) as (stage, proxy):
        write(stage.folder / "first.mp4", SIZE)
        stage.daemon.start_and_wait()
        exchanges(stage, proxy, "first.mp4")
        assert stage.daemon.stop() == 0
        names = [f"{number}.mp4" for number in range(MANY)]
        for seed, name in enumerate(names):
            write(stage.folder / name, SIZE, seed=seed)
            os.utime(stage.folder / name, (1_700_000_000, 1_700_000_000))
        before = len(proxy.exchanges())
        stage.daemon.start_and_wait()
        for name in names:
            stage.wait_until_done(stage.folder / name, key=name)
        eventually(lambda: len(stage.markers()) == MANY + 1, "all have their markers")
        files = [f"{(stage.folder / name).stat().st_ino}:".encode() for name in names]
        sent = [exchange[0].words for exchange in proxy.exchanges()[before:] if exchange[0].name == "EVALSHA"]
        recalls = [words for words in sent if RECALL.sha.encode() in words]
        assert sum(any(word.startswith(file) for word in words for file in files) for words in recalls) == 1
        assert stage.daemon.stop() == 0
