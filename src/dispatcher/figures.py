"""Counts over all recordings: unfinished, carried, and failed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice

from ..domain import Checkpoint, Holding, Unfinished, Waiting, World, lifecycle, moments
from .newcomers import Newcomers
from .register import Register

#: Waiting files that are listed one by one.
_MOST_WAITING = 200


def holdings(register: Register, newcomers: Newcomers) -> tuple[list[Holding], Waiting]:
    """The current state of every unfinished recording; those that wait to be taken up as one total.

    A file from before the start that has not changed is only to be looked up: S3 most likely has it, and reporting its
    bytes as missing would raise an alert at each start.
    """
    there = [(stream, stream.seen) for stream in register.by_identity.values() if stream.seen is not None]
    found = [stream.holding(seen) for stream, seen in there if stream.to_look_up != seen]
    waiting = newcomers.waiting()
    to_look_up = waiting.to_look_up + len(there) - len(found)
    return [*found, *register.left.values()], replace(waiting, to_look_up=to_look_up)


def unfinished(register: Register, newcomers: Newcomers) -> tuple[list[Unfinished], int]:
    """Every recording that is not done, and the number of waiting files that are not among them: of those only some
    that may be growing are listed. Files that are only looked up are left out.
    """
    streams = [
        stream for stream in register.by_identity.values() if stream.to_look_up != stream.seen or not stream.seen
    ]
    waiting = [newcomers.unfinished(path) for path in islice(newcomers.fresh.files, _MOST_WAITING)]
    failed = [_failed(record, register.left.get(record.path)) for record in register.failed.values()]
    others = len(newcomers) - newcomers.waiting().to_look_up - len(waiting)
    return [*(stream.unfinished() for stream in streams), *failed, *waiting], max(0, others)


def _failed(record: Checkpoint, left: Holding | None) -> Unfinished:
    holding = left if left is not None and left.seen.identity == record.identity else None
    return Unfinished(record.path, holding, record, len(record.parts), sum(p.size for p in record.parts.values()))


def tell_how_many(register: Register, world: World) -> None:
    """Report the number of carried streams, and of failed ones; a file that is only looked up does not count."""
    world.telemetry.emit(
        moments.ActiveStreams(sum(stream.processor is not None for stream in register.by_identity.values()))
    )
    kept = register.failed.values()
    failed_for, statuses = Counter(map(lifecycle.failed_for, kept)), Counter(record.status for record in kept)
    world.telemetry.emit(moments.KeptStreams(failed_for, statuses))
