"""Set-up on any later day: it installs what the locks name, whatever else an index may hold by then."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import src

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]

#: Nothing listens there.
NOBODY = "http://127.0.0.1:9/simple"
_LONG = 900


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of exactly the locked wheels; the smaller lock is a part of the other.

    The machine's own pip fetches them, 100 MB; they stay in .tools until the lock changes.
    """
    lock = ROOT / "requirements-dev.txt"
    kept = ROOT / ".tools" / f"wheels-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    if not kept.is_dir():
        fetched = Path(tempfile.mkdtemp(dir=kept.parent, prefix="fetching-"))
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        as_locked = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", str(lock)]
        _run(*pip, "download", *as_locked, "--dest", str(fetched))
        for former in kept.parent.glob("wheels-*"):
            shutil.rmtree(former, ignore_errors=True)
        try:
            fetched.rename(kept)
        except OSError:  # another suite in the same checkout was faster
            shutil.rmtree(fetched)
    return kept


@pytest.fixture(scope="module")
def newer_ones(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A newer version of every locked package, as a later day brings them: whatever resolves takes these."""
    folder = tmp_path_factory.mktemp("newer")
    for wheel in wheels.iterdir():
        name = wheel.name.partition("-")[0]
        with zipfile.ZipFile(folder / f"{name}-9999.0-py3-none-any.whl", "w") as archive:
            info = f"{name}-9999.0.dist-info"
            archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 9999.0\n")
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", "")
    return folder


def _run(*command: str, cwd: Path | None = None, env: dict[str, str] | None = None, code: int = 0) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LONG, cwd=cwd, env=env)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def _checkout(folder: Path) -> Path:
    """What the set-up reads, and the programs that it would build or fetch; no virtual environment."""
    shutil.copytree(ROOT / "scripts", folder / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("requirements.txt", "requirements-dev.txt"):
        shutil.copy(ROOT / name, folder / name)
    (folder / ".tools").mkdir()
    (folder / ".tools" / "bin").symlink_to(ROOT / ".tools" / "bin")
    return folder


def _offline(home: Path, *folders: Path) -> dict[str, str]:
    """In this environment pip has these folders and nothing else: no index, cache, or settings of the machine."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "TMPDIR", "LANG")}
    return {
        **kept,
        "HOME": str(home),
        "WITHOUT_MINIO": "1",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_CACHE_DIR": str(home / "cache"),
        "PIP_INDEX_URL": NOBODY,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": " ".join(map(str, folders)),
        "PIP_NO_COMPILE": "0",  # which means yes: compiling takes longer than all else, and is no part of what is shown
    }


@pytest.mark.redis
@pytest.mark.ffmpeg
@pytest.mark.versitygw
@pytest.mark.prometheus
@pytest.mark.timeout(2 * _LONG)
def test_both_locks_are_installed_as_they_are_without_an_index(wheels: Path, newer_ones: Path, tmp_path: Path) -> None:
    checkout, environment = _checkout(tmp_path), _offline(tmp_path, wheels, newer_ones)
    python = str(checkout / ".venv" / "bin" / "python")

    _run("scripts/setup", cwd=checkout, env=environment)
    assert _frozen(python) == _locked("requirements.txt")
    assert _run(python, "-m", "src.main", "--version", cwd=checkout) == f"cefmp4 {src.__version__}\n"

    _run("scripts/setup", "--dev", cwd=checkout, env=environment)
    assert _frozen(python) == _locked("requirements-dev.txt")
    assert _run(python, "-m", "pytest", "--version").startswith("pytest ")

    again = _run("scripts/setup", "--dev", cwd=checkout, env=environment)
    steps = re.findall(r"^\[\d/\d\] (.*)$", again, re.MULTILINE)
    assert len(steps) > 5
    assert [step for step in steps if ": there already" not in step and ": left out" not in step] == []


def _frozen(python: str) -> dict[str, str]:
    pairs = (line.split("==") for line in _run(python, "-m", "pip", "freeze", "--all").splitlines())
    return {_normal(name): version for name, version in pairs} | {"pip": "", "setuptools": ""}


def _locked(name: str) -> dict[str, str]:
    """What the lock names for this Python and this machine."""
    lines = (line.rstrip(" \\") for line in (ROOT / name).read_text().splitlines() if re.match(r"\w", line))
    wanted = [Requirement(line) for line in lines]
    here = [one for one in wanted if one.marker is None or one.marker.evaluate()]
    return {_normal(one.name): str(one.specifier).removeprefix("==") for one in here} | {"pip": "", "setuptools": ""}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_a_lock_that_lacks_a_package_is_no_set_up(wheels: Path, tmp_path: Path) -> None:
    checkout = _checkout(tmp_path)
    lock = (ROOT / "requirements.txt").read_text()
    (incomplete,) = re.findall(r"^redis==(?:.*\\\n)*.*\n|^aiosignal==(?:.*\\\n)*.*\n", lock, re.MULTILINE)[:1]
    (checkout / "requirements.txt").write_text(incomplete)
    said = _run("scripts/setup", cwd=checkout, env=_offline(tmp_path, wheels), code=1)
    assert "frozenlist, which is not installed" in said
    assert "rm -r .venv" in said
    assert not (checkout / ".venv" / "installed-run").exists()


def test_an_index_that_cannot_be_reached_is_named_as_the_reason(tmp_path: Path) -> None:
    checkout = _checkout(tmp_path)
    said = _run("scripts/setup", cwd=checkout, env=_offline(tmp_path, tmp_path / "empty"), code=1)
    assert "could not be installed; is the package index reachable?" in said
