"""The compose profile ``monitoring``: its parts find each other, and nobody else is let in."""

from __future__ import annotations

from typing import Any

import pytest

from tests.deploy.files import GRAFANA, PROMETHEUS, ROOT, read_yaml

SERVICES: dict[str, dict[str, Any]] = read_yaml(ROOT / "docker-compose.yml")["services"]
MONITORING = [name for name, service in SERVICES.items() if "monitoring" in service.get("profiles", [])]


def _mounts(name: str) -> dict[str, str]:
    return {here: there for here, there, *_ in (volume.split(":") for volume in SERVICES[name]["volumes"])}


def test_monitoring_is_prometheus_and_grafana() -> None:
    assert MONITORING == ["prometheus", "grafana"]


@pytest.mark.parametrize("name", MONITORING)
def test_its_services_are_kept_small_and_to_this_machine(name: str) -> None:
    service = SERVICES[name]
    assert not service["user"].startswith("0") and service["read_only"] and service["cap_drop"] == ["ALL"]
    assert service["healthcheck"] and service["mem_limit"] and service["cpus"] and service["pids_limit"]
    assert [port for port in service["ports"] if not port.startswith("${PUBLISH_ADDRESS:-127.0.0.1}:")] == []
    _, _, version = service["image"].rpartition(":")
    assert version.removeprefix("v").replace(".", "").isdigit(), "an image by its version"


def test_prometheus_finds_its_configuration_and_the_daemon() -> None:
    folder = _mounts("prometheus")["./deploy/prometheus"]
    assert f"--config.file={folder}/prometheus.yml" in SERVICES["prometheus"]["command"]
    (job,) = read_yaml(PROMETHEUS / "prometheus.yml")["scrape_configs"]
    port = SERVICES["app"]["environment"]["PROM_PORT"]
    assert job["static_configs"] == [{"targets": [f"app:{port}"]}]


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    mounts, settings = _mounts("grafana"), SERVICES["grafana"]["environment"]
    (source,) = read_yaml(GRAFANA / "provisioning" / "datasources" / "prometheus.yml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert mounts["./deploy/grafana/provisioning"] == settings["GF_PATHS_PROVISIONING"]
    (provider,) = read_yaml(GRAFANA / "provisioning" / "dashboards" / "cefmp4.yml")["providers"]
    assert mounts["./deploy/grafana/dashboards"] == provider["options"]["path"]
    assert settings["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == f"{provider['options']['path']}/cefmp4.json"
