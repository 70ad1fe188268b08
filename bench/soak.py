"""``python -m bench.soak``: records, kills daemon, Redis and store at random moments, and audits the result.

Real processes, real ffmpeg, real files. Runs for a number of kills or minutes, several daemons concurrently, each with
a Redis, a store and a folder of its own. Prints a line for each round. Exit code 0: every audit was clean, and the
requested number of kills was reached; 1: otherwise; the folder of a failed round is kept and named. 130: interrupted.
"""

from __future__ import annotations

import argparse
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.harness.servers import ToolMissing, find_tool

from .processes import GIB
from .soak_recorders import Interrupted, make_source
from .soak_round import STORES, Limits, Round, play

_KILLS_PER_ROUND = 25
_DEFAULT_KILLS = 200
#: Maximum disk space of one daemon's round.
_ROOM_BYTES = GIB


@dataclass
class Soak:
    """The state that all daemons of a run share."""

    root: Path
    arguments: argparse.Namespace
    ffmpeg: Path
    stopping: threading.Event = field(default_factory=threading.Event)
    began: float = field(default_factory=time.monotonic)
    rounds: list[Round] = field(default_factory=list)
    accidents: list[str] = field(default_factory=list)
    _claimed: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def source(self) -> Path:
        return self.root / "source.mp4"

    @property
    def kills(self) -> Counter[str]:
        return sum((each.kills for each in self.rounds), Counter())

    @property
    def mismatches(self) -> int:
        return sum(len(each.mismatches) for each in self.rounds)

    def shortfall(self) -> int:
        """How many of the requested kills are missing."""
        return max(0, (self.arguments.kills or 0) - self.kills.total())

    def run_daemons(self) -> None:
        """Run all of them to their end."""
        threads = [threading.Thread(target=self._run, args=(n + 1,)) for n in range(self.arguments.daemons)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _run(self, number: int) -> None:
        """One daemon, round after round."""
        try:
            turn = 0
            while self._has_time() and not self.stopping.is_set() and (kills := self._claim()):
                turn += 1
                self._play(number, turn, kills)
        except Interrupted:
            pass
        except Exception:  # noqa: BLE001 - a thread has nobody else to tell
            self.accidents.append(traceback.format_exc())
            self._stop_unless_told_otherwise()

    def _has_time(self) -> bool:
        minutes = self.arguments.minutes
        return minutes is None or time.monotonic() - self.began < 60 * minutes

    def _sleep(self, seconds: float) -> None:
        """Raises ``Interrupted`` when the run is being stopped."""
        if self.stopping.wait(seconds):
            raise Interrupted

    def _claim(self) -> int:
        """The number of kills of the next round; of equal size if the run has no limit."""
        with self._lock:
            wanted = self.arguments.kills
            kills = _KILLS_PER_ROUND if wanted is None else min(_KILLS_PER_ROUND, wanted - self._claimed)
            self._claimed += kills
            return kills

    def _play(self, number: int, turn: int, kills: int) -> None:
        home = self.root / f"daemon-{number}-round-{turn}"
        limits = Limits(
            kills,
            self.arguments.settle_seconds,
            self.arguments.assembling_seconds,
            self._has_time,
            self._sleep,
            self.arguments.store,
        )
        clean = False
        try:
            result = play(home, f"{self.arguments.seed}-{number}-{turn}", self.ffmpeg, self.source, limits)
            clean = not result.mismatches
            self._note(number, turn, result)
        except Interrupted:
            clean = True
            raise
        finally:
            if clean:
                shutil.rmtree(home, ignore_errors=True)

    def _note(self, number: int, turn: int, result: Round) -> None:
        with self._lock:
            self.rounds.append(result)
            print(
                f"daemon {number} round {turn}: {result.kills.total()} kills, {result.others.total()} other faults, "
                f"{result.recordings} recordings, {result.bytes / 1e6:.0f} MB, {len(result.mismatches)} mismatches, "
                f"{result.seconds:.0f} s",
                flush=True,
            )
            for mismatch in result.mismatches:
                print(f"    MISMATCH {mismatch}", flush=True)
            if result.mismatches:
                print(f"    kept: {result.home} (report.txt)", flush=True)
                self._stop_unless_told_otherwise()

    def _stop_unless_told_otherwise(self) -> None:
        if not self.arguments.keep_going:
            self.stopping.set()


def main() -> int:
    """The process's exit code."""
    arguments = _arguments()
    try:
        ffmpeg = find_tool("ffmpeg")
        for tool in ("redis-server", arguments.store, "ffprobe"):
            find_tool(tool)
    except ToolMissing as missing:
        print(missing, file=sys.stderr)
        return 1
    with _folder(arguments.daemons) as root:
        print(f"seed {arguments.seed}, {arguments.daemons} daemons, in {root}", flush=True)
        soak = Soak(root, arguments, ffmpeg)
        interrupted = _watch_signals(soak)
        make_source(ffmpeg, soak.source)
        soak.run_daemons()
        _print_summary(soak)
    if interrupted.is_set():
        return 130
    return 1 if soak.accidents or soak.mismatches or soak.shortfall() or not soak.rounds else 0


def _arguments() -> argparse.Namespace:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__, formatter_class=formatter)
    parser.add_argument("--kills", type=int, help=f"number of SIGKILLs, in addition to other faults ({_DEFAULT_KILLS})")
    parser.add_argument("--minutes", type=float, help="no kill after this time; current rounds are audited")
    parser.add_argument("--daemons", type=int, default=1, help="number of concurrent daemons (1)")
    parser.add_argument("--store", choices=sorted(STORES), default="versitygw", help="the real store (versitygw)")
    parser.add_argument("--seed", default=secrets.token_hex(4), help="determines recordings and faults (random)")
    parser.add_argument("--settle-seconds", type=float, default=1500, help="time limit after the last kill (1500)")
    parser.add_argument(
        "--assembling-seconds", type=float, help="how long the daemon waits for a completion without an answer (900)"
    )
    parser.add_argument("--keep-going", action="store_true", help="a mismatch or an accident does not end the run")
    arguments = parser.parse_args()
    if arguments.kills is None and arguments.minutes is None:
        arguments.kills = _DEFAULT_KILLS
    return arguments


@contextmanager
def _folder(daemons: int) -> Iterator[Path]:
    """Removed at the end unless it contains the folder of a failed round."""
    root = Path(tempfile.mkdtemp(prefix="cefmp4-soak-"))
    free = shutil.disk_usage(root).free
    if free < _ROOM_BYTES * daemons:
        root.rmdir()
        raise SystemExit(f"{root.parent} has {free / GIB:.0f} GiB free, {_ROOM_BYTES * daemons / GIB:.0f} are needed")
    try:
        yield root
    finally:
        (root / "source.mp4").unlink(missing_ok=True)
        if not any(root.iterdir()):
            root.rmdir()


def _watch_signals(soak: Soak) -> threading.Event:
    interrupted = threading.Event()

    def stop(_number: int, _frame: object) -> None:
        interrupted.set()
        soak.stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    return interrupted


def _print_summary(soak: Soak) -> None:
    kills, rounds = soak.kills, soak.rounds
    others: Counter[str] = sum((each.others for each in rounds), Counter())
    print(f"\nseed {soak.arguments.seed}, {time.monotonic() - soak.began:.0f} s, {len(rounds)} rounds")
    for kind, count in kills.most_common():
        print(f"  {count:6} × SIGKILL: {kind}")
    for kind, count in others.most_common():
        print(f"  {count:6} × {kind}")
    print(
        f"{kills.total()} kills, {sum(each.recordings for each in rounds)} recordings audited, "
        f"{sum(each.bytes for each in rounds) / 1e9:.2f} GB, {soak.mismatches} mismatches"
    )
    if probes := sum(each.probe_uploads for each in rounds):
        print(f"{probes} open uploads at the probe's key, which kills in mid-probe left")
    if kills.total() > 3 and not soak.mismatches:
        print(f"95 % bound: less than {3 / kills.total():.2%} of kills do harm (3/n, n = {kills.total()})")
    if soak.shortfall():
        ended = soak.stopping.is_set() or bool(soak.accidents)
        reason = "it ended early" if ended else f"{soak.arguments.minutes} minutes were over"
        print(f"FAILED: only {kills.total()} of {soak.arguments.kills} kills were made; {reason}")
    for accident in soak.accidents:
        print(accident, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
