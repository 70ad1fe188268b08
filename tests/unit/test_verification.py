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
from src.verification.verdicts import (
    REMEDIES,
    Expected,
    amount,
    archived,
    by_bytes,
    by_checksum,
    by_listing,
    changed,
)

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


# -- what the report says ----------------------------------------------------------------------------------------------


def test_each_finding_says_what_was_found_and_what_was_expected() -> None:
    def text(seen: InspectedObject | None, expected: Expected = EXPECTED) -> str:
        return by_checksum(expected, seen).text

    assert text(None) == "there is no object; its document describes 100 bytes"
    assert text(found(2_000, crc64=41), replace(EXPECTED, size=1_000)) == "it has 2,000 bytes, the recording 1,000"
    assert text(found(crc64=43)) == "its CRC64NVME is not that of the recording"
    assert text(found(crc64=43, metadata=FOREIGN)) == ("another program's object of 100 bytes; the recording's is gone")
    assert text(found(crc64=43, metadata=OTHERS)) == "another recording's object (cam/b.mp4, stream s2)"
    assert text(found(crc64=None)).startswith("not possible here: the store has no CRC64NVME of it;")
    assert text(found(etag="e-2", crc64=None)).endswith("its ETag is e-2, not e-1: it was written again")
    assert by_checksum(EXPECTED, found(etag="e-2", crc64=None)).remedy == "compare the bytes with --level download"
    assert by_listing(EXPECTED, ListedEntry("k", 100, "")).text == "its ETag is empty, not e-1: it was written again"


def test_a_file_that_has_changed_and_an_archived_object_say_so() -> None:
    finding = changed(EXPECTED, "cam/a.mp4", 2048)
    assert (finding.verdict, finding.path) == (Verdict.CHANGED, "cam/a.mp4")
    assert finding.text == "the file has 2.0 KiB, which are not those of the object (100 bytes)"
    finding = archived("cam/a.mp4", "GLACIER")
    assert (finding.verdict, finding.text) == (Verdict.UNREADABLE, "it is in class GLACIER, which cannot be read")


def test_of_downloaded_bytes_size_and_checksum_must_both_fit() -> None:
    assert by_bytes(EXPECTED, found(101, crc64=None), 42).verdict is Verdict.LONGER
    assert "although" not in by_bytes(EXPECTED, found(crc64=None), 43).text


def test_the_plan_says_how_many_of_how_many() -> None:
    report = Report(Level.LISTING, Sample(1), known=1200, chosen=1200, size=2048)
    assert report.plan() == "level listing: compares 1,200 recordings, 2.0 KiB"
    report = Report(Level.DOWNLOAD, Sample(7, share=0.05), known=1200, chosen=60, size=2048)
    assert report.plan() == "level download: downloads 60 of 1,200 recordings (--sample 5% --seed 7), 2.0 KiB"
    report = Report(Level.FILE, Sample(7, number=60), known=1200, chosen=60)
    assert (
        report.plan() == "level file: compares with local files 60 of 1,200 recordings (--sample 60 --seed 7), 0 bytes"
    )


def test_the_summary_counts_what_was_left_out_and_why() -> None:
    report = Report(Level.FILE, Sample(1))
    assert report.summary() == "nothing was compared"
    report.unstored, report.others, report.without_file = 3, 4, 2
    assert report.summary().startswith("nothing was compared, 2 of the proved have no file here")
    report.add(Finding(Verdict.PROVED, "a.mp4"))
    assert report.summary() == (
        "1 proved (file), 2 of the proved have no file here and were compared by checksum only, "
        "3 files here are not in the bucket yet, 4 objects of other programs"
    )
    report.level = Level.CHECKSUM
    assert report.summary().startswith("1 proved (checksum), 3 files here")


def test_faults_are_never_left_out_of_the_lines_however_alike_they_are() -> None:
    report = Report(Level.CHECKSUM, Sample(1), notes=["a\nnote"])
    for number in range(MOST_ALIKE + 5):
        report.add(Finding(Verdict.MISSING, f"{number:03}.mp4", "gone"))
    for number in range(MOST_ALIKE):
        report.add(Finding(Verdict.UNCLEAR, f"{number:03}.mp4", "why", path="a.mp4"))
    lines = list(report.lines())
    assert sum(line.startswith("missing ") for line in lines) == MOST_ALIKE + 5
    assert sum(line.startswith("unclear ") for line in lines) == MOST_ALIKE == 20
    assert not any(" more: " in line or "→" in line for line in lines)
    assert "unclear      000.mp4 (a.mp4): why" in lines
    assert lines[-2] == "a\\nnote"


def test_a_remedy_stands_below_its_finding() -> None:
    report = Report(Level.CHECKSUM, Sample(1))
    report.add(Finding.of(Verdict.NOT_CHECKED, "a.mp4", "no answer"))
    assert list(report.lines())[:2] == ["not checked  a.mp4: no answer", f"{'':<12} → repeat the command"]


def test_the_json_of_a_report_has_everything() -> None:
    report = Report(Level.CHECKSUM, Sample(7, share=0.5), known=4, chosen=2, size=100, without_file=1, unstored=2)
    report.others, report.notes = 3, ["n"]
    report.add(Finding(Verdict.PROVED, "b.mp4"))
    report.add(Finding.of(Verdict.MISSING, "a.mp4", "gone", path="one\udcff.mp4"))
    assert report.as_json() == {
        "schema_version": 1,
        "command": "verify",
        "level": "checksum",
        "sample": "50%",
        "seed": 7,
        "recordings": 4,
        "chosen": 2,
        "size_bytes": 100,
        "counts": {"missing": 1, "ok": 1},
        "without_file": 1,
        "unstored_files": 2,
        "other_objects": 3,
        "notes": ["n"],
        "findings": [
            {
                "verdict": "missing",
                "fault": True,
                "key": "a.mp4",
                "file": "one\ufffd.mp4",
                "text": "gone",
                "remedy": REMEDIES[Verdict.MISSING],
            }
        ],
        "exit_code": 1,
    }
    assert (Report(Level.FILE, Sample(7)).as_json()["sample"], Report(Level.FILE, Sample(7)).as_json()["seed"]) == (
        None,
        None,
    )


@pytest.mark.parametrize(("text", "seed"), [("5%", 1), ("100%", 1), ("7", 1), ("0.5 %", 1)])
def test_a_share_may_have_a_fraction_and_a_space(text: str, seed: int) -> None:
    sample = Sample.written(f" {text} ", seed)
    assert sample.is_all is (text == "100%")
    assert (sample.share, sample.number) == {
        "5%": (0.05, None),
        "100%": (1.0, None),
        "7": (None, 7),
        "0.5 %": (0.005, None),
    }[text]


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        (found(101), Verdict.LONGER),  # the checksum is right by accident, as with 99
        (found(101, crc64=None, metadata=OTHERS), Verdict.STRANGER),
        (found(etag="d-9", crc64=None), Verdict.DIFFERS),
        (found(crc64=43, metadata={**OURS, "cefmp4-stream-id": "s0"}), Verdict.STRANGER),
    ],
)
def test_more_and_less_are_both_not_the_same(seen: InspectedObject, verdict: Verdict) -> None:
    assert by_checksum(EXPECTED, seen).verdict is verdict


@pytest.mark.parametrize(
    ("size", "crc64", "verdict"), [(100, 41, Verdict.DIFFERS), (99, 42, Verdict.SHORTER), (101, 42, Verdict.LONGER)]
)
def test_downloaded_bytes_are_the_recording_only_with_its_size_and_its_checksum(
    size: int, crc64: int, verdict: Verdict
) -> None:
    assert by_bytes(EXPECTED, found(size), crc64).verdict is verdict


def test_one_recording_is_a_sample() -> None:
    assert Sample.written("1", 5).of(["a.mp4", "b.mp4"]) in (["a.mp4"], ["b.mp4"])


def test_few_findings_that_are_alike_are_all_shown_and_not_counted() -> None:
    report = Report(Level.CHECKSUM, Sample(1))
    report.add(Finding(Verdict.UNCLEAR, "a.mp4", "why"))
    assert list(report.lines()) == ["unclear      a.mp4: why", "0 proved (checksum), 1 not compared"]
    assert report.as_json()["chosen"] == 0
