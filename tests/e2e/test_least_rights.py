"""Each right that ``doctor --policy`` prints, in the daemon: without it something that users see fails, and comes back.

A proxy stands for the store's access rules: it refuses what a right stands for, and passes on everything else. The
loss of a right never costs a recording: once it is granted again, all is as it should be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from src.doctor import OPTIONAL, WITHOUT
from src.domain import Right
from tests.harness import asked_for
from tests.harness.asked_for import ACTIONS
from tests.harness.e2e.daemon import eventually
from tests.harness.e2e.operator import type_command
from tests.harness.e2e.recorders import CHUNK, Writer, write
from tests.harness.e2e.stage import Stage
from tests.harness.faulty_s3 import FaultyS3, Rule, edited, status

pytestmark = [pytest.mark.slow, pytest.mark.versitygw, pytest.mark.redis]

DENIED = status(403, "AccessDenied")
#: Without the right to list, S3 answers so for a key that is free.
HIDDEN = edited(rb"^HTTP/1.1 404 [^\r]*", b"HTTP/1.1 403 Forbidden", name="no listing")
NAME = "take.mp4"


def refuse(proxy: FaultyS3, *actions: str) -> list[Rule]:
    """Whatever needs one of these actions."""
    rules = [proxy.on(operation, DENIED, times=None) for operation, needed in ACTIONS.items() if needed & set(actions)]
    if Right.LIST in actions:
        rules += [proxy.on(operation, HIDDEN, times=None) for operation in ("HeadObject", "GetObject")]
    return rules


def _record(stage: Stage) -> None:
    write(stage.folder / NAME, 2 * CHUNK + 7)


def _change_what_is_done(stage: Stage) -> None:
    with Writer(stage.folder / NAME, new=False, seed=9) as writer:
        writer.patch(0, 4)


def _take_the_file_away(stage: Stage) -> None:
    (stage.folder / NAME).rename(stage.home / NAME)


def _done(stage: Stage) -> None:
    write(stage.folder / NAME, 2 * CHUNK + 7)
    stage.wait_until_done(stage.folder / NAME)


def _begun(stage: Stage) -> None:
    with Writer(stage.folder / NAME) as writer:
        writer.append(CHUNK + 7)
        stage.wait_until_sent(stage.folder / NAME, 1)


@dataclass(frozen=True)
class Case:
    """``before`` happens with all rights, ``then`` without one. ``state`` is where the recording stays in ``status``;
    ``operation`` is named in the log."""

    then: Callable[[Stage], None]
    state: str
    operation: str
    before: Callable[[Stage], None] = lambda _: None
    settings: tuple[tuple[str, str], ...] = ()


CASES: dict[Right, Case] = {
    Right.LIST: Case(_record, "waiting", "s3_head"),
    Right.LIST_UPLOADS: Case(_change_what_is_done, "describing", "s3_list", before=_done),
    Right.PUT: Case(_record, "recording", "s3_create"),
    Right.GET: Case(_record, "waiting", "s3_metadata"),
    Right.LIST_PARTS: Case(_record, "sealing", "s3_list"),
    Right.ABORT: Case(
        *(_take_the_file_away, "failed", "s3_abort"),
        before=_begun,
        settings=(("ON_SOURCE_MISSING", "abort"), ("STREAM_TIMEOUT_SECONDS", "3600")),
    ),
}


@contextmanager
def _behind_proxy(stage: Stage) -> Iterator[FaultyS3]:
    with FaultyS3(stage.store.port) as proxy:
        stage.settings |= {"S3_ENDPOINT_URL": proxy.url}
        yield proxy


def _state(stage: Stage) -> tuple[str, str]:
    """Of the one recording that is not done: where it is, and what is being tried again."""
    recordings = type_command(stage.daemon, "status", "--json").json["recordings"]
    return (recordings[0]["state"], recordings[0]["trouble"] or "") if len(recordings) == 1 else ("", "")


def test_every_right_of_the_policy_has_its_case_and_its_sentence() -> None:
    assert CASES.keys() == WITHOUT.keys() == set(Right)


@pytest.mark.parametrize("right", CASES)
def test_without_a_right_something_that_users_see_fails_and_with_it_all_is_well_again(
    stage: Stage, right: Right
) -> None:
    case, path = CASES[right], stage.folder / NAME
    with _behind_proxy(stage) as proxy:
        stage.settings |= dict(case.settings)
        stage.daemon.start_and_wait()
        stage.wait_until_probed()
        case.before(stage)
        rules = refuse(proxy, right)
        case.then(stage)
        line = stage.daemon.wait_for("s3_unavailable", operation=case.operation)
        assert "rights" in line["hint"], line
        eventually(lambda: _state(stage)[0] == case.state, f"it stays {case.state}")
        assert any(rule.happened for rule in rules)
        if right is Right.ABORT:
            assert stage.bucket.open_uploads() == [NAME], "it is still there, and paid for"
            failed = stage.daemon.wait_for("stream_failed", file_path=NAME)
            assert "unless the store refused that" in failed["hint"]
            return
        assert "AWAY" in type_command(stage.daemon, "status").out
        proxy.lift(*rules)
        stage.wait_until_done(path)
        assert stage.daemon.lines("unexpected_error") == []


def test_with_these_rights_and_no_others_everything_works(stage: Stage) -> None:
    """Also without those that are asked for and not needed; the store's log tells what was asked for."""
    with _behind_proxy(stage) as proxy:
        stage.bucket.client.create_bucket(Bucket=stage.bucket.name)
        refuse(proxy, *OPTIONAL)
        stage.daemon.start_and_wait(STREAM_TIMEOUT_SECONDS="2")
        _done(stage)
        _change_what_is_done(stage)
        stage.wait_until_done(stage.folder / NAME)
        told = type_command(stage.daemon, "doctor", "--json").json["lines"]
        assert [line for line in told if line["verdict"] == "fail"] == []
        unknown = {line["check"]: line["text"] for line in told if line["verdict"] == "unknown"}
        assert unknown == {
            "lifecycle": "no right to read the rules (s3:GetLifecycleConfiguration)",
            "versioning": "no right to read it (s3:GetBucketVersioning)",
        }
        assert type_command(stage.daemon, "verify").code == 0
        assert stage.daemon.lines("s3_unavailable") == []
    seen = {asked for asked, where in asked_for.seen().items() if where.endswith("access.log")} | {
        request.operation for request in proxy.requests
    }
    assert seen >= ACTIONS.keys() - {"CreateBucket"}, "the witnesses have seen what the daemon does"
