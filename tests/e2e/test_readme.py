"""Every command in the README's blocks is typed here as it stands there, in a copy of the checkout.

Changed are only ports and ids, which differ from run to run, and the length of recordings. Of the commands inside
sentences, those of ``docker`` take an engine: the job "container" of the workflow runs them. What ``pip install .``
gives is tried by ``test_installed.py``, and of ``make``, which the set-up does not install, the targets are looked up.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import unescape
from pathlib import Path

import pytest

from scripts.picture import NO_BREAK_SPACE, PICTURE
from tests.documents.test_documents import _tests_in
from tests.harness.e2e.daemon import PATIENCE_SECONDS, ROOT, TETHER, Daemon, eventually
from tests.harness.readme import WRITING, commands, log_lines, normalised, readme, samples, shown, transcript, write

README = readme()
_HERE = "e2e/test_readme.py"
_STORY = f"{_HERE}::test_the_readme_from_the_first_recording_to_the_start_after_two_kills"
#: The beginning of each command, and the test that types it.
TYPED_IN = {
    "git clone": f"{_HERE}::test_a_clone_has_all_that_the_first_command_needs",
    "cd cefmp4": f"{_HERE}::test_a_clone_has_all_that_the_first_command_needs",
    "scripts/run": _STORY,
    "ffmpeg -hide_banner": _STORY,
    "redis-cli -p 6390": _STORY,
    ".venv/bin/python -m src status": _STORY,
    "sha256sum": _STORY,
    "ls data/s3": _STORY,
    "kill -9": _STORY,
    "grep aws_": _STORY,
    "curl -s": _STORY,
    "scripts/demo": f"{_HERE}::test_the_demonstration_ends_with_two_equal_checksums",
    "scripts/test": f"{_HERE}::test_the_suite_is_run_by_one_command",
    "cp example.env": f"{_HERE}::test_the_daemon_runs_from_a_copy_of_the_example",
    "scripts/setup": f"{_HERE}::test_the_daemon_runs_from_a_copy_of_the_example",
    ".venv/bin/python -m src.main": f"{_HERE}::test_the_daemon_runs_from_a_copy_of_the_example",
    "S3_ACCESS_KEY_ID=x": f"{_HERE}::test_wrong_settings_are_told_as_shown",
    "AWS_CONFIG_FILE=data/aws-config aws": (
        "e2e/test_embedded_services.py::test_every_aws_tool_finds_the_store_through_the_config_file"
    ),
}
#: What a checkout does not have when it is fresh, and what is taken from ours.
_NOT_COPIED = shutil.ignore_patterns(
    *(".git", ".venv", ".tools", ".env", "data", "local_watch_dir"),
    *("*_cache", "__pycache__", ".hypothesis", "node_modules", ".coverage*"),
)
_SET_UP = (".venv", ".tools")


def test_every_command_is_typed_in_a_test() -> None:
    typed = commands()
    assert len(typed) > 15
    assert [line for line in typed if not line.startswith(tuple(TYPED_IN))] == []
    assert [one for one in TYPED_IN if not any(line.startswith(one) for line in typed)] == []
    files = [named.partition("::") for named in TYPED_IN.values()]
    assert [name for file, _, name in files if name not in _tests_in(file)] == []


def test_the_containers_that_are_named_are_there() -> None:
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    pages = (path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "how-to").glob("*.md"))
    named = re.findall(r"docker compose exec (\w+)", "".join(pages))
    assert named
    assert [name for name in named if f"\n  {name}:\n" not in compose] == []


def test_a_clone_has_all_that_the_first_command_needs(checkout: Path, tmp_path: Path) -> None:
    git = ["git", "-C", str(checkout), "-c", "user.name=nobody", "-c", "user.email=nobody@localhost"]
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "all"]):
        subprocess.run([*git, *command], check=True)
    typed = f"{shown('git clone')}\n{shown('cd cefmp4')}\nls scripts/run; git status --short"
    there = typed.replace("ADDRESS-OF-THIS-REPOSITORY", str(checkout))
    shell = ["bash", "-euc", there]
    done = subprocess.run(shell, cwd=tmp_path, env=_environment(tmp_path), capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "scripts/run", done.stdout + done.stderr
    assert os.access(tmp_path / "cefmp4-stream-processor" / "scripts" / "run", os.X_OK)


def test_every_target_of_make_is_there() -> None:
    named = set(re.findall(r"`make ([\w-]+)`", README))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert len(named) > 5
    assert named - set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE)) == set()
    assert named - set(re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[0].split()) == set()


class _Run(Daemon):
    """``scripts/run`` in a checkout: the daemon takes the script's place, with the script's process id."""

    def __init__(self, checkout: Path, *command: str) -> None:
        super().__init__(checkout, {})
        self.new_interpreter = True  # it is the script that is tried, not only what it starts
        self._words = command

    def _command(self) -> list[str]:
        return [sys.executable, "-I", str(TETHER), str(os.getpid()), *self._words]

    def _environment(self, changes: Mapping[str, str]) -> dict[str, str]:
        return {**_environment(self.home), **changes}


def _environment(checkout: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR", "LANG")}
    # Two suites at once: any free port. Lines that a test can read.
    return {**kept, "PYTHONPATH": str(checkout), "PROM_PORT": "0", "APP_ENV": "production"}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A fresh copy, in which the set-up has been run already."""
    copy = tmp_path / "checkout"
    shutil.copytree(ROOT, copy, ignore=_NOT_COPIED)
    (copy / "local_watch_dir").mkdir()
    for name in _SET_UP:
        (copy / name).symlink_to(ROOT / name)
    locks = b"".join((ROOT / name).read_bytes() for name in ("requirements.txt", "requirements-dev.txt"))
    installed = (ROOT / ".venv" / "installed-dev").read_text().strip()
    assert installed == hashlib.sha256(locks).hexdigest(), "the locks have changed: scripts/setup --dev"
    return copy


@contextmanager
def _running(checkout: Path, *command: str) -> Iterator[_Run]:
    run = _Run(checkout, *command)
    try:
        run.start()
        yield run
    finally:
        run.end()


def _type(checkout: Path, command: str, changes: Mapping[str, str] | None = None) -> str:
    """Type a command of the README; what it printed. ``changes`` is what differs from run to run."""
    for old, new in (changes or {}).items():
        assert old in command, command
        command = command.replace(old, new)
    if command.startswith("curl -s "):  # not on every machine
        with urllib.request.urlopen(command.removeprefix("curl -s "), timeout=PATIENCE_SECONDS) as answer:
            return str(answer.read().decode())
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=checkout,
        env=_environment(checkout),
        capture_output=True,
        text=True,
        timeout=5 * PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def _ports(run: _Run) -> tuple[str, str]:
    """Those of Redis and of the metrics."""
    run.wait_until_ready()
    settings = run.wait_for("daemon_started")
    redis, metrics = str(settings["redis_url"]), eventually(lambda: run.plain_lines()[-1:], "the last line is printed")
    return re.findall(r":(\d+)", redis)[-1], re.findall(r":(\d+)/metrics", metrics[0])[0]


@pytest.mark.slow
@pytest.mark.versitygw
@pytest.mark.redis
@pytest.mark.ffmpeg
def test_the_readme_from_the_first_recording_to_the_start_after_two_kills(checkout: Path) -> None:
    captured: dict[str, str] = {}
    with _running(checkout, *shown("scripts/run").split()) as run:
        ports = _ports(run)
        captured["run"] = _as_usual(transcript((shown("scripts/run"), "\n".join(run.plain_lines()))), ports, checkout)
        captured["services"] = _as_usual(_look_into_services(checkout, *ports), ports, checkout)
        with _recording(checkout, "first.mp4", seconds=30 if WRITING else 12):
            run.wait_for("part_stored", number=1, file_path="first.mp4")
            captured["redis"] = _as_usual(_look_into_redis(checkout, ports[0]), ports, checkout)
        run.wait_for("stream_completed", file_path="first.mp4")
        captured["log"] = log_lines(run.lines(file_path="first.mp4", level="info"))
        (completed,) = run.lines("stream_completed", file_path="first.mp4")
        captured["json"] = json.dumps(completed) + "\n"
        assert run.lines("part_stored", number=1, reason="head_patch")
        sums = _type(checkout, shown("sha256sum"))
        assert sums.split()[0] == sums.split()[2]
        stored = shown("ls data/s3")
        captured["object"] = transcript((shown("sha256sum"), sums), (stored, _type(checkout, stored)))

        kill, kill_and_lose_redis = (line for line in commands() if line.startswith("kill -9"))
        captured["killed"] = _kill_in_the_middle(checkout, run, kill, "second.mp4", "stream_resumed")
        captured["redis-lost"] = _kill_in_the_middle(checkout, run, kill_and_lose_redis, "third.mp4", "upload_adopted")
        _follow_the_quickstart(checkout, run)
    _compare_or_write(captured)


def _compare_or_write(captured: Mapping[str, str]) -> None:
    """``captured``: name → what this run printed. Fails where the README shows anything else."""
    if WRITING:
        write(captured)
        return
    in_readme = samples()
    for name, text in captured.items():
        shown_there, printed = normalised(in_readme[name]), normalised(text)
        if name == "log":  # the last part and the first one are sent at the same time
            shown_there, printed = sorted(shown_there), sorted(printed)
        assert shown_there == printed, f"{name}: python -m scripts.samples"


def _as_usual(text: str, ports: tuple[str, str], checkout: Path) -> str:
    """The ports that the README names, and a checkout that may lie anywhere."""
    redis, metrics = ports
    text = text.replace(f":{metrics}", ":8000").replace(f"-p {redis} ", "-p 6390 ")
    return text.replace(str(checkout), "…")


def _kill_in_the_middle(checkout: Path, run: _Run, kill: str, name: str, goes_on: str) -> str:
    """What was stored before the kill is not sent again; but for part 1, if ffmpeg has patched it meanwhile.

    Returns how the log goes on, up to the first part that is stored after the start.
    """
    with _recording(checkout, name, seconds=15):
        run.wait_for("part_stored", number=2, file_path=name)
        _type(checkout, kill)
        assert run.exit_code() != 0
        run.start()
        run.wait_for(goes_on, file_path=name)
    run.wait_for("stream_completed", file_path=name)
    assert not run.lines("part_stored", number=2, file_path=name)
    copy = checkout / "data" / "s3" / "video-streams" / name
    assert copy.read_bytes() == (checkout / "local_watch_dir" / name).read_bytes()
    told = [*run.lines("streams_recovered"), *run.lines(file_path=name, level="info")]
    until = next(number for number, line in enumerate(told) if line["event"] == goes_on)
    return log_lines(told[: until + 1])


@contextmanager
def _recording(checkout: Path, name: str, *, seconds: int) -> Iterator[None]:
    """The README's recorder, for so long; the rest of the block happens while it writes."""
    command = shown("ffmpeg").replace("first.mp4", name).replace("-t 30", f"-t {seconds}")
    recorder = subprocess.Popen(["bash", "-c", f"exec {command}"], cwd=checkout, stdin=subprocess.DEVNULL)
    try:
        yield
        assert recorder.wait(5 * PATIENCE_SECONDS) == 0
    finally:
        if recorder.poll() is None:
            recorder.kill()
            recorder.wait()


def _follow_the_quickstart(checkout: Path, run: _Run) -> None:
    """As it stands there; ``cmp`` ends with another exit code than 0 where the two differ."""
    page = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
    copy, compare = (re.findall(rf"^{program} test_data/.*$", page, re.MULTILINE)[0] for program in ("cp", "cmp"))
    _type(checkout, copy)
    run.wait_for("stream_completed", file_path="sample.mp4")
    assert _type(checkout, compare) == ""


def _look_into_services(checkout: Path, redis: str, metrics: str) -> str:
    assert _type(checkout, shown("grep aws_")).count("aws_") == 2
    assert "store ok · redis ok · folder ok" in _type(checkout, shown(".venv/bin/python -m src status"))
    page = shown("curl -s http://127.0.0.1:8000/-/ready")
    return transcript((page, _type(checkout, page, {"8000": metrics})))


def _look_into_redis(checkout: Path, redis: str) -> str:
    stream = _type(checkout, shown("redis-cli -p 6390 smembers streams:active"), {"6390": redis}).strip()
    id_there = re.findall(r"stream:(\w{32}):", shown("redis-cli -p 6390 hmget"))[0]
    changes = {"6390": redis, id_there: stream}
    meta = _type(checkout, shown("redis-cli -p 6390 hmget"), changes)
    status, key, upload_id = meta.split()
    assert (status, key) == ("active", "first.mp4")
    assert upload_id
    typed = ((shown("redis-cli -p 6390 smembers streams:active"), stream), (shown("redis-cli -p 6390 hmget"), meta))
    return transcript(*((command.replace(id_there, stream), said) for command, said in typed))


@pytest.mark.slow
@pytest.mark.versitygw
@pytest.mark.redis
@pytest.mark.ffmpeg
def test_the_demonstration_ends_with_two_equal_checksums(checkout: Path) -> None:
    printed = _type(checkout, shown("scripts/demo") + " --seconds 4")
    assert "They are equal." in printed
    assert _lines_of_the_demo(_text_of(PICTURE)) == _lines_of_the_demo(printed), "python -m scripts.picture"
    assert len(set(re.findall(r"^SHA-256 of the \w+ +(\w{64})", printed, re.MULTILINE))) == 1


def _text_of(picture: Path) -> str:
    rows = re.findall(r">([^<]*)</text>", picture.read_text(encoding="utf-8"))
    return "\n".join(unescape(row).replace(NO_BREAK_SPACE, " ") for row in rows)


def _lines_of_the_demo(text: str) -> str:
    """Without the command and the progress, of which there is more or less; the picture is no wider than a terminal."""
    lines = (line for line in normalised(text) if not re.match(r"N s \w+ recorded|\$ ", line))
    return re.sub(r"\s", "", "".join(lines))


@pytest.mark.slow
@pytest.mark.versitygw
@pytest.mark.redis
def test_the_daemon_runs_from_a_copy_of_the_example(checkout: Path) -> None:
    _type(checkout, shown("cp example.env"))
    assert "[5/5]" in _type(checkout, shown("scripts/setup"))
    with _running(checkout, *shown(".venv/bin/python -m src.main").split()) as run:
        run.wait_for("daemon_started", embedded_services="off")
        assert run.stop() == 0


@pytest.mark.slow
@pytest.mark.versitygw
@pytest.mark.redis
def test_the_suite_is_run_by_one_command(checkout: Path) -> None:
    assert " passed" in _type(checkout, shown("scripts/test") + " -q -p no:cacheprovider tests/unit/test_lifecycle.py")


def test_wrong_settings_are_told_as_shown(tmp_path: Path) -> None:
    command = shown("S3_ACCESS_KEY_ID=x").replace(".venv/bin/python", sys.executable)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    _compare_or_write({"settings": transcript((shown("S3_ACCESS_KEY_ID=x"), done.stderr))})
    assert WRITING or done.stderr.strip() in readme()
