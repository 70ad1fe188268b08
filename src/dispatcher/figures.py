"""Counts over all recordings: unfinished, carried, and failed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from ..domain import Holding, Waiting, World, lifecycle, moments
from .newcomers import Newcomers
from .register import Register


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


def tell_how_many(register: Register, world: World) -> None:
    """Report the number of carried streams, and of failed ones; a file that is only looked up does not count."""
    world.telemetry.emit(
        moments.ActiveStreams(sum(stream.processor is not None for stream in register.by_identity.values()))
    )
    kept = register.failed.values()
    failed_for, statuses = Counter(map(lifecycle.failed_for, kept)), Counter(record.status for record in kept)
    world.telemetry.emit(moments.KeptStreams(failed_for, statuses))
