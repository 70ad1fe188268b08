"""``cefmp4 status``: what is being recorded, what is at risk, what failed and what to do."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import click
from rich.console import Group
from rich.live import Live
from rich.text import Text

from ..config import Loaded
from ..status import SCHEMA_VERSION, RecordingView, StatusView, Tone, as_json, name
from .daemon import reach, status_in_redis, status_of
from .exit_codes import ExitCode, NotChecked
from .options import as_json as as_json_option
from .options import with_settings
from .output import console, print_json
from .status_text import Paper, details, lines

_LOOK_SECONDS = 2.0


@click.command()
@click.argument("recording", required=False)
@click.option("--watch", is_flag=True, help="Show it until Ctrl-C, updated every two seconds.")
@as_json_option
@with_settings
def status(loaded: Loaded, recording: str | None, watch: bool, as_json: bool) -> int:
    """Show what is being recorded, what is at risk, what failed and what to do.

    RECORDING is a name, or the beginning of an ID: everything about that recording is shown. Without a running daemon
    this reads Redis and changes nothing there. Exit codes: 0 if nothing has to be done, 1 if a recording failed or the
    disk is nearly full, 3 if no daemon answered.
    """
    if watch and as_json:
        raise click.UsageError("--watch and --json exclude each other.")

    def look() -> StatusView:
        view = _look(loaded)
        return view if recording is None else _only(view, recording)

    if watch:
        _watch(look, in_detail=recording is not None)
        return ExitCode.GOOD
    view = look()
    if as_json:
        print_json(SCHEMA_VERSION, _document(view))
    else:
        out = console()
        for line in _drawn(view, in_detail=recording is not None):
            out.print(line, soft_wrap=True)
    return _code(view)


def _look(loaded: Loaded) -> StatusView:
    """From the daemon, or else from Redis."""
    try:
        return status_of(reach(loaded))
    except NotChecked as no_daemon:
        try:
            return status_in_redis(loaded)
        except NotChecked as no_redis:
            hint = "\n".join(filter(None, [no_daemon.hint, no_redis.sentence, no_redis.hint]))
            raise NotChecked(no_daemon.sentence, hint) from None


def _only(view: StatusView, wanted: str) -> StatusView:
    found = chosen(view.recordings, wanted)
    if not found:
        raise click.UsageError(f"No unfinished recording is called {wanted!r}, and no ID begins so.")
    return replace(view, recordings=found)


def chosen(recordings: Sequence[RecordingView], wanted: str) -> tuple[RecordingView, ...]:
    """Those with this name, or else with an ID that begins so."""
    named = tuple(each for each in recordings if wanted in (each.name, each.path) or name(wanted) == each.name)
    return named or tuple(each for each in recordings if wanted and (each.id or "").startswith(wanted))


def _document(view: StatusView) -> dict[str, object]:
    document: dict[str, object] = as_json(view)
    return document


def _code(view: StatusView) -> ExitCode:
    if view.daemon is None:
        return ExitCode.NOT_CHECKED
    return ExitCode.FINDING if view.tone is Tone.BAD else ExitCode.GOOD


def _drawn(view: StatusView, *, in_detail: bool) -> list[Text]:
    out = console()
    paper = Paper(out.width if out.is_terminal else None, out.options.ascii_only)
    if not in_detail:
        return list(lines(view, paper))
    return [line for each in view.recordings for line in (*details(each, paper), Text())]


def _watch(look: Callable[[], StatusView], *, in_detail: bool) -> None:
    """A terminal shows the newest state; anything else gets one block after the other."""
    seen = False

    def drawn() -> list[Text]:
        nonlocal seen
        try:
            shown = _drawn(look(), in_detail=in_detail)
        except NotChecked as exc:  # it may come back
            return [Text(line) for line in (exc.sentence, *exc.hint.splitlines())]
        except click.UsageError as exc:
            if not seen:
                raise
            return [Text(exc.message)]  # it is done, or was given up
        seen = True
        return shown

    out = console()
    try:
        if not sys.stdout.isatty():
            while True:
                for line in (*drawn(), Text()):
                    out.print(line, soft_wrap=True)
                sys.stdout.flush()
                time.sleep(_LOOK_SECONDS)
        with Live(console=out, screen=True, auto_refresh=False) as live:
            while True:
                live.update(Group(*_cut(drawn(), out.height)), refresh=True)
                time.sleep(_LOOK_SECONDS)
    except KeyboardInterrupt:
        return


def _cut(shown: list[Text], height: int) -> list[Text]:
    """As many lines as the terminal has; the last one says how many there are besides."""
    if len(shown) <= height:
        return shown
    return [*shown[: height - 1], Text(f"{len(shown) - height + 1} more lines: make the window larger")]
