"""Every operation of the store done badly in every way, under a real daemon: each object still equals its file.

A table crosses operations with faults; each pair has a recording of its own, and one daemon carries all recordings of
an operation at once. The fault must have happened, the process must be the same at the end, and its log must hold
neither a traceback nor a bug.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytest

from tests.harness.e2e.bucket import SUFFIX
from tests.harness.e2e.daemon import Daemon, eventually
from tests.harness.e2e.recorders import CHUNK, Writer, write
from tests.harness.e2e.stage import Stage
from tests.harness.faulty_s3 import (
    Fault,
    FaultyS3,
    Rule,
    cut_answer,
    cut_request,
    delay,
    delay_answer,
    do_later,
    drop,
    edited,
    error_in_200,
    garbage,
    login_page,
    lose_answer,
    redirect,
    reset,
    slow_success,
    stall,
    status,
    throttle,
    twice,
    wrong_length,
)

pytestmark = [pytest.mark.slow, pytest.mark.versitygw, pytest.mark.redis]

SMALL = 200_000
#: More at a time than there are recordings, so that no fault has to wait for another.
TOGETHER = {"MAX_CONCURRENT_STREAMS": "100"}
#: Hundreds of recordings of random bytes: looking into each of them, once for its document and once for the auditor,
#: would take longer than sending them.
NO_FFPROBE = {"FFPROBE_PATH": "/nowhere/ffprobe"}
_AS_EVER: Mapping[str, str] = {}
#: A setting does not show that PutObject refuses to put one object over another: short recordings get uploads, too.
BY_UPLOAD = {"S3_CONDITIONAL_WRITES": "on"}

#: What can befall any operation. A fault meets an operation twice in a row.
LINE = (drop(), reset(), lose_answer(), cut_answer(20), delay(1.0), throttle(100_000))
#: Refusals that pass, or that somebody lifts.
REFUSALS = (
    status(500, "InternalError"),
    status(503, "SlowDown"),
    status(429, "TooManyRequests"),
    status(403, "AccessDenied"),
    status(403, "InvalidAccessKeyId"),
    status(400, "ExpiredToken"),
    status(403, "RequestTimeTooSkewed"),
    status(301, "PermanentRedirect"),
)
#: What another program says in the store's name.
STRANGE = (garbage(), login_page(), login_page(404), login_page(502), status(200, name="nothing"))
#: For answers that have a body. A HEAD has none, and what it says in headers cannot be told from the truth.
ANSWERED = (*STRANGE, cut_answer(), wrong_length(7), wrong_length(-7), status(404, "NoSuchBucket"))

TABLE: Mapping[str, Sequence[Fault]] = {
    "HeadObject": (*LINE, *REFUSALS, login_page(), login_page(502), status(200, name="nothing")),
    "GetObject": (*LINE, *REFUSALS, *ANSWERED),
    "ListMultipartUploads": (*LINE, *REFUSALS, *ANSWERED, edited(b"<Upload>.*</Upload>", name="nothing listed")),
    "CreateMultipartUpload": (*LINE, *REFUSALS, *ANSWERED, twice(), error_in_200("InternalError")),
    "UploadPart": (
        *LINE,
        *REFUSALS,
        *STRANGE,
        cut_request(0),
        cut_request(50_000),
        twice(),
        edited(rb"(?i)\r\nETag: [^\r]*", b'\r\nETag: "0123456789abcdef0123456789abcdef"', name="another ETag"),
        status(400, "BadDigest"),
        status(400, "RequestTimeout"),
        status(404, "NoSuchBucket"),
        status(404, "NoSuchUpload"),
        do_later(1.5),
    ),
    "ListParts": (
        *LINE,
        *REFUSALS,
        *ANSWERED,
        status(404, "NoSuchUpload"),
        edited(b"<Part>.*</Part>", name="no part listed"),
        edited(b"<Size>[0-9]+<", b"<Size>7<", name="another size listed"),
    ),
    "CompleteMultipartUpload": (
        *LINE,
        *REFUSALS,
        *ANSWERED,
        cut_request(0),
        twice(),
        error_in_200("InternalError", spaces=10),
        error_in_200("SlowDown"),
        status(400, "BadDigest"),
        status(400, "InvalidPart"),
        status(404, "NoSuchUpload"),
        status(409, "ConditionalRequestConflict"),
        status(412, "PreconditionFailed"),
        do_later(1.5),
    ),
    "PutObject": (
        *LINE,
        *REFUSALS,
        *STRANGE,
        cut_request(0),
        twice(),
        status(400, "BadDigest"),
        status(404, "NoSuchBucket"),
        status(412, "PreconditionFailed"),
        do_later(1.5),
    ),
}


def _key(operation: str, name: str) -> str:
    return name + SUFFIX if operation in ("GetObject", "PutObject") else name


@contextmanager
def _behind(
    stage: Stage, first: Callable[[FaultyS3], object] = lambda _: None, settings: Mapping[str, str] = _AS_EVER
) -> Iterator[FaultyS3]:
    """The stage's daemon reaches its store through the proxy only, and is the same process to the end; ``first``
    happens before it starts."""
    with FaultyS3(stage.store.port) as proxy:
        stage.settings |= {"S3_ENDPOINT_URL": proxy.url, **TOGETHER, **NO_FFPROBE, **settings}
        first(proxy)
        stage.daemon.start_and_wait()
        stage.wait_until_probed()  # a probe that is refused leaves what it began to the next start
        pid = stage.daemon.pid
        yield proxy
        assert stage.daemon.is_running() and stage.daemon.pid == pid
        _assert_untroubled(stage.daemon)


def _assert_untroubled(daemon: Daemon) -> None:
    bugs = daemon.lines("unexpected_error")
    assert bugs == []
    assert "Traceback" not in daemon.everything_said()
    assert daemon.lines("stream_failed") == []


@pytest.mark.parametrize("operation", TABLE)
def test_no_fault_of_an_operation_costs_a_recording_or_a_byte(stage: Stage, operation: str) -> None:
    """S1, S2, S3, S4, S5, S7, S11, S12, S13, S14, S15, S17, S18, S20, S21, S25, S26, S30, S31."""
    faults = {stage.folder / f"{number:02} {fault.name}.mp4": fault for number, fault in enumerate(TABLE[operation])}
    rules: list[Rule] = []

    def harm(proxy: FaultyS3) -> None:
        for path, fault in faults.items():
            rules.append(proxy.on(operation, fault, key=_key(operation, path.name), times=2))
            write(path, SMALL)

    # Open uploads are listed for files that are older than the daemon.
    with _behind(stage, harm if operation == "ListMultipartUploads" else lambda _: None, settings=BY_UPLOAD) as proxy:
        if not rules:
            harm(proxy)
        for path in faults:
            stage.wait_until_done(path)
        # A Create that was sent twice and answered once leaves an empty upload to the sweep.
        twofold = {path.name for path, fault in faults.items() if fault.name == twice().name}
        is_create = operation == "CreateMultipartUpload"
        stage.wait_until_clean(*(path.name for path in faults), killed_at_random=is_create)
        assert not is_create or set(stage.bucket.open_uploads()) <= twofold
    assert [rule.fault.name for rule in rules if not rule.happened] == []


def test_no_fault_of_a_recording_in_one_request_costs_it_or_a_byte(stage: Stage) -> None:
    """S1, S2, S4, S5, S7, S17: the request that no upload fences."""
    table = (*TABLE["PutObject"], cut_request(50_000), status(409, "ConditionalRequestConflict"), status(413))
    faults = {stage.folder / f"{number:02} {fault.name}.mp4": fault for number, fault in enumerate(table)}
    with _behind(stage) as proxy:
        rules = [proxy.on("PutObject", fault, key=path.name, times=2) for path, fault in faults.items()]
        for path in faults:
            write(path, SMALL)
        for path in faults:
            stage.wait_until_done(path)
        stage.wait_until_clean(*(path.name for path in faults))
    assert [rule.fault.name for rule in rules if not rule.happened] == []


def test_a_recording_that_changes_before_its_one_request_takes_effect_is_brought_up_to_date(stage: Stage) -> None:
    """S4: grown, patched, and begun anew as another file."""
    paths = [stage.folder / name for name in ("grown.mp4", "patched.mp4", "long.mp4")]
    with _behind(stage) as proxy:
        for path in paths:
            rule = proxy.on("PutObject", do_later(6.0), key=path.name)
            write(path, SMALL)
            eventually(lambda rule=rule: rule.happened, "it is on its way")  # type: ignore[misc]
            with Writer(path, new=False, seed=99) as writer:
                if path.name != "grown.mp4":
                    writer.patch(10, 4)
                writer.append({"long.mp4": 2 * CHUNK, "grown.mp4": 100}.get(path.name, 0))
        for path in paths:
            stage.wait_until_done(path)
        stage.wait_until_clean(*(path.name for path in paths))


COPY = (*LINE, *REFUSALS[:4], *STRANGE, cut_answer(), error_in_200("InternalError"), status(501, "NotImplemented"))


def test_no_fault_of_a_copy_inside_the_store_costs_a_byte(stage: Stage) -> None:
    """S7, S31: recordings that change after their completion."""
    faults = {stage.folder / f"{number:02} {fault.name}.mp4": fault for number, fault in enumerate(COPY)}
    with _behind(stage) as proxy:
        for number, path in enumerate(faults):
            write(path, CHUNK + 10, seed=number)
        for path in faults:
            stage.wait_until_done(path)
        rules = [proxy.on("UploadPartCopy", fault, key=path.name, times=2) for path, fault in faults.items()]
        for path in faults:
            with Writer(path, new=False, seed=99) as writer:
                writer.append(10)
        for path in faults:
            stage.wait_until_done(path)
        stage.wait_until_clean(*(path.name for path in faults))
    assert [rule.fault.name for rule in rules if not rule.happened] == []


ABORT = (*LINE, *(fault for fault in REFUSALS if not fault.name.startswith(("4", "301"))), twice(), garbage())


def test_an_upload_that_was_left_behind_is_aborted_in_the_end_whatever_befalls_the_abort(stage: Stage) -> None:
    """S4, S27. A refusal of the right is not waited out: tidying up is left to a lifecycle rule then."""
    faults = {stage.folder / f"{number:02} {fault.name}.mp4": fault for number, fault in enumerate(ABORT)}
    with _behind(stage, settings=BY_UPLOAD) as proxy:
        for path in faults:
            proxy.on("ListParts", status(404, "NoSuchUpload"), key=path.name)
        rules = [proxy.on("AbortMultipartUpload", fault, key=path.name, times=2) for path, fault in faults.items()]
        for path in faults:
            write(path, SMALL)
        for path in faults:
            stage.wait_until_done(path)
        stage.wait_until_clean(*(path.name for path in faults))
    assert [rule.fault.name for rule in rules if not rule.happened] == []


# -- the store as a whole ----------------------------------------------------------------------------------------------


def test_a_store_that_is_away_for_long_gets_everything_when_it_is_back(stage: Stage) -> None:
    """S1, S15: every answer is another trouble, nothing is given up, and the waits are capped and jittered."""
    paths = [stage.folder / f"{number:02}.mp4" for number in range(25)]
    kinds = (drop(), reset(), status(503, "SlowDown"), status(500, "InternalError"), garbage(), login_page(502))
    with _behind(stage) as proxy:
        daemon = stage.daemon
        rules = [proxy.on(None, random.Random(number).choice(kinds), times=2) for number in range(25)]
        rules.append(proxy.on(None, drop(), times=None))
        for number, path in enumerate(paths):
            write(path, SMALL + number, seed=number)
        eventually(lambda: rules[-1].happened >= 25, "everything has failed several times")
        eventually(lambda: daemon.page("/-/ready")[0] == 503, "the daemon is not ready")
        assert daemon.page("/-/healthy")[0] == 200
        assert stage.bucket.objects() == []
        proxy.lift(*rules)
        for path in paths:
            stage.wait_until_done(path)
        stage.wait_until_clean(*(path.name for path in paths))
        daemon.wait_for("s3_recovered")
        daemon.wait_until_ready()
        told = daemon.lines("s3_unavailable")
    assert len(told) < 10  # for more than a hundred failures
    assert all(0 <= line.get("retry_in_seconds", 0) <= min(60, 0.5 * 2 ** line["attempt"]) for line in told)


@pytest.mark.parametrize(
    ("code", "number", "hint"),
    [
        ("InvalidAccessKeyId", 403, "check S3_ACCESS_KEY_ID"),
        ("ExpiredToken", 400, "supply new credentials"),
        ("AccessDenied", 403, "the rights"),
        ("RequestTimeTooSkewed", 403, "clock"),
        ("NoSuchBucket", 404, "create the bucket"),
    ],
)
def test_what_somebody_has_to_put_right_is_named_and_waited_for_in_mid_recording(
    stage: Stage, code: str, number: int, hint: str
) -> None:
    """S11 (a wrong clock), S12 (keys that were rotated), S13 (a right that was taken away), S15 (no bucket)."""
    path = stage.folder / "refused.mp4"
    with _behind(stage) as proxy, Writer(path) as writer:
        writer.append(CHUNK + 1)
        stage.wait_until_sent(path, 1)
        rule = proxy.on(None, status(number, code), times=None)
        writer.append(CHUNK)
        writer.close()
        told = stage.daemon.wait_for("s3_unavailable")
        assert hint in told["hint"]
        assert code in told["error"]
        eventually(lambda: rule.happened >= 3, "it is tried again and again")
        eventually(lambda: stage.daemon.page("/-/ready")[0] == 503, "the daemon is not ready")
        proxy.lift(rule)
        stage.wait_until_done(path)
        stage.wait_until_clean("refused.mp4")


OF_AN_UPLOAD = ("HeadObject", "GetObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload")


@pytest.mark.parametrize(
    ("operations", "settings"), [(OF_AN_UPLOAD, BY_UPLOAD), (("PutObject",), {})], ids=["an upload", "one request"]
)
def test_no_redirect_is_followed_to_another_host(
    stage: Stage, operations: Sequence[str], settings: Mapping[str, str]
) -> None:
    """S16: the other host hears nothing at all, neither credentials nor a recording."""
    kinds = [(operation, number) for operation in operations for number in (301, 302, 307, 308)]
    with FaultyS3(stage.store.port) as other, _behind(stage, settings=settings) as proxy:
        rules = []
        paths = [stage.folder / f"{operation} {number}.mp4" for operation, number in kinds]
        for path, (operation, number) in zip(paths, kinds, strict=True):
            key = path.name if operation == "PutObject" else _key(operation, path.name)
            rules.append(proxy.on(operation, redirect(number, other.url), key=key, times=2))
            write(path, SMALL)
        for path in paths:
            stage.wait_until_done(path)
        stage.wait_until_clean(*(path.name for path in paths))
        assert other.requests == []
    assert all(rule.happened for rule in rules)


STALLED = ("HeadObject", "GetObject", "ListMultipartUploads", "CreateMultipartUpload", "UploadPart", "ListParts")


def test_a_call_that_hangs_ends_by_its_deadline_and_one_that_is_slow_does_not(stage: Stage) -> None:
    """S9 (a stall without a close), S10 (a slow line: part 1 takes longer than any call without a body may)."""
    hanging = [stage.folder / f"{operation}.mp4" for operation in (*STALLED, "PutObject")]
    slow, short, listed = (stage.folder / name for name in ("slow.mp4", "short.mp4", "ListMultipartUploads.mp4"))

    def harm(proxy: FaultyS3) -> None:
        rules.extend(proxy.on(path.stem, stall(), key=_key(path.stem, path.name)) for path in hanging)
        rules.append(proxy.on("PutObject", stall(), key=short.name))
        write(listed, CHUNK + 10)  # open uploads are listed for files that are older than the daemon

    rules: list[Rule] = []
    with _behind(stage, harm) as proxy:
        throttled = proxy.on("UploadPart", throttle(CHUNK / 40), key=slow.name, times=1)
        began = time.monotonic()
        for path in (slow, short, *hanging):
            if path != listed:
                write(path, SMALL if path == short else CHUNK + 10)
        for path in (slow, short, *hanging):
            stage.wait_until_done(path)
        assert time.monotonic() - began > 39
        stage.wait_until_clean(*(path.name for path in (slow, short, *hanging)))
        assert len(proxy.seen("UploadPart", slow.name)) == 2  # each part once
        assert stage.daemon.lines("s3_unavailable", operation="s3_upload")
    assert all(rule.happened == 1 for rule in (throttled, *rules))


def test_an_upload_that_the_store_forgot_in_mid_recording_is_begun_anew(stage: Stage) -> None:
    """S6: stores drop unfinished uploads, some after 24 hours."""
    path = stage.folder / "long.mp4"
    with _behind(stage) as proxy, Writer(path) as writer:
        writer.append(2 * CHUNK + 1)
        stage.wait_until_sent(path, 1, 2)
        (upload,) = stage.bucket.client.list_multipart_uploads(Bucket=stage.bucket.name)["Uploads"]
        stage.bucket.client.abort_multipart_upload(Bucket=stage.bucket.name, Key=path.name, UploadId=upload["UploadId"])
        writer.append(CHUNK)
        stage.daemon.wait_for("upload_lost", upload_id=upload["UploadId"])
        writer.close()
        stage.wait_until_done(path)
        stage.wait_until_clean(path.name)
        assert len(proxy.seen("CreateMultipartUpload", path.name)) == 2


def test_a_completion_that_takes_long_is_waited_for_and_not_sent_again(stage: Stage) -> None:
    """S8: white space keeps the connection alive while the store assembles, or nothing comes for a while."""
    faults = {"spaces": slow_success(spaces=60), "silence": delay_answer(6.0), "before": delay(6.0)}
    paths = [stage.folder / f"{name}.mp4" for name in faults]
    with _behind(stage, settings=BY_UPLOAD) as proxy:
        rules = [proxy.on("CompleteMultipartUpload", faults[path.stem], key=path.name) for path in paths]
        for path in paths:
            write(path, SMALL)
        for path in paths:
            stage.wait_until_done(path)
            assert len(proxy.seen("CompleteMultipartUpload", path.name)) == 1
        stage.wait_until_clean(*(path.name for path in paths))
    assert all(rule.happened == 1 for rule in rules)


def test_a_probe_that_meets_trouble_learns_the_same(stage: Stage) -> None:
    """S24: trouble is not taken for an ability that the store lacks."""
    path = stage.folder / "first.mp4"
    with FaultyS3(stage.store.port) as proxy:
        rules = [
            proxy.on("HeadBucket", status(500, "InternalError")),
            proxy.on("CreateMultipartUpload", login_page(404)),
            proxy.on("UploadPart", drop(), skip=1),
            proxy.on("CompleteMultipartUpload", garbage(), skip=1),
            proxy.on("PutObject", login_page()),
        ]
        stage.daemon.start_and_wait(S3_ENDPOINT_URL=proxy.url)
        stage.wait_until_probed()  # longer than a new upload waits for what the probe learns
        write(path, CHUNK + 10)
        stage.wait_until_done(path)
        (completion,) = proxy.seen("CompleteMultipartUpload", path.name)
        assert completion.headers["if-none-match"] == "*"
        assert completion.headers["x-amz-mp-object-size"] == str(CHUNK + 10)
        assert "x-amz-checksum-crc64nvme" in completion.headers
        _assert_untroubled(stage.daemon)
    assert all(rule.happened for rule in rules)
