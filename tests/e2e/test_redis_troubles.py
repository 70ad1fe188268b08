"""Redis as operators break it, under a real daemon: nothing is lost or doubled, and nothing unproved is completed.

Ids in docstrings are those of the table of failure modes.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlparse

import pytest

from tests.harness.e2e.daemon import Daemon, eventually
from tests.harness.e2e.recorders import CHUNK, Writer, write
from tests.harness.e2e.stage import Stage
from tests.harness.faulty_redis import Fault, FaultyRedis, Rule

pytestmark = [pytest.mark.slow, pytest.mark.versitygw, pytest.mark.redis]

Admin = Any
#: So that a Redis that is silent is noticed soon.
IMPATIENT = "?socket_timeout=1"


def was_told(daemon: Daemon, hint: str) -> bool:
    return any(hint in str(line.get("hint", "")) for line in daemon.lines())


def check_calm(daemon: Daemon) -> None:
    """The process never ended, and nothing happened that nobody had foreseen."""
    assert daemon.is_running()
    assert daemon.lines("unexpected_error") == []
    assert "Traceback" not in daemon.everything_said()


# -- trouble that comes and goes ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trouble:
    """What is done to a living Redis, how it is mended, and what the operator is told meanwhile."""

    cause: Callable[[Stage, Admin], object]
    cure: Callable[[Stage, Admin], object]
    hint: str


def send(number: signal.Signals) -> Callable[[Stage, Admin], object]:
    def to_redis(stage: Stage, _: Admin) -> None:
        assert stage.redis_server is not None and stage.redis_server.process is not None
        stage.redis_server.process.send_signal(number)

    return to_redis


def with_new_connections(*settings: tuple[str, str]) -> Callable[[Stage, Admin], object]:
    """Change settings that old connections would not feel."""

    def change(_: Stage, admin: Admin) -> None:
        for name, value in settings:
            admin.config_set(name, value)
        admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    return change


def command(*words: str) -> Callable[[Stage, Admin], object]:
    return lambda _, admin: admin.execute_command(*words)


TROUBLES: Mapping[str, Trouble] = {
    "D9 it became a replica": Trouble(
        command("REPLICAOF", "127.0.0.1", "1"), command("REPLICAOF", "NO", "ONE"), "read-only replica"
    ),
    "D8 it is full": Trouble(
        command("CONFIG", "SET", "maxmemory", "1mb"), command("CONFIG", "SET", "maxmemory", "0"), "maxmemory"
    ),
    "D9 it wants a password": Trouble(
        with_new_connections(("requirepass", "gehe1m")), command("CONFIG", "SET", "requirepass", ""), "password"
    ),
    "D9 a right was taken away": Trouble(
        command("ACL", "SETUSER", "default", "-hset"), command("ACL", "SETUSER", "default", "+@all"), "rights"
    ),
    "D11 it takes no more clients": Trouble(
        with_new_connections(("maxclients", "1")), command("CONFIG", "SET", "maxclients", "10000"), "Redis is running"
    ),
    "D15 it pauses its writers": Trouble(
        command("CLIENT", "PAUSE", "120000", "WRITE"), command("CLIENT", "UNPAUSE"), "Redis is running"
    ),
    "D15 it hangs": Trouble(send(signal.SIGSTOP), send(signal.SIGCONT), "Redis is running"),
}


@pytest.mark.parametrize("name", TROUBLES)
def test_trouble_with_redis_delays_what_must_be_proved_and_nothing_else(own_stage: Stage, name: str) -> None:
    stage, daemon, path, trouble = own_stage, own_stage.daemon, own_stage.folder / "live.mp4", TROUBLES[name]
    daemon.start_and_wait(REDIS_URL=stage.redis_url + IMPATIENT)
    with Writer(path) as writer:
        writer.append(CHUNK + 1)
        stage.wait_until_sent(path, 1)
        trouble.cause(stage, stage.redis)
        try:
            writer.append(CHUNK)
            stage.wait_until_sent(path, 2)  # parts go on
            writer.append(1)
            writer.close()
            daemon.wait_for("stream_went_idle")
            eventually(lambda: was_told(daemon, trouble.hint), f"the operator is told of {trouble.hint}")
            assert stage.bucket.objects() == [] and stage.bucket.open_uploads() == ["live.mp4"]
        finally:
            trouble.cure(stage, stage.redis)
    stage.wait_until_done(path)
    stage.wait_until_clean("live.mp4")
    assert sorted(stage.sent(path)) == [1, 2, 3]
    assert "gehe1m" not in daemon.everything_said()
    check_calm(daemon)


def test_while_redis_is_away_for_long_nothing_is_completed_replaced_or_deleted(own_stage: Stage) -> None:
    """D2: three recordings at three places of their way; parts go on meanwhile."""
    stage, daemon, server = own_stage, own_stage.daemon, own_stage.redis_server
    assert server is not None
    done, quiet, live = (stage.folder / f"{name}.mp4" for name in ("done", "quiet", "live"))
    write(done, CHUNK + 10)
    daemon.start_and_wait()
    stage.wait_until_done(done)
    daemon.wait_for("stream_completed")
    before = stage.bucket.get("done.mp4")
    with Writer(live, seed=1) as writer, Writer(quiet, seed=2) as other:
        for each in (writer, other):
            each.append(CHUNK + 1)
        for path in (live, quiet):
            stage.wait_until_sent(path, 1)
        server.kill()
        other.close()
        with Writer(done, new=False, seed=3) as late:
            late.patch(3, 4)
        for number in (2, 3, 4):
            writer.append(CHUNK)
            stage.wait_until_sent(live, number)
        daemon.wait_for("stream_went_idle", file_path="quiet.mp4")
        failed = daemon.metric("cefmp4_failed_operations_total", operation_type="redis_update")
        eventually(
            lambda: daemon.metric("cefmp4_failed_operations_total", operation_type="redis_update") > failed + 4,
            "it has been away for several attempts",
        )
        assert stage.bucket.objects() == ["done.mp4"] and stage.bucket.get("done.mp4") == before
        assert {"live.mp4", "quiet.mp4"} <= set(stage.bucket.open_uploads())
        assert daemon.page("/-/healthy")[0] == 200 and daemon.page("/-/ready")[0] == 503
        server.start()
    for path in (done, quiet, live):
        stage.wait_until_done(path)
    stage.wait_until_clean("done.mp4", "live.mp4", "quiet.mp4")
    assert sorted(stage.sent(live)) == [1, 2, 3, 4, 5]
    check_calm(daemon)


# -- Redis forgets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noticed", [True, False], ids=["and it was noticed", "at once"])
@pytest.mark.parametrize("loss", ["flushed", "restarted empty"])
def test_redis_forgets_everything_in_mid_upload_and_then_the_daemon_is_killed(
    own_stage: Stage, loss: str, noticed: bool
) -> None:
    """D3, D14: what was sent is used again; where there was time to notice, also what is kept failed stays known."""
    stage, daemon, live, gone = (
        own_stage,
        own_stage.daemon,
        own_stage.folder / "live.mp4",
        own_stage.folder / "gone.mp4",
    )
    aside = stage.home / "aside.mp4"
    daemon.start_and_wait(WATCH_SCAN_SECONDS="1", STREAM_TIMEOUT_SECONDS="300")
    with Writer(live) as writer:
        writer.append(2 * CHUNK + 1)
        write(gone, 2 * CHUNK + 5, seed=1)
        for path in (live, gone):
            stage.wait_until_sent(path, 1, 2)
        if not noticed:
            gone.rename(aside)
        else:
            with Writer(gone, new=False, seed=1) as other:
                other.append(1)
                gone.rename(aside)
                daemon.wait_for("stream_failed", file_path="gone.mp4")
        forget_everything(stage, loss)
        if noticed:
            daemon.wait_for("redis_data_lost")
            assert len(stage.members("active")) == len(stage.members("failed")) == 1
        daemon.kill()
        daemon.start(WATCH_SCAN_SECONDS="1", STREAM_TIMEOUT_SECONDS="4")
        daemon.wait_for("stream_started" if not noticed else "stream_resumed", file_path="live.mp4")
        writer.append(CHUNK)
        stage.wait_until_sent(live, 3)
    aside.rename(gone)
    for path in (live, gone):
        stage.wait_until_done(path)
    assert (sorted(stage.sent(live)), stage.sent(gone)) == ([3, 4], [3])
    stage.wait_until_clean("gone.mp4", "live.mp4")
    check_calm(daemon)


def forget_everything(stage: Stage, loss: str) -> None:
    if loss == "flushed":
        stage.redis.flushall()
        return
    server = stage.redis_server
    assert server is not None
    server.kill()
    for file in server.directory.rglob("*.aof*"):
        if file.is_file():
            file.unlink()
    server.start()
    eventually(lambda: stage.redis.dbsize() is not None, "Redis is there")


def test_the_wrong_database_is_an_empty_redis_and_the_right_one_a_stale_one(own_stage: Stage) -> None:
    """D14, D4: the upload goes on by what S3 holds; the old record finds its object there."""
    stage, daemon, path = own_stage, own_stage.daemon, own_stage.folder / "moved.mp4"
    other = stage.redis_url.removesuffix("/0") + "/1"
    daemon.start_and_wait()
    with Writer(path) as writer:
        writer.append(2 * CHUNK + 1)
        stage.wait_until_sent(path, 1, 2)
        daemon.kill()
        daemon.start(REDIS_URL=other)
        daemon.wait_for("stream_started", file_path="moved.mp4")
    stage.wait_until_done(path)
    assert stage.sent(path) == [3]
    daemon.wait_for("stream_completed")
    assert daemon.stop() == 0
    assert len(stage.members("active")) == 1  # the record that the first daemon left
    daemon.start_and_wait()
    stage.parts_known = False  # the last one was sent while this database was away
    stage.wait_until_clean("moved.mp4")
    assert stage.sent(path) == []
    assert stage.bucket.holds("moved.mp4", path)
    check_calm(daemon)


def test_a_database_that_is_not_there_is_named_and_waited_for(stage: Stage) -> None:
    """D14."""
    daemon, path = stage.daemon, stage.folder / "early.mp4"
    write(path, 1000)
    daemon.start(REDIS_URL=stage.redis_url.removesuffix("/0") + "/99")
    eventually(lambda: was_told(daemon, "does not have the database number"), "the operator is told")
    eventually(lambda: daemon.page("/-/ready")[0] == 503, "it is not ready")
    assert stage.bucket.objects() == []
    assert daemon.stop() == 0
    daemon.start()
    stage.wait_until_done(path)
    check_calm(daemon)


# -- garbage -----------------------------------------------------------------------------------------------------------


def test_garbage_in_redis_costs_no_recording_anything_and_is_kept_for_a_human_being(own_stage: Stage) -> None:
    """D12: sets and hashes of another type, a record that cannot be read; all recordings go on from their parts."""
    stage, daemon = own_stage, own_stage.daemon
    paths = {name: stage.folder / f"{name}.mp4" for name in ("good", "meta", "parts", "string")}
    daemon.start_and_wait(STREAM_TIMEOUT_SECONDS="300")
    for seed, path in enumerate(paths.values()):
        write(path, CHUNK + 100, seed=seed)
    for path in paths.values():
        stage.wait_until_sent(path, 1)
    ids = {line["file_path"]: line["stream_id"] for line in daemon.lines("stream_started")}
    daemon.kill()

    def key(name: str, end: str) -> str:
        return f"{stage.redis_prefix}stream:{ids[f'{name}.mp4']}:{end}"

    stage.redis.hset(key("meta", "meta"), "schedule", '{"chunk_size": 5242')
    stage.redis.set(key("parts", "parts"), "hello")
    stage.redis.set(key("string", "meta"), "hello")
    stage.redis.set(f"{stage.redis_prefix}streams:pending_completion", "hello")
    daemon.start()
    for name, path in paths.items():
        stage.wait_until_done(path)
        assert stage.sent(path) == [2], name
    stage.wait_until_clean(*(path.name for path in paths.values()), set_aside=True)
    assert len(stage.redis_keys("bad:*")) == 6  # the parts of a record that cannot be read go with it
    set_aside = [(line["key"], line["reason"]) for line in daemon.lines("record_set_aside")]
    assert len(set_aside) == 4, "\n".join(map(str, set_aside))
    check_calm(daemon)


def test_a_string_in_the_place_of_the_active_streams_is_mended_by_the_living_daemon(own_stage: Stage) -> None:
    """D12."""
    stage, daemon, path = own_stage, own_stage.daemon, own_stage.folder / "live.mp4"
    daemon.start_and_wait(STREAM_TIMEOUT_SECONDS="20")  # nothing is written meanwhile but what was forgotten
    with Writer(path) as writer:
        writer.append(CHUNK + 1)
        stage.wait_until_sent(path, 1)
        stage.redis.set(f"{stage.redis_prefix}streams:active", "x")
        daemon.wait_for("record_set_aside")
        daemon.wait_for("redis_data_lost")
        assert len(stage.members("active")) == 1
        assert stage.redis.get(f"{stage.redis_prefix}bad:streams:active") == "x"
    stage.wait_until_done(path)
    stage.wait_until_clean("live.mp4", set_aside=True)
    check_calm(daemon)


# -- connections, speed, configuration ---------------------------------------------------------------------------------


def test_connections_that_are_killed_and_scripts_that_are_flushed_cost_nothing(own_stage: Stage) -> None:
    """D9, D11, D16: a script that Redis has forgotten is sent again."""
    stage, daemon = own_stage, own_stage.daemon
    daemon.start_and_wait()
    paths = [stage.folder / f"take {number}.mp4" for number in range(4)]
    for seed, path in enumerate(paths):
        write(path, CHUNK + 1000, seed=seed)

    def all_done_under_fire() -> bool:
        stage.redis.script_flush()
        stage.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        return len(stage.bucket.documents()) == len(paths)

    eventually(all_done_under_fire, "all are done although every connection is killed again and again")
    for path in paths:
        stage.wait_until_done(path)
    stage.wait_until_clean(*(path.name for path in paths))
    assert stage.redis.info("commandstats")["cmdstat_eval"]["calls"] > 1
    check_calm(daemon)


def test_a_redis_that_takes_its_time_for_everything_slows_and_breaks_nothing(own_stage: Stage) -> None:
    """D15."""
    stage, paths = own_stage, [own_stage.folder / f"take {number}.mp4" for number in range(5)]
    # A readiness check on a new connection is five exchanges, and 2.5 seconds are all that it may take.
    with FaultyRedis(urlparse(stage.redis_url).port or 0, Rule(Fault("delay", seconds=0.2), times=None)) as proxy:
        daemon = stage.daemon
        daemon.start_and_wait(REDIS_URL=proxy.url)
        for seed, path in enumerate(paths):
            write(path, CHUNK + 1000, seed=seed)
        for path in paths:
            stage.wait_until_done(path)
            assert sorted(stage.sent(path)) == [1, 2]
        stage.wait_until_clean(*(path.name for path in paths))
        assert proxy.injected > 8 * len(paths)
        assert daemon.lines("redis_unavailable") == []
        check_calm(daemon)


def test_a_redis_that_may_evict_is_warned_of_at_start(own_stage: Stage) -> None:
    """D7."""
    stage, daemon = own_stage, own_stage.daemon
    stage.redis.config_set("maxmemory-policy", "allkeys-lru")
    daemon.start_and_wait()
    assert "allkeys-lru" in daemon.wait_for("redis_durability_risk")["reason"]
