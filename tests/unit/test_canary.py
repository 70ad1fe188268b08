"""The search for secrets in everything that the suite writes finds one when there is one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import canary
from tests.harness.e2e.daemon import ROOT, Daemon

BIRD = """
from tests.harness import canary

def test_told():
    print("the key is", canary.secret())

def test_silent():
    canary.secret()
"""


def test_a_test_whose_output_shows_a_secret_fails(tmp_path: Path) -> None:
    folder = tmp_path / "bird"
    folder.mkdir()
    (folder / "test_bird.py").write_text(BIRD)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.conftest", str(folder)]
    run = subprocess.run(
        [*command, "--rootdir", str(folder), "-c", "/dev/null"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 1, run.stdout + run.stderr
    assert "1 failed, 1 passed" in run.stdout
    assert "shows a secret in: Captured stdout call" in run.stdout


@pytest.mark.parametrize("kind", ["log", "err"])
def test_a_daemon_whose_output_shows_a_secret_does_not_end_well(tmp_path: Path, kind: str) -> None:
    (tmp_path / f"run-1.{kind}").write_text(f"key={canary.secret()}\n")
    with pytest.raises(AssertionError, match="a secret is in the output"):
        Daemon(tmp_path, {}).end()
