"""The arithmetic of parts, walked through completely with limits of a few bytes, and at S3's own figures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from src.domain import (
    GIB,
    MIB,
    S3_LIMITS,
    Chunk,
    Digest,
    Limits,
    OverCapacity,
    Part,
    PartSchedule,
    SendReason,
    Stale,
    StoredPart,
    capacity,
    matches,
    offset_of,
    schedule_for,
    usual_step,
)
from src.domain.part_plan import (
    PARTS_WHEN_ANEW,
    Covered,
    as_faststart,
    chunks,
    in_flight,
    laid_out,
    largest_object,
    part_size,
    schedule_within,
    smaller_parts,
    stale_parts,
    to_send,
    unproved,
    whole_bytes,
    whole_chunks,
)

SMALL = Limits(min_part=2, max_part=8, max_parts=10, parts_per_step=3)
EQUAL = PartSchedule(4, growing=False)
GROWING = PartSchedule(2)
SCHEDULES = [EQUAL, GROWING, PartSchedule(3), PartSchedule(8), PartSchedule(1, growing=False)]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
MD5 = "d41d8cd98f00b204e9800998ecf8427e"


def part(number: int, size: int, crc64: int | None = None, etag: str = "etag", md5: str | None = None) -> Part:
    return Part(number, size, etag, crc64, NOW, md5)


def held(those: Iterable[Chunk]) -> dict[int, Part]:
    return {chunk.number: part(chunk.number, chunk.size, crc64=chunk.number) for chunk in those}


def checked(those: Iterable[Chunk]) -> list[tuple[Chunk, Digest]]:
    return [(chunk, Digest(chunk.size, crc64=chunk.number)) for chunk in those]


class TestWhatAnotherObjectHas:
    def test_its_parts_lie_one_after_the_other_up_to_the_first_gap(self) -> None:
        parts = {1: (4, 10), 2: (3, None), 3: (5, 30), 5: (1, 50)}
        assert list(laid_out(parts)) == [(Chunk(1, 0, 4), 10), (Chunk(2, 4, 3), None), (Chunk(3, 7, 5), 30)]

    @pytest.mark.parametrize("old", SCHEDULES)
    @pytest.mark.parametrize("new", SCHEDULES)
    def test_a_chunk_is_taken_over_exactly_when_every_byte_of_it_is_the_same(
        self, old: PartSchedule, new: PartSchedule
    ) -> None:
        size = min(capacity(old, SMALL), capacity(new, SMALL), 24)
        for differing in range(size):
            same = [c for c in chunks(old, size, SMALL) if not c.offset <= differing < c.offset + c.size]
            bytes_there = {byte for c in same for byte in range(c.offset, c.offset + c.size)}
            wanted = [c for c in whole_chunks(new, size, SMALL) if bytes_there >= {*range(c.offset, c.offset + c.size)}]
            covered = Covered(whole_chunks(new, size, SMALL))
            found = [c for old_part in chunks(old, size, SMALL) for c in covered.after(old_part, same=old_part in same)]
            assert found == wanted

    def test_it_is_done_as_soon_as_the_last_chunk_was_found_or_passed_by(self) -> None:
        first, second = chunks(EQUAL, 8, SMALL)
        covered = Covered(chunks(EQUAL, 8, SMALL))
        assert not covered.is_done
        assert list(covered.after(first, same=True)) == [first]
        assert not covered.is_done
        assert list(covered.after(second, same=False)) == []
        assert covered.is_done


class TestSizesAndOffsets:
    def test_equal_parts_are_equal(self) -> None:
        assert {part_size(EQUAL, number, SMALL) for number in range(1, 11)} == {4}

    def test_growing_parts_double_after_each_step_up_to_the_largest(self) -> None:
        sizes = [part_size(GROWING, number, SMALL) for number in range(1, 11)]
        assert sizes == [2, 2, 2, 4, 4, 4, 8, 8, 8, 8]

    @pytest.mark.parametrize("schedule", SCHEDULES)
    def test_each_part_begins_where_the_one_before_it_ends(self, schedule: PartSchedule) -> None:
        assert offset_of(schedule, 1, SMALL) == 0
        for number in range(1, 40):
            end = offset_of(schedule, number, SMALL) + part_size(schedule, number, SMALL)
            assert offset_of(schedule, number + 1, SMALL) == end

    @pytest.mark.parametrize("schedule", SCHEDULES)
    def test_the_capacity_is_the_sum_of_all_parts(self, schedule: PartSchedule) -> None:
        assert capacity(schedule, SMALL) == sum(part_size(schedule, number, SMALL) for number in range(1, 11))

    def test_the_default_schedule_holds_more_than_five_tebibytes(self) -> None:
        assert capacity(PartSchedule(10 * MIB)) > 5 * 1024 * GIB

    def test_no_part_of_any_legal_chunk_size_is_above_the_largest(self) -> None:
        for chunk_size in (5 * MIB, 10 * MIB, 5 * GIB):
            assert part_size(PartSchedule(chunk_size), S3_LIMITS.max_parts) <= S3_LIMITS.max_part

    @pytest.mark.parametrize(
        ("number", "size"), [(1, 10), (1000, 10), (1001, 20), (2000, 20), (2001, 40), (9001, 5120), (10_000, 5120)]
    )
    def test_the_default_schedule_doubles_every_thousand_parts(self, number: int, size: int) -> None:
        assert part_size(PartSchedule(10 * MIB), number) == size * MIB


class TestChunks:
    @pytest.mark.parametrize("schedule", SCHEDULES)
    def test_chunks_cover_every_file_once_at_every_size(self, schedule: PartSchedule) -> None:
        for size in range(capacity(schedule, SMALL) + 1):
            found = list(chunks(schedule, size, SMALL))
            assert sum(chunk.size for chunk in found) == size
            assert [chunk.number for chunk in found] == list(range(1, len(found) + 1))
            assert [chunk.offset for chunk in found] == [offset_of(schedule, c.number, SMALL) for c in found]
            assert all(one.offset + one.size == other.offset for one, other in pairwise(found))
            assert all(chunk.size == part_size(schedule, chunk.number, SMALL) for chunk in found[:-1])
            assert all(0 < chunk.size <= part_size(schedule, chunk.number, SMALL) for chunk in found)

    @pytest.mark.parametrize(
        ("size", "sizes"),
        [(0, []), (1, [1]), (3, [3]), (4, [4]), (5, [4, 1]), (7, [4, 3]), (8, [4, 4]), (9, [4, 4, 1])],
    )
    def test_the_tail_at_each_boundary(self, size: int, sizes: list[int]) -> None:
        assert [chunk.size for chunk in chunks(EQUAL, size, SMALL)] == sizes

    @pytest.mark.parametrize("schedule", SCHEDULES)
    def test_one_byte_above_the_capacity_is_refused(self, schedule: PartSchedule) -> None:
        full = capacity(schedule, SMALL)
        assert len(list(chunks(schedule, full, SMALL))) == SMALL.max_parts
        with pytest.raises(OverCapacity, match=f"{full + 1} bytes do not fit into 10 parts"):
            list(chunks(schedule, full + 1, SMALL))

    @pytest.mark.parametrize("schedule", SCHEDULES)
    def test_only_the_tail_is_not_whole(self, schedule: PartSchedule) -> None:
        for size in range(capacity(schedule, SMALL) + 1):
            every = list(chunks(schedule, size, SMALL))
            tail = every[-1:] if every and every[-1].size < part_size(schedule, every[-1].number, SMALL) else []
            assert list(whole_chunks(schedule, size, SMALL)) + tail == every

    def test_a_file_beyond_the_capacity_still_has_its_whole_chunks(self) -> None:
        assert len(list(whole_chunks(EQUAL, capacity(EQUAL, SMALL) + 100, SMALL))) == SMALL.max_parts


class TestToSend:
    @pytest.mark.parametrize(
        ("size", "numbers"), [(0, []), (3, []), (4, [1]), (5, [1]), (8, [1, 2]), (11, [1, 2]), (12, [1, 2, 3])]
    )
    def test_a_chunk_is_sent_as_soon_as_it_is_whole(self, size: int, numbers: list[int]) -> None:
        assert [chunk.number for chunk in to_send(EQUAL, size, {}, most=10, limits=SMALL)] == numbers

    def test_what_is_held_is_not_sent_again_wherever_the_gap_is(self) -> None:
        every = list(whole_chunks(EQUAL, 20, SMALL))
        for gap in every:
            parts = held(chunk for chunk in every if chunk != gap)
            assert to_send(EQUAL, 20, parts, most=10, limits=SMALL) == (gap,)
        assert to_send(EQUAL, 20, held(every), most=10, limits=SMALL) == ()

    def test_a_tail_that_was_sent_is_sent_again_when_its_chunk_is_whole(self) -> None:
        parts = {1: part(1, 4), 2: part(2, 3)}
        assert to_send(EQUAL, 8, parts, most=10, limits=SMALL) == (Chunk(2, 4, 4),)

    def test_a_part_of_another_schedule_is_sent_again(self) -> None:
        parts = {1: part(1, 5), 2: part(2, 4), 3: part(3, 3)}
        assert [chunk.number for chunk in to_send(EQUAL, 12, parts, most=10, limits=SMALL)] == [1, 3]

    def test_parts_that_are_known_to_be_there_are_not_looked_at(self) -> None:
        class Counted(dict[int, Part]):
            asked = 0

            def __contains__(self, number: object) -> bool:
                self.asked += 1
                return super().__contains__(number)

        parts = Counted(held(chunks(EQUAL, 16, SMALL)))
        found = to_send(EQUAL, 20, parts, most=10, limits=SMALL, first=5)
        assert [chunk.number for chunk in found] == [5]
        assert parts.asked <= 2

    @pytest.mark.parametrize("most", [0, 1, 2, 3, 4])
    def test_never_more_than_asked_for_and_the_first_ones_first(self, most: int) -> None:
        sent = to_send(EQUAL, 12, {}, most=most, limits=SMALL)
        assert [chunk.number for chunk in sent] == [1, 2, 3][:most]


class TestMatches:
    def test_a_part_with_the_same_size_and_checksum_matches(self) -> None:
        assert matches(part(1, 4, crc64=7), Digest(4, 7))

    def test_nothing_matches_no_part(self) -> None:
        assert not matches(None, Digest(4, 7))

    @pytest.mark.parametrize("digest", [Digest(3, 7), Digest(5, 7), Digest(4, 8), Digest(4, 0)])
    def test_another_size_or_checksum_does_not_match(self, digest: Digest) -> None:
        assert not matches(part(1, 4, crc64=7), digest)

    def test_a_checksum_of_zero_is_a_checksum(self) -> None:
        assert matches(part(1, 4, crc64=0), Digest(4, 0))
        assert not matches(part(1, 4, crc64=0), Digest(4, 1))

    @pytest.mark.parametrize("etag", [MD5, MD5.upper(), f'"{MD5}"'])
    def test_without_a_checksum_the_etag_may_be_the_md5(self, etag: str) -> None:
        assert matches(StoredPart(1, 4, etag, None), Digest(4, 7, MD5))

    def test_unknown_counts_as_no(self) -> None:
        assert not matches(StoredPart(1, 4, MD5, None), Digest(4, 7))
        assert not matches(StoredPart(1, 4, "other", None), Digest(4, 7, MD5))

    def test_a_checksum_that_differs_is_not_healed_by_the_etag(self) -> None:
        assert not matches(StoredPart(1, 4, MD5, 8), Digest(4, 7, MD5))


class TestStaleParts:
    every = tuple(chunks(EQUAL, 18, SMALL))  # 4 4 4 4 2

    def test_an_unchanged_file_has_none(self) -> None:
        assert stale_parts(checked(self.every), held(self.every)) == ()

    def test_what_was_never_sent_is_new(self) -> None:
        parts = held(self.every[:3])
        assert stale_parts(checked(self.every), parts) == tuple(Stale(c, SendReason.NEW) for c in self.every[3:])

    def test_a_changed_first_part_alone_is_the_patch_of_the_head(self) -> None:
        parts = held(self.every) | {1: part(1, 4, crc64=99)}
        assert stale_parts(checked(self.every), parts) == (Stale(self.every[0], SendReason.HEAD_PATCH),)

    @pytest.mark.parametrize("number", [2, 3, 4, 5])
    def test_any_other_change_is_a_rewrite(self, number: int) -> None:
        chunk = self.every[number - 1]
        parts = held(self.every) | {number: part(number, chunk.size, crc64=99)}
        assert stale_parts(checked(self.every), parts) == (Stale(chunk, SendReason.REWRITE),)

    def test_a_changed_head_with_other_changes_is_a_rewrite_too(self) -> None:
        parts = held(self.every) | {1: part(1, 4, crc64=99), 3: part(3, 4, crc64=99)}
        found = stale_parts(checked(self.every), parts)
        assert found == (Stale(self.every[0], SendReason.REWRITE), Stale(self.every[2], SendReason.REWRITE))

    def test_how_many_parts_are_the_head_is_the_callers(self) -> None:
        parts = held(self.every) | {2: part(2, 4, crc64=99)}
        assert stale_parts(checked(self.every), parts, head_parts=2)[0].reason is SendReason.HEAD_PATCH
        parts = held(self.every) | {1: part(1, 4, crc64=99)}
        assert stale_parts(checked(self.every), parts, head_parts=2)[0].reason is SendReason.HEAD_PATCH

    def test_a_part_that_became_longer_is_a_tail_that_grew(self) -> None:
        parts = held(self.every) | {5: part(5, 1, crc64=5)}
        assert stale_parts(checked(self.every), parts) == (Stale(self.every[4], SendReason.TAIL_GREW),)

    def test_a_tail_that_grew_does_not_make_the_patch_of_the_head_a_rewrite(self) -> None:
        parts = held(self.every) | {1: part(1, 4, crc64=99), 5: part(5, 1, crc64=5)}
        reasons = [stale.reason for stale in stale_parts(checked(self.every), parts)]
        assert reasons == [SendReason.HEAD_PATCH, SendReason.TAIL_GREW]

    def test_a_part_that_became_shorter_is_a_rewrite(self) -> None:
        parts = held(self.every) | {5: part(5, 4, crc64=5)}
        assert stale_parts(checked(self.every), parts) == (Stale(self.every[4], SendReason.REWRITE),)

    def test_a_part_of_unknown_content_is_sent_again(self) -> None:
        parts = held(self.every) | {3: part(3, 4)}
        assert [stale.chunk.number for stale in stale_parts(checked(self.every), parts)] == [3]

    def test_all_reasons_come_in_the_order_of_the_file(self) -> None:
        parts = {1: part(1, 4, crc64=99), 3: part(3, 4, crc64=3), 5: part(5, 1)}
        found = stale_parts(checked(self.every), parts)
        assert [(stale.chunk.number, stale.reason.value) for stale in found] == [
            (1, "head_patch"),
            (2, "new"),
            (4, "new"),
            (5, "tail_grew"),
        ]

    def test_an_empty_file_has_none(self) -> None:
        assert stale_parts([], {1: part(1, 4, crc64=1)}) == ()


class TestFaststart:
    every = tuple(chunks(EQUAL, 18, SMALL))

    def reasons(self, *changed: int, held_parts: int = 5) -> list[str]:
        parts = {number: each for number, each in held(self.every).items() if number <= held_parts}
        parts |= {number: part(number, self.every[number - 1].size, crc64=99) for number in changed}
        stale = stale_parts(checked(self.every), parts)
        return [str(item.reason) for item in as_faststart(stale, len(parts))]

    def test_the_first_and_most_parts_were_shifted_by_the_index(self) -> None:
        assert self.reasons(1, 2, 3) == ["faststart"] * 3
        assert self.reasons(1, 2, 3, 4, 5) == ["faststart"] * 5

    def test_half_of_the_parts_are_not_most_and_less_than_half_are_neither(self) -> None:
        assert self.reasons(1, 2) == ["rewrite", "rewrite"]
        assert self.reasons(1, 2, held_parts=4) == ["rewrite", "rewrite", "new"]

    def test_an_index_that_was_moved_has_changed_the_first_part(self) -> None:
        assert self.reasons(2, 3, 4, 5) == ["rewrite"] * 4

    def test_the_patch_of_the_head_alone_stays_what_it_is(self) -> None:
        assert self.reasons(1) == ["head_patch"]

    def test_parts_that_were_never_sent_are_new_all_the_same(self) -> None:
        assert self.reasons(1, 2, held_parts=3) == ["faststart", "faststart", "new", "new"]

    def test_nothing_stale_stays_nothing(self) -> None:
        assert self.reasons() == []


class TestUnproved:
    every = tuple(chunks(EQUAL, 10, SMALL))

    def listed(self, **changes: StoredPart) -> dict[int, StoredPart]:
        found = {c.number: StoredPart(c.number, c.size, "etag", crc64=c.number) for c in self.every}
        return found | {stored.number: stored for stored in changes.values()}

    def lost(self, listed: dict[int, StoredPart], parts: dict[int, Part] | None = None) -> list[int]:
        found = unproved(checked(self.every), listed, parts or {})
        assert all(stale.reason is SendReason.LOST for stale in found)
        return [stale.chunk.number for stale in found]

    def test_a_complete_listing_proves_everything(self) -> None:
        assert self.lost(self.listed()) == []

    def test_a_listing_of_nothing_proves_nothing(self) -> None:
        assert self.lost({}, held(self.every)) == [1, 2, 3]

    def test_higher_numbers_do_not_matter(self) -> None:
        assert self.lost(self.listed(more=StoredPart(9, 4, "etag", 9))) == []

    @pytest.mark.parametrize("stored", [StoredPart(2, 3, "etag", 2), StoredPart(2, 4, "etag", 99)])
    def test_another_size_or_checksum_is_lost(self, stored: StoredPart) -> None:
        assert self.lost(self.listed(changed=stored), held(self.every)) == [2]

    def test_without_a_checksum_the_answer_to_our_own_sending_is_believed(self) -> None:
        assert self.lost(self.listed(bare=StoredPart(2, 4, "etag", None)), held(self.every)) == []

    @pytest.mark.parametrize("etag", ["other", "another"])
    def test_without_a_checksum_a_strangers_etag_is_not_believed(self, etag: str) -> None:
        assert self.lost(self.listed(bare=StoredPart(2, 4, etag, None)), held(self.every)) == [2]

    def test_without_a_checksum_a_part_that_we_never_sent_is_not_believed(self) -> None:
        assert self.lost(self.listed(bare=StoredPart(2, 4, "etag", None))) == [2]

    def test_an_answer_to_the_sending_of_other_bytes_is_not_believed(self) -> None:
        parts = held(self.every) | {2: part(2, 4, crc64=99)}
        assert self.lost(self.listed(bare=StoredPart(2, 4, "etag", None)), parts) == [2]

    @pytest.mark.parametrize("size", [3, 5])
    def test_a_part_of_another_size_is_lost_whatever_its_checksum_or_etag(self, size: int) -> None:
        assert self.lost(self.listed(other=StoredPart(2, size, "etag", crc64=2))) == [2]
        assert self.lost(self.listed(other=StoredPart(2, size, "etag", None)), held(self.every)) == [2]

    def test_without_a_checksum_an_etag_that_is_the_md5_proves(self) -> None:
        those = [(self.every[0], Digest(4, 1, MD5))]
        assert unproved(those, {1: StoredPart(1, 4, MD5, None)}, {}) == ()


class TestScheduleAnew:
    @pytest.mark.parametrize("schedule", [EQUAL, PartSchedule(1, growing=False), GROWING])
    def test_it_holds_every_file_that_the_store_can_hold(self, schedule: PartSchedule) -> None:
        for size in range(SMALL.max_part * SMALL.max_parts + 1):
            anew = schedule_for(size, schedule, SMALL)
            assert not anew.growing
            assert anew.chunk_size >= schedule.chunk_size
            assert capacity(anew, SMALL) >= size
            assert anew.chunk_size <= SMALL.max_part
            assert type(anew.chunk_size) is int

    def test_the_largest_object_is_the_longest_file_that_any_parts_can_hold(self) -> None:
        largest = largest_object(SMALL)
        assert capacity(schedule_for(largest, EQUAL, SMALL), SMALL) == largest == SMALL.max_parts * SMALL.max_part
        assert capacity(schedule_for(largest + 1, EQUAL, SMALL), SMALL) == largest, "there is none for more"

    def test_its_parts_are_whole_mebibytes_and_leave_room_to_grow(self) -> None:
        schedule = PartSchedule(10 * MIB, growing=False)
        size = capacity(schedule) + 1
        anew = schedule_for(size, schedule)
        assert anew == PartSchedule(12 * MIB, growing=False)
        assert len(list(chunks(anew, size))) <= PARTS_WHEN_ANEW
        assert capacity(anew) > size

    @pytest.mark.parametrize(("more", "mebibytes"), [(-1, 20), (0, 20), (1, 21)])
    def test_the_boundary_between_two_part_sizes(self, more: int, mebibytes: int) -> None:
        size = 20 * MIB * PARTS_WHEN_ANEW + more
        assert schedule_for(size, PartSchedule(10 * MIB, growing=False)).chunk_size == mebibytes * MIB

    def test_a_small_file_keeps_its_part_size(self) -> None:
        assert schedule_for(1, PartSchedule(10 * MIB, growing=False)).chunk_size == 10 * MIB

    def test_parts_of_less_than_a_mebibyte_are_not_rounded(self) -> None:
        limits = replace(SMALL, max_part=MIB)
        assert schedule_for(9 * 100, EQUAL, limits) == PartSchedule(100, growing=False)

    def test_no_part_is_above_the_largest(self) -> None:
        schedule = PartSchedule(10 * MIB, growing=False)
        assert schedule_for(5 * GIB * 10_000, schedule).chunk_size == 5 * GIB


class TestInFlight:
    @pytest.mark.parametrize(
        ("size", "expected"), [(1, 4), (24, 4), (25, 4), (26, 3), (34, 2), (50, 2), (51, 1), (100, 1), (101, 1)]
    )
    def test_parts_in_memory_stay_within_the_budget_but_one_always_goes(self, size: int, expected: int) -> None:
        assert in_flight(size, budget=100, most=4) == expected

    def test_parts_of_one_byte_are_as_many_as_the_budget_has_bytes(self) -> None:
        assert in_flight(1, budget=3, most=4) == 3

    def test_a_part_of_no_bytes_divides_nothing(self) -> None:
        assert in_flight(0, budget=100, most=4) == 4

    def test_a_budget_of_nothing_still_lets_one_go(self) -> None:
        assert in_flight(10, budget=0, most=4) == 1


@pytest.mark.parametrize("schedule", [*SCHEDULES, PartSchedule(1, step=1), PartSchedule(2, step=2)])
def test_whole_bytes_end_where_the_last_whole_chunk_does(schedule: PartSchedule) -> None:
    for size in range(capacity(schedule, SMALL) + 20):
        assert whole_bytes(schedule, size, SMALL) == sum(chunk.size for chunk in whole_chunks(schedule, size, SMALL))


# -- stores that take fewer parts --------------------------------------------------------------------------------------


def test_a_store_of_few_parts_has_a_step_that_lets_the_size_grow() -> None:
    assert usual_step(10_000) is usual_step(10_001) is None
    assert usual_step(1_000) == 100
    assert usual_step(4) == 1
    schedule = PartSchedule(10 * MIB, step=100)
    limits = replace(S3_LIMITS, max_parts=1_000)
    assert part_size(schedule, 100, limits) == 10 * MIB
    assert part_size(schedule, 101, limits) == 20 * MIB
    assert offset_of(schedule, 201, limits) == 100 * 10 * MIB + 100 * 20 * MIB
    assert capacity(schedule, limits) > 900 * GIB
    assert capacity(PartSchedule(10 * MIB), limits) < 10 * GIB


@pytest.mark.parametrize("most", [1, 2, 4, 10, 99, 1_000, 9_999])
@pytest.mark.parametrize("growing", [True, False])
@pytest.mark.parametrize("size", [1, 22 * MIB, 10 * GIB])
def test_a_schedule_within_a_limit_holds_the_file_in_as_many_parts(most: int, growing: bool, size: int) -> None:
    schedule = schedule_within(size, PartSchedule(10 * MIB, growing=growing), most)
    if schedule is None:
        assert size > most * S3_LIMITS.max_part
        return
    assert schedule.growing is (growing and schedule.step is not None)
    assert len(list(chunks(schedule, size))) <= most


def test_a_schedule_within_a_limit_grows_where_the_file_may_still_double() -> None:
    schedule, within = PartSchedule(10 * MIB), replace(S3_LIMITS, max_parts=1_000)
    half = capacity(replace(schedule, step=100), within) // 2
    assert schedule_within(half, schedule, 1_000) == replace(schedule, step=100)
    assert schedule_within(half - 1, schedule, 1_000) == replace(schedule, step=100)
    assert schedule_within(half + 1, schedule, 1_000) == schedule_for(half + 1, schedule, within)


def test_a_body_that_was_refused_is_halved_down_to_the_smallest_part() -> None:
    assert smaller_parts(100 * MIB, 64 * MIB) == PartSchedule(32 * MIB, growing=False)
    assert smaller_parts(100 * MIB, 6 * MIB) == PartSchedule(5 * MIB, growing=False)
    assert smaller_parts(100 * MIB, 12 * MIB + 1) == PartSchedule(6 * MIB, growing=False), "in whole bytes"
    assert smaller_parts(100 * MIB, 5 * MIB) is None
    assert smaller_parts(100 * MIB, 4 * MIB) is None, "half of it would be below the smallest part"
    assert smaller_parts(50_000 * MIB, 6 * MIB) == PartSchedule(5 * MIB, growing=False)
    assert smaller_parts(50_000 * MIB + 1, 6 * MIB) is None, "too many parts"
