"""A stage for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import servers
from tests.harness.e2e.stage import Stage, set_stage


@pytest.fixture
def stage(tmp_path: Path, versitygw: servers.S3Server, guarded_redis_server: str) -> Iterator[Stage]:
    """On the servers that all tests share."""
    with set_stage(tmp_path, versitygw, guarded_redis_server) as stage:
        yield stage


@pytest.fixture
def own_stage(tmp_path: Path) -> Iterator[Stage]:
    """On servers of its own, which may be killed and started again; Redis is persistent."""
    with (
        servers.start_versitygw(tmp_path / "versitygw") as store,
        servers.start_redis(tmp_path / "redis", persistent=True) as server,
        set_stage(tmp_path, store, server.url) as stage,
    ):
        stage.redis_server = server
        yield stage
