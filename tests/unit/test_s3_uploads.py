"""What the client remembers of its uploads: whether they have checksums, and how patient it is with their parts."""

from __future__ import annotations

from typing import Any, cast

from src.domain import MIB, Answer
from src.exceptions import S3Unavailable
from src.s3_client.objects import Objects
from src.s3_client.settings import Deadlines
from src.s3_client.uploads import KnownUploads
from tests.harness.fakes.recordings import FakeChunkBody


def test_what_was_begun_is_never_contradicted_by_a_listing() -> None:
    uploads = KnownUploads()
    uploads.begun("u", checksums=False)
    uploads.listed("u", {"ChecksumAlgorithm": "CRC64NVME"}, always_said=True)
    assert uploads.with_checksums("u") is False


def test_an_upload_of_another_process_is_known_by_its_parts_or_by_a_store_that_always_says_it() -> None:
    uploads = KnownUploads()
    for name, page, always, known in (
        ("empty", {}, False, None),
        ("empty, Amazon", {}, True, False),
        ("declared", {"ChecksumAlgorithm": "CRC64NVME"}, False, True),
        ("parts without", {"Parts": [{"ETag": "x"}]}, False, False),
        ("parts with", {"Parts": [{"ETag": "x"}, {"ChecksumCRC64NVME": "x"}]}, False, True),
    ):
        uploads.listed(name, page, always_said=always)
        assert uploads.with_checksums(name) is known, name


def test_patience_grows_while_parts_take_too_long_and_ends_with_one_that_does_not() -> None:
    uploads = KnownUploads()
    assert uploads.patience("u") == 1
    uploads.part_took_too_long("u")
    uploads.part_took_too_long("u")
    assert uploads.patience("u") == 16
    uploads.part_stored("u")
    assert uploads.patience("u") == 1


def test_nothing_stays_of_an_upload_that_ended_and_the_oldest_go_where_there_are_too_many() -> None:
    uploads = KnownUploads(most=2)
    for name in ("a", "b", "c"):
        uploads.begun(name, checksums=False)
        uploads.part_took_too_long(name)
    assert [uploads.with_checksums(name) for name in ("a", "b", "c")] == [None, False, False]
    assert [uploads.patience(name) for name in ("a", "b", "c")] == [1, 4, 4]
    uploads.ended("b")
    assert uploads.with_checksums("b") is None and uploads.patience("b") == 1


class _Slow:
    """Requests that are answered too late twice; the line was fast before."""

    def __init__(self) -> None:
        self.deadlines: list[float] = []
        self.call_once = self.call

    def deadline_for(self, size: int, patience: float = 1.0) -> float:
        return Deadlines().for_body(size, 100 * MIB, patience)

    def body_sent(self, size: int, seconds: float) -> None:
        """Nothing depends on it."""

    async def call(self, operation: str, *, deadline: float, **_: object) -> dict[str, object]:
        self.deadlines.append(deadline)
        if len(self.deadlines) < 5:
            raise S3Unavailable(f"{operation}: no answer", operation=operation)
        return {"ETag": '"made"'}


async def test_a_whole_file_that_took_too_long_gets_more_time_like_a_part() -> None:
    requests, body = _Slow(), FakeChunkBody(bytes(10 * MIB))
    nothing = cast(Any, None)
    objects = Objects(cast(Any, requests), nothing, nothing, Deadlines(), KnownUploads(), lambda _: None)
    answers = [(await objects.put_whole("k", {}, body))[0] for _ in range(6)]
    assert answers == [*[Answer.NONE] * 4, Answer.DONE, Answer.DONE]
    assert requests.deadlines[0] == requests.deadlines[5] == 60
    assert requests.deadlines[4] > 2 * 60
