"""The alert rules: promtool accepts them, each fires when it should, and each has a row that says what to do."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.harness import servers
from tests.harness.deploy_files import PROMETHEUS, ROOT, RULES, alerts, read_yaml

TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))
OPERATIONS = ROOT / "docs" / "operations.md"


def _promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = servers.find_tool("promtool")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=120, check=False)


def _accepted(*arguments: str | Path) -> None:
    done = _promtool(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.prometheus
def test_promtool_accepts_the_configuration() -> None:
    _accepted("check", "config", PROMETHEUS / "prometheus.yml")


@pytest.mark.prometheus
def test_promtool_accepts_the_rules() -> None:
    _accepted("check", "rules", "--lint=all", "--lint-fatal", RULES)


@pytest.mark.prometheus
@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_each_alert_fires_when_it_should_and_at_no_other_time(path: Path) -> None:
    _accepted("test", "rules", path)


@pytest.mark.prometheus
@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: str(alert["alert"]))
def test_no_alert_can_go_silent_unnoticed(alert: dict[str, str], tmp_path: Path) -> None:
    """Without this alert the tests of the rules that expect it fail."""
    kept = [rule for rule in alerts() if rule is not alert]
    for folder in ("rules", "tests"):
        (tmp_path / folder).mkdir()
    (tmp_path / "rules" / RULES.name).write_text(
        json.dumps({"groups": [{"name": "cefmp4", "rules": kept}]})
    )  # JSON is YAML
    for path in TESTS:
        tests = read_yaml(path)
        tests["tests"] = [test for test in tests["tests"] if alert["alert"] in json.dumps(test)]
        (tmp_path / "tests" / path.name).write_text(json.dumps(tests))
    done = _promtool("test", "rules", *sorted((tmp_path / "tests").iterdir()))
    assert done.returncode == 1 and alert["alert"] in done.stdout + done.stderr


def test_the_configuration_loads_these_rules() -> None:
    patterns = read_yaml(PROMETHEUS / "prometheus.yml")["rule_files"]
    assert RULES in {path for pattern in patterns for path in PROMETHEUS.glob(pattern)}


def test_each_alert_says_how_urgent_it_is_and_where_to_read_on() -> None:
    for alert in alerts():
        assert alert["labels"]["severity"] in {"critical", "warning", "info"}, alert["alert"]
        assert alert["annotations"].keys() == {"summary", "description", "runbook"}, alert["alert"]
        assert alert["annotations"]["runbook"] == "docs/operations.md#alerts"


def test_operations_says_what_each_alert_means_and_what_to_do() -> None:
    section = OPERATIONS.read_text(encoding="utf-8").partition("\n## Alerts\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.+?) \| (.+?) \|$", section, re.MULTILINE)
    assert [(name, severity) for name, severity, _, _ in rows] == [
        (alert["alert"], alert["labels"]["severity"]) for alert in alerts()
    ]
