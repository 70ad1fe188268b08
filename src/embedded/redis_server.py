"""A private redis-server: its checkpoints outlive the daemon, and no other program uses it."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from .child import ChildProcess, EmbeddedServiceError, listening_child, made, only_user

PREFERRED_PORT = 6390
# A long append-only file is read before the first response.
START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class EmbeddedRedis:
    """The address of the private Redis. ``persistent``: data is kept until the next run."""

    url: str
    persistent: bool


@asynccontextmanager
async def embedded_redis(data_dir: Path, *, persistent: bool) -> AsyncIterator[EmbeddedRedis]:
    """A private Redis on 127.0.0.1, ended on exit; its data is in ``<data_dir>/redis``.

    Raises EmbeddedServiceError: no redis-server, it does not start, or another run uses the data.
    """
    program = shutil.which("redis-server")
    if program is None:
        raise EmbeddedServiceError(
            "redis-server is not installed on this machine.",
            hint="Install it (Debian: sudo apt-get install redis-server), or set REDIS_URL.",
        )
    folder = made(data_dir.joinpath("redis"))

    def command(ports: Sequence[int]) -> list[str]:
        return [program, *_options(ports[0], folder, persistent)]

    async with (
        only_user(folder.parent / "redis.lock", "Redis") as lock,
        listening_child(
            "Redis",
            command,
            _answers,
            preferred_ports=[PREFERRED_PORT],
            log=folder.parent / "logs" / "redis.log",
            lock=lock,
            seconds=START_SECONDS,
        ) as ports,
    ):
        yield EmbeddedRedis(url=f"redis://127.0.0.1:{ports[0]}/0", persistent=persistent)


def _options(port: int, folder: Path, persistent: bool) -> list[str]:
    options = {
        "bind": "127.0.0.1",
        "port": str(port),
        "dir": str(folder),
        "daemonize": "no",
        "logfile": "",
        "save": "",
        "appendonly": "yes" if persistent else "no",
        "appendfsync": "everysec",
        # A checkpoint must never be evicted to make room for another.
        "maxmemory-policy": "noeviction",
    }
    return [word for name, value in options.items() for word in (f"--{name}", value)]


async def _answers(child: ChildProcess, ports: Sequence[int]) -> bool:
    """The Redis on this port is our child (not one that took the port first) and has read its data."""
    client = redis.asyncio.Redis(
        host="127.0.0.1",
        port=ports[0],
        socket_timeout=2,
        socket_connect_timeout=2,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        await client.ping()
        return bool((await client.info("server"))["process_id"] == child.pid)
    except (RedisError, OSError):
        return False
    finally:
        await client.aclose()
