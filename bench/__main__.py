"""``python -m bench [WHAT …]``, such as ``python -m bench cpu page``: measures, prints a table, ends.

Exit code 0: all targets are met; 1: one is missed or could not be measured.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NoReturn

from . import blocking, cpu, crowd, growing, idle, link, memory, page, remembered, segments, series, start, verify
from .processes import BenchError
from .report import Row, as_markdown, as_text, machine

_MEASURES: Mapping[str, Callable[[int], Iterator[Row]]] = {
    "cpu": cpu.measure,
    "blocking": blocking.measure,
    "memory": memory.measure,
    "idle": idle.measure,
    "page": page.measure,
    "series": series.measure,
    "remembered": remembered.measure,
    "link": link.measure,
    "verify": verify.measure,
    "long-link": link.measure_long,
    "crowd": crowd.measure,
    "growing": growing.measure,
    "segments": segments.measure,
    "start": start.measure,
}
#: Measurements that not every machine supports.
_WITHOUT_TARGETS = ("link", "long-link")
#: Measurements that take long: only if they are named.
_WHEN_ASKED_FOR = ("long-link", "crowd", "growing", "segments", "start")
#: Time limit of one measurement.
_LONGEST_SECONDS = 300
_LONGEST_OF = dict.fromkeys(_WHEN_ASKED_FOR, 3600)


def main() -> int:
    """Run the requested measurements; returns the process's exit code."""
    arguments = _arguments()
    signal.signal(signal.SIGALRM, _out_of_time)
    signal.signal(signal.SIGTERM, _interrupted)
    rows: list[Row] = []
    began = time.monotonic()
    try:
        for name in arguments.what or [name for name in _MEASURES if name not in _WHEN_ASKED_FOR]:
            rows += _measure(name, arguments.rounds)
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    print(f"\n{machine()}; {time.monotonic() - began:.0f} s in all\n\n{as_text(rows)}")
    if arguments.markdown:
        arguments.markdown.write_text(f"{machine()}\n\n{as_markdown(rows)}\n", encoding="utf-8")
    return 1 if any(row.missed for row in rows) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="What the daemon costs, against its targets.")
    parser.add_argument(
        "what", nargs="*", metavar="WHAT", help=f"of {', '.join(_MEASURES)} (default: those that end soon)"
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=3,
        help="how often the CPU is measured; blocking and link half as often (default: 3)",
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table into this file as well")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.what if name not in _MEASURES]
    if unknown or arguments.rounds < 1:
        parser.error(f"there is no {unknown[0]!r}" if unknown else "at least one round")
    return arguments


def _measure(name: str, rounds: int) -> list[Row]:
    """A failed measurement is a line of the table, too, and the others continue."""
    print(f"{name} ...", flush=True)
    rows: list[Row] = []
    signal.alarm(_LONGEST_OF.get(name, _LONGEST_SECONDS))
    try:
        for row in _MEASURES[name](rounds):
            rows.append(row)
            print(f"  {row.what}: {row.cells()[1]}", flush=True)
    except BenchError as exc:
        rows.append(Row(f"{name}: not measured", None, "", remarks=str(exc), failed=name not in _WITHOUT_TARGETS))
        print(f"  not measured: {exc}", flush=True)
    finally:
        signal.alarm(0)
    return rows


def _out_of_time(_number: int, _frame: object) -> NoReturn:
    raise BenchError("not done in time")


def _interrupted(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
