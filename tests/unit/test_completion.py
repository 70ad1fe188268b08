"""What is done after a completion, line by line of the table."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from src.domain import (
    Answer,
    CompletionFacts,
    Identity,
    Manifest,
    Snapshot,
    Step,
    StoredObject,
    completion,
)
from src.domain.completion import assembling_seconds, equals_manifest
from tests.harness.numbered_cases import WithoutCase, demand_told_otherwise, without_each_case
from tests.unit.test_whose import OTHER, OURS, SNAPSHOT, an_object

MANIFEST = Manifest(size=100, crc64=77, part_count=3, snapshot=SNAPSHOT)
REPLACING = Manifest(size=100, crc64=77, part_count=3, snapshot=SNAPSHOT, replaces="old-etag")


# -- is it what the manifest says --------------------------------------------------------------------------------------


def test_an_object_of_another_size_is_not_the_manifests() -> None:
    assert equals_manifest(an_object(size=99, etag="md5-3"), MANIFEST) is False


def test_the_stores_checksum_decides_where_it_tells_one() -> None:
    assert equals_manifest(an_object(crc64=77), MANIFEST) is True
    assert equals_manifest(an_object(crc64=78), MANIFEST) is False


def test_without_a_checksum_the_expected_etag_proves_the_object_and_any_other_proves_nothing() -> None:
    with_etag = Manifest(100, 77, 3, SNAPSHOT, etag_md5="md5-3")
    assert equals_manifest(an_object(crc64=None, etag="md5-3"), with_etag) is True
    assert equals_manifest(an_object(crc64=None, etag="opaque"), with_etag) is None
    assert equals_manifest(an_object(crc64=None, etag="md5-3"), MANIFEST) is None


# -- answers to a completion -------------------------------------------------------------------------------------------


def _step(
    answer: Answer = Answer.NONE,
    *,
    stored: StoredObject | None = None,
    equals: bool | None = False,
    upload_open: bool | None = None,
    unanswered: bool = False,
    waited_out: bool = False,
    manifest: Manifest = MANIFEST,
) -> Step:
    facts = CompletionFacts(answer, stored, equals, upload_open, unanswered, waited_out)
    return completion.after_completion(facts, manifest, OURS)


@pytest.mark.parametrize("answer", list(Answer))
@pytest.mark.parametrize("of", [OURS, OTHER, None])
def test_an_object_that_equals_the_manifest_is_verified_whoever_completed_it(answer: Answer, of: str | None) -> None:
    assert _step(answer, stored=an_object(of=of), equals=True) is Step.VERIFIED


@pytest.mark.parametrize("answer", list(Answer))
def test_an_object_of_ours_with_other_bytes_is_brought_up_to_date_because_an_earlier_completion_won(
    answer: Answer,
) -> None:
    assert _step(answer, stored=an_object()) is Step.BRING_UP_TO_DATE
    assert _step(answer, stored=an_object(), manifest=REPLACING) is Step.BRING_UP_TO_DATE


@pytest.mark.parametrize("answer", [Answer.NONE, Answer.DONE, Answer.PRECONDITION_FAILED, Answer.UPLOAD_GONE])
def test_nothing_there_and_the_upload_still_listed_means_the_same_completion_again(answer: Answer) -> None:
    assert _step(answer, upload_open=True) is Step.COMPLETE_AGAIN


def test_the_object_to_be_replaced_still_there_and_the_upload_listed_means_the_same_completion_again() -> None:
    still_there = an_object(etag="old-etag", size=50)
    assert _step(stored=still_there, upload_open=True, manifest=REPLACING) is Step.COMPLETE_AGAIN


def test_the_object_to_be_replaced_gone_and_the_upload_listed_means_that_the_manifest_is_for_a_free_key_first() -> None:
    assert _step(upload_open=True, manifest=REPLACING) is Step.COMPLETE_WHERE_NOTHING_IS


@pytest.mark.parametrize("manifest", [MANIFEST, REPLACING])
def test_nothing_there_the_upload_gone_and_a_completion_unanswered_is_waited_for(manifest: Manifest) -> None:
    assert _step(upload_open=False, unanswered=True, manifest=manifest) is Step.WAIT


def test_what_may_still_be_assembling_is_uploaded_anew_once_its_time_has_passed() -> None:
    assert _step(upload_open=False, unanswered=True, waited_out=True) is Step.UPLOAD_ANEW


def test_nothing_there_the_upload_gone_and_nothing_unanswered_means_to_upload_anew() -> None:
    assert _step(Answer.UPLOAD_GONE, upload_open=False) is Step.UPLOAD_ANEW


def test_the_object_to_be_replaced_still_there_and_the_upload_gone_is_decided_like_nothing_there() -> None:
    still_there = an_object(etag="old-etag", size=50)
    assert _step(stored=still_there, upload_open=False, unanswered=True, manifest=REPLACING) is Step.WAIT
    assert _step(stored=still_there, upload_open=False, manifest=REPLACING) is Step.UPLOAD_ANEW


@pytest.mark.parametrize("answer", list(Answer))
@pytest.mark.parametrize("manifest", [MANIFEST, REPLACING])
@pytest.mark.parametrize("stranger", [an_object(of=None), an_object(of=OTHER, identity=Identity(8, 1))])
def test_a_strangers_object_means_the_next_key(stranger: StoredObject, manifest: Manifest, answer: Answer) -> None:
    assert _step(answer, stored=stranger, manifest=manifest) is Step.NEXT_KEY


@pytest.mark.parametrize("manifest", [MANIFEST, REPLACING])
def test_an_object_of_this_file_whose_streams_record_was_lost_is_ours_too(manifest: Manifest) -> None:
    assert _step(stored=an_object(of=OTHER), manifest=manifest) is Step.BRING_UP_TO_DATE
    assert _step(stored=an_object(of=OTHER, size=99), manifest=manifest) is Step.BRING_UP_TO_DATE


def test_an_object_of_this_file_but_longer_than_it_is_an_earlier_recording_and_means_the_next_key() -> None:
    assert _step(stored=an_object(of=OTHER, size=101)) is Step.NEXT_KEY


def test_without_a_birth_time_only_the_streams_id_makes_an_object_ours() -> None:
    unborn = Identity(7, 0)
    manifest = Manifest(100, 77, 3, Snapshot(unborn, 100, 5, 6))
    assert _step(stored=an_object(of=OTHER, identity=unborn), manifest=manifest) is Step.NEXT_KEY
    assert _step(stored=an_object(of=OURS, identity=unborn), manifest=manifest) is Step.BRING_UP_TO_DATE


@pytest.mark.parametrize("manifest", [MANIFEST, REPLACING])
def test_a_conflict_means_to_upload_anew(manifest: Manifest) -> None:
    assert _step(Answer.CONFLICT, upload_open=True, manifest=manifest) is Step.UPLOAD_ANEW


@pytest.mark.parametrize("manifest", [MANIFEST, REPLACING])
def test_an_invalid_part_means_to_prove_again(manifest: Manifest) -> None:
    assert _step(Answer.INVALID_PART, upload_open=True, manifest=manifest) is Step.PROVE_AGAIN


@pytest.mark.parametrize("manifest", [MANIFEST, REPLACING])
def test_a_wrong_digest_or_size_means_to_seal_again(manifest: Manifest) -> None:
    assert _step(Answer.WRONG_CONTENT, upload_open=True, manifest=manifest) is Step.SEAL_AGAIN


def test_silence_is_asked_about_again_and_never_taken_for_a_failure() -> None:
    assert _step(Answer.NONE) is Step.LOOK_AT_UPLOAD
    assert _step(Answer.NONE, upload_open=True) is Step.COMPLETE_AGAIN
    assert _step(Answer.NONE, upload_open=False, unanswered=True) is Step.WAIT


@pytest.mark.parametrize("answer", list(Answer))
def test_the_upload_is_looked_at_before_anything_is_done_where_nothing_is(answer: Answer) -> None:
    assert _step(answer) is Step.LOOK_AT_UPLOAD


@pytest.mark.parametrize("answer", list(Answer))
def test_an_object_that_nobody_can_tell_is_fetched_before_anything_is_done(answer: Answer) -> None:
    assert _step(answer, stored=an_object(crc64=None), equals=None) is Step.FETCH_AND_COMPARE


def test_an_answer_alone_never_verifies_anything() -> None:
    assert _step(Answer.DONE) is Step.LOOK_AT_UPLOAD
    assert _step(Answer.DONE, upload_open=False) is Step.UPLOAD_ANEW


def test_a_completion_may_take_a_quarter_of_an_hour_at_least_and_longer_with_its_size() -> None:
    assert assembling_seconds(0) == 900
    assert assembling_seconds(3000 * 1024**2) == pytest.approx(900 + 60)
    assert assembling_seconds(5 * 1024**4) > 24 * 3600


def test_a_store_that_says_for_long_that_something_is_there_and_that_nothing_is_gets_the_next_key() -> None:
    """VersityGW after a kill in mid-completion, with its metadata in files of their own."""
    answer = Answer.PRECONDITION_FAILED
    assert _step(answer=answer, upload_open=True) is Step.COMPLETE_AGAIN
    assert _step(answer=answer, upload_open=True, waited_out=True) is Step.NEXT_KEY


# -- every case is needed ----------------------------------------------------------------------------------------------

#: By step; of a step to which two cases lead an example of each.
EXAMPLES: dict[Step, list[Callable[[], Step]]] = {
    Step.FETCH_AND_COMPARE: [lambda: _step(Answer.DONE, stored=an_object(crc64=None), equals=None)],
    Step.VERIFIED: [lambda: _step(stored=an_object(), equals=True)],
    Step.BRING_UP_TO_DATE: [lambda: _step(Answer.DONE, stored=an_object())],
    Step.NEXT_KEY: [
        lambda: _step(Answer.DONE, stored=an_object(of=None)),
        lambda: _step(Answer.PRECONDITION_FAILED, upload_open=True, waited_out=True),
    ],
    Step.LOOK_AT_UPLOAD: [lambda: _step(Answer.DONE)],
    Step.WAIT: [lambda: _step(upload_open=False, unanswered=True)],
    Step.UPLOAD_ANEW: [
        lambda: _step(Answer.UPLOAD_GONE, upload_open=False),
        lambda: _step(Answer.CONFLICT, upload_open=True),
    ],
    Step.PROVE_AGAIN: [lambda: _step(Answer.INVALID_PART, upload_open=True)],
    Step.SEAL_AGAIN: [lambda: _step(Answer.WRONG_CONTENT, upload_open=True)],
    Step.COMPLETE_WHERE_NOTHING_IS: [lambda: _step(upload_open=True, manifest=REPLACING)],
    Step.COMPLETE_AGAIN: [lambda: _step(upload_open=True)],
}


@pytest.mark.parametrize("mutant", list(without_each_case(completion, Step)), ids=str)
def test_without_a_case_another_step_is_taken(mutant: WithoutCase) -> None:
    assert isinstance(mutant.case, Step)
    demand_told_otherwise(mutant, EXAMPLES[mutant.case])
