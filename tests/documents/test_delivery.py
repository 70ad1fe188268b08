"""What is delivered is what was asked for: Python, packages, image, pipeline, README, test recordings, versions."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import yaml

import src

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
#: Asked for by name, for the daemon and for its tests.
PACKAGES = ("watchfiles", "aioboto3", "redis", "pydantic-settings", "structlog", "prometheus-client", "tenacity")
TEST_PACKAGES = ("pytest", "pytest-asyncio", "moto", "ruff", "mypy")
#: What a reader of the README looks for.
CHAPTERS = (
    *("Contents", "Prerequisites", "Run it", "Simulate a recording", "Stop, kill, resume", "Configuration"),
    *("Services, and how to look into them", "How it works", "Observability", "Troubleshooting", "Development"),
    *("Structure", "Documents"),
)
#: Compilers and whatever fetches: for the stages that are left behind.
_OF_THE_BUILD = re.compile(r"\b(?:gcc|make|dpkg-dev|libc6-dev|pip|curl|wget|git|ffmpeg)\b")


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=~! ]", each)[0] for each in requirements}


def test_the_daemon_is_one_command_on_python_3_11_and_newer() -> None:
    assert PROJECT["project"]["requires-python"] == ">=3.11"
    assert (ROOT / "src" / "main.py").is_file()
    assert re.findall(r"^ARG BASE=(.+)$", DOCKERFILE, re.MULTILINE) == ["python:3.11-slim-bookworm"]
    assert re.findall(r"^CMD (.+)$", DOCKERFILE, re.MULTILINE) == ['["python", "-m", "src.main"]']
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    assert compose["services"]["app"]["build"]["context"] == "."
    assert not {"command", "entrypoint"} & compose["services"]["app"].keys()


def test_the_named_packages_are_declared_and_locked() -> None:
    project = PROJECT["project"]
    assert set(PACKAGES) - _names(project["dependencies"]) == set()
    assert set(TEST_PACKAGES) - _names(project["optional-dependencies"]["dev"]) == set()
    for file, names in (("requirements.txt", PACKAGES), ("requirements-dev.txt", (*PACKAGES, *TEST_PACKAGES))):
        locked = re.findall(r"^([\w.-]+)(?:\[.*?\])?==", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
        assert set(names) - set(locked) == set(), file


def test_project_and_version_have_the_names_that_were_asked_for() -> None:
    assert PROJECT["project"]["name"] == "cefmp4_stream_processor"
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "cefmp4.__version__"}
    numbers = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", src.__version__)
    assert numbers is not None
    assert tuple(map(int, numbers.groups())) >= (0, 1, 0)


def test_each_folder_of_the_source_is_in_the_wheel() -> None:
    folders = sorted(door.parent.relative_to(ROOT / "src").parts for door in (ROOT / "src").rglob("__init__.py"))
    assert PROJECT["tool"]["setuptools"]["packages"] == [".".join(("cefmp4", *parts)) for parts in folders]


def _stages() -> list[str]:
    return re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]


def test_the_image_is_built_in_stages_of_which_the_last_has_no_tools() -> None:
    *early, last = _stages()
    assert len(early) >= 2
    assert all(stage.startswith("${BASE} AS ") for stage in early)
    commands = re.sub(r"^#.*\n", "", last, flags=re.MULTILINE)
    installed = re.findall(r"apt-get install -y --no-install-recommends ([^\\&\n]+)", commands)
    assert [each.split() for each in installed] == [["dumb-init"]]
    assert not _OF_THE_BUILD.search(commands)


def test_the_image_has_ffprobe_an_init_and_a_user_without_rights() -> None:
    last = _stages()[-1]
    assert "\nCOPY --from=ffprobe /out /\n" in last
    assert "\nCOPY --from=packages /opt/venv /opt/venv\n" in last
    assert "useradd --uid 1001 " in last
    assert " appuser\n" in last
    assert re.findall(r"^USER (.+)$", DOCKERFILE, re.MULTILINE) == ["1001:1001"]
    assert re.findall(r"^ENTRYPOINT (.+)$", last, re.MULTILINE) == ['["dumb-init", "--"]']
    assert re.findall(r"^EXPOSE (.+)$", last, re.MULTILINE) == ["8000"]
    assert {"PYTHONUNBUFFERED=1", "PYTHONIOENCODING=UTF-8", "APP_ENV=production"} <= set(last.split())


def _workflow(name: str) -> dict[Any, Any]:
    loaded: dict[Any, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8"))
    return loaded


def _commands(job: dict[str, Any]) -> list[str]:
    """Every line of shell in the job's steps."""
    lines = (step.get("run", "").splitlines() for step in job["steps"])
    return [line.strip() for each in lines for line in each]


def test_ci_lints_checks_types_and_tests_every_push_and_pull_request() -> None:
    workflow = _workflow("ci.yml")
    triggers = workflow[True]  # YAML takes "on" for true
    assert triggers["push"]["branches"] == ["main", "develop"]
    assert "pull_request" in triggers
    jobs = workflow["jobs"]
    assert {"ruff check .", "ruff format --check ."} <= set(_commands(jobs["lint"]))
    assert any(line.startswith("mypy --strict src tests") for line in _commands(jobs["lint"]))
    assert ".ci/run" in _commands(jobs["check"])
    assert "scripts/test" in _commands(jobs["tests"])
    assert "tests/run_integration_test.sh" in _commands(jobs["container"])
    assert set(jobs["required"]["needs"]) == jobs.keys() - {"required"}
    assert not [name for name, job in jobs.items() if job.get("continue-on-error")]


def test_the_whole_gate_lints_checks_types_and_tests_with_coverage() -> None:
    gate = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    steps = [shlex.split(line)[1:] for line in gate.splitlines() if line.startswith("step ")]
    programs = [[Path(step[0]).name, *step[1:]] for step in steps]
    assert ["ruff", "check", "."] in programs
    assert ["ruff", "format", "--check", "."] in programs
    assert any(step[:4] == ["mypy", "--strict", "src", "tests"] for step in programs)
    assert any(step[0] == "test" for step in programs)
    least = re.search(r"--cov-fail-under=(\d+)", (ROOT / "scripts" / "test").read_text(encoding="utf-8"))
    assert least is not None
    assert int(least[1]) >= 90


def test_the_gate_builds_the_site_with_its_diagrams_and_fails_at_a_warning() -> None:
    assert "\nstep .ci/site\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    site = (ROOT / ".ci" / "site").read_text(encoding="utf-8")
    assert ".ci/diagrams " in site
    assert "--fail-on-warning" in site
    assert "docs/site/check.py" in site


def test_the_gate_sets_up_tests_and_shows_the_demo_in_a_bare_debian() -> None:
    gate = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "\nstep .ci/containers\n" in gate, "with both of its parts"
    containers = (ROOT / ".ci" / "containers").read_text(encoding="utf-8")
    assert "set -- bare compose\n" in containers
    bare = (ROOT / ".ci" / "bare").read_text(encoding="utf-8")
    typed = re.findall(r'"\$\{run\[@\]\}" (scripts/\S+)(?: (--dev))?', bare)
    assert typed == [("scripts/setup", "--dev"), ("scripts/test", ""), ("scripts/demo", "")]


def test_the_gate_fails_where_no_docker_engine_can_be_had(tmp_path: Path) -> None:
    """Elsewhere it only says so. A PATH without apt-get is a machine on which none can be installed."""
    (tmp_path / "id").symlink_to("/usr/bin/id")
    (tmp_path / "bash").symlink_to("/bin/bash")

    def engine(**environment: str) -> subprocess.CompletedProcess[str]:
        command = ["/bin/bash", str(ROOT / ".ci" / "engine"), "echo", "it ran"]
        environment["PATH"] = str(tmp_path)
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    usual, gate = engine(), engine(REQUIRE_DOCKER="1")
    assert (usual.returncode, gate.returncode) == (0, 1)
    assert "!! NO DOCKER ENGINE, SO THIS WAS NOT RUN: echo it ran" in usual.stdout
    assert gate.stdout == usual.stdout
    assert re.search(
        r"^export .*\bREQUIRE_DOCKER=1\b", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE
    )


def test_each_night_every_requirement_is_broken_on_purpose() -> None:
    commands = [line for job in _workflow("nightly.yml")["jobs"].values() for line in _commands(job)]
    assert any("tests.documents.break_requirements" in line for line in commands)


def test_the_readme_has_the_chapters_that_were_asked_for() -> None:
    found = re.findall(r"^## (.+)$", README, re.MULTILINE)
    assert [chapter for chapter in CHAPTERS if chapter not in found] == []
    assert "```mermaid" in README
    assert len(README.splitlines()) <= 300
    assert "job_name: cefmp4-processor" in README


def _kinds(path: Path) -> list[str]:
    """The types of the top-level boxes, in order."""
    data, offset, kinds = path.read_bytes(), 0, list[str]()
    while offset < len(data):
        kinds.append(data[offset + 4 : offset + 8].decode())
        offset += int.from_bytes(data[offset : offset + 4], "big")
    return kinds


def test_there_is_a_small_recording_of_each_shape() -> None:
    folder = ROOT / "test_data"
    recordings = {path.name: _kinds(path) for path in folder.glob("*.mp4")}
    assert recordings.keys() == {"sample.mp4", "sample_faststart.mp4", "sample_fragmented.mp4"}
    assert recordings["sample.mp4"][-1] == "moov"
    assert recordings["sample_faststart.mp4"].index("moov") < recordings["sample_faststart.mp4"].index("mdat")
    assert recordings["sample_fragmented.mp4"].count("moof") > 1
    assert all(path.stat().st_size < 100_000 for path in folder.glob("*.mp4"))
    about = (folder / "README.md").read_text(encoding="utf-8")
    assert [name for name in recordings if f"`{name}`" not in about] == []
    assert "CC0" in about
