"""``cefmp4 retry`` and ``cefmp4 give-up``: what to do with recordings that failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from ..config import Loaded
from ..door import LONG_ANSWER_SECONDS, Door
from ..status import RecordingView, State, size
from .daemon import ask, introduced, reach, status_of
from .exit_codes import ExitCode
from .options import as_json as as_json_option
from .options import with_settings
from .output import print_json
from .status import chosen

SCHEMA_VERSION = 1
_NO_ANSWER = ("no_answer", "folder_away", "refused")
_SENTENCES = {
    "begun": "is tried again",
    "unknown": "has not failed any longer",
    "file_missing": "cannot be tried again: its file is missing. Move it back, then it continues by itself",
    "file_there": "is not given up: its file is still in the watched folder and would be uploaded as a new recording. "
    "Move the file away first",
    "given_up": "is given up",
    "no_answer": "could not be changed: the store or Redis does not answer. It is as before",
    "folder_away": "could not be changed: its file cannot be looked at. It is as before",
    "refused": "could not be changed: the store or Redis refuses",
}


@click.command()
@click.argument("recording", required=False)
@click.option("--all", "all_of_them", is_flag=True, help="Every recording that failed and whose file is there.")
@as_json_option
@with_settings
def retry(loaded: Loaded, recording: str | None, all_of_them: bool, as_json: bool) -> int:
    """Try a failed recording again, after its cause was corrected.

    RECORDING is its name, or the beginning of its ID, as cefmp4 status shows it.
    """
    if (recording is None) != all_of_them:
        raise click.UsageError("Name one recording, or --all.")
    door = reach(loaded)
    failed = _failed(door)
    if recording is not None:
        wanted: Sequence[RecordingView] = [_one(failed, recording)]
    else:
        wanted = [each for each in failed if each.failure and each.failure.waits_for == "other"]
    answers = _act(door, "/v1/retry", wanted, as_json=as_json)
    if not wanted and not as_json:
        click.echo("No recording that failed can be tried again.")
    return _code(answers)


@click.command("give-up")
@click.argument("recording")
@click.option("--apply", is_flag=True, help="Do it; without this, only what would be done is shown.")
@as_json_option
@with_settings
def give_up(loaded: Loaded, recording: str, apply: bool, as_json: bool) -> int:
    """Give up a failed recording: its upload in S3 is aborted, and it is forgotten.

    This cannot be taken back. RECORDING is its name, or the beginning of its ID, as cefmp4 status shows it. Its file
    must no longer be in the watched folder. An object of an earlier upload stays.
    """
    door = reach(loaded)
    wanted = [_one(_failed(door), recording)]
    return _code(_act(door, "/v1/give-up", wanted, as_json=as_json, apply=apply))


def _failed(door: Door) -> list[RecordingView]:
    return [each for each in status_of(door).recordings if each.state is State.FAILED]


def _one(failed: Sequence[RecordingView], wanted: str) -> RecordingView:
    found = chosen(failed, wanted)
    if not found:
        raise click.UsageError(f"No recording that failed is called {wanted!r}, and no ID begins so.")
    if len(found) > 1:
        ids = ", ".join(str(each.short_id) for each in found)
        raise click.UsageError(f"{wanted!r} means several recordings: {ids}")
    return found[0]


def _act(
    door: Door, path: str, wanted: Sequence[RecordingView], *, as_json: bool, **more: bool
) -> list[dict[str, Any]]:
    """One request for each, so that a slow one does not take the time of the others."""
    if not as_json:
        click.echo(introduced(door))
    answers: list[dict[str, Any]] = []
    for each in wanted:
        told = ask(door, "POST", path, {"ids": [each.id], **more}, seconds=LONG_ANSWER_SECONDS)
        (answer,) = told["answers"]
        answers.append({"name": each.name, **answer})
        if not as_json:
            click.echo(_sentence(each, answer))
    if as_json:
        print_json(SCHEMA_VERSION, {"recordings": answers})
    return answers


def _sentence(each: RecordingView, answer: dict[str, Any]) -> str:
    if answer["result"] == "planned":
        uploads = len(answer["uploads"])
        what = (
            f"abort {uploads} upload{'s' if uploads != 1 else ''} of {answer['key']} ({size(answer['stored'])} in S3)"
        )
        return f"{each.name}: would {what}, and forget it. Nothing was done; to do it, add --apply."
    hint = f" ({answer['hint']})" if answer.get("hint") else ""
    return f"{each.name} {_SENTENCES.get(answer['result'], answer['result'])}{hint}."


def _code(answers: Sequence[dict[str, Any]]) -> ExitCode:
    results = {each["result"] for each in answers}
    if results & set(_NO_ANSWER):
        return ExitCode.NOT_CHECKED
    return ExitCode.GOOD if results <= {"begun", "given_up", "planned"} else ExitCode.FINDING
