"""A real Prometheus that watches a daemon by the rules of ``deploy/``, only faster."""

from __future__ import annotations

import json
import math
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.harness import servers
from tests.harness.deploy_files import PROMETHEUS, alerts, read_yaml
from tests.harness.e2e.daemon import Daemon, eventually

#: Long: the daemon's own pauses between two attempts grow to a minute.
WITHIN_SECONDS = 150.0


class Prometheus:
    """What it has seen of the daemon since it was started."""

    def __init__(self, server: servers.Server) -> None:
        self._server = server
        self._began = time.time()

    def is_ready(self) -> bool:
        """It listens before it answers."""
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self._server.port}/-/ready", timeout=60).close()
        except urllib.error.HTTPError:
            return False
        return True

    def firing(self) -> set[str]:
        """The alerts that fire now."""
        found = self._ask("alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in found if alert["state"] == "firing"}

    def wait_until_firing(self, alert: str) -> None:
        eventually(lambda: alert in self.firing(), f"{alert} fires", within=WITHIN_SECONDS)

    def wait_until_quiet(self, alert: str) -> None:
        eventually(lambda: alert not in self.firing(), f"{alert} fires no more", within=WITHIN_SECONDS)

    def values(self, expression: str) -> list[float]:
        """Every number that this has been, of all series together. AssertionError when it is no PromQL."""
        asked = {"query": expression, "start": f"{self._began:.3f}", "end": f"{time.time():.3f}", "step": "1"}
        found = self._ask("query_range", **asked)["result"]
        numbers = (float(value) for series in found for _, value in series["values"])
        return [number for number in numbers if not math.isnan(number)]

    def labels(self) -> dict[str, set[str]]:
        """The names of the metrics that it has seen, each with the names of its labels."""
        found: dict[str, set[str]] = {}
        for series in self._ask("series", **{"match[]": '{job="cefmp4-processor"}'}):
            found.setdefault(series.pop("__name__"), set()).update(series)
        return found

    def _ask(self, page: str, **parameters: str) -> Any:
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self._server.port}/api/v1/{page}?{query}", timeout=60
            ) as got:
                return json.load(got)["data"]
        except urllib.error.HTTPError as exc:
            raise AssertionError(f"{page} {parameters}: {exc.read().decode()}") from None


@contextmanager
def prometheus_watching(daemon: Daemon, home: Path) -> Iterator[Prometheus]:
    """With the configuration and the rules of ``deploy/``, but every second, and alerts fire after one.

    Rules that look back stay as they are.
    """
    home.mkdir(parents=True, exist_ok=True)
    hasty = [{**rule, **({"for": "1s"} if "for" in rule else {})} for rule in alerts()]
    _write(home / "rules.yml", {"groups": [{"name": "cefmp4", "rules": hasty}]})
    configuration = read_yaml(PROMETHEUS / "prometheus.yml")
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    configuration["rule_files"] = ["rules.yml"]
    configuration["scrape_configs"][0]["static_configs"] = [{"targets": [daemon.address]}]
    _write(home / "prometheus.yml", configuration)
    with servers.start_prometheus(home, home / "prometheus.yml") as server:
        seen = Prometheus(server)
        eventually(seen.is_ready, "Prometheus is ready", within=WITHIN_SECONDS)
        eventually(lambda: 1.0 in seen.values("up"), "Prometheus asks the daemon", within=WITHIN_SECONDS)
        yield seen


def _write(path: Path, content: object) -> None:
    """JSON is YAML."""
    path.write_text(json.dumps(content))
