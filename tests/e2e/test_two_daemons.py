"""Two daemons on one folder and one bucket by accident: every object is right, exactly one key, no upload stays open.

Nothing keeps them apart yet; what must hold is that nothing is lost and nothing is doubled (D5, D6, D14).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.harness import servers
from tests.harness.e2e.daemon import Daemon, eventually
from tests.harness.e2e.recorders import CHUNK, Shape, Writer, recording, write
from tests.harness.e2e.stage import Stage

pytestmark = [pytest.mark.slow, pytest.mark.versitygw, pytest.mark.redis, pytest.mark.ffmpeg]

#: Where the two keep their records: the very same place, or each a Redis of its own.
PLACES = ("the same Redis", "different Redis")


@pytest.fixture
def two(own_stage: Stage, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Daemon, Daemon]]:
    with ExitStack() as stack:
        second = own_stage.redis_url
        if request.param == "different Redis":
            second = stack.enter_context(servers.start_redis(tmp_path / "second", persistent=True)).url
        yield own_stage.another_daemon("one"), own_stage.another_daemon("two", REDIS_URL=second)


def quiet(daemon: Daemon) -> bool:
    """Nothing is under way."""
    return daemon.page("/-/ready")[0] == 200 and daemon.metric("active_streams_gauge") == 0


def sent(daemon: Daemon, name: str) -> bool:
    """Whether it has sent a part; the other's upload may have served it instead."""
    return bool(daemon.lines("part_stored", file_path=name))


def check_the_end(stage: Stage, daemons: tuple[Daemon, Daemon], paths: list[Path]) -> None:
    keys = sorted(path.name for path in paths)
    eventually(lambda: sorted(stage.bucket.documents()) == keys, "every recording is described")
    for path in paths:
        eventually(lambda path=path: stage.bucket.holds(path.name, path), f"{path.name} is the file")  # type: ignore[misc]
    eventually(lambda: all(quiet(daemon) for daemon in daemons), "both have nothing more to do")
    eventually(lambda: stage.bucket.open_uploads() == [], "no upload is left open")
    assert stage.bucket.objects() == keys
    for path in paths:
        assert stage.bucket.holds(path.name, path)
    for daemon in daemons:
        assert daemon.lines("unexpected_error") == [] and daemon.lines("stream_failed") == []
        assert "Traceback" not in daemon.everything_said()
        assert daemon.stop() == 0
    eventually(lambda: not stage.redis_keys("stream:*"), "no stream is left in Redis", within=1)


@pytest.mark.parametrize("two", PLACES, indirect=True)
def test_two_daemons_by_accident_lose_and_double_nothing(
    own_stage: Stage, two: tuple[Daemon, Daemon], ffmpeg: Path
) -> None:
    """D5, D6, D14: recordings that grow in each shape, patched, rewritten, and files that lay there before."""
    stage, folder = own_stage, own_stage.folder
    paths = [folder / f"{name}.mp4" for name in ("lying", "small", "patched", *Shape)]
    write(paths[0], 2 * CHUNK + 7)
    for daemon in two:
        daemon.start(STREAM_TIMEOUT_SECONDS="2")
    for daemon in two:
        daemon.wait_until_ready()
    write(paths[1], 1000, seed=1)
    with ExitStack() as stack:
        writer = stack.enter_context(Writer(paths[2], seed=2))
        writer.append(CHUNK + 1)
        recorders = [
            stack.enter_context(recording(ffmpeg, folder / f"{shape}.mp4", shape, seconds=5)) for shape in Shape
        ]
        eventually(lambda: any(sent(daemon, "patched.mp4") for daemon in two), "one of them has begun")
        writer.append(CHUNK)
        writer.patch(0, 4)
        for recorder in recorders:
            recorder.wait()
    check_the_end(stage, two, paths)


@pytest.mark.parametrize("two", PLACES, indirect=True)
def test_a_second_daemon_that_starts_in_mid_recording_and_is_killed_costs_nothing(
    own_stage: Stage, two: tuple[Daemon, Daemon]
) -> None:
    """D5, D6: it takes the first one's records for its own where it finds them; an object is replaced by both."""
    stage, (first, second) = own_stage, two
    live, late = (stage.folder / f"{name}.mp4" for name in ("live", "late"))
    write(late, CHUNK + 5, seed=1)
    first.start()
    eventually(lambda: "late.mp4" in stage.bucket.documents(), "the first has done it")
    with Writer(live) as writer:
        writer.append(CHUNK + 1)
        first.wait_for("part_stored", file_path="live.mp4")
        second.start()
        second.wait_until_ready()
        with Writer(late, new=False, seed=2) as other:
            other.patch(100, 4)
        eventually(lambda: sent(second, "late.mp4") or stage.bucket.holds("late.mp4", late), "late.mp4 is replaced")
        second.kill()
        writer.append(CHUNK)
        second.start()
        writer.patch(7, 4)
    check_the_end(stage, two, [live, late])
