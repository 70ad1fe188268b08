"""``cefmp4 verify``: whether the recordings in the bucket are what they should be."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

import click

from ..config import Loaded, Settings
from ..domain import MIB, Marker, moments
from ..exceptions import ChunkProcessingError, RedisOperationError, S3OperationError
from ..logging_config import Redactor
from ..redis_client import open_outside
from ..retry import RetryPolicy
from ..s3_client import open_store
from ..store_from_settings import store_settings
from ..verification import Level, LocalFiles, Order, Report, Sample, Verdict, Verification
from ..watcher import Globs, RecordingFiles, recordings_in
from .exit_codes import ExitCode, NotChecked
from .options import as_json, with_settings
from .output import print_json

_SEEDS = 2**32


@dataclass(frozen=True, slots=True)
class _Result:
    report: Report
    folder: str

    def paths(self) -> list[str]:
        """The files that may be deleted, as absolute paths."""
        return [os.path.join(self.folder, path) for path in sorted(self.report.safe)]


@click.command()
@click.argument("pattern", metavar="[GLOB]", default="")
@click.option(
    "--level",
    type=click.Choice([str(level) for level in Level]),
    help="What is compared: names and sizes; the store's checksums (default); also local files; downloaded bytes.",
)
@click.option(
    "--sample", default="", metavar="SHARE", help="Only a random share, such as 5%, or a number of recordings."
)
@click.option("--seed", type=click.IntRange(0, _SEEDS - 1), help="Repeats the sample that was made with this seed.")
@click.option("--safe-to-delete", is_flag=True, help="Print the local files that this call proved to be in the bucket.")
@click.option("-0", "--null", is_flag=True, help="End each of these files with a NUL, for xargs -0.")
@click.option("--without-redis", is_flag=True, help="Compare with the metadata documents in the bucket alone.")
@as_json
@with_settings
def verify(
    loaded: Loaded,
    pattern: str,
    level: str | None,
    sample: str,
    seed: int | None,
    safe_to_delete: bool,
    null: bool,
    without_redis: bool,
    as_json: bool,
) -> ExitCode:
    """Compare the recordings in the bucket with what is known of them.

    GLOB chooses keys, such as 'cam1/*.mp4'. Nothing is changed. What an object must be is read from the metadata
    document beside it, or from Redis. Exit code 0: everything that was chosen is proved at this level; 1: something is
    wrong; 3: something could not be compared.

    \b
    listing   existence, size and ETag; finds what is missing or cut
    checksum  also the checksum that the store keeps, one request for each object
    file      also reads the local files that still exist
    download  reads the objects themselves, whatever the store says of them
    """
    chosen = Level(level or (Level.FILE if safe_to_delete else Level.CHECKSUM))
    if safe_to_delete and chosen not in (Level.FILE, Level.DOWNLOAD):
        raise click.UsageError(f"--safe-to-delete reads the files: use --level file or download, not {chosen}.")
    if null and not safe_to_delete:
        raise click.UsageError("--null is for --safe-to-delete.")
    try:
        part = Sample.written(sample, secrets.randbelow(_SEEDS) if seed is None else seed)
    except ValueError as exc:
        raise click.UsageError(f"--sample: {exc}.") from exc
    order = Order(chosen, part, loaded.settings.s3_key_prefix, pattern, safe_to_delete)
    result = asyncio.run(_verified(loaded.settings, order, ask_redis=not without_redis))
    _print(result, safe_to_delete=safe_to_delete, null=null, as_json=as_json)
    return ExitCode(result.report.exit_code)


async def _verified(settings: Settings, order: Order, *, ask_redis: bool) -> _Result:
    notes: list[str] = []
    hidden = Redactor(settings.secrets())  # what a service says of a refusal may repeat what it was sent
    markers = await _markers(settings, notes) if ask_redis else ()
    async with AsyncExitStack() as stack:
        local = None
        if order.reads_files:
            files = RecordingFiles(settings.watch_dir, in_memory_limit=MIB, threads=2)
            stack.push_async_callback(files.close)
            local = await _local(settings, files)
        store = await stack.enter_async_context(
            open_store(store_settings(settings), policy=RetryPolicy(), emit=_nobody_listens, on_secret=hidden.learn)
        )
        verification = Verification(
            order,
            store.inspection,
            markers,
            local,
            when_planned=lambda report: click.echo(report.plan(), err=True),
        )
        try:
            report = await verification.run()
        except S3OperationError as exc:
            raise NotChecked(hidden.text(f"The bucket cannot be listed: {exc}"), exc.hint) from exc
    report.notes += map(hidden.text, notes)
    report.findings = [
        replace(one, text=hidden.text(one.text)) if one.verdict is Verdict.NOT_CHECKED else one
        for one in report.findings
    ]
    return _Result(report, str(settings.watch_dir.absolute()))


async def _markers(settings: Settings, notes: list[str]) -> Sequence[Marker]:
    """What Redis remembers; without it the documents in the bucket suffice."""
    bucket, prefix = settings.s3_bucket_name, settings.redis_key_prefix
    try:
        async with open_outside(settings.redis_url, key_prefix=prefix, bucket=bucket) as redis:
            return await redis.markers()
    except RedisOperationError as exc:
        notes.append(f"compared with the documents in the bucket alone, because Redis does not answer: {exc}")
        return ()


async def _local(settings: Settings, files: RecordingFiles) -> LocalFiles:
    globs = Globs(settings.watch_filter_globs, settings.watch_exclude_globs)
    try:
        paths = await asyncio.to_thread(recordings_in, settings.watch_dir, globs, files.stat)
    except ChunkProcessingError as exc:
        raise NotChecked(f"The local files cannot be read: {exc}.", exc.hint) from exc
    local = LocalFiles(files, settings.s3_key_prefix, quiet_for=settings.stream_timeout_seconds, now=time.time)
    await local.meet(paths)
    return local


def _nobody_listens(_: moments.Moment) -> None:
    """Each failure is reported by the command itself."""


def _print(result: _Result, *, safe_to_delete: bool, null: bool, as_json: bool) -> None:
    report = result.report
    if as_json:
        body = report.as_json()
        version = body.pop("schema_version")
        assert isinstance(version, int)
        print_json(version, {**body, **({"safe_to_delete": result.paths()} if safe_to_delete else {})})
        return
    for line in report.lines():
        click.echo(line, err=safe_to_delete)
    if safe_to_delete:
        _print_paths(result.paths(), null=null)


def _print_paths(paths: Sequence[str], *, null: bool) -> None:
    """The bytes of the names, and nothing else. A name that a line cannot hold is left out without ``--null``."""
    end = b"\0" if null else b"\n"
    for path in map(os.fsencode, paths):
        if null or not (b"\n" in path or b"\r" in path):
            click.echo(path + end, nl=False)
        else:
            click.echo(f"left out, because its name has a line break (use --null): {path!r}", err=True)
