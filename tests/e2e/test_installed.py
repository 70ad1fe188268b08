"""What an installation gives: the command ``cefmp4`` and a package of that name, without a checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

import src
from tests.harness.e2e.daemon import ROOT
from tests.harness.e2e.recorders import CHUNK, write
from tests.harness.e2e.stage import Stage

pytestmark = pytest.mark.slow

SOURCES = ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "example.env", "requirements.txt")
FOLDERS = ("src", "deploy/systemd", "deploy/man", "deploy/completions")
#: Beside the modules, what the one who installs from the source archive needs.
BESIDE = {*SOURCES, "deploy/systemd/cefmp4.service"}


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source archive, and with the wheel that was built from it: those that CI keeps, or new ones."""
    if kept := os.environ.get("TRY_ARCHIVES_IN"):
        return ROOT / kept
    copy, built = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("built")
    for name in SOURCES:
        shutil.copy(ROOT / name, copy / name)
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(built), str(copy))
    return built


@pytest.fixture(scope="module")
def environment(archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh virtual environment with the wheel in it; its libraries are those of the tests' own environment."""
    place = tmp_path_factory.mktemp("installed") / "venv"
    _run(sys.executable, "-m", "venv", str(place))
    (wheel,) = archives.glob("*.whl")
    _run(str(place / "bin" / "pip"), "install", "--no-index", "--no-deps", "--disable-pip-version-check", str(wheel))
    (site_packages,) = place.glob("lib/python*/site-packages")
    (site_packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return place


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _modules(*roots: str) -> set[str]:
    return {str(path.relative_to(ROOT / "src")) for root in roots for path in (ROOT / root).rglob("*.py")}


def _files(folder: str) -> set[str]:
    return {str(path.relative_to(ROOT / "src")) for path in (ROOT / folder).iterdir()}


def test_the_wheel_holds_every_module_in_a_package_of_its_name_and_nothing_else(archives: Path) -> None:
    (wheel,) = archives.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (licence,) = (name for name in names if name.endswith("/licenses/LICENSE"))
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
    own = {name.removeprefix("cefmp4/") for name in names if name.startswith("cefmp4/")}
    assert own == _modules("src") | _files("src/page/files")
    assert {name.partition("/")[0] for name in names} == {
        "cefmp4",
        f"cefmp4_stream_processor-{src.__version__}.dist-info",
        f"cefmp4_stream_processor-{src.__version__}.data",
    }
    beside = {name.partition(".data/data/")[2] for name in names if ".data/" in name}
    assert beside == {
        "share/man/man1/cefmp4.1",
        "share/bash-completion/completions/cefmp4",
        "share/zsh/site-functions/_cefmp4",
        "share/fish/vendor_completions.d/cefmp4.fish",
    }


def test_the_source_archive_holds_what_an_installation_needs(archives: Path) -> None:
    (source,) = archives.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= {*BESIDE, *(f"src/{module}" for module in _modules("src"))}


def test_the_command_tells_its_version_and_takes_nothing_else(environment: Path, tmp_path: Path) -> None:
    command = str(environment / "bin" / "cefmp4")
    assert _run(command, "--version") == f"cefmp4 {src.__version__}\n"
    assert "Its exit codes: 0" in _run(command, "--help")
    wrong = subprocess.run([command, "--wacth"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (wrong.returncode, "No such option" in wrong.stderr) == (2, True)
    settings = {"LOG_LEVEL": "LOUD", "PATH": "/usr/bin:/bin"}
    refused = subprocess.run([command], capture_output=True, text=True, check=False, cwd=tmp_path, env=settings)
    assert (refused.returncode, "cannot start with these settings" in refused.stderr) == (2, True)


@pytest.mark.versitygw
@pytest.mark.redis
def test_the_installed_daemon_uploads_a_recording_and_stops(stage: Stage, environment: Path) -> None:
    daemon = stage.daemon
    daemon.python, daemon.module = str(environment / "bin" / "python"), "cefmp4"
    daemon.start_and_wait(PYTHONPATH="")
    recording = stage.folder / "first.mp4"
    write(recording, CHUNK + 10)
    stage.wait_until_done(recording)
    stage.wait_until_clean("first.mp4")
    assert {line["logger_name"].partition(".")[0] for line in daemon.lines()} == {"cefmp4"}
    assert daemon.stop() == 0
