"""``cefmp4 wait``: returns when everything recorded so far is safe in S3."""

from __future__ import annotations

import re
import sys
import time
from typing import Any

import click

from .. import PROGRAM
from ..config import Loaded
from ..door import Door
from ..status import count, size
from .daemon import ask, reach
from .exit_codes import ExitCode, NotChecked
from .options import as_json as as_json_option
from .options import with_settings
from .output import print_json

SCHEMA_VERSION = 1
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LOOK_SECONDS = 0.5
#: Redis or the folder may be unavailable for this long: a restart is no reason to give up.
_AWAY_SECONDS = 20.0
_NEEDED = {"redis": "Redis", "watched_folder": "The watched folder"}


class _Time(click.ParamType[float]):
    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = re.fullmatch(r"(\d{1,9})([smhd])", str(value))
        if found is None:
            self.fail(f"{value!r} is no time such as 90s, 30m, 2h or 1d.", param, ctx)
        return float(found[1]) * _UNITS[found[2]]


@click.command()
@click.option("--timeout", "seconds", type=_Time(), help="Give up after this time, such as 30m or 2h.")
@as_json_option
@with_settings
def wait(loaded: Loaded, seconds: float | None, as_json: bool) -> int:
    """Wait until everything recorded so far is safe in S3, as in: cefmp4 wait && poweroff

    Exit code 0 only if a running daemon has scanned the whole folder after this call, and no recording waits, grows, or
    failed for another reason than a missing file. 1 after such a failure or the timeout; 3 if the daemon, the watched
    folder or Redis is unavailable.
    """
    code, sentence, told = _Waiting(loaded, seconds).run()
    if as_json:
        print_json(SCHEMA_VERSION, {"safe": code == ExitCode.GOOD, "reason": sentence, **told})
    else:
        click.echo(sentence, err=code != ExitCode.GOOD)
    return code


class _Waiting:
    def __init__(self, loaded: Loaded, seconds: float | None) -> None:
        self._door: Door = reach(loaded)
        self._end = None if seconds is None else time.monotonic() + seconds
        self._scan, self._pid = self._ask_for_scan()
        self._away_since: float | None = None
        self._shown = ""

    def run(self) -> tuple[ExitCode, str, dict[str, Any]]:
        """Exit code, a sentence, and facts for JSON."""
        while True:
            told = ask(self._door, "GET", f"/v1/waiting?scan={self._scan}")
            facts = {key: told[key] for key in ("unfinished", "at_risk_bytes", "failed")}
            if told["pid"] != self._pid:  # it was started again, and counts its scans from 1 again
                self._scan, self._pid = self._ask_for_scan()
                continue
            self._check_services(told["away"])
            if told["scanned"] and not told["away"].keys() & _NEEDED.keys():
                if told["failed"]:
                    return ExitCode.FINDING, _failed(told["failed"]), facts
                if told["nothing_is_left"]:
                    self._show("")
                    if told["unreadable"]:
                        raise NotChecked(
                            f"{count(told['unreadable'], 'folder or file', 'folders or files')} cannot be read.",
                            "The daemon's log names them (file_skipped).",
                        )
                    return ExitCode.GOOD, _safe(told.get("missing", 0)), facts
            if self._end is not None and time.monotonic() >= self._end:
                self._show("")
                self._check_services(told["away"], patience=0.0)
                return ExitCode.FINDING, f"The time is over: {left(told)}", facts
            self._show(left(told))
            time.sleep(_LOOK_SECONDS)

    def _ask_for_scan(self) -> tuple[int, int]:
        told = ask(self._door, "POST", "/v1/scan", {})
        return told["scan"], told["pid"]

    def _check_services(self, away: dict[str, str], patience: float = _AWAY_SECONDS) -> None:
        """The store may be away for any time: this is what the wait is for."""
        missing = [name for name in _NEEDED if name in away]
        if not missing:
            self._away_since = None
            return
        self._away_since = self._away_since or time.monotonic()
        if time.monotonic() - self._away_since >= patience:
            self._show("")
            raise NotChecked(f"{_NEEDED[missing[0]]} is not available: {away[missing[0]]}.")

    def _show(self, text: str) -> None:
        """On a terminal only: one line that is replaced."""
        if sys.stderr.isatty() and text != self._shown:
            self._shown = text
            click.echo(f"\r\x1b[K{text}", err=True, nl=False)


def left(told: dict[str, Any]) -> str:
    """What is still waited for, in a sentence."""
    unfinished = count(told["unfinished"], "recording")
    if not told["at_risk_bytes"]:
        return f"{unfinished} unfinished; nothing is known to be only on this disk, but not every object is complete."
    return f"{unfinished} unfinished, {size(told['at_risk_bytes'])} are only on this disk."


def _safe(missing: int) -> str:
    """A recording whose file is gone keeps nobody waiting, but is not safe, either."""
    if not missing:
        return "Everything recorded is safe in S3."
    files = "its file is missing" if missing == 1 else "their files are missing"
    return f"Every file here is safe in S3. {count(missing, 'recording')} failed because {files}: see {PROGRAM} status."


def _failed(failed: list[dict[str, Any]]) -> str:
    at_risk = sum(each["at_risk_bytes"] for each in failed)
    names = ", ".join(each["name"] for each in failed[:3]) + (", ..." if failed[3:] else "")
    what = f"{size(at_risk)} exist only on this disk" if at_risk else "what was sent is not finished"
    return f"{count(len(failed), 'recording')} failed, and {what}: {names}. See {PROGRAM} status."
