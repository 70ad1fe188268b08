"""What is typed is answered: help, version and slips, of every program that a reader of the documents may start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import src

ROOT = Path(__file__).resolve().parents[2]
#: All ways to start the daemon from a checkout.
WAYS = {
    "python -m src.main": ("-m", "src.main"),
    "python -m src": ("-m", "src"),
    "python src/main.py": (str(ROOT / "src" / "main.py"),),
    "python -P src/main.py": ("-P", str(ROOT / "src" / "main.py")),
}
#: How each way answers to what it does not know, and how it calls itself.
REFUSED = {
    "python -m src": ("No such {kind}", "Usage: python -m src"),
    **dict.fromkeys(WAYS.keys() - {"python -m src"}, ("unrecognized arguments: {word}", "usage: python -m src.main")),
}
SCRIPTS = ("run", "demo", "test", "setup")


def _typed(*command: str, cwd: Path = ROOT, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], **settings}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=cwd, env=environment)


@pytest.mark.parametrize("way", WAYS)
def test_help_and_version_answer_and_start_nothing(way: str) -> None:
    told = _typed(sys.executable, *WAYS[way], "--version")
    assert (told.returncode, told.stdout, told.stderr) == (0, f"cefmp4 {src.__version__}\n", "")
    helped = _typed(sys.executable, *WAYS[way], "--help", LOG_LEVEL="LOUD")  # settings are not even read
    assert (helped.returncode, helped.stderr) == (0, "")
    assert REFUSED[way][1] in helped.stdout
    assert "docs/configuration.md" in helped.stdout


@pytest.mark.parametrize(
    ("way", "word"),
    [
        *((way, "--wacth") for way in WAYS),
        *(("python -m src", word) for word in ("-v", "start", "--vers", "WATCH_DIR=/srv")),
        *(("python -m src.main", word) for word in ("-v", "start", "--vers", "WATCH_DIR=/srv")),
    ],
)
def test_what_it_does_not_know_is_refused(way: str, word: str) -> None:
    refused = _typed(sys.executable, *WAYS[way], word, LOG_LEVEL="LOUD")
    assert refused.returncode == 2
    said, usage = REFUSED[way]
    assert said.format(word=word, kind="option" if word.startswith("-") else "command") in refused.stderr
    assert usage in refused.stderr
    assert "LOG_LEVEL" not in refused.stderr


@pytest.mark.parametrize("way", WAYS)
def test_each_way_runs_the_daemon_itself(way: str, tmp_path: Path) -> None:
    """Up to the settings, in any working directory; the file as a script finds its modules like the others."""
    place = {} if "src/main.py" in way else {"PYTHONPATH": str(ROOT)}
    refused = _typed(sys.executable, *WAYS[way], cwd=tmp_path, LOG_LEVEL="LOUD", **place)
    assert refused.returncode == 2
    assert refused.stderr.startswith("cefmp4 cannot start with these settings:\n  - LOG_LEVEL is 'LOUD'")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_explains_itself_without_setting_anything_up(script: str, tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    for name in ("lib.sh", script):
        (tmp_path / "scripts" / name).symlink_to(ROOT / "scripts" / name)
    for word in ("--help", "-h"):
        helped = _typed(str(tmp_path / "scripts" / script), word)
        assert (helped.returncode, helped.stderr) == (0, "")
        assert helped.stdout.startswith(f"usage: scripts/{script}")
        assert len(helped.stdout.splitlines()) > 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scripts"]


@pytest.mark.parametrize("script", ["run", "demo", "setup"])
def test_a_script_refuses_what_it_does_not_know_before_it_sets_up(script: str) -> None:
    refused = _typed(f"scripts/{script}", "--wacth")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"unknown option: --wacth\nusage: scripts/{script}")


def test_the_script_tells_the_daemons_version() -> None:
    assert _typed("scripts/run", "--version").stdout == f"cefmp4 {src.__version__}\n"


@pytest.mark.parametrize(
    ("started", "setup"),
    [
        (("-m", "src.main"), "scripts/setup\n  .venv/bin/python -m src.main"),
        (("src/main.py",), "scripts/setup\n  .venv/bin/python -m src.main"),
        (("-m", "src"), "scripts/setup\n  .venv/bin/python -m src.main"),
        (("-m", "src", "status"), "scripts/setup\n  .venv/bin/python -m src --help"),
        (("-m", "bench"), "scripts/setup --dev\n  .venv/bin/python -m bench"),
        (("-m", "bench.soak", "--kills", "1"), "scripts/setup --dev\n  .venv/bin/python -m bench"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_without_its_packages_a_program_says_what_to_type(started: tuple[str, ...], setup: str) -> None:
    """-S: this Python, as if nothing had been installed."""
    refused = _typed(sys.executable, "-S", *started)
    assert refused.returncode == 1
    assert refused.stderr.rstrip().endswith(setup)
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("command", ["config", "config --json", "--help"])
def test_an_answer_that_cannot_be_written_is_said(command: str) -> None:
    shell = f"{sys.executable} -m src {command}"
    full = _typed("sh", "-c", f"{shell} > /dev/full")
    assert (full.returncode, full.stderr) == (3, "The answer could not be made or written: No space left on device.\n")
    closed = _typed("sh", "-c", f"{shell} >&-")
    assert (closed.returncode, closed.stderr) == (0, "")


def test_in_a_folder_that_was_removed_a_command_says_so(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    typed = f"mkdir {gone} && cd {gone} && rmdir {gone} && PYTHONPATH={ROOT} exec {sys.executable} -m src status"
    told = _typed("sh", "-c", typed)
    assert (told.returncode, told.stderr.splitlines()[0]) == (2, "The working directory no longer exists.")
    assert "Traceback" not in told.stderr


def test_the_demonstration_answers_wrong_values_with_code_2() -> None:
    refused = _typed(sys.executable, "scripts/demo.py", "--seconds", "long")
    assert refused.returncode == 2
    assert "invalid int value: 'long'" in refused.stderr
