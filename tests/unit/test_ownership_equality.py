"""A claim asks whether two things are the same, never which is the larger: what differs lies on both sides here."""

from __future__ import annotations

from dataclasses import replace

import pytest

from src.domain import Identity, PartSchedule, Writers, schedule_for
from src.ownership import decision
from src.ownership.decision import Case
from src.ownership.facts import Compare, FileSum, LookAtMarker, LookFor, Looks, ObjectSum, Place
from tests.unit.test_ownership_decision import (
    CRC,
    FACTS,
    FILE,
    KEY,
    MARKER,
    NAMING,
    PARTS,
    PATH,
    READ,
    SCHEDULE,
    WITH_OPEN,
    decided,
    document,
    look,
    marker_of,
    sized,
    stored,
)

OTHER_CRCS = [CRC - 1, CRC + 1]
#: Before and behind the stream "m" and the ETag "etag".
OTHER_WORDS = ["a", "z"]
OTHER_FILES = [Identity(6, 99), Identity(8, 1), Identity(7, 69), Identity(7, 71)]


@pytest.mark.parametrize("crc64", OTHER_CRCS)
def test_bytes_with_another_checksum_are_other_bytes(crc64: int) -> None:
    other = (FileSum(SCHEDULE, crc64, PARTS),)
    assert decided(replace(WITH_OPEN, writers=Writers.NONE, sums=other)) == LookAtMarker(KEY)
    touched = replace(FACTS, marker=MARKER, snapshot=sized(100), sums=other)
    assert decided(touched) == LookAtMarker(KEY)
    found = decision._by_marker(replace(touched, at_marker=look(there=stored())), MARKER)
    assert isinstance(found, decision.Stale)
    same = replace(touched, sums=(READ,), at_marker=look(there=stored()))
    assert marker_of(same)[0] is Case.TOUCHED


@pytest.mark.parametrize("etag", OTHER_WORDS)
@pytest.mark.parametrize("stream_id", OTHER_WORDS)
def test_an_object_with_another_etag_is_the_markers_only_if_its_stream_made_it(etag: str, stream_id: str) -> None:
    facts = replace(FACTS, marker=MARKER, snapshot=sized(101))
    there = look(there=stored(etag=etag, stream_id=stream_id))
    assert decision._by_marker(replace(facts, at_marker=there), MARKER) == decision.Passed(Case.NOT_MARKERS_OBJECT)
    own = look(there=stored(etag=etag, stream_id="m"))
    found = decision._by_marker(replace(facts, at_marker=own), MARKER)
    assert isinstance(found, decision.Stale) and found.record.replaces == etag


@pytest.mark.parametrize("path", ["a", "z"])
def test_whoever_has_another_name_now_is_looked_for_under_the_earlier_ones(path: str) -> None:
    facts = replace(FACTS, path=path, marker=MARKER, snapshot=sized(99))
    free = {Place.NAME: Looks((look("new"),))}
    assert decided(replace(facts, looks=free)) == LookFor(Place.ELSEWHERE)
    same = replace(facts, path=PATH, looks=free)
    assert decided(same) == LookFor(Place.UPLOAD, "new")


@pytest.mark.parametrize("identity", OTHER_FILES)
def test_a_document_of_another_file_alone_keeps_its_key(identity: Identity) -> None:
    there = look(described=document(sized(99, identity)))
    assert decision._at_key(FACTS, there, NAMING) == decision.Passed(Case.DOCUMENT_ALONE)
    own = look(described=document(sized(99, FILE)))
    assert isinstance(decision._at_key(FACTS, own, NAMING), decision.Free)


@pytest.mark.parametrize("etag", OTHER_WORDS)
def test_a_checksum_is_of_the_object_with_its_etag(etag: str) -> None:
    there = replace(look(there=stored()), object_sum=ObjectSum(etag, CRC))
    facts = replace(FACTS, sums=(READ,))
    assert decision._at_key(facts, there, NAMING) == Compare(there, SCHEDULE)
    own = replace(there, object_sum=ObjectSum("etag", CRC))
    assert isinstance(decision._at_key(facts, own, NAMING), decision.Carry)


@pytest.mark.parametrize("size", [1, 50, 99_999, 100_000, 100_001, 200_000])
def test_a_file_is_cut_as_usual_as_long_as_the_parts_suffice(size: int) -> None:
    there = look(there=stored(size))
    found = decision._at_key(replace(FACTS, snapshot=sized(size)), there, NAMING)
    assert isinstance(found, Compare)
    fits = size <= 10 * 10_000
    assert found.schedule == (SCHEDULE if fits else schedule_for(size, SCHEDULE, NAMING.limits))
    assert (found.schedule == PartSchedule(10, growing=False)) is fits


@pytest.mark.parametrize("crc64", [0, 1, 2**64 - 1])
def test_an_object_without_a_checksum_is_like_no_file(crc64: int) -> None:
    there = replace(look(there=stored()), object_sum=ObjectSum("etag", None))
    facts = replace(FACTS, sums=(FileSum(SCHEDULE, crc64, PARTS),))
    assert decision._at_key(facts, there, NAMING) == decision.Passed(Case.STRANGER)


def test_a_file_that_was_born_before_1970_has_a_birth_time() -> None:
    old = Identity(7, -1)
    there = look(described=document(sized(99, old)))
    assert isinstance(decision._at_key(replace(FACTS, snapshot=sized(100, old)), there, NAMING), decision.Free)


def test_a_newer_look_takes_the_place_of_the_one_at_its_key_wherever_that_is() -> None:
    name, elsewhere = Looks((look("a"), look("b"), look("c"))), Looks((look("b"), look("d")), ended=True)
    facts = replace(FACTS, looks={Place.NAME: name, Place.ELSEWHERE: elsewhere})
    newer = look("b", stored())
    found = facts.with_look(newer).looks
    assert found[Place.NAME] == Looks((look("a"), newer, look("c")))
    assert found[Place.ELSEWHERE] == Looks((newer, look("d")), ended=True)
    assert facts.with_look(look("e", stored())).looks == facts.looks


@pytest.mark.parametrize("etag", OTHER_WORDS)
def test_a_document_is_of_the_object_whose_etag_it_has(etag: str) -> None:
    there = look(there=stored(), described=document(etag=etag))
    assert decision._at_key(FACTS, there, NAMING) == Compare(there, SCHEDULE)
