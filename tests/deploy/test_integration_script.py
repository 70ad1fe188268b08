"""``tests/run_integration_test.sh``: CI runs it on Docker; here, that it says what it needs and is what CI runs."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tests.harness.deploy_files import ROOT, read_yaml

SCRIPT = ROOT / "tests" / "run_integration_test.sh"


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(SCRIPT), *arguments]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=60
    )


def test_without_docker_it_says_what_is_needed(tmp_path: Path) -> None:
    done = _run(COMPOSE="no-such-program", TMPDIR=str(tmp_path))
    assert done.returncode == 1
    assert "Docker with Compose 2.24 or newer is needed" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_it_explains_itself() -> None:
    done = _run("--help")
    assert done.returncode == 2
    assert "tests/run_integration_test.sh [--without-monitoring]" in done.stdout


def test_ci_runs_it_whole() -> None:
    steps = read_yaml(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["container"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == ["tests/run_integration_test.sh"]


def test_it_asks_services_that_the_compose_file_has() -> None:
    services = read_yaml(ROOT / "docker-compose.yml")["services"]
    text = SCRIPT.read_text(encoding="utf-8")
    asked = set(re.findall(r"exec -T (\w+)", text)) | set(re.findall(r" (\w+) \d{4} /", text))
    assert {"app", "minio", "redis", "prometheus", "grafana"} <= asked
    assert asked <= services.keys()


def test_its_ports_and_its_image_are_of_its_own() -> None:
    """It must neither fail for nor disturb what runs on the machine already."""
    published = re.findall(r"\$\{([A-Z0-9_]+):-\d+\}:\d+\"", (ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    text = SCRIPT.read_text(encoding="utf-8")
    assert len(published) >= 4
    assert [name for name in published if f"{name}=0" not in text] == []
    assert "CEFMP4_VERSION=integration-$$" in text
    assert "COMPOSE_PROJECT_NAME=cefmp4-integration-$$" in text
