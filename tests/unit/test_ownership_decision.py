"""Facts of a file in, one numbered decision out: what is asked, what is taken, and what is left alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from src.domain import (
    Checkpoint,
    Identity,
    Limits,
    Marker,
    Naming,
    Part,
    PartSchedule,
    Snapshot,
    Status,
    StoredObject,
    Writers,
    metadata_value,
)
from src.domain.whose import object_metadata
from src.metadata_generator import StoredDescription
from src.ownership import decision
from src.ownership.decision import Carry, Case, Done
from src.ownership.facts import (
    Ask,
    AtKey,
    ClaimFacts,
    Compare,
    Described,
    FileSum,
    LookAtMarker,
    LookFor,
    Looks,
    ObjectSum,
    Place,
    ReadFile,
    WhoWrites,
    WhoWritesNow,
)

PATH, KEY, SECOND, THIRD = "cam/a.mp4", "cam/a.mp4", "cam/a~2.mp4", "cam/a~3.mp4"
NUMBERS = {KEY: 1, SECOND: 2, THIRD: 3}
FILE = Identity(7, 70)
UNDATED = Identity(7, 0)
SNAPSHOT = Snapshot(FILE, 100, 1, 1)
SCHEDULE = PartSchedule(10, growing=False)
OTHER_SCHEDULE = PartSchedule(20, growing=False)
NAMING = Naming(SCHEDULE, limits=Limits(min_part=1))
REPLACING = replace(NAMING, replace_reused_names=True)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
CRC, OTHER_CRC = 11, 22
PARTS = (Part(1, 100, "", CRC, NOON),)
READ = FileSum(SCHEDULE, CRC, PARTS)
MARKER = Marker("m", PATH, "bucket", KEY, SNAPSHOT, CRC, "etag", SCHEDULE, NOON - HOUR, NOON)
FACTS = ClaimFacts(PATH, SNAPSHOT, "bucket", "fresh")


def sized(size: int, identity: Identity = FILE) -> Snapshot:
    return Snapshot(identity, size, 2, 2)


def stored(
    size: int = 100,
    *,
    etag: str = "etag",
    stream_id: str | None = None,
    path: str = PATH,
    identity: Identity = FILE,
    crc64: int | None = OTHER_CRC,
) -> StoredObject:
    """A stranger's object, or one of a stream of ours."""
    ours = object_metadata(stream_id, metadata_value(path), identity, SCHEDULE) if stream_id else {}
    return StoredObject(size, etag, crc64, ours)


def document(
    snapshot: Snapshot = SNAPSHOT,
    *,
    etag: str = "etag",
    stream_id: str = "d",
    key: str = KEY,
    schedule: PartSchedule = SCHEDULE,
    started_at: datetime = NOON - HOUR,
    replacements: int = 0,
) -> Described:
    said = StoredDescription(
        stream_id, "bucket", key, etag, CRC, snapshot, schedule, (), started_at, NOON, NOON, replacements
    )
    return Described(said, foreign=False)


FOREIGN = Described(None, foreign=True)
NONE = Described(None, foreign=False)


def look(key: str = KEY, there: StoredObject | None = None, described: Described = NONE, **more: object) -> AtKey:
    number = NUMBERS.get(key)
    return replace(AtKey(key, NOON, number, stored=there, described=described), **more)  # type: ignore[arg-type]


def compared(there: AtKey, crc64: int | None) -> AtKey:
    assert there.stored is not None
    return replace(there, object_sum=ObjectSum(there.stored.etag, crc64))


def looked(
    facts: ClaimFacts, *at: AtKey, elsewhere: tuple[AtKey, ...] = (), uploads: tuple[AtKey, ...] = ()
) -> ClaimFacts:
    """All places were looked through: the name's up to the last of ``at``."""
    looks = {Place.NAME: Looks(at), Place.ELSEWHERE: Looks(elsewhere, True), Place.UPLOAD: Looks(uploads, True)}
    return replace(facts, looks=looks)


def decided(facts: ClaimFacts, naming: Naming = NAMING) -> Ask | Done | Carry:
    return decision.decide(facts, naming)


def marker_of(facts: ClaimFacts) -> tuple[Case, Marker]:
    found = decided(facts)
    assert isinstance(found, Done), found
    return found.case, found.marker


def record_of(facts: ClaimFacts, naming: Naming = NAMING) -> tuple[Case, Checkpoint]:
    found = decided(facts, naming)
    assert isinstance(found, Carry), found
    return found.case, found.record


def new_at(key: str, number: int | None = 1, **more: object) -> Checkpoint:
    record = Checkpoint("fresh", Status.ACTIVE, PATH, "bucket", key, FILE, SCHEDULE, NOON, number=number)
    return replace(record, **more)  # type: ignore[arg-type]


FREE_SECOND = look(SECOND, number=2)
NEW_AT_SECOND = (Case.NEW, new_at(SECOND, 2))

# -- what Redis remembers ----------------------------------------------------------------------------------------------


def test_1_what_is_done_as_it_is_costs_no_question() -> None:
    assert marker_of(replace(FACTS, marker=MARKER)) == (Case.DONE, MARKER)


def test_1_a_name_that_changed_without_the_stat_is_brought_up_to_date() -> None:
    facts = replace(FACTS, path="b.mp4", marker=MARKER)
    assert marker_of(facts) == (Case.DONE, replace(MARKER, path="b.mp4"))


OPEN = replace(MARKER, still_open=True, path="before.mp4")
WITH_OPEN = replace(FACTS, marker=OPEN)
CLOSED = replace(MARKER, still_open=False, path=PATH)


def test_2_a_file_whose_writer_is_still_there_is_not_read() -> None:
    assert decided(WITH_OPEN) == WhoWrites(after_reading=False)
    assert marker_of(replace(WITH_OPEN, writers=Writers.PRESENT)) == (Case.STILL_OPEN, OPEN)


def test_3_where_nobody_can_tell_who_writes_the_stat_is_believed() -> None:
    assert marker_of(replace(WITH_OPEN, writers=Writers.UNKNOWN)) == (Case.NOBODY_CAN_TELL, CLOSED)


def test_4_other_bytes_under_the_same_stat_bring_the_object_up_to_date() -> None:
    facts = replace(WITH_OPEN, writers=Writers.NONE)
    assert decided(facts) == ReadFile(SCHEDULE)
    facts = replace(facts, sums=(FileSum(SCHEDULE, OTHER_CRC, PARTS),))
    assert decided(facts) == LookAtMarker(KEY)
    facts = replace(facts, at_marker=look(there=stored(stream_id="m")))
    assert decided(facts) == LookFor(Place.NAME, KEY)
    case, record = record_of(looked(facts, FREE_SECOND))
    assert (case, record.key, record.stream_id, record.replaces) == (Case.UP_TO_DATE, KEY, "m", "etag")


def test_5_6_the_same_bytes_are_believed_when_still_nobody_writes() -> None:
    facts = replace(WITH_OPEN, writers=Writers.NONE, sums=(READ,))
    assert decided(facts) == WhoWrites(after_reading=True)
    assert marker_of(replace(facts, writers_after=Writers.PRESENT)) == (Case.OPENED_AGAIN, OPEN)
    assert marker_of(replace(facts, writers_after=Writers.UNKNOWN)) == (Case.OPENED_AGAIN, OPEN)
    assert marker_of(replace(facts, writers_after=Writers.NONE)) == (Case.CLOSED, CLOSED)


def test_7_a_file_that_is_shorter_than_its_object_is_another_recording() -> None:
    facts = replace(FACTS, marker=MARKER, snapshot=sized(99))
    assert decided(facts) == LookFor(Place.NAME)
    case, record = record_of(looked(facts, FREE_SECOND))
    assert (case, record.key, record.stream_id) == (Case.NEW, SECOND, "fresh")


def test_8_a_touched_file_is_read_once_and_done_where_its_object_is_there() -> None:
    facts = replace(FACTS, path="b.mp4", marker=MARKER, snapshot=sized(100))
    assert decided(facts) == ReadFile(SCHEDULE)
    facts = replace(facts, sums=(FileSum(OTHER_SCHEDULE, CRC, ()),))
    assert decided(facts) == ReadFile(SCHEDULE), "cut otherwise"
    facts = replace(facts, sums=(READ,))
    assert decided(facts) == LookAtMarker(KEY)
    for there in (look(there=stored()), look(taken=True)):
        found = marker_of(replace(facts, at_marker=there))
        assert found == (Case.TOUCHED, replace(MARKER, path="b.mp4", snapshot=sized(100)))


@pytest.mark.parametrize("identity", [FILE, UNDATED], ids=["", "no birth time"])
def test_12_a_touched_file_whose_object_is_gone_is_sent_again_under_its_key(identity: Identity) -> None:
    marker = replace(MARKER, snapshot=replace(SNAPSHOT, identity=identity))
    facts = replace(FACTS, marker=marker, snapshot=sized(100, identity), sums=(READ,), at_marker=look())
    found = decision._by_marker(facts, marker)
    assert isinstance(found, decision.Stale)
    assert (found.case, found.record.key, found.record.stream_id) == (Case.CHANGED, KEY, "m")
    assert found.record.replaces is None


def test_9_without_a_birth_time_a_longer_file_may_be_another() -> None:
    undated = replace(MARKER, snapshot=replace(SNAPSHOT, identity=UNDATED))
    facts = replace(FACTS, marker=undated, snapshot=sized(101, UNDATED))
    assert decided(facts) == LookFor(Place.NAME)


@pytest.mark.parametrize(
    ("there", "case"),
    [
        (look(taken=True), Case.MARKERS_KEY_TAKEN),
        (look(there=stored(etag="theirs")), Case.NOT_MARKERS_OBJECT),
        (look(there=stored(etag="theirs", stream_id="x")), Case.NOT_MARKERS_OBJECT),
    ],
)
def test_10_11_what_is_no_longer_the_markers_is_left_alone(there: AtKey, case: Case) -> None:
    facts = replace(FACTS, marker=MARKER, snapshot=sized(101), at_marker=there)
    assert decision._by_marker(facts, MARKER) == decision.Passed(case)
    assert decided(facts) == LookFor(Place.NAME), "its key is looked at like any other"


@pytest.mark.parametrize(
    ("there", "replaces"),
    [
        (stored(), "etag"),
        (stored(etag="newer", stream_id="m"), "newer"),
        (None, None),
    ],
    ids=["the marker's", "a newer one of its stream", "deleted"],
)
def test_12_a_changed_file_brings_its_object_up_to_date(there: StoredObject | None, replaces: str | None) -> None:
    facts = replace(FACTS, path="b.mp4", marker=replace(MARKER, replacements=2), snapshot=sized(101))
    assert decided(facts) == LookAtMarker(KEY)
    facts = replace(facts, at_marker=look(there=there))
    expected = Checkpoint(
        "m",
        Status.ACTIVE,
        "b.mp4",
        "bucket",
        KEY,
        FILE,
        SCHEDULE,
        NOON - HOUR,
        replaces=replaces,
        replacements=3,
    )
    assert decided(facts) == LookFor(Place.NAME, KEY)
    assert record_of(looked(facts, FREE_SECOND)) == (Case.UP_TO_DATE, expected)


def test_12_so_does_one_of_the_same_length_and_other_bytes() -> None:
    facts = replace(FACTS, marker=MARKER, snapshot=sized(100), sums=(FileSum(SCHEDULE, OTHER_CRC, PARTS),))
    assert decided(facts) == LookAtMarker(KEY)


# -- what lies at a key ------------------------------------------------------------------------------------------------


def test_the_keys_of_the_name_come_first() -> None:
    assert decided(FACTS) == LookFor(Place.NAME)


@pytest.mark.parametrize(
    ("there", "case"),
    [
        (look(taken=True), Case.TAKEN),
        (look(described=FOREIGN), Case.DOCUMENT_ALONE),
        (look(described=document(sized(100, Identity(8, 80)))), Case.DOCUMENT_ALONE),
        (look(there=stored(50)), Case.STRANGER),
        (look(there=stored(50), described=FOREIGN), Case.STRANGER),
        (look(there=stored(50, stream_id="s", identity=Identity(8, 80))), Case.STRANGER),
        (look(there=stored(150, stream_id="s", identity=Identity(8, 80), path="b.mp4")), Case.STRANGER),
    ],
)
def test_13_14_25_what_is_not_this_files_is_passed(there: AtKey, case: Case) -> None:
    assert decision._at_key(FACTS, there, NAMING) == decision.Passed(case)
    assert decided(replace(FACTS, looks={Place.NAME: Looks((there,))})) == LookFor(Place.NAME)
    assert record_of(looked(FACTS, there, FREE_SECOND)) == NEW_AT_SECOND


@pytest.mark.parametrize("described", [NONE, document(sized(100))], ids=["nothing", "its own document"])
def test_15_a_key_that_only_proves_the_hint_is_for_nobody(described: Described) -> None:
    facts = replace(FACTS, looks={Place.NAME: Looks((look(SECOND, described=described, may_be_taken=False),))})
    assert decided(facts) == LookFor(Place.NAME, hint_failed=True)
    full = replace(FACTS, looks={Place.NAME: Looks((look(SECOND, described=FOREIGN, may_be_taken=False),))})
    assert decided(full) == LookFor(Place.NAME)


@pytest.mark.parametrize(
    "then",
    [replace(SNAPSHOT, size=99), replace(SNAPSHOT, mtime_ns=0), replace(SNAPSHOT, ctime_ns=0)],
    ids=["size", "mtime", "ctime"],
)
def test_16_a_deleted_object_gives_its_key_and_stream_back_to_a_file_that_changed(then: Snapshot) -> None:
    found = record_of(looked(FACTS, look(described=document(then))))
    assert found == (Case.NEW, new_at(KEY, stream_id="d"))


@pytest.mark.parametrize("may_be_taken", [True, False])
@pytest.mark.parametrize("identity", [FILE, UNDATED], ids=["", "no birth time"])
@pytest.mark.parametrize(
    ("writers", "still_open"), [(Writers.PRESENT, True), (Writers.NONE, False), (Writers.UNKNOWN, False)]
)
def test_29_a_deleted_object_of_this_very_stat_is_not_sent_again(
    writers: Writers, still_open: bool, identity: Identity, may_be_taken: bool
) -> None:
    snapshot = replace(SNAPSHOT, identity=identity)
    there = look(described=document(snapshot), may_be_taken=may_be_taken)
    facts = replace(FACTS, snapshot=snapshot, path="b.mp4")
    assert decision._at_key(facts, there, NAMING) == WhoWritesNow(there)
    found = decision._at_key(facts, replace(there, writers=writers), NAMING)
    assert there.described.description is not None
    expected = replace(there.described.description.marker("b.mp4"), still_open=still_open)
    assert found == Done(Case.GONE, expected)


def test_16_not_where_an_inode_proves_nothing() -> None:
    snapshot = replace(SNAPSHOT, identity=UNDATED)
    there = look(described=document(replace(snapshot, mtime_ns=0)))
    assert decision._at_key(replace(FACTS, snapshot=snapshot), there, NAMING) == decision.Passed(Case.DOCUMENT_ALONE)


def test_17_a_free_key_ends_the_search() -> None:
    facts = replace(FACTS, looks={Place.NAME: Looks((look(),))})
    assert decided(facts) == LookFor(Place.ELSEWHERE)
    facts = facts.looking(Place.ELSEWHERE, None)
    assert decided(facts) == LookFor(Place.UPLOAD, KEY)
    facts = facts.looking(Place.UPLOAD, None)
    assert record_of(facts) == (Case.NEW, new_at(KEY))


@pytest.mark.parametrize(
    ("writers", "still_open"), [(Writers.PRESENT, True), (Writers.NONE, False), (Writers.UNKNOWN, False)]
)
def test_18_object_and_document_prove_the_file_without_reading_it(writers: Writers, still_open: bool) -> None:
    there = look(there=stored(), described=document(replacements=2))
    assert decided(replace(FACTS, looks={Place.NAME: Looks((there,))})) == WhoWritesNow(there)
    told = replace(MARKER, stream_id="d", still_open=still_open, replacements=2)
    assert marker_of(looked(FACTS, replace(there, writers=writers))) == (Case.DESCRIBED, told)


SAME_SIZE = look(there=stored(etag="e"))


@pytest.mark.parametrize(
    "described", [document(etag="another"), document(sized(100))], ids=["of another object", "of another stat"]
)
def test_18_a_document_that_does_not_fit_proves_nothing(described: Described) -> None:
    there = look(there=stored(), described=described)
    assert decided(looked(FACTS, there)) == Compare(there, SCHEDULE)


def test_19_the_same_bytes_are_the_file_whoever_put_them_there() -> None:
    assert decided(looked(FACTS, SAME_SIZE)) == Compare(SAME_SIZE, SCHEDULE)
    facts = replace(FACTS, sums=(READ,))
    assert decided(looked(facts, SAME_SIZE)) == Compare(SAME_SIZE, SCHEDULE), "the object's are missing"
    case, record = record_of(looked(facts, compared(SAME_SIZE, CRC)))
    assert (case, record.status, record.stream_id) == (Case.SAME_BYTES, Status.S3_COMPLETED, "fresh")
    assert (record.etag, record.parts[1].etag, record.replaces, record.number) == ("e", "e", None, None)
    assert (record.started_at, record.completed_at, record.replacements) == (NOON, NOON, 0)
    manifest = record.manifest
    assert manifest is not None
    assert (manifest.size, manifest.crc64, manifest.part_count, manifest.snapshot) == (100, CRC, 1, SNAPSHOT)


def test_19_what_object_and_document_say_of_the_stream_is_kept() -> None:
    said = document(sized(100), schedule=OTHER_SCHEDULE, started_at=NOON - 2 * HOUR, replacements=4)
    there = look(there=stored(stream_id="s"), described=said)
    assert decided(looked(FACTS, there)) == Compare(there, OTHER_SCHEDULE)
    facts = replace(FACTS, sums=(READ, FileSum(OTHER_SCHEDULE, CRC, PARTS)))
    _, record = record_of(looked(facts, compared(there, CRC)))
    assert (record.stream_id, record.schedule, record.replacements) == ("s", OTHER_SCHEDULE, 4)
    assert (record.started_at, record.completed_at) == (NOON - 2 * HOUR, NOON)


def test_19_checksums_of_an_object_that_is_another_by_now_prove_nothing() -> None:
    facts = replace(FACTS, sums=(READ,))
    older = replace(SAME_SIZE, object_sum=ObjectSum("older", CRC))
    assert decided(looked(facts, older)) == Compare(older, SCHEDULE)
    gone = compared(SAME_SIZE, None)
    assert record_of(looked(facts, gone, FREE_SECOND)) == NEW_AT_SECOND


def test_19_a_file_that_is_too_long_for_todays_parts_is_cut_into_larger_ones() -> None:
    few = replace(NAMING, limits=Limits(min_part=1, max_parts=5))
    found = decided(looked(FACTS, SAME_SIZE), few)
    assert isinstance(found, Compare)
    assert found.schedule.chunk_size >= 20


MADE_OF_IT = look(there=stored(50, stream_id="s"))


def test_20_an_object_that_was_made_of_the_file_is_brought_up_to_date() -> None:
    case, record = record_of(looked(FACTS, MADE_OF_IT, FREE_SECOND))
    assert case is Case.UP_TO_DATE
    assert record == new_at(KEY, None, stream_id="s", replaces="etag", replacements=1)


def test_20_as_its_document_tells() -> None:
    said = document(sized(50), schedule=OTHER_SCHEDULE, replacements=3)
    case, record = record_of(looked(FACTS, replace(MADE_OF_IT, described=said), FREE_SECOND))
    assert (case, record.replacements, record.started_at) == (Case.UP_TO_DATE, 4, NOON - HOUR)
    assert record.schedule == OTHER_SCHEDULE


def test_20_also_when_it_is_as_long_and_has_other_bytes() -> None:
    there = look(there=stored(stream_id="s"))
    assert decided(looked(FACTS, there)) == Compare(there, SCHEDULE)
    facts = replace(FACTS, sums=(READ,))
    case, record = record_of(looked(facts, compared(there, OTHER_CRC), FREE_SECOND))
    assert (case, record.stream_id) == (Case.UP_TO_DATE, "s")


ADOPTED = stored(50, stream_id="s", identity=Identity(8, 80), path="b.mp4")


def test_21_so_is_one_that_only_its_document_says_was_made_of_the_file() -> None:
    there = look(there=ADOPTED, described=document(sized(50)))
    case, record = record_of(looked(FACTS, there, FREE_SECOND))
    assert (case, record.key, record.stream_id, record.replacements) == (Case.UP_TO_DATE, KEY, "s", 1)


def test_21_also_when_it_is_as_long_and_has_other_bytes() -> None:
    there = look(there=replace(ADOPTED, size=100), described=document(sized(100)))
    facts = replace(FACTS, sums=(READ,))
    case, record = record_of(looked(facts, compared(there, OTHER_CRC), FREE_SECOND))
    assert (case, record.key, record.stream_id) == (Case.UP_TO_DATE, KEY, "s")


@pytest.mark.parametrize(
    ("there", "described"),
    [
        (ADOPTED, document(sized(50), etag="another")),
        (ADOPTED, document(sized(50, Identity(9, 90)))),
    ],
    ids=["of another object", "of another file"],
)
def test_21_not_where_the_document_is_of_something_else(there: StoredObject, described: Described) -> None:
    assert record_of(looked(FACTS, look(there=there, described=described), FREE_SECOND)) == NEW_AT_SECOND


def test_21_not_where_an_inode_proves_nothing() -> None:
    snapshot = sized(100, UNDATED)
    facts = replace(FACTS, snapshot=snapshot)
    there = look(there=stored(50, stream_id="s", identity=UNDATED), described=document(sized(50, UNDATED)))
    case, record = record_of(looked(facts, there, FREE_SECOND))
    assert (case, record.key) == (Case.NEW, SECOND)


def test_22_an_earlier_recording_of_the_name_is_replaced_where_that_is_wanted() -> None:
    earlier = look(there=stored(150, stream_id="s", identity=Identity(8, 80)))
    assert record_of(looked(FACTS, earlier, FREE_SECOND)) == NEW_AT_SECOND
    found = record_of(looked(FACTS, earlier, FREE_SECOND), REPLACING)
    assert found == (Case.UP_TO_DATE, new_at(KEY, None, replaces="etag"))
    stranger = look(there=stored(150))
    assert record_of(looked(FACTS, stranger, FREE_SECOND), REPLACING) == NEW_AT_SECOND


def dated(key: str, size: int, hour: int) -> AtKey:
    """An object that was made of the file, begun in this hour."""
    said = document(sized(size), key=key, etag=key, started_at=NOON + hour * HOUR)
    return look(key, there=stored(size, etag=key, stream_id=key), described=said)


FREE_THIRD = look(THIRD, number=3)


@pytest.mark.parametrize(
    ("first", "second", "key"),
    [
        (dated(KEY, 50, 1), dated(SECOND, 60, 2), SECOND),
        (dated(KEY, 50, 2), dated(SECOND, 60, 1), KEY),
        (dated(KEY, 50, 1), dated(SECOND, 60, 1), SECOND),
        (dated(KEY, 50, 1), dated(SECOND, 160, 2), THIRD),
        (dated(KEY, 50, 2), dated(SECOND, 160, 1), KEY),
        (dated(KEY, 50, 2), dated(SECOND, 160, 2), KEY),
        (dated(KEY, 160, 2), dated(SECOND, 60, 1), THIRD),
        (dated(KEY, 160, 1), dated(SECOND, 60, 2), SECOND),
    ],
)
def test_23_26_only_the_latest_recording_in_a_file_is_brought_up_to_date(first: AtKey, second: AtKey, key: str) -> None:
    case, record = record_of(looked(FACTS, first, second, FREE_THIRD))
    assert record.key == key
    assert case is (Case.NEW if key == THIRD else Case.UP_TO_DATE)


def undated(key: str, size: int) -> AtKey:
    """One of an older release, whose document is gone."""
    return look(key, there=stored(size, etag=key, stream_id=key))


def told_by_its_metadata(key: str, size: int, hour: int) -> AtKey:
    """One whose document is gone, begun in this hour."""
    there = stored(size, etag=key, stream_id=key)
    since = object_metadata(key, "", FILE, SCHEDULE, started_at=NOON + hour * HOUR)["cefmp4-started-at"]
    return look(key, there=replace(there, metadata={**there.metadata, "cefmp4-started-at": since}))


@pytest.mark.parametrize(
    ("first", "second", "key"),
    [
        (undated(KEY, 50), dated(SECOND, 60, 1), SECOND),
        (dated(KEY, 50, 1), undated(SECOND, 60), SECOND),
        (undated(KEY, 50), undated(SECOND, 60), SECOND),
        (undated(KEY, 160), undated(SECOND, 60), SECOND),
        (undated(KEY, 160), dated(SECOND, 60, 1), SECOND),
        (undated(KEY, 50), undated(SECOND, 160), THIRD),
        (told_by_its_metadata(KEY, 50, 2), dated(SECOND, 60, 1), KEY),
        (told_by_its_metadata(KEY, 50, 1), dated(SECOND, 60, 2), SECOND),
        (dated(KEY, 50, 2), told_by_its_metadata(SECOND, 160, 1), KEY),
        (dated(KEY, 50, 1), told_by_its_metadata(SECOND, 160, 2), THIRD),
    ],
)
def test_26_metadata_tell_which_is_the_latest_and_otherwise_the_numbers_of_the_name(
    first: AtKey, second: AtKey, key: str
) -> None:
    case, record = record_of(looked(FACTS, first, second, FREE_THIRD))
    assert (case, record.key) == (Case.NEW if key == THIRD else Case.UP_TO_DATE, key)


def test_26_a_recording_goes_on_with_the_time_at_which_it_began() -> None:
    _, record = record_of(looked(FACTS, told_by_its_metadata(KEY, 50, -3), FREE_SECOND))
    assert record.started_at == NOON - 3 * HOUR


@pytest.mark.parametrize("size", [60, 160])
@pytest.mark.parametrize("at_name", [dated(KEY, 50, 1), undated(KEY, 50)])
def test_26_nothing_is_replaced_while_nothing_tells_which_is_the_latest(at_name: AtKey, size: int) -> None:
    elsewhere = (undated("b.mp4", size), told_by_its_metadata("c.mp4", 70, 9))
    case, record = record_of(looked(FACTS, at_name, FREE_SECOND, elsewhere=elsewhere))
    assert (case, record.key) == (Case.NEW, SECOND)


def test_26_of_two_copies_of_an_object_the_one_at_the_files_own_name_is_replaced() -> None:
    copy = told_by_its_metadata("backup/a.mp4", 50, 1)
    _, record = record_of(looked(FACTS, dated(KEY, 50, 1), FREE_SECOND, elsewhere=(copy,)))
    assert record.key == KEY


def test_26_what_redis_remembers_as_the_latest_is_replaced_whatever_has_no_time() -> None:
    facts = replace(FACTS, marker=MARKER, snapshot=sized(101), at_marker=look(there=stored()))
    case, record = record_of(looked(facts, undated(SECOND, 60), FREE_THIRD))
    assert (case, record.key) == (Case.UP_TO_DATE, KEY)


@pytest.mark.parametrize("own", [dated(SECOND, 60, 1), undated(SECOND, 60)])
def test_22_an_object_of_this_very_file_is_replaced_rather_than_one_of_its_name(own: AtKey) -> None:
    earlier = look(there=stored(150, stream_id="x", identity=Identity(8, 8)))
    _, record = record_of(looked(FACTS, earlier, own, FREE_THIRD), REPLACING)
    assert record.key == SECOND


UNDATED_LATER = undated(SECOND, 160)


def test_24_nothing_is_put_over_what_may_be_earlier_than_an_undated_recording() -> None:
    case, record = record_of(looked(FACTS, dated(KEY, 50, 1), UNDATED_LATER, FREE_THIRD))
    assert (case, record.key) == (Case.NEW, THIRD)


def test_24_but_over_the_one_that_redis_remembers_as_the_latest() -> None:
    facts = replace(FACTS, marker=MARKER, snapshot=sized(101), at_marker=look(there=stored()))
    case, record = record_of(looked(facts, UNDATED_LATER, FREE_THIRD))
    assert (case, record.key) == (Case.UP_TO_DATE, KEY)


def test_24_without_a_birth_time_it_is_a_strangers() -> None:
    snapshot = sized(100, UNDATED)
    there = look(there=stored(160, stream_id="x", identity=UNDATED, path="b.mp4"))
    facts = replace(FACTS, snapshot=snapshot)
    assert decision._at_key(facts, there, NAMING) == decision.Passed(Case.STRANGER)


# -- when all keys were looked at --------------------------------------------------------------------------------------


def test_a_file_that_has_the_name_of_its_marker_is_not_looked_for_elsewhere() -> None:
    facts = replace(FACTS, marker=MARKER, snapshot=sized(99))
    facts = replace(facts, looks={Place.NAME: Looks((FREE_SECOND,))})
    assert decided(facts) == LookFor(Place.UPLOAD, SECOND)
    assert decided(replace(facts, path="b.mp4")) == LookFor(Place.ELSEWHERE)


def test_an_object_under_an_earlier_name_is_found_and_the_key_of_a_candidate_looked_at_once() -> None:
    facts = replace(FACTS, looks={Place.NAME: Looks((MADE_OF_IT, FREE_SECOND))})
    assert decided(facts) == LookFor(Place.ELSEWHERE, KEY)
    there = look("before.mp4", number=None, there=stored(), described=document(key="before.mp4"), writers=Writers.NONE)
    case, marker = marker_of(looked(facts, look(), elsewhere=(there,)))
    assert (case, marker.key, marker.path) == (Case.DESCRIBED, "before.mp4", PATH)


def test_an_object_elsewhere_that_is_gone_ends_the_search() -> None:
    facts = replace(FACTS, looks={Place.NAME: Looks((look(),)), Place.ELSEWHERE: Looks((look("gone.mp4"),))})
    assert decided(facts) == LookFor(Place.UPLOAD, KEY)
    assert record_of(facts.looking(Place.UPLOAD, None)) == (Case.NEW, new_at(KEY))


def test_27_an_open_upload_with_bytes_of_the_file_goes_on_at_its_key() -> None:
    taken, free = look("x.mp4", taken=True), look("before.mp4", number=None)
    assert record_of(looked(FACTS, look(), uploads=(taken, free))) == (Case.OPEN_UPLOAD, new_at("before.mp4", None))
    assert record_of(looked(FACTS, look(), uploads=(taken,))) == (Case.NEW, new_at(KEY))


def test_28_whose_file_got_the_bytes_of_an_earlier_recording_back_is_no_earlier_record_for_it() -> None:
    later = replace(MARKER, snapshot=sized(150), started_at=NOON + HOUR)
    facts = replace(FACTS, marker=later, sums=(READ,))
    case, record = record_of(looked(facts, compared(SAME_SIZE, CRC)))
    assert (case, record.started_at) == (Case.SAME_BYTES, NOON + HOUR)
    case, record = record_of(looked(facts, look()))
    assert (case, record.started_at) == (Case.NEW, NOON + HOUR)


def test_each_case_stands_in_the_table_above_the_decision_under_its_number() -> None:
    rows = [line.split("``")[:2] for line in str(decision.__doc__).splitlines() if "``" in line[:5]]
    assert [(int(number), name) for number, name in rows] == [(case.value, case.name) for case in Case]
