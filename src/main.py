"""The daemon: reads the settings, builds all objects, and runs until it is asked to stop.

``python -m src.main``, or ``python src/main.py``. Exit code 0 after a stop, 2 for invalid settings or options, 1 when
the daemon cannot continue, 70 when its event loop hung.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path

if not __package__:
    # "python src/main.py": Python then looks for modules in src itself, where relative imports do not work.
    sys.path[:] = [place for place in sys.path if Path(place or ".").resolve() != Path(__file__).resolve().parent]
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    __package__ = "src"
if find_spec("aioboto3") is None:
    sys.exit(
        f"The packages of this program are not installed for {sys.executable}. In the checkout, please type:\n"
        "  scripts/setup\n  .venv/bin/python -m src.main"
    )

from . import __version__
from .answering import DaemonDesk, advise, gathered_status, status_page
from .config import Loaded, Settings, load_settings
from .dispatcher import Dispatcher
from .domain import S3_LIMITS, Naming, PartSchedule, Rhythm, WhenMissing, World, moments, usual_step
from .doorkeeper import Doorkeeper
from .embedded import EmbeddedServiceError
from .exceptions import ConfigurationError, S3Unavailable, Stopped
from .logging_config import configure_logging, mask
from .metadata_generator import Ffprobe
from .metrics import AtRiskCollector, Lookout, Metrics, Readiness, serve, watched_loop
from .ownership import LeftOut, Pruning
from .redis_client import RedisCheckpoints, RedisProbeNotes
from .retry import RetryPolicy
from .s3_client import PatientStore, S3Client, open_store
from .slots import FairSlots
from .store_from_settings import store_settings
from .stream_processor import StreamProcessor
from .timeouts import TaskGroup
from .trying_out import Place, say_where_all_is, start_what_is_missing
from .watcher import Globs, RecordingFiles, Watcher, identity_of

_EXPIRE_SECONDS = 15.0
#: Interval of readiness checks while no client requests them.
_LOOK_SECONDS = 15.0
_REFUSED_SECONDS = 60.0
_TIDY_SECONDS = 960.0  # longer than a probe without a note is left alone
_TIMES_ASKED_FOR_RULES = 10
#: The first line of the log waits this long for ffprobe's version: an ffprobe that hangs delays no recording.
_VERSION_SECONDS = 3.0
#: A lifecycle rule of the bucket that aborts uploads sooner affects long recordings, and those that wait for the end of
#: an outage.
_ENOUGH_DAYS = 7
#: Time limit for the end of the process after its last log line, whatever hangs.
_LAST_SECONDS = 5.0
#: A larger chunk is sent from the file in sections, so that one part never takes a turn's whole memory.
_LARGEST_IN_MEMORY = 64 * 1024 * 1024


class SystemClock:
    """The port ``Clock``."""

    def monotonic(self) -> float:
        return time.monotonic()

    def utc_now(self) -> datetime:
        return datetime.now(UTC)


_DESCRIPTION = """\
Uploads MP4 recordings to S3 while they are still being written; the object is the closed file, byte for byte.
This is the daemon; "python -m src --help" lists the commands.

Settings come from the environment and from .env in the working directory; docs/configuration.md lists them all, and
example.env is a file to copy. Exit codes: 0 after a stop by SIGTERM or Ctrl-C, 1 when the daemon cannot continue, 2 for
invalid settings or options, 70 when its event loop hung."""


def _read_command_line(arguments: Sequence[str]) -> None:
    """Answer ``--help`` and ``--version``, and refuse all other arguments; each ends the process. Commands: ``cli``."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {__package__}.main",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"cefmp4 {__version__}")
    parser.parse_args(arguments)


def main(arguments: Sequence[str] = ()) -> int:
    """Run the daemon; returns the process's exit code. ``arguments``: the command line without the program's name."""
    _read_command_line(arguments)
    for number in (signal.SIGUSR1, signal.SIGUSR2):  # before anything else: they may arrive at any time
        signal.signal(number, signal.SIG_IGN)
    try:
        loaded = load_settings(os.environ, Path(".env"))
    except ConfigurationError as exc:
        return _refuse(exc)
    _log(loaded.settings)
    try:
        asyncio.run(_run(loaded))
    except ConfigurationError as exc:
        return _refuse(exc)
    except EmbeddedServiceError as exc:
        print(f"cefmp4: {exc}\n{exc.hint}".rstrip(), file=sys.stderr)
        return 1
    return 0


def _log(settings: Settings) -> None:
    configure_logging(settings.app_env, settings.log_level, settings.secrets())


def _refuse(exc: ConfigurationError) -> int:
    print("cefmp4 cannot start with these settings:", file=sys.stderr)
    for problem in exc.problems:
        print(f"  - {problem}", file=sys.stderr)
    return 2


async def _run(loaded: Loaded) -> None:
    stop = asyncio.Event()
    _listen_to_signals(stop)
    metrics = Metrics(
        version=__version__,
        stream_max=loaded.settings.metrics_stream_max,
        retention_seconds=loaded.settings.metrics_stream_retention_seconds,
    )
    code = 1
    try:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(watched_loop(loaded.settings.watchdog_seconds, metrics.emit))
            place = await start_what_is_missing(loaded.settings, stack)
            _log(place.settings)  # once more: an embedded store has a secret of its own
            await _serve_until(stop, place, loaded.notices, metrics, stack)
        code = 0
    finally:
        _end_whatever_hangs(code)


def _end_whatever_hangs(code: int) -> None:
    """At exit the interpreter waits for all threads; one that uses a dead file system may never return."""
    end = threading.Timer(_LAST_SECONDS, os._exit, [code])
    end.daemon = True
    end.start()


def _listen_to_signals(stop: asyncio.Event) -> None:
    """The first signal asks for a graceful stop, the second ends the process at once.

    SIGHUP also asks for a stop, and never counts as the second: a terminal that closes sends two. If it is ignored at
    the start (nohup) it stays ignored. SIGUSR1 and SIGUSR2, which would end the process, are ignored.
    """

    def on_signal() -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        # Not the loop's: its handlers are removed when it is closed, and then the second one would kill.
        signal.signal(signal.SIGHUP, lambda *_: _ask_for_stop(loop, stop))


def _ask_for_stop(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    with suppress(RuntimeError):  # the loop is closed: everything has stopped
        loop.call_soon_threadsafe(stop.set)


async def _serve_until(
    stop: asyncio.Event, place: Place, notices: tuple[str, ...], metrics: Metrics, stack: AsyncExitStack
) -> None:
    settings = place.settings
    checkpoints = await stack.enter_async_context(_checkpoints(settings, RetryPolicy(stopping=stop), metrics))
    store = await stack.enter_async_context(_store(settings, stop, RedisProbeNotes(checkpoints.beside), metrics))
    recordings = await stack.enter_async_context(_recordings(settings))
    slots = FairSlots(settings.max_concurrent_streams)
    # A policy for each service: the recovery of one says nothing about the other.
    asked = PatientStore(store, slots, policy=RetryPolicy(stopping=stop), emit=metrics.emit)
    prober = _prober(settings)
    world = _world(settings, recordings, asked, checkpoints, prober, slots, metrics)
    dispatcher = Dispatcher(world, lambda record, claims, first: StreamProcessor(world, claims, record, first))
    globs = Globs(settings.watch_filter_globs, settings.watch_exclude_globs)
    left_out = LeftOut(world, dispatcher.remembered, globs.match, passes_on=dispatcher.publish, emit=metrics.emit)
    watcher = _watcher(settings, globs, recordings, (left_out, dispatcher), metrics)
    pruning = Pruning(checkpoints, watcher.census, settings.retention, world.clock, metrics.emit)
    lookout, at_risk = _lookout(settings, metrics, recordings, dispatcher)
    checks = {"s3": asked.ping, "redis": checkpoints.ping, "watched_folder": watcher.ping}
    readiness = Readiness(checks, emit=metrics.emit)
    gathering = gathered_status(settings, dispatcher, at_risk, readiness, metrics, world.clock)
    desk = DaemonDesk(settings, gathering, dispatcher, left_out, watcher, readiness, lookout)
    doorkeeper = Doorkeeper(settings.watch_dir, settings.redis_key_prefix, desk, metrics.emit)
    page = status_page(settings, gathering, at_risk, lookout, readiness, metrics.emit)
    served = serve(settings.prom_host, settings.prom_port, metrics.registry, readiness, page.routes)
    port = await stack.enter_async_context(served)
    async with TaskGroup() as group:
        version = group.create_task(prober.available(), name="ffprobe")
        await asyncio.wait([version], timeout=_VERSION_SECONDS)
        _tell_of_the_start(settings, notices, version.result() if version.done() else None, metrics.emit)
        say_where_all_is(place, port, has_page=page.is_served)
        _freeze_what_is_built()
        running = [
            group.create_task(watcher.run(left_out.publish), name="watcher"),
            group.create_task(_until_stopped(left_out.run), name="left-out"),
            group.create_task(dispatcher.run(), name="dispatcher"),
            group.create_task(pruning.run(), name="pruning"),
            group.create_task(_expire(metrics), name="metrics"),
            group.create_task(_look(readiness, metrics), name="readiness"),
            group.create_task(lookout.run(), name="at-risk"),
            group.create_task(page.sample(), name="throughput"),
            group.create_task(_beside(doorkeeper.run, metrics), name="doorkeeper"),
            group.create_task(_beside(partial(advise, gathering, metrics.emit), metrics), name="advice"),
            group.create_task(_once(checkpoints.warn_about_configuration, metrics), name="redis-check"),
            group.create_task(_once(checkpoints.keep_records, metrics), name="redis-records"),
            group.create_task(_prepare(store, asked, metrics), name="bucket"),  # created before the first recording
            group.create_task(_until_stopped(store.keep_abilities), name="store-abilities"),
            group.create_task(_tell_if_missing(version, metrics.emit), name="ffprobe-missing"),
            version,
        ]
        await stop.wait()
        slots.drain()
        running[0].cancel()
        await dispatcher.drain(settings.shutdown_grace_seconds)
        for task in running:
            task.cancel()
    metrics.emit(moments.DaemonStopped())


def _world(
    settings: Settings,
    recordings: RecordingFiles,
    asked: PatientStore,
    checkpoints: RedisCheckpoints,
    prober: Ffprobe,
    slots: FairSlots,
    metrics: Metrics,
) -> World:
    return World(
        root=str(settings.watch_dir.absolute()),
        recordings=recordings,
        store=asked,
        checkpoints=checkpoints,
        prober=prober,
        slots=slots,
        telemetry=metrics,
        clock=SystemClock(),
        rhythm=_rhythm(settings),
        naming=_naming(settings),
        when_missing=WhenMissing(settings.on_source_missing),
        orphan_retention=settings.orphan_retention,
    )


def _store(
    settings: Settings, stop: asyncio.Event, notes: RedisProbeNotes, metrics: Metrics
) -> AbstractAsyncContextManager[S3Client]:
    policy = RetryPolicy(stopping=stop)
    return open_store(store_settings(settings), policy=policy, emit=metrics.emit, notes=notes, on_secret=mask)


def _prober(settings: Settings) -> Ffprobe:
    seconds = settings.ffprobe_timeout_seconds
    return Ffprobe(settings.ffprobe_path, settings.watch_dir, identity_of=identity_of, timeout_seconds=seconds)


def _freeze_what_is_built() -> None:
    """These objects live until the end: a full collection would visit them for 60 ms on the event loop."""
    gc.collect()
    gc.freeze()


def _lookout(
    settings: Settings, metrics: Metrics, recordings: RecordingFiles, dispatcher: Dispatcher
) -> tuple[Lookout, AtRiskCollector]:
    collector = AtRiskCollector(metrics.registry, stream_max=settings.metrics_stream_max)
    lookout = Lookout(
        collector,
        holdings=dispatcher.holdings,
        files=recordings,
        folder=settings.watch_dir,
        emit=metrics.emit,
    )
    metrics.listen(lookout.hear)
    return lookout, collector


def _tell_of_the_start(settings: Settings, notices: Sequence[str], ffprobe: str | None, emit: moments.Emit) -> None:
    emit(moments.DaemonStarted(__version__, ffprobe, settings.summary()))
    for notice in notices:
        emit(moments.SettingsNotice(notice))


async def _tell_if_missing(version: Awaitable[str | None], emit: moments.Emit) -> None:
    if not await version:
        emit(moments.FfprobeMissing())


async def _once(work: Callable[[], Awaitable[object]], metrics: Metrics) -> None:
    """Work to be done once at start; a refusal is logged, and retried until its cause is fixed."""
    with suppress(Stopped):
        while True:
            try:
                await work()
                return
            except Stopped:
                raise
            except Exception as exc:  # noqa: BLE001 - nothing that is done beside the recordings ends them
                metrics.emit(moments.Unexpected(file_path="", error=exc, retry_seconds=_REFUSED_SECONDS))
            await asyncio.sleep(_REFUSED_SECONDS)


async def _beside(work: Callable[[], Awaitable[None]], metrics: Metrics) -> None:
    """Work for operators: what ends it is logged, and it begins again; recordings continue."""
    while True:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - nothing that is done beside the recordings ends them
            metrics.emit(moments.Unexpected(file_path="", error=error, retry_seconds=_REFUSED_SECONDS))
        await asyncio.sleep(_REFUSED_SECONDS)


async def _until_stopped(work: Callable[[], Awaitable[object]]) -> None:
    with suppress(Stopped):
        await work()


async def _prepare(store: S3Client, asked: PatientStore, metrics: Metrics) -> None:
    await _once(partial(asked.until_it_works, "probe", store.abilities), metrics)
    await _once(partial(_tell_when_uploads_expire, store, metrics), metrics)
    tidy = partial(asked.until_it_works, "list_uploads", store.abort_forgotten_probes)
    await _once(tidy, metrics)  # at once: this process may not live for the next ten minutes
    await asyncio.sleep(_TIDY_SECONDS)
    await _once(tidy, metrics)


async def _tell_when_uploads_expire(store: S3Client, metrics: Metrics) -> None:
    """Retried a few times: a store without rules may answer with an unknown error."""
    for _ in range(_TIMES_ASKED_FOR_RULES):
        try:
            days = await store.days_of_an_upload()
        except S3Unavailable:
            await asyncio.sleep(_REFUSED_SECONDS)
            continue
        if days is not None and days < _ENOUGH_DAYS:
            metrics.emit(moments.LifecycleRuleTooShort(days))
        return


async def _expire(metrics: Metrics) -> None:
    while True:
        await asyncio.sleep(_EXPIRE_SECONDS)
        metrics.expire(time.monotonic())


async def _look(readiness: Readiness, metrics: Metrics) -> None:
    """Updates metrics and log while no client requests the page. A bug in a check is logged; recordings
    continue."""
    while True:
        try:
            await readiness.answer(not_older_than=_LOOK_SECONDS / 2)
        except Exception as error:  # noqa: BLE001 - looking whether all is there never stops a recording
            metrics.emit(moments.Unexpected(file_path="", error=error, retry_seconds=_LOOK_SECONDS))
        await asyncio.sleep(_LOOK_SECONDS)


@asynccontextmanager
async def _recordings(settings: Settings) -> AsyncIterator[RecordingFiles]:
    if settings.watch_dir == Settings.model_fields["watch_dir"].default:
        _make_folder(settings.watch_dir)
    files = RecordingFiles(settings.watch_dir, in_memory_limit=min(_memory_of_a_stream(settings), _LARGEST_IN_MEMORY))
    try:
        yield files
    finally:
        await files.close()


def _watcher(
    settings: Settings, globs: Globs, recordings: RecordingFiles, told: tuple[LeftOut, Dispatcher], metrics: Metrics
) -> Watcher:
    def when_scanned() -> None:
        for each in told:
            each.first_scan_done()

    return Watcher(
        settings.watch_dir,
        globs=globs,
        scan_seconds=settings.watch_scan_seconds,
        force_polling=settings.watch_force_polling,
        stat=recordings.stat,
        emit=metrics.emit,
        old_seconds=settings.old_seconds,
        when_scanned=when_scanned,
    )


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigurationError(
            [f"WATCH_DIR is '{path}', but that folder cannot be created: {exc.strerror}."]
        ) from exc


def _checkpoints(settings: Settings, policy: RetryPolicy, metrics: Metrics) -> RedisCheckpoints:
    return RedisCheckpoints(
        settings.redis_url,
        key_prefix=settings.redis_key_prefix,
        bucket=settings.s3_bucket_name,
        policy=policy,
        emit=metrics.emit,
    )


def _memory_of_a_stream(settings: Settings) -> int:
    return settings.parts_in_flight * settings.chunk_size_bytes


def _rhythm(settings: Settings) -> Rhythm:
    return Rhythm(
        timeout=settings.stream_timeout_seconds,
        finish_early=settings.finish_early,
        min_age=settings.watch_file_min_age_seconds_for_idle,
        missing_grace=settings.watch_scan_seconds + 5.0,
        parts_in_flight=settings.parts_in_flight,
        memory=_memory_of_a_stream(settings),
    )


def _naming(settings: Settings) -> Naming:
    store = store_settings(settings)
    growing = not store.wants_equal_parts
    step = usual_step(store.most_parts) if growing else None
    return Naming(
        schedule=PartSchedule(settings.chunk_size_bytes, growing=growing, step=step),
        limits=replace(S3_LIMITS, max_parts=store.most_parts),
        key_prefix=settings.s3_key_prefix,
        replace_reused_names=settings.on_name_reused == "replace",
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
