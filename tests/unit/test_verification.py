"""The verdicts of ``verify``, its samples and its report, from facts alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from src.domain import Identity, InspectedObject, ListedEntry, PartSchedule, StoredObject, whose
from src.verification import Finding, Level, Report, Sample, Verdict
from src.verification.choice import matches
from src.verification.report import MOST_ALIKE
from src.verification.verdicts import REMEDIES, Expected, amount, by_bytes, by_checksum, by_listing

FILE = Identity(7, 8)
EXPECTED = Expected("cam/a.mp4", "s1", 100, 42, "e-1", FILE)
OURS = whose.object_metadata("s1", "cam/a.mp4", FILE, PartSchedule(10))
FOREIGN = {"made-by": "another"}
OTHERS = whose.object_metadata("s2", "cam/b.mp4", Identity(9, 9), PartSchedule(10))


def found(
    size: int = 100, etag: str = "e-1", crc64: int | None = 42, metadata: Mapping[str, str] = OURS
) -> InspectedObject:
    return InspectedObject(StoredObject(size, etag, crc64, metadata))


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        (found(), Verdict.PROVED),
        (found(etag="e-2"), Verdict.PROVED),  # copied within the store: the bytes are the same
        (found(metadata=OTHERS), Verdict.PROVED),  # equal bytes are the recording, whoever wrote them
        (None, Verdict.MISSING),
        (found(99, crc64=41), Verdict.SHORTER),
        (found(99, crc64=None), Verdict.SHORTER),
        (found(101, crc64=41), Verdict.LONGER),
        (found(99), Verdict.SHORTER),  # a checksum that is right by accident
        (found(crc64=43), Verdict.DIFFERS),
        (found(crc64=43, metadata=FOREIGN), Verdict.STRANGER),
        (found(99, crc64=None, metadata=FOREIGN), Verdict.STRANGER),
        (found(crc64=43, metadata=OTHERS), Verdict.STRANGER),
        (found(crc64=None), Verdict.NO_CHECKSUM),
        (found(crc64=None, metadata=OTHERS), Verdict.NO_CHECKSUM),  # its bytes may still be the recording's
        (found(etag="e-2", crc64=None), Verdict.DIFFERS),
    ],
)
def test_the_checksum_decides_before_the_name_and_without_one_nothing_is_proved(
    seen: InspectedObject | None, verdict: Verdict
) -> None:
    assert by_checksum(EXPECTED, seen).verdict is verdict


@pytest.mark.parametrize(
    ("listed", "verdict"),
    [
        (ListedEntry("cam/a.mp4", 100, "e-1"), Verdict.PROVED),
        (ListedEntry("cam/a.mp4", 99, "e-1"), Verdict.SHORTER),
        (ListedEntry("cam/a.mp4", 101, "e-1"), Verdict.LONGER),
        (ListedEntry("cam/a.mp4", 100, "e-2"), Verdict.UNCLEAR),
        (None, Verdict.MISSING),
    ],
)
def test_a_listing_shows_sizes_and_leaves_the_rest_open(listed: ListedEntry | None, verdict: Verdict) -> None:
    assert by_listing(EXPECTED, listed).verdict is verdict


@pytest.mark.parametrize(
    ("seen", "crc64", "verdict"),
    [
        (found(crc64=None), 42, Verdict.PROVED),
        (found(), 43, Verdict.DIFFERS),
        (found(99), 43, Verdict.SHORTER),
        (found(metadata=OTHERS), 43, Verdict.STRANGER),
    ],
)
def test_downloaded_bytes_decide_whatever_the_store_says(seen: InspectedObject, crc64: int, verdict: Verdict) -> None:
    finding = by_bytes(EXPECTED, seen, crc64)
    assert finding.verdict is verdict
    assert ("although the store reports" in finding.text) is (verdict is Verdict.DIFFERS)


def test_every_verdict_but_a_good_one_has_a_remedy() -> None:
    assert REMEDIES.keys() == set(Verdict) - {Verdict.PROVED}


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ((), 3),
        ((Verdict.PROVED,), 0),
        ((Verdict.PROVED, Verdict.NO_CHECKSUM), 3),
        ((Verdict.PROVED, Verdict.NO_CHECKSUM, Verdict.MISSING), 1),
        *(((Verdict.PROVED, verdict), 1 if verdict.is_fault else 3) for verdict in REMEDIES),
    ],
)
def test_the_exit_code_is_never_good_where_something_was_not_compared(verdicts: tuple[Verdict, ...], code: int) -> None:
    report = Report(Level.CHECKSUM, Sample(1))
    for number, verdict in enumerate(verdicts):
        report.add(Finding.of(verdict, f"{number}.mp4", "why"))
    assert report.exit_code == code == report.as_json()["exit_code"]
    assert json.loads(json.dumps(report.as_json()))["schema_version"] == 1


def test_the_report_shows_names_harmlessly_and_does_not_repeat_itself() -> None:
    report = Report(Level.CHECKSUM, Sample(1))
    report.add(Finding.of(Verdict.MISSING, "\x1b[2Jevil\udcff\n.mp4", "gone"))
    for number in range(MOST_ALIKE + 5):
        report.add(Finding.of(Verdict.NO_CHECKSUM, f"{number:03}.mp4", "none here"))
    lines = list(report.lines())
    assert all(line.isprintable() for line in lines)
    assert "\\x1b[2Jevil\\udcff\\n.mp4: gone" in lines[0]
    assert sum(line.startswith("no checksum") for line in lines) == MOST_ALIKE + 1
    assert "no checksum  5 more: none here" in lines
    assert lines[-1] == "0 proved (checksum), 1 wrong, 25 not compared"


@pytest.mark.parametrize(("text", "number"), [("", 1000), ("5%", 50), ("0.01%", 1), ("100%", 1000), ("7", 7)])
def test_a_sample_has_the_size_that_was_asked_for(text: str, number: int) -> None:
    keys = [f"cam{index % 7}/{index:04}.mp4" for index in range(1000)]
    sample = Sample.written(text, seed=5)
    assert len(sample.of(keys)) == number
    assert sample.of(keys) == sample.of(reversed(keys)) == sorted(sample.of(keys))
    assert sample.of([]) == []


def test_a_seed_chooses_the_same_keys_and_another_seed_others() -> None:
    keys = [f"{index:04}.mp4" for index in range(1000)]
    chosen = Sample.written("10%", 1).of(keys)
    assert chosen == Sample.written("10%", 1).of(keys)
    assert chosen != Sample.written("10%", 2).of(keys)
    with_one_more = Sample.written("10%", 1).of([*keys, "new.mp4"])
    assert len(set(chosen) - set(with_one_more)) <= 1


@pytest.mark.parametrize("text", ["0%", "101%", "-5%", "five", "0", "-1", "5 percent", "٥"])
def test_what_is_no_sample_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a share"):
        Sample.written(text, 1)


@pytest.mark.parametrize(
    ("pattern", "is_chosen"),
    [
        *(("", True), ("*.mp4", True), ("a.mp4", True), ("cam/*", True), ("site/cam/a.mp4", True), ("cam/a.*", True)),
        *(("b.mp4", False), ("cam", False), ("A.mp4", False), ("other/*", False)),
    ],
)
def test_a_pattern_is_compared_with_the_name_and_the_path(pattern: str, is_chosen: bool) -> None:
    assert matches(pattern, "site/", "site/cam/a.mp4") is is_chosen


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (1023, "1,023 bytes"), (1024, "1.0 KiB"), (5 * 2**30, "5.0 GiB"), (2**52, "4096.0 TiB")],
)
def test_sizes_are_written_for_readers(size: int, text: str) -> None:
    assert amount(size) == text


def test_what_redis_remembers_is_named_as_the_source() -> None:
    assert "Redis remembers" in by_checksum(replace(EXPECTED, source="redis"), None).text
    assert "its document describes" in by_checksum(EXPECTED, None).text
