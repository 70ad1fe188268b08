"""CPU per GiB: a finished 1 GiB file, ours and the rivals' alternately over several rounds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median

from .daemon import running_daemon
from .place import Place, local_place
from .processes import GIB, MIB, BenchError, plain_environment
from .report import Row
from .rivals import Cost, Rival, find_rivals

TARGET_CPU_SECONDS = 2.0
#: How many times the CPU of the floor, and of s5cmd, ours may take.
TARGET_TO_FLOOR, TARGET_TO_S5CMD = 2.0, 0.45
_SECONDS = 120.0


def measure(rounds: int) -> Iterator[Row]:
    """Ours from the first part to ``completed``; the rivals' without the cost of copying one byte, which is
    start-up."""
    rivals = find_rivals()
    ours: list[Cost] = []
    floors: list[float] = []
    theirs: dict[str, list[Cost]] = {name: [] for name in rivals}
    with local_place() as place:
        file = place.make_file("1gib.mp4", GIB)
        tiny = place.files / "one-byte"
        tiny.write_bytes(b"x")
        for number in range(rounds):
            ours.append(_ours(place, file, f"ours-{number}.mp4"))
            floors.append(_floor(file))
            for name, rival in rivals.items():
                theirs[name].append(_theirs(place, rival, file, tiny))
            spent = {name: f"{costs[-1].cpu:.2f}" for name, costs in {"ours": ours, **theirs}.items()}
            print(f"  round {number + 1}: CPU seconds {spent}, floor {floors[-1]:.2f}", flush=True)
    yield from _rows(ours, theirs)
    yield from _ratios(ours, floors, theirs.get("s5cmd"))


def _ours(place: Place, file: Path, name: str) -> Cost:
    """All settings at their defaults, including the timeout, which does not count in the wall-clock time."""
    with running_daemon(place.settings(), place.root) as daemon:
        daemon.settle()
        place.drop(file, name)
        done = daemon.wait_for("stream_completed", seconds=_SECONDS)
        began = daemon.events("stream_started")[0]
        idle = daemon.events("stream_went_idle")[0]
        quiet = idle.at - max(part.at for part in daemon.events("part_stored") if part.at < idle.at)
    if done.fields["size"] != file.stat().st_size or done.fields["key"] != name:
        raise BenchError(f"not what was dropped was completed: {done.fields}")
    place.forget(name)
    return Cost(done.cpu - began.cpu, done.at - began.at - quiet)


def _floor(file: Path) -> float:
    """CPU seconds of what no uploader can do without."""
    command = [sys.executable, "-m", "bench.floor", str(file)]
    return float(subprocess.run(command, check=True, capture_output=True, env=plain_environment()).stdout)


def _theirs(place: Place, rival: Rival, file: Path, tiny: Path) -> Cost:
    key = f"{rival.name}.mp4"
    start_up = rival.copy(place, tiny, key)
    whole = rival.copy(place, file, key)
    place.forget(key)
    return Cost(whole.cpu - start_up.cpu, whole.wall - start_up.wall)


def _rows(ours: list[Cost], theirs: Mapping[str, list[Cost]]) -> Iterator[Row]:
    cpu = median(cost.cpu for cost in ours)
    wall = median(cost.wall for cost in ours)
    their_cpu = {name: median(cost.cpu for cost in costs) for name, costs in theirs.items()}
    their_wall = {name: median(cost.wall for cost in costs) for name, costs in theirs.items()}
    spread = f"median of {len(ours)}, {min(c.cpu for c in ours):.2f} to {max(c.cpu for c in ours):.2f}"
    yield Row(
        "CPU, 1 GiB file to completed",
        cpu,
        "s/GiB",
        TARGET_CPU_SECONDS,
        _ratio(cpu, their_cpu.get("aws")),
        _ratio(cpu, their_cpu.get("s5cmd")),
        f"{spread}; seal included{_listed(their_cpu)}",
    )
    yield Row(
        "time on the clock for it",
        wall,
        "s/GiB",
        None,
        _ratio(wall, their_wall.get("aws")),
        _ratio(wall, their_wall.get("s5cmd")),
        f"without the quiet time; {GIB / MIB / wall:.0f} MiB/s{_listed(their_wall)}",
    )


def _ratios(ours: list[Cost], floors: list[float], s5cmd: list[Cost] | None) -> Iterator[Row]:
    """Medians of the rounds' ratios: both of a round were measured beside each other."""
    floor = median(cost.cpu / least for cost, least in zip(ours, floors, strict=True))
    told = f"two reads, two CRC64NVMEs and one write to a socket take {median(floors):.2f} s"
    yield Row("CPU for it, to what no uploader can do without", floor, "times", TARGET_TO_FLOOR, remarks=told)
    if s5cmd is not None:
        ratio = median(cost.cpu / theirs.cpu for cost, theirs in zip(ours, s5cmd, strict=True))
        yield Row("CPU for it, to s5cmd cp", ratio, "times", TARGET_TO_S5CMD)


def _ratio(ours: float, theirs: float | None) -> float | None:
    return ours / theirs if theirs else None


def _listed(figures: Mapping[str, float]) -> str:
    return "".join(f"; {name} {figure:.2f}" for name, figure in figures.items())
