"""The unit of ``deploy/systemd``: systemd understands all of it, it exposes little, and the daemon can live in it."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from src.config import defaults
from tests.harness.e2e.daemon import ROOT
from tests.harness.e2e.stage import Stage

pytestmark = [pytest.mark.slow, pytest.mark.systemd]

FOLDER = ROOT / "deploy" / "systemd"
UNIT = FOLDER / "cefmp4.service"
#: Tenths of systemd's figure from 0 (sealed) to 10 (open); what is left is mostly the network, which it is there for.
EXPOSURE = 16
_CALL = re.compile(r"^\d+ +(?:<\.\.\. )?([a-z_0-9]+)(?:\(| resumed)", re.MULTILINE)

#: Memory that could be written and becomes code; a library's own code is mapped without the right to write.
_MADE_EXECUTABLE = re.compile(r"^.*(?:PROT_WRITE\|PROT_EXEC|mprotect\(.*PROT_EXEC).*$", re.MULTILINE)


def _ask(*command: str) -> str:
    """What a command without complaints says. Unknown settings are complaints, but no failure, to systemd."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


def _setting(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)


def test_systemd_understands_every_line_of_the_unit(tmp_path: Path) -> None:
    """In a root of its own, where the program is installed and the system's units are."""
    units = tmp_path / "etc" / "systemd" / "system"
    shutil.copytree("/lib/systemd/system", tmp_path / "lib" / "systemd" / "system", symlinks=True)
    units.mkdir(parents=True)
    shutil.copy(UNIT, units)
    program = tmp_path / _setting("ExecStart")[0].lstrip("/")
    program.parent.mkdir(parents=True)
    shutil.copy("/bin/true", program)
    assert _ask("systemd-analyze", "verify", "--man=no", f"--root={tmp_path}", f"/etc/systemd/system/{UNIT.name}") == ""


def test_the_unit_exposes_little() -> None:
    found = _ask("systemd-analyze", "security", "--no-pager", "--offline=true", f"--threshold={EXPOSURE}", str(UNIT))
    assert "Overall exposure level" in found


def test_the_user_of_the_unit_is_made(tmp_path: Path) -> None:
    made = subprocess.run(
        ["systemd-sysusers", "--dry-run", f"--root={tmp_path}", str(FOLDER / "cefmp4.sysusers")],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert f"Creating user '{_setting('User')[0]}'" in made.stdout + made.stderr


def test_it_comes_back_as_the_document_says() -> None:
    (restart,) = _setting("Restart")
    assert f"systemd: `Restart={restart}`" in (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def test_wrong_settings_are_no_reason_to_start_again_and_a_stop_has_its_time() -> None:
    assert _setting("RestartPreventExitStatus") == ["2"]
    grace = defaults()["SHUTDOWN_GRACE_SECONDS"]
    assert int(_setting("TimeoutStopSec")[0].removesuffix("s")) >= int(grace) + 5


def _calls_of(group: str) -> set[str]:
    """The system calls of a group as this systemd has it; groups hold groups."""
    lines = [line.strip() for line in _ask("systemd-analyze", "--no-pager", "syscall-filter", group).splitlines()[1:]]
    calls = {line for line in lines if line and not line.startswith(("#", "@"))}
    return calls.union(*(_calls_of(line) for line in lines if line.startswith("@")))


def _allowed() -> set[str]:
    """What the lines of the filter leave, in their order; the first names what is allowed."""
    allowed = _calls_of("@default")
    for line in _setting("SystemCallFilter"):
        words = line.lstrip("~").split()
        named = set[str]().union(*(_calls_of(word) if word.startswith("@") else {word} for word in words))
        allowed = allowed - named if line.startswith("~") else allowed | named
    return allowed


@pytest.mark.versitygw
@pytest.mark.redis
@pytest.mark.ffmpeg
def test_the_daemon_and_its_ffprobe_make_no_system_call_that_the_unit_forbids(stage: Stage) -> None:
    traced, calls = stage.home / "traced", stage.home / "calls"
    traced.write_text(f'#!/bin/sh\nexec strace -f -qq -o "{calls}" "{sys.executable}" "$@"\n')
    traced.chmod(0o755)
    stage.daemon.python = str(traced)
    stage.daemon.start()
    stage.daemon.wait_for("daemon_started", within=180)
    recording = stage.folder / "sample.mp4"
    shutil.copy(ROOT / "test_data" / "sample.mp4", recording)
    assert stage.wait_until_done(recording)["duration_seconds"] == pytest.approx(2, abs=0.1)
    (daemon,) = psutil.Process(stage.daemon.pid).children()
    daemon.send_signal(signal.SIGTERM)
    assert stage.daemon.exit_code() == 0
    text = calls.read_text(errors="replace")
    made = set(_CALL.findall(text))
    assert {"execve", "connect", "inotify_init1"} <= made
    assert made - _allowed() == set()
    assert _setting("MemoryDenyWriteExecute") == ["yes"]
    assert _MADE_EXECUTABLE.findall(text) == []
