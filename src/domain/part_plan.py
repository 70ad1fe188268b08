"""S3's limits as data, and the arithmetic of parts: offsets, what to send next, which parts are stale.

Everything is a pure function of the schedule that was pinned when the stream began, never of today's settings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice

from .recording import Chunk, Digest, Part, PartSchedule, SendReason, StoredPart

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


@dataclass(frozen=True, slots=True)
class Limits:
    """What the store accepts (Amazon S3's own figures, "Multipart upload limits"). Tests use small ones."""

    min_part: int = 5 * MIB  # all parts but the last
    max_part: int = 5 * GIB
    max_parts: int = 10_000
    parts_per_step: int = 1_000  # ours: after so many parts a growing schedule doubles the size


S3_LIMITS = Limits()
#: Parts of an upload made anew because equal parts ran out, of the usual 10,000: the file may still grow.
PARTS_WHEN_ANEW = 9_000


class OverCapacity(ValueError):
    """The file is longer than this schedule can name in parts."""


def _step(schedule: PartSchedule, limits: Limits) -> int:
    return schedule.step or limits.parts_per_step


def part_size(schedule: PartSchedule, number: int, limits: Limits = S3_LIMITS) -> int:
    """Size in bytes of the whole part ``number`` (from 1)."""
    if not schedule.growing:
        return schedule.chunk_size
    return int(min(schedule.chunk_size << ((number - 1) // _step(schedule, limits)), limits.max_part))


def offset_of(schedule: PartSchedule, number: int, limits: Limits = S3_LIMITS) -> int:
    """Offset in the file at which the part ``number`` begins."""
    of_a_step = _step(schedule, limits)
    steps, rest = divmod(number - 1, of_a_step)
    whole_steps = sum(of_a_step * part_size(schedule, 1 + step * of_a_step, limits) for step in range(steps))
    return whole_steps + rest * part_size(schedule, number, limits)


def capacity(schedule: PartSchedule, limits: Limits = S3_LIMITS) -> int:
    """Bytes of the longest file that the schedule can hold."""
    return offset_of(schedule, limits.max_parts + 1, limits)


def largest_object(limits: Limits = S3_LIMITS) -> int:
    """Bytes of the longest file that any schedule can hold."""
    return limits.max_parts * limits.max_part


def chunks(schedule: PartSchedule, size: int, limits: Limits = S3_LIMITS) -> Iterator[Chunk]:
    """All chunks of a file of ``size`` bytes in order, the tail included. Raises ``OverCapacity``."""
    if size > capacity(schedule, limits):
        raise OverCapacity(f"{size} bytes do not fit into {limits.max_parts} parts of this schedule")
    return cut(schedule, size, limits)


def cut(schedule: PartSchedule, size: int, limits: Limits = S3_LIMITS) -> Iterator[Chunk]:
    """The same of what was stored already, perhaps when more parts were allowed than today."""
    offset, number = 0, 1
    while offset < size:
        length = min(part_size(schedule, number, limits), size - offset)
        yield Chunk(number, offset, length)
        offset += length
        number += 1


def whole_chunks(schedule: PartSchedule, size: int, limits: Limits = S3_LIMITS) -> Iterator[Chunk]:
    """The chunks that are complete on disk while the file still grows: all but the tail."""
    return _whole_from(schedule, size, count(1), limits)


def _whole_from(schedule: PartSchedule, size: int, numbers: Iterable[int], limits: Limits) -> Iterator[Chunk]:
    """Those of the ascending ``numbers`` whose chunk is whole, without a walk over the others."""
    for number in numbers:  # pragma: no branch - they never end by themselves
        offset, length = offset_of(schedule, number, limits), part_size(schedule, number, limits)
        if number > limits.max_parts or offset + length > size:
            return
        yield Chunk(number, offset, length)


def whole_bytes(schedule: PartSchedule, size: int, limits: Limits = S3_LIMITS) -> int:
    """Bytes of the whole chunks of a file of ``size`` bytes, without a walk over them."""
    end, step, of_a_step = 0, 0, _step(schedule, limits)
    while step * of_a_step < limits.max_parts:
        each = part_size(schedule, 1 + step * of_a_step, limits)
        most = min(of_a_step, limits.max_parts - step * of_a_step)
        fitting = min(most, (size - end) // each)
        end, step = end + fitting * each, step + 1
        if fitting < most:
            break
    return end


def laid_out(parts: Mapping[int, tuple[int, int | None]]) -> Iterator[tuple[Chunk, int | None]]:
    """Where each part of an object lies, with its CRC64NVME, by the sizes of all before it; up to the first gap."""
    offset = 0
    for number in count(1):  # pragma: no branch - some number is missing
        if number not in parts:
            return
        size, crc64 = parts[number]
        yield Chunk(number, offset, size), crc64
        offset += size


class Covered:
    """Which of the ascending chunks lie wholly in parts of another object that are the same, told part by part."""

    def __init__(self, chunks: Iterator[Chunk]) -> None:
        self._chunks = chunks
        self._next = next(chunks, None)
        self._same_since: int | None = None

    @property
    def is_done(self) -> bool:
        """Whether no chunk is left."""
        return self._next is None

    def after(self, part: Chunk, *, same: bool) -> Iterator[Chunk]:
        """Those that end in this part; it follows the one before. To be taken to the end."""
        end = part.offset + part.size
        if not same:
            self._same_since = None
            self._pass_by(end)
            return
        if self._same_since is None:
            self._same_since = part.offset
            self._pass_by(part.offset)
        while self._next is not None and self._next.offset + self._next.size <= end:
            yield self._next
            self._next = next(self._chunks, None)

    def _pass_by(self, offset: int) -> None:
        """Leave out the chunks that begin before."""
        while self._next is not None and self._next.offset < offset:
            self._next = next(self._chunks, None)


def to_send(
    schedule: PartSchedule,
    size: int,
    parts: Mapping[int, Part],
    *,
    most: int,
    limits: Limits = S3_LIMITS,
) -> tuple[Chunk, ...]:
    """The next whole chunks, at most ``most``, that are on disk and not in S3."""
    numbers = (n for n in count(1) if n not in parts or parts[n].size != part_size(schedule, n, limits))
    return tuple(islice(_whole_from(schedule, size, numbers, limits), most))


def matches(part: Part | StoredPart | None, digest: Digest) -> bool:
    """Whether a part is known to hold exactly the bytes of ``digest``; unknown counts as no."""
    if part is None or part.size != digest.size:
        return False
    if part.crc64 is not None:
        return part.crc64 == digest.crc64
    return digest.md5 is not None and part.etag.strip('"').lower() == digest.md5


@dataclass(frozen=True, slots=True)
class Stale:
    """A chunk whose bytes S3 does not hold, and why it is to be sent (again)."""

    chunk: Chunk
    reason: SendReason


def stale_parts(
    checked: Sequence[tuple[Chunk, Digest]], parts: Mapping[int, Part], *, head_parts: int = 1
) -> tuple[Stale, ...]:
    """Which chunks of a whole pass over the file must be sent before the upload equals the file.

    ``checked`` is every chunk with the digest that the pass found. When only the first ``head_parts`` changed it
    was the usual patch of the head; more than that is a rewrite.
    """
    missing = [chunk for chunk, _ in checked if chunk.number not in parts]
    changed = [c for c, digest in checked if c.number in parts and not matches(parts[c.number], digest)]
    grown = {chunk.number for chunk in changed if parts[chunk.number].size < chunk.size}
    patched = [chunk for chunk in changed if chunk.number not in grown]
    reason = SendReason.HEAD_PATCH if all(c.number <= head_parts for c in patched) else SendReason.REWRITE
    found = [Stale(chunk, SendReason.NEW) for chunk in missing]
    found += [Stale(c, SendReason.TAIL_GREW if c.number in grown else reason) for c in changed]
    return tuple(sorted(found, key=lambda stale: stale.chunk.number))


def as_faststart(stale: Sequence[Stale], held: int) -> tuple[Stale, ...]:
    """What is stale in a file whose index stands before its media, of which S3 held so many parts: where the first and
    most of them were rewritten, it was the recorder moving the index there, which shifts every byte behind it."""
    rewritten = [item for item in stale if item.reason is SendReason.REWRITE]
    if not rewritten or rewritten[0].chunk.number != 1 or 2 * len(rewritten) <= held:
        return tuple(stale)
    return tuple(replace(item, reason=SendReason.FASTSTART) if item in rewritten else item for item in stale)


def unproved(
    checked: Sequence[tuple[Chunk, Digest]], listed: Mapping[int, StoredPart], parts: Mapping[int, Part]
) -> tuple[Stale, ...]:
    """The chunks that the store's own listing does not prove; empty: parts 1..N are there, byte for byte.

    A store that lists no checksum is believed where its ETag is the one that our sending of these very bytes was
    answered with, or is their MD5. Higher numbers, left by a file that shrank, do not matter.
    """
    return tuple(
        Stale(chunk, SendReason.LOST)
        for chunk, digest in checked
        if not _proved(listed.get(chunk.number), parts.get(chunk.number), digest)
    )


def _proved(stored: StoredPart | None, sent: Part | None, digest: Digest) -> bool:
    if stored is None or stored.size != digest.size:
        return False
    if matches(stored, digest):
        return True
    return stored.crc64 is None and sent is not None and sent.etag == stored.etag and matches(sent, digest)


def schedule_for(size: int, schedule: PartSchedule, limits: Limits = S3_LIMITS) -> PartSchedule:
    """Equal parts large enough for a closed file of ``size`` bytes that ``schedule`` cannot hold."""
    wanted = -(-size // max(1, limits.max_parts * PARTS_WHEN_ANEW // S3_LIMITS.max_parts))
    in_mib = -(-wanted // MIB) * MIB if wanted > MIB else wanted
    return PartSchedule(max(schedule.chunk_size, min(in_mib, limits.max_part)), growing=False)


def usual_step(max_parts: int) -> int | None:
    """After how many parts a growing schedule doubles where a store takes ``max_parts``; None: the usual number."""
    return None if max_parts >= S3_LIMITS.max_parts else max(1, max_parts // 10)


def schedule_within(
    size: int, schedule: PartSchedule, most_parts: int, limits: Limits = S3_LIMITS
) -> PartSchedule | None:
    """A schedule for a file of ``size`` bytes, that may still grow to twice of it, in at most ``most_parts``.

    None where no parts of the allowed size are few enough.
    """
    within = replace(limits, max_parts=most_parts)
    growing = replace(schedule, step=usual_step(most_parts))
    if schedule.growing and capacity(growing, within) >= 2 * size:
        return growing
    equal = schedule_for(size, schedule, within)
    return equal if capacity(equal, within) >= size else None


def smaller_parts(size: int, refused: int, limits: Limits = S3_LIMITS) -> PartSchedule | None:
    """Equal parts of half the size that was refused; None where that is not allowed or does not hold the file."""
    smaller = PartSchedule(max(limits.min_part, refused // 2), growing=False)
    return smaller if smaller.chunk_size < refused and capacity(smaller, limits) >= size else None


def in_flight(size: int, budget: int, most: int) -> int:
    """How many parts of ``size`` bytes one stream may hold in memory at once: at least one, within ``budget``."""
    return max(1, min(most, budget // max(size, 1)))
