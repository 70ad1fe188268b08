"""What is in ``deploy/``: the alert rules, the dashboard, and every PromQL expression of both."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = PROMETHEUS / "rules" / "cefmp4.yml"
GRAFANA = ROOT / "deploy" / "grafana"
DASHBOARD = GRAFANA / "dashboards" / "cefmp4.json"

#: Series that Prometheus makes itself, and their labels.
OF_PROMETHEUS = {"up": {"job", "instance"}, "ALERTS": {"alertname", "alertstate", "severity", "job", "instance"}}
#: Labels that Prometheus adds to whatever it scrapes.
ADDED = frozenset({"job", "instance"})

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[a-zA-Z_:][\w:]*|[\d.]+\w*|=~|!~|!=|[^\s]')
_NAME = re.compile(r"[a-zA-Z_:][\w:]*")
_GROUPING = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
_OPERATORS = frozenset({"and", "or", "unless", "bool", "offset", "inf", "nan"})


class Used(NamedTuple):
    """The metrics that an expression selects, each with the labels it asks for, and the labels that it groups by."""

    selected: list[tuple[str, frozenset[str]]]
    grouped: frozenset[str]


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@cache
def alerts() -> list[dict[str, Any]]:
    return [rule for group in read_yaml(RULES)["groups"] for rule in group["rules"]]


@cache
def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return loaded


def panels() -> list[dict[str, Any]]:
    """Those that show something; rows only divide."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def queries() -> Iterator[tuple[str, str]]:
    """The title and each query of every panel, as Prometheus gets it for all daemons over some minutes."""
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$instance", ".*").replace("$__rate_interval", "1m")


def expressions() -> list[tuple[str, str]]:
    """Where it stands, and the expression: those of all alerts and all panels."""
    return [(alert["alert"], alert["expr"]) for alert in alerts()] + list(queries())


def used(expression: str) -> Used:
    """What a valid PromQL expression (Prometheus judges that) asks for, without its functions and numbers."""
    tokens = _TOKEN.findall(expression)
    selected: list[tuple[str, frozenset[str]]] = []
    grouped: set[str] = set()
    at = 0
    while at < len(tokens):
        word, following = tokens[at], tokens[at + 1 : at + 2]
        at += 1
        if not _NAME.fullmatch(word) or word.lower() in _OPERATORS:
            continue
        if word in _GROUPING and following == ["("]:
            end = tokens.index(")", at)
            grouped |= set(filter(_NAME.fullmatch, tokens[at:end]))
            at = end
        elif following == ["{"]:
            end = tokens.index("}", at)
            selected.append((word, frozenset(filter(_NAME.fullmatch, tokens[at:end]))))
            at = end
        elif following != ["("] and word not in _GROUPING and following != ["by"]:
            selected.append((word, frozenset()))
    return Used(selected, frozenset(grouped))
