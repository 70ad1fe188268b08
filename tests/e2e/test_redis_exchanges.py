"""What a small recording costs Redis: its exchanges are counted at a proxy, and do not depend on the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.test_redis_faults import faulty_stage
from tests.harness.e2e.daemon import eventually
from tests.harness.e2e.recorders import write
from tests.harness.e2e.stage import Stage
from tests.harness.faulty_redis import FaultyRedis

pytestmark = [pytest.mark.slow, pytest.mark.versitygw, pytest.mark.redis]

#: Exchanges of one closed recording that is sent in one request, from its first look-up to its marker.
MOST = 6
SIZE = 60_000


def exchanges(stage: Stage, proxy: FaultyRedis, name: str, *, key: str = "") -> list[str]:
    """The commands of each exchange about a recording that is done."""
    document = stage.wait_until_done(stage.folder / name, key=key or name)
    file, stream_id = f"{(stage.folder / name).stat().st_ino}:", str(document["stream_id"])
    eventually(lambda: any(field.startswith(file) for field in stage.markers()), f"the marker of {name} is there")
    found = proxy.exchanges(file.encode(), stream_id.encode())
    return [" ".join(command.name for command in exchange) for exchange in found]


def test_a_small_closed_recording_costs_few_exchanges(tmp_path: Path) -> None:
    with faulty_stage(tmp_path) as (stage, proxy):
        write(tmp_path / "first.mp4", SIZE)
        write(tmp_path / "second.mp4", SIZE, seed=1)
        stage.daemon.start_and_wait()
        stage.wait_until_probed()  # before, recordings have uploads
        (tmp_path / "first.mp4").rename(stage.folder / "first.mp4")
        exchanges(stage, proxy, "first.mp4")  # Redis knows the scripts afterwards
        (tmp_path / "second.mp4").rename(stage.folder / "second.mp4")
        found = exchanges(stage, proxy, "second.mp4")
        assert len(found) == MOST, "\n".join(found)
        assert stage.daemon.stop() == 0
