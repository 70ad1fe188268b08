"""What retry and give-up print: what is known, what is not, and how to look."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from src.cli import failed
from src.cli.exit_codes import ExitCode
from src.door import Door, NoAnswer, Peer
from src.status import RecordingView, view_of
from tests.unit.test_status_view import _facts, _failed

UNKNOWN = ("no_answer", "refused", "stopping", "daemon_gone")


@dataclass
class _Door:
    """Answers with these results in turn; then it has gone."""

    results: list[str]
    peer: Peer = field(default_factory=lambda: Peer(7, 0))
    folder: str = "/srv"
    group: str = ""
    version: str = "1"

    def ask(self, method: str, path: str, body: Mapping[str, Any], *, seconds: float) -> tuple[int, Any]:
        if not self.results:
            raise NoAnswer("gone")
        return 200, {"answers": [{"id": body["ids"][0], "result": self.results.pop(0)}]}


def _recordings(number: int) -> tuple[RecordingView, ...]:
    return view_of(_facts(*[_failed(stream_id=f"{n:032x}") for n in range(number)])).recordings


def _acted(results: list[str], path: str, number: int = 1, **more: bool) -> list[dict[str, Any]]:
    return failed._act(cast(Door, _Door(results)), path, _recordings(number), as_json=False, **more)


@pytest.mark.parametrize("result", ["begun", "unknown", "file_missing", "folder_away", *UNKNOWN])
def test_every_result_of_a_retry_is_a_sentence(result: str, capsys: pytest.CaptureFixture[str]) -> None:
    answers = _acted([] if result == "daemon_gone" else [result], "/v1/retry")
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith("cam2/gate.mp4 ") and said.endswith((".", "status.")) and result not in said.split()
    expected = {"begun": ExitCode.GOOD, "unknown": ExitCode.FINDING, "file_missing": ExitCode.FINDING}
    assert failed._code(answers) is expected.get(result, ExitCode.NOT_CHECKED)


@pytest.mark.parametrize("result", UNKNOWN)
def test_where_giving_up_may_be_half_done_that_is_said_and_how_to_look(
    result: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = _acted([] if result == "daemon_gone" else [result], "/v1/give-up", apply=True)
    said = capsys.readouterr().out.splitlines()[-1]
    assert "as before" not in said
    assert "python -m src status" in said
    assert ("may be aborted already" in said) or ("may be given up or not" in said)
    assert failed._code(answers) is ExitCode.NOT_CHECKED


def test_when_the_daemon_ends_in_between_each_has_an_answer_also_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    failed._act(cast(Door, _Door(["begun"])), "/v1/retry", _recordings(3), as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert [each["result"] for each in told["recordings"]] == ["begun", "daemon_gone", "daemon_gone"]
