"""What must not get into a commit: git itself is asked, with our .gitignore in an empty repository."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.documents.test_documents import ROOT

IGNORED = [
    *(".env", ".env.production", "secrets/s3_secret_access_key", "docker-compose.override.yml"),
    *("daemon.log", "logs/daemon.log", "data/s3/videos/a.mp4", "local_watch_dir/a.mp4"),
    *(".venv/bin/python", "venv/bin/python", "env/bin/python", ".tools/bin/versitygw", "src/speed.so"),
    *("src/__pycache__/main.cpython-311.pyc", "a.pyc", "build/lib/a.py", "dist/a.whl", "cefmp4.egg-info/PKG-INFO"),
    *(".coverage", "htmlcov/index.html", ".mypy_cache/a", ".pytest_cache/a", ".ruff_cache/a"),
    *(".idea/a.xml", ".vscode/settings.json", ".DS_Store"),
]
KEPT = ["example.env", "docker-compose.yml", "local_watch_dir/.gitkeep", "test_data/a.mp4", "tests/deploy/first.env"]


@pytest.mark.parametrize(("names", "ignored"), [(IGNORED, IGNORED), (KEPT, [])], ids=["ignored", "kept"])
def test_git_leaves_out_what_is_this_machines_alone_and_nothing_else(
    tmp_path: Path, names: list[str], ignored: list[str]
) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    shutil.copy(ROOT / ".gitignore", tmp_path)
    asked = ["git", "-C", str(tmp_path), "check-ignore", "--", *names]
    assert subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split() == ignored
