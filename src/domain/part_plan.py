"""S3's limits as data, and part arithmetic: offsets, the next chunks to send, and stale parts.

All functions are pure and depend on the schedule that was pinned when the stream began, never on current settings.
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
    """Limits of the store (Amazon S3's own, "Multipart upload limits"). Tests use small ones."""

    min_part: int = 5 * MIB  # of all parts but the last
    max_part: int = 5 * GIB
    max_parts: int = 10_000
    parts_per_step: int = 1_000  # our own choice: a growing schedule doubles the size after this many parts


S3_LIMITS = Limits()
#: Parts of an upload that is restarted because equal parts ran out, of the usual 10,000: the file may still grow.
PARTS_WHEN_ANEW = 9_000


class OverCapacity(ValueError):
    """The file is too long for the parts of this schedule."""


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
    """The chunks of an upload that exists already; the limit on parts may have been higher when it began."""
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
    """The whole chunks among the ascending ``numbers``, without iterating over the others."""
    for number in numbers:  # pragma: no branch - they never end by themselves
        offset, length = offset_of(schedule, number, limits), part_size(schedule, number, limits)
        if number > limits.max_parts or offset + length > size:
            return
        yield Chunk(number, offset, length)


def whole_bytes(schedule: PartSchedule, size: int, limits: Limits = S3_LIMITS) -> int:
    """Bytes of the whole chunks of a file of ``size`` bytes, without iterating over them."""
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
    """The byte range of each part of an object, with its CRC64NVME, derived from the sizes of all earlier parts; up to
    the first gap."""
    offset = 0
    for number in count(1):  # pragma: no branch - some number is missing
        if number not in parts:
            return
        size, crc64 = parts[number]
        yield Chunk(number, offset, size), crc64
        offset += size


class Covered:
    """Finds the ascending chunks that lie completely in unchanged parts of another object, one part at a time."""

    def __init__(self, chunks: Iterator[Chunk]) -> None:
        self._chunks = chunks
        self._next = next(chunks, None)
        self._same_since: int | None = None

    @property
    def is_done(self) -> bool:
        """Whether no chunk is left."""
        return self._next is None

    def after(self, part: Chunk, *, same: bool) -> Iterator[Chunk]:
        """The chunks that end in this part, which follows the previous one. The iterator must be exhausted."""
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
        """Skip the chunks that begin before ``offset``."""
        while self._next is not None and self._next.offset < offset:
            self._next = next(self._chunks, None)


def to_send(
    schedule: PartSchedule,
    size: int,
    parts: Mapping[int, Part],
    *,
    most: int,
    limits: Limits = S3_LIMITS,
    first: int = 1,
) -> tuple[Chunk, ...]:
    """The next whole chunks, at most ``most``, that are on disk and not in S3. Those before the number ``first`` are
    known to be there."""
    numbers = (n for n in count(first) if n not in parts or parts[n].size != part_size(schedule, n, limits))
    return tuple(islice(_whole_from(schedule, size, numbers, limits), most))


def matches(part: Part | StoredPart | None, digest: Digest) -> bool:
    """Whether a part is known to hold exactly the bytes of ``digest``; False if unknown."""
    if part is None or part.size != digest.size:
        return False
    if part.crc64 is not None:
        return part.crc64 == digest.crc64
    return digest.md5 is not None and part.etag.strip('"').lower() == digest.md5


@dataclass(frozen=True, slots=True)
class Stale:
    """A chunk whose current bytes are not in S3, and the reason for sending it (again)."""

    chunk: Chunk
    reason: SendReason


def stale_parts(
    checked: Sequence[tuple[Chunk, Digest]], parts: Mapping[int, Part], *, head_parts: int = 1
) -> tuple[Stale, ...]:
    """The chunks to send, after a whole pass over the file, so that the upload equals the file.

    ``checked`` has every chunk with its digest. If only the first ``head_parts`` changed, the reason is a head patch;
    otherwise it is a rewrite.
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
    """The stale chunks of a file with its index before its media, of which S3 held ``held`` parts. If the first and
    most of them were rewritten, the recorder moved the index to the front, which shifts every byte after it."""
    rewritten = [item for item in stale if item.reason is SendReason.REWRITE]
    if not rewritten or rewritten[0].chunk.number != 1 or 2 * len(rewritten) <= held:
        return tuple(stale)
    return tuple(replace(item, reason=SendReason.FASTSTART) if item in rewritten else item for item in stale)


def unproved(
    checked: Sequence[tuple[Chunk, Digest]], listed: Mapping[int, StoredPart], parts: Mapping[int, Part]
) -> tuple[Stale, ...]:
    """The chunks that the store's listing does not prove. If empty, parts 1..N are stored, byte for byte.

    If the listing has no checksum, the ETag must be the one that the store returned for these bytes, or their MD5.
    Higher part numbers, left by a file that shrank, do not matter.
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
    """Equal parts that are large enough for a closed file of ``size`` bytes that ``schedule`` cannot hold."""
    wanted = -(-size // max(1, limits.max_parts * PARTS_WHEN_ANEW // S3_LIMITS.max_parts))
    in_mib = -(-wanted // MIB) * MIB if wanted > MIB else wanted
    return PartSchedule(max(schedule.chunk_size, min(in_mib, limits.max_part)), growing=False)


def usual_step(max_parts: int) -> int | None:
    """After how many parts a growing schedule doubles if a store accepts ``max_parts``; None: the usual number."""
    return None if max_parts >= S3_LIMITS.max_parts else max(1, max_parts // 10)


def schedule_within(
    size: int, schedule: PartSchedule, most_parts: int, limits: Limits = S3_LIMITS
) -> PartSchedule | None:
    """A schedule for a file of ``size`` bytes that may still double, in at most ``most_parts`` parts.

    None if this would need parts above the maximum size.
    """
    within = replace(limits, max_parts=most_parts)
    growing = replace(schedule, step=usual_step(most_parts))
    if schedule.growing and capacity(growing, within) >= 2 * size:
        return growing
    equal = schedule_for(size, schedule, within)
    return equal if capacity(equal, within) >= size else None


def smaller_parts(size: int, refused: int, limits: Limits = S3_LIMITS) -> PartSchedule | None:
    """Equal parts of half the refused size; None if that is not allowed or cannot hold the file."""
    smaller = PartSchedule(max(limits.min_part, refused // 2), growing=False)
    return smaller if smaller.chunk_size < refused and capacity(smaller, limits) >= size else None


def in_flight(size: int, budget: int, most: int) -> int:
    """How many parts of ``size`` bytes one stream may have in memory at once: at least one, within ``budget``."""
    return max(1, min(most, budget // max(size, 1)))
