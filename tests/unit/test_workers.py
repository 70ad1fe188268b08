"""Tests that share what a module makes once do run in one worker, with the xdist and the pytest that are installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULES = ("test_findings", "test_listening", "test_rotation", "test_checksums")


def test_a_module_of_short_tests_runs_in_one_worker() -> None:
    files = [f"tests/unit/{name}.py" for name in MODULES]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-v",
        "-n",
        "2",
        "--dist",
        "loadgroup",
        "--no-cov",
        "-p",
        "no:cacheprovider",
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    run = subprocess.run(
        [*command, *files], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=250, check=False
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]
    found = re.findall(r"^\[(gw\d)\] \[[ \d]+%\] PASSED tests/unit/(\w+)\.py::", run.stdout, re.MULTILINE)
    by_module: dict[str, set[str]] = defaultdict(set)
    for worker, module in found:
        by_module[module].add(worker)
    assert by_module.keys() == set(MODULES)
    assert {module: workers for module, workers in by_module.items() if len(workers) > 1} == {}
    assert {worker for worker, _ in found} == {"gw0", "gw1"}, "both have work"
