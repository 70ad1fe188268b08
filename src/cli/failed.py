"""``cefmp4 retry`` and ``cefmp4 give-up``: what to do with recordings that failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from .. import PROGRAM
from ..config import Loaded
from ..door import LONG_ANSWER_SECONDS, Door
from ..status import RecordingView, State, count, name, size
from .daemon import ask, introduced, reach, status_of
from .exit_codes import ExitCode, NotChecked
from .options import as_json as as_json_option
from .options import with_settings
from .output import print_json
from .status import chosen

SCHEMA_VERSION = 1
#: Results after which the question is open.
_NO_ANSWER = ("no_answer", "folder_away", "refused", "stopping", "daemon_gone")
_LOOK = f"Look with: {PROGRAM} status"
#: After a result that leaves it open how much was done. Uploads are aborted first, so that this can be repeated.
_PARTLY = f"It is still failed, but its upload may be aborted already. Type the command again later. {_LOOK}"
_RETRY = {
    "begun": "is tried again",
    "unknown": "has not failed any longer",
    "file_missing": "cannot be tried again: its file is missing. Move it back, then it continues by itself",
    "no_answer": f"is not tried again yet: the daemon is busy. Type the command again. {_LOOK}",
    "folder_away": "is not tried again: its file cannot be looked at. It is failed as before",
    "refused": "is not tried again",
    "stopping": "is not tried again now: the daemon is stopping. Its next start tries it again",
    "daemon_gone": f"may be tried again or not: the daemon has stopped answering. Its next start does it. {_LOOK}",
}
_GIVE_UP = {
    "given_up": "is given up",
    "unknown": "has not failed any longer",
    "file_there": "is not given up: its file is still in the watched folder and would be uploaded as a new recording. "
    "Move the file away first",
    "no_answer": f"is not given up yet: the store or Redis does not answer. {_PARTLY}",
    "folder_away": "is not given up: its file cannot be looked at. It is failed as before",
    "refused": f"is not given up yet: the store or Redis refuses. {_PARTLY}",
    "stopping": f"is not given up yet: the daemon is stopping. {_PARTLY}",
    "daemon_gone": f"may be given up or not: the daemon has stopped answering. {_LOOK}",
}


@click.command()
@click.argument("recording", required=False)
@click.option("--all", "all_of_them", is_flag=True, help="Every recording that failed and whose file is there.")
@as_json_option
@with_settings
def retry(loaded: Loaded, recording: str | None, all_of_them: bool, as_json: bool) -> int:
    """Try a failed recording again, after its cause was corrected.

    RECORDING is its name, or the beginning of its ID, as the command status shows it.
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
        click.echo(_nothing_to_try(len(failed)))
    return _code(answers)


@click.command("give-up")
@click.argument("recording")
@click.option("--apply", is_flag=True, help="Do it; without this, only what would be done is shown.")
@as_json_option
@with_settings
def give_up(loaded: Loaded, recording: str, apply: bool, as_json: bool) -> int:
    """Give up a failed recording: its upload in S3 is aborted, and it is forgotten.

    This cannot be taken back. RECORDING is its name, or the beginning of its ID, as the command status shows it. Its
    file must no longer be in the watched folder. An object of an earlier upload stays.
    """
    door = reach(loaded)
    wanted = [_one(_failed(door), recording)]
    return _code(_act(door, "/v1/give-up", wanted, as_json=as_json, apply=apply))


def _nothing_to_try(failed: int) -> str:
    if not failed:
        return "No recording has failed."
    files = "its file is missing" if failed == 1 else "their files are missing"
    return f"{count(failed, 'recording')} failed, and none can be tried again: {files}. See {PROGRAM} status."


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
    """One request for each, so that a slow one does not take the time of the others. Whatever happens to the daemon
    meanwhile, each has an answer."""
    if not as_json:
        click.echo(introduced(door))
    answers: list[dict[str, Any]] = []
    sentences = _RETRY if path.endswith("retry") else _GIVE_UP
    for each in wanted:
        answer = _answer(door, path, {"ids": [each.id], **more})
        answers.append({"name": each.name, "id": each.id, **answer})
        if not as_json:
            click.echo(_sentence(each, answer, sentences))
    if as_json:
        print_json(SCHEMA_VERSION, {"recordings": answers})
    return answers


def _answer(door: Door, path: str, question: dict[str, object]) -> dict[str, Any]:
    try:
        (answer,) = ask(door, "POST", path, question, seconds=LONG_ANSWER_SECONDS)["answers"]
    except NotChecked:
        return {"result": "daemon_gone"}
    return dict(answer)


def _sentence(each: RecordingView, answer: dict[str, Any], sentences: Mapping[str, str]) -> str:
    if answer["result"] == "planned":
        uploads = len(answer["uploads"])
        what = (
            f"abort {uploads} upload{'s' if uploads != 1 else ''} of {name(answer['key'])}"
            f" ({size(answer['stored'])} in S3)"
        )
        return f"{each.name}: would {what}, and forget it. Nothing was done; to do it, add --apply."
    said = sentences.get(answer["result"], answer["result"])
    hint = f" ({name(answer['hint']).rstrip('.')})" if answer.get("hint") else ""
    return f"{each.name} {said}{hint}."


def _code(answers: Sequence[dict[str, Any]]) -> ExitCode:
    results = {each["result"] for each in answers}
    if results & set(_NO_ANSWER):
        return ExitCode.NOT_CHECKED
    return ExitCode.GOOD if results <= {"begun", "given_up", "planned"} else ExitCode.FINDING
