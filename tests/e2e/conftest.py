"""A stage for each test, on VersityGW; tests with the mark ``also_on`` run on the stores that it names, too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import servers
from tests.harness.e2e.stage import Stage, set_stage

_START = {"versitygw": servers.start_versitygw, "minio": servers.start_minio}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    mark = metafunc.definition.get_closest_marker("also_on")
    if mark is not None:
        names = [pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("versitygw", *mark.args)]
        metafunc.parametrize("store_name", names, scope="function")


@pytest.fixture
def store_name() -> str:
    """Which real store the stage is on."""
    return "versitygw"


@pytest.fixture
def stage(
    request: pytest.FixtureRequest, tmp_path: Path, store_name: str, guarded_redis_server: str
) -> Iterator[Stage]:
    """On the servers that all tests share."""
    with set_stage(tmp_path, request.getfixturevalue(store_name), guarded_redis_server) as stage:
        stage.new_interpreter = _is_marked(request)
        yield stage


@pytest.fixture
def own_stage(request: pytest.FixtureRequest, tmp_path: Path, store_name: str) -> Iterator[Stage]:
    """On servers of its own, which may be killed and started again; Redis is persistent."""
    with (
        _START[store_name](tmp_path / store_name) as store,
        servers.start_redis(tmp_path / "redis", persistent=True) as server,
        set_stage(tmp_path, store, server.url) as stage,
    ):
        stage.redis_server = server
        stage.new_interpreter = _is_marked(request)
        yield stage


def _is_marked(request: pytest.FixtureRequest) -> bool:
    return request.node.get_closest_marker("new_interpreter") is not None
