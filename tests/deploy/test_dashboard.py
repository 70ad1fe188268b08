"""The dashboard: Grafana finds its source, no panel covers another, and its queries are read rightly."""

from __future__ import annotations

import re

import pytest

from tests.harness.deploy_files import GRAFANA, dashboard, expressions, panels, queries, read_yaml, used

SOURCE = {"type": "prometheus", "uid": "cefmp4-prometheus"}


def test_every_panel_asks_the_source_that_is_provisioned() -> None:
    (source,) = read_yaml(GRAFANA / "provisioning" / "datasources" / "prometheus.yml")["datasources"]
    assert {name: source[name] for name in SOURCE} == SOURCE
    variables = dashboard()["templating"]["list"]
    asked = [each["datasource"] for panel in panels() for each in (panel, *panel["targets"])]
    assert [each for each in [*asked, *(variable["datasource"] for variable in variables)] if each != SOURCE] == []


def test_the_figure_that_matters_comes_first() -> None:
    assert "cefmp4_at_risk_oldest_seconds" in next(queries())[1]


def test_every_panel_has_a_name_of_its_own_and_says_what_it_shows() -> None:
    names = [(panel["title"], panel["type"]) for panel in panels()]
    assert len(set(names)) == len(names)
    assert [panel["title"] for panel in panels() if not panel["description"]] == []
    identifiers = [panel["id"] for panel in dashboard()["panels"]]
    assert len(set(identifiers)) == len(identifiers)


def test_a_legend_names_only_labels_that_its_query_keeps() -> None:
    for panel in panels():
        for target in panel["targets"]:
            grouped = used(target["expr"]).grouped
            lost = set(re.findall(r"{{(\w+)}}", target["legendFormat"])) - grouped
            assert not (grouped and lost), (panel["title"], lost)


def test_no_panel_covers_another() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        for cell in (
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        ):
            assert cell not in taken, (panel["title"], taken[cell])
            taken[cell] = panel["title"]


@pytest.mark.parametrize(
    ("expression", "selected", "grouped"),
    [
        ("up", {"up": set()}, set()),
        ('sum by (le, a) (rate(x_bucket{b="by (c)", d=~"{e}"}[5m])) > 1e9', {"x_bucket": {"b", "d"}}, {"le", "a"}),
        ("sum(rate(x[5m])) by (a)", {"x": set()}, {"a"}),
        ("x > 0 unless x offset 1h", {"x": set()}, set()),
        ("(time() - x) * on (a) group_left y == +Inf", {"x": set(), "y": set()}, {"a"}),
    ],
)
def test_an_expression_is_read_as_prometheus_reads_it(
    expression: str, selected: dict[str, set[str]], grouped: set[str]
) -> None:
    found = used(expression)
    assert {name: set(labels) for name, labels in found.selected} == selected
    assert found.grouped == grouped


def test_alerts_and_panels_ask_only_for_this_daemon() -> None:
    """A Prometheus has other jobs, too."""
    for place, expression in expressions():
        for name, labels in used(expression).selected:
            assert "job" in labels or name == "ALERTS", (place, name)
