"""``cefmp4 doctor``: what would hurt later, by trying it now."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TypeVar

import click

from ..config import Loaded, Settings
from ..doctor import Facts, Line, Neighbour, SettingsFacts, Verdict, exit_code, findings, policy
from ..domain import MIB, FolderFacts, RedisFacts, StoreFacts, moments
from ..door import DoorError, find_doors, knock
from ..logging_config import Redactor
from ..metadata_generator import Ffprobe
from ..page import Listening
from ..redis_client import open_outside
from ..retry import RetryPolicy
from ..s3_client import open_store
from ..settings import CREDENTIALS, url_secrets, without_user_info
from ..status import StatusView, name, status_from_json
from ..store_from_settings import store_settings
from ..timeouts import timeout
from ..watcher import Globs, RecordingFiles, examine, identity_of
from .exit_codes import ExitCode
from .in_thread import in_thread
from .options import as_json, with_settings
from .output import print_json

SCHEMA_VERSION = 1
#: What was not gathered by then is unknown.
_SECONDS = 9.0
#: For each daemon of this machine; one that hangs takes no more.
_NEIGHBOUR_SECONDS = 2.0
_READABLE_BY_OTHERS = 0o004  # a group may be the daemon's own

T = TypeVar("T")


@click.command()
@click.option("--strict", is_flag=True, help="Exit code 1 also for warnings and for what could not be determined.")
@click.option(
    "--policy", "only_policy", is_flag=True, help="Print the least rights that these settings need, and stop."
)
@as_json
@with_settings
def doctor(loaded: Loaded, strict: bool, only_policy: bool, as_json: bool) -> ExitCode:
    """Find what would hurt later: rights, lifecycle rules, conditions, clock, Redis, folder, disk.

    Everything is tried for real, at the store under the probe's key alone, and nothing is left there but the probe's
    object. Exit code 0: no failure; 1: a failure; 3: the store or Redis does not answer.
    """
    settings = loaded.settings
    if only_policy:
        click.echo(json.dumps(_policy(settings), indent=2))
        return ExitCode.GOOD
    hidden = Redactor(settings.secrets())
    facts = asyncio.run(_gathered(loaded, hidden))
    # What a service says of a refusal may repeat what it was sent.
    lines = [replace(line, text=hidden.text(line.text), remedy=hidden.text(line.remedy)) for line in findings(facts)]
    code = ExitCode(exit_code(lines, strict=strict))
    if as_json:
        told = [{**asdict(one), "verdict": one.verdict.lower()} for one in lines]
        print_json(SCHEMA_VERSION, {"command": "doctor", "lines": told, "exit_code": int(code)})
    else:
        _print(lines)
    return code


def _policy(settings: Settings) -> dict[str, object]:
    china = ".amazonaws.com.cn" in (settings.s3_endpoint_url or "") or (settings.s3_region_name or "").startswith("cn-")
    return policy(settings.s3_bucket_name, settings.s3_key_prefix, "aws-cn" if china else "aws")


def _print(lines: list[Line]) -> None:
    for line in lines:
        click.echo(f"{line.check:<11} {line.verdict:<7} {line.text}")
        if line.remedy:
            click.echo(f"{'':<19} → {line.remedy}")
    counts = Counter(line.verdict for line in lines)
    said = [_number(counts[Verdict.FAIL], "failure"), _number(counts[Verdict.WARN], "warning")]
    if counts[Verdict.UNKNOWN]:
        said.append(f"{counts[Verdict.UNKNOWN]} not determined")
    click.echo(", ".join(said))


def _number(count: int, word: str) -> str:
    return f"{count or 'no'} {word}{'' if count == 1 else 's'}"


async def _gathered(loaded: Loaded, hidden: Redactor) -> Facts:
    settings = loaded.settings
    store, redis, folder, status, neighbours, known = await asyncio.gather(
        _in_time(_store(settings, hidden)),
        _in_time(_redis(settings)),
        _in_time(_folder(settings)),
        _in_time(in_thread(lambda: _status(settings))),
        _in_time(in_thread(lambda: _neighbours(settings))),
        _settings(loaded),
    )
    return Facts(known, store, redis, folder, status, neighbours, _keys(settings), _redis_place(settings))


def _keys(settings: Settings) -> str:
    return f"{settings.s3_bucket_name}/{settings.s3_key_prefix}"


def _redis_place(settings: Settings) -> str:
    return f"{without_user_info(settings.redis_url)} {settings.redis_key_prefix}"


def _status(settings: Settings) -> StatusView | None:
    """What the daemon of these settings says; None: there is none, or none that answers this user. Blocks."""
    with suppress(DoorError, ValueError):
        code, told = knock(str(settings.watch_dir.absolute()), settings.redis_key_prefix).ask(
            "GET", "/v1/status", seconds=_SECONDS
        )
        return status_from_json(told) if code == 200 else None
    return None


def _neighbours(settings: Settings) -> list[Neighbour]:
    """All daemons of this machine that answer this user. Blocks."""
    folder = settings.watch_dir.absolute()
    with suppress(OSError):
        found = folder.stat()
        here: object = (found.st_dev, found.st_ino)
        return [
            Neighbour(door.peer.pid, name(door.folder), door.keys, f"{door.redis} {door.group}", door.place == here)
            for door in find_doors(_NEIGHBOUR_SECONDS)
        ]
    return []


async def _in_time(work: Awaitable[T]) -> T | None:
    with suppress(TimeoutError):
        async with timeout(_SECONDS):
            return await work
    return None


async def _store(settings: Settings, hidden: Redactor) -> StoreFacts:
    opened = open_store(store_settings(settings), policy=RetryPolicy(), emit=_nobody_listens, on_secret=hidden.learn)
    async with opened as store:
        return await store.checkup.facts()


async def _redis(settings: Settings) -> RedisFacts:
    bucket, prefix = settings.s3_bucket_name, settings.redis_key_prefix
    async with open_outside(settings.redis_url, key_prefix=prefix, bucket=bucket) as redis:
        return await redis.facts()


async def _folder(settings: Settings) -> FolderFacts:
    globs = Globs(settings.watch_filter_globs, settings.watch_exclude_globs)
    files = RecordingFiles(settings.watch_dir, in_memory_limit=MIB, threads=1)
    try:
        notifies = not settings.watch_force_polling
        return await in_thread(lambda: examine(settings.watch_dir, globs, files.stat, notifies=notifies))
    finally:
        await files.close()


async def _settings(loaded: Loaded) -> SettingsFacts:
    settings = loaded.settings
    prober = Ffprobe(settings.ffprobe_path, settings.watch_dir, identity_of=identity_of, timeout_seconds=5.0)
    sources = _sources(loaded)
    endpoint = settings.s3_endpoint_url
    return SettingsFacts(
        bucket=settings.s3_bucket_name,
        prefix=settings.s3_key_prefix,
        redis_prefix=settings.redis_key_prefix,
        store=without_user_info(endpoint) if endpoint else f"Amazon S3 {settings.s3_region_name or ''}".rstrip(),
        sources=" and ".join(sources) or "defaults",
        open_files=_open_files(loaded),
        host=settings.status_published_on or settings.prom_host,
        is_port_open=_is_port_open(settings),
        page=settings.status_page,
        has_password=settings.status_password_file is not None,
        ffprobe=await prober.available(),
        quiet_seconds=settings.stream_timeout_seconds,
        finish_early=settings.finish_early is not None,
    )


def _sources(loaded: Loaded) -> list[str]:
    """The environment and the env file, as far as any setting comes from them."""
    origins = [loaded.origins.get(given.name, "environment") for given in loaded.given.values()]
    return sorted({origin.rpartition(" line ")[0] or origin for origin in origins})


def _is_port_open(settings: Settings) -> bool:
    """Whether other machines can connect. In a container that depends on the address on which its port is published."""
    told = settings.status_published_on is not None
    is_unknown = not told and _is_in_container()
    return not is_unknown and not Listening(settings.prom_host, settings.status_published_on).is_local


def _is_in_container() -> bool:
    return any(map(_exists, ("/.dockerenv", "/run/.containerenv")))


def _open_files(loaded: Loaded) -> tuple[str, ...]:
    """Files with secrets that other users may read; in a container there are none."""
    if _is_in_container():
        return ()
    settings = loaded.settings
    secret = {*CREDENTIALS, *(["redis_url"] if any(url_secrets(settings.redis_url)) else [])}
    origins = [loaded.origins.get(given.name, "") for name, given in loaded.given.items() if name in secret]
    files = [origin.rpartition(" line ")[0] for origin in origins]
    files += [str(path) for path in (settings.s3_secret_access_key_file, settings.status_password_file) if path]
    return tuple(path for path in dict.fromkeys(files) if path and _is_open(path))


def _is_open(path: str) -> bool:
    try:
        return bool(Path(path).stat().st_mode & _READABLE_BY_OTHERS)
    except OSError:
        return False


def _exists(path: str) -> bool:
    return Path(path).exists()


def _nobody_listens(_: moments.Moment) -> None:
    """What fails is in the facts."""
