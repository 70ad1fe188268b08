"""``status NAME --watch``: a recording that ends meanwhile is no mistake of whoever watches it."""

from __future__ import annotations

from collections.abc import Callable

import click
import pytest

from src.cli import status
from src.status import StatusView, name, view_of
from tests.unit.test_status_view import _facts, _recording


def _look(*answers: StatusView | Exception) -> Callable[[], StatusView]:
    """These in turn, and then Ctrl-C."""
    left = list(answers)

    def look() -> StatusView:
        if not left:
            raise KeyboardInterrupt
        found = left.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    return look


def test_a_recording_that_ends_while_it_is_watched_is_said_and_watching_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "_LOOK_SECONDS", 0.0)
    done = click.UsageError("No unfinished recording is called 'a.mp4', and no ID begins so.")
    status._watch(_look(view_of(_facts(_recording("a.mp4"))), done, done), in_detail=True)
    told = capsys.readouterr().out
    assert "recording   a.mp4" in told and told.count("No unfinished recording is called 'a.mp4'") == 2


def test_a_name_that_was_never_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "_LOOK_SECONDS", 0.0)
    with pytest.raises(click.UsageError):
        status._watch(_look(click.UsageError("No unfinished recording is called 'b.mp4'.")), in_detail=True)


@pytest.mark.parametrize(("path", "wanted"), [("one\udcff.mp4", "one\udcff.mp4"), ("two\n.mp4", "two\\n.mp4")])
def test_a_hurting_name_is_found_as_the_shell_completes_it_and_as_it_is_shown(path: str, wanted: str) -> None:
    recordings = view_of(_facts(_recording(path), _recording("other.mp4"))).recordings
    assert [each.name for each in status.chosen(recordings, wanted)] == [name(path)]
