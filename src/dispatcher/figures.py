"""What is counted of all recordings: what is not finished yet, how many are carried, how many have failed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from ..domain import Holding, Waiting, World, lifecycle, moments
from .newcomers import Newcomers
from .register import Register


def holdings(register: Register, newcomers: Newcomers) -> tuple[list[Holding], Waiting]:
    """Every recording that is not finished, as it stands; those that wait to be taken up all together.

    A file from before the start that is as it was then is only to be looked up: S3 most likely has it, and to show
    its bytes as missing would raise an alarm at each start.
    """
    there = [(stream, stream.seen) for stream in register.by_identity.values() if stream.seen is not None]
    found = [stream.holding(seen) for stream, seen in there if stream.to_look_up != seen]
    waiting = newcomers.waiting()
    to_look_up = waiting.to_look_up + len(there) - len(found)
    return [*found, *register.left.values()], replace(waiting, to_look_up=to_look_up)


def tell_how_many(register: Register, world: World) -> None:
    """Streams that are carried, and those that have failed; a file that is only looked up is none."""
    world.telemetry.emit(
        moments.ActiveStreams(sum(stream.processor is not None for stream in register.by_identity.values()))
    )
    kept = register.failed.values()
    failed_for, statuses = Counter(map(lifecycle.failed_for, kept)), Counter(record.status for record in kept)
    world.telemetry.emit(moments.KeptStreams(failed_for, statuses))
