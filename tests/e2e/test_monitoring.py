"""What somebody sees who has only Prometheus: the real one, on the real daemon, with the rules of ``deploy/``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from functools import partial

import pytest

from tests.harness.deploy_files import ADDED, OF_PROMETHEUS, expressions, queries, used
from tests.harness.e2e.daemon import eventually
from tests.harness.e2e.prometheus import WITHIN_SECONDS, Prometheus, prometheus_watching
from tests.harness.e2e.recorders import CHUNK, Writer
from tests.harness.e2e.stage import Stage

pytestmark = [pytest.mark.slow, pytest.mark.versitygw, pytest.mark.redis, pytest.mark.prometheus]


@pytest.fixture
def prometheus(own_stage: Stage) -> Iterator[Prometheus]:
    """It watches the stage's daemon, which is ready."""
    own_stage.daemon.start_and_wait()
    with prometheus_watching(own_stage.daemon, own_stage.home / "prometheus") as prometheus:
        yield prometheus


def test_somebody_is_told_that_the_store_is_away_and_that_it_is_back(own_stage: Stage, prometheus: Prometheus) -> None:
    with Writer(own_stage.folder / "away.mp4") as writer:
        writer.append(CHUNK + 1)
        own_stage.wait_until_sent(own_stage.folder / "away.mp4", 1)
        # A machine that has much else to do may hold the daemon up.
        eventually(lambda: prometheus.firing() <= {"Cefmp4EventLoopLag"}, "nobody is woken")
        own_stage.store.kill()
        writer.append(CHUNK)
        prometheus.wait_until_firing("Cefmp4StoreAway")
        assert "Cefmp4RedisAway" not in prometheus.firing()
        own_stage.store.start()
        prometheus.wait_until_quiet("Cefmp4StoreAway")


def test_somebody_is_told_that_the_store_is_away_while_nothing_is_recorded(
    own_stage: Stage, prometheus: Prometheus
) -> None:
    own_stage.store.kill()
    prometheus.wait_until_firing("Cefmp4StoreAway")
    own_stage.store.start()
    prometheus.wait_until_quiet("Cefmp4StoreAway")


def test_somebody_is_told_that_redis_is_away_and_that_it_is_back(own_stage: Stage, prometheus: Prometheus) -> None:
    assert own_stage.redis_server is not None
    own_stage.redis_server.kill()
    prometheus.wait_until_firing("Cefmp4RedisAway")
    assert "Cefmp4StoreAway" not in prometheus.firing()
    own_stage.redis_server.start()
    prometheus.wait_until_quiet("Cefmp4RedisAway")


def test_somebody_is_told_that_the_daemon_is_down(own_stage: Stage, prometheus: Prometheus) -> None:
    assert "Cefmp4DaemonDown" not in prometheus.firing()
    own_stage.daemon.kill()
    prometheus.wait_until_firing("Cefmp4DaemonDown")


def test_alerts_and_dashboard_ask_only_for_what_the_daemon_tells(own_stage: Stage, prometheus: Prometheus) -> None:
    """After a day on which much happened every metric and label in them is there, and no panel is empty."""
    _an_eventful_day(own_stage, prometheus)
    there = {**prometheus.labels(), **OF_PROMETHEUS}
    assert [(place, lost) for place, expression in expressions() for lost in _unknown(expression, there)] == []
    for title, query in queries():
        eventually(partial(prometheus.values, query), f"the panel '{title}' shows something")


def _unknown(expression: str, there: Mapping[str, AbstractSet[str]]) -> list[str]:
    """The metrics in it that are not there; else the labels that none of its metrics has."""
    selected, grouped = used(expression)
    lost = [name for name, _ in selected if name not in there]
    wrong = [f"{name}{{{label}}}" for name, asked in selected for label in asked - ADDED - there.get(name, asked)]
    known = ADDED.union(*(there.get(name, grouped) for name, _ in selected))
    return lost + wrong + sorted(grouped - known)


def _an_eventful_day(stage: Stage, prometheus: Prometheus) -> None:
    """One recording is patched and done; one goes on through an outage of the store and one of Redis."""
    assert stage.redis_server is not None
    done, live = stage.folder / "done.mp4", stage.folder / "live.mp4"
    with Writer(done) as writer:
        writer.append(CHUNK + 1)
        stage.wait_until_sent(done, 1)
        writer.patch(0, 4)
    stage.wait_until_done(done)
    with Writer(live) as writer:
        writer.append(CHUNK + 1)
        stage.wait_until_sent(live, 1)
        stage.store.kill()
        writer.append(CHUNK)
        prometheus.wait_until_firing("Cefmp4StoreAway")
        # The daemon looks every few seconds at what is at risk; a quick recording has ended before it does.
        for figure in ("cefmp4_stream_at_risk_bytes", "cefmp4_stream_at_risk_seconds"):
            eventually(partial(prometheus.values, figure), f"{figure} is seen", within=WITHIN_SECONDS)
        stage.store.start()
        stage.daemon.wait_for("s3_recovered", within=WITHIN_SECONDS)
        stage.redis_server.kill()
        writer.append(CHUNK)
        failed = 'sum(cefmp4_failed_operations_total{operation_type=~"redis.*"})'
        eventually(lambda: [n for n in prometheus.values(failed) if n >= 2], "Redis is missed", within=WITHIN_SECONDS)
        stage.redis_server.start()
        stage.daemon.wait_until_ready(within=WITHIN_SECONDS)
        writer.append(1)
