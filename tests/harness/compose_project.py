"""A compose project on a real engine, asked as its user asks it: by compose's own words, S3, and HTTP.

Names of services and ports are those of the compose file. ``python -m tests.engine.project images|ports FOLDER`` tells
``.ci/compose/up`` which images a registry would give, and publishes every port at a free one.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from prometheus_client.parser import text_string_to_metric_families

_PATIENCE_SECONDS = 180.0
_SUFFIX = ".metadata.json"

Document = dict[str, Any]


@dataclass(frozen=True)
class Project:
    """The project in ``folder``, a checkout with an ``.env``. ``name``: empty for the one of the environment."""

    folder: Path
    name: str = ""

    def compose(self, *arguments: str, files: Sequence[Path] = ()) -> str:
        """What ``docker compose`` prints, with further files. Raises AssertionError when it fails."""
        environment = dict(os.environ)
        if self.name:
            environment["COMPOSE_PROJECT_NAME"] = self.name
        if files:
            environment["COMPOSE_FILE"] = ":".join([os.environ["COMPOSE_FILE"], *map(str, files)])
        return run([os.environ["COMPOSE_PROGRAM"], *arguments], folder=self.folder, environment=environment)

    def up(self, *services: str, files: Sequence[Path] = ()) -> None:
        """Start, and return when all are healthy."""
        self.compose("--progress", "plain", "up", "--detach", "--wait", "--wait-timeout", "120", *services, files=files)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The compose file as compose reads it, with the services of all profiles."""
        return dict(json.loads(self.compose("--profile", "*", "config", "--format", "json")))

    @property
    def services(self) -> dict[str, Any]:
        return dict(self.config["services"])

    # -- containers -----------------------------------------------------------------------------------------------

    @property
    def app(self) -> str:
        """The service that is built and not pulled: the daemon."""
        (name,) = (name for name, service in self.services.items() if "build" in service)
        return name

    def inspect(self, service: str) -> dict[str, Any]:
        """The engine's answer about the container of a service, also of one that has ended."""
        identity = self.compose("ps", "--all", "--quiet", service).strip()
        return dict(json.loads(run(["docker", "inspect", identity]))[0])

    def execute(self, *command: str, **environment: str) -> str:
        """What a command in the daemon's container prints, errors too; its exit code does not matter."""
        changes = [word for name, value in environment.items() for word in ("--env", f"{name}={value}")]
        container = self.inspect(self.app)["Id"]
        done = subprocess.run(
            ["docker", "exec", *changes, container, *command], capture_output=True, text=True, timeout=60
        )
        return done.stdout + done.stderr

    def lines(self, event: str, **fields: object) -> list[Document]:
        """The daemon's log lines of this event with these fields, since its container was made."""
        wanted = {"event": event, **fields}
        text = self.compose("logs", "--no-color", "--no-log-prefix", self.app)
        found = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        return [line for line in found if wanted.items() <= line.items()]

    # -- from the host --------------------------------------------------------------------------------------------

    def address(self, service: str, port: int) -> str:
        """Where a container's port is published."""
        return "http://" + self.compose("port", service, str(port)).strip()

    def page(self, service: str, port: int, path: str) -> str:
        with urllib.request.urlopen(self.address(service, port) + path, timeout=30) as answer:
            return str(answer.read().decode())

    def metric(self, name: str) -> float:
        """The sum over all series of one of the daemon's metrics."""
        port = int(self.services[self.app]["environment"]["PROM_PORT"])
        families = text_string_to_metric_families(self.page(self.app, port, "/metrics"))
        return sum(s.value for family in families for s in family.samples if s.name == name)

    # -- the store ------------------------------------------------------------------------------------------------

    @cached_property
    def _settings(self) -> dict[str, str]:
        return dict(self.services[self.app]["environment"])

    @property
    def _s3(self) -> Any:
        """A client of the store that the daemon is told, at its published port."""
        store = urlsplit(self._settings["S3_ENDPOINT_URL"])
        return boto3.client(
            "s3",
            endpoint_url=self.address(str(store.hostname), store.port or 80),
            aws_access_key_id=self._settings["S3_ACCESS_KEY_ID"],
            aws_secret_access_key=self._settings["S3_SECRET_ACCESS_KEY"],
            region_name=self._settings["S3_REGION_NAME"],
            config=Config(s3={"addressing_style": "path"}),
        )

    def objects(self) -> dict[str, tuple[str, str]]:
        """ETag and time of each object, by its key."""
        listed = self._s3.list_objects_v2(Bucket=self._settings["S3_BUCKET_NAME"]).get("Contents", [])
        return {each["Key"]: (each["ETag"], str(each["LastModified"])) for each in listed}

    def get(self, key: str) -> bytes:
        return bytes(self._s3.get_object(Bucket=self._settings["S3_BUCKET_NAME"], Key=key)["Body"].read())

    def document(self, path: Path) -> Document | None:
        """The document of a recording whose object equals it; None as long as there is none."""
        if path.name + _SUFFIX not in self.objects() or self.get(path.name) != path.read_bytes():
            return None
        return dict(json.loads(self.get(path.name + _SUFFIX)))


def run(command: Sequence[str], *, folder: Path | None = None, environment: dict[str, str] | None = None) -> str:
    """What a command prints. Raises AssertionError with all that it said when it fails."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
    )
    assert done.returncode == 0, f"{command} ends with {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def _images(project: Project) -> list[str]:
    """The base of our image, then those of the services that are not built."""
    dockerfile = (project.folder / "Dockerfile").read_text(encoding="utf-8")
    base = re.findall(r"^ARG BASE=(\S+)", dockerfile, re.MULTILINE)
    return base + sorted({each["image"] for each in project.services.values() if "build" not in each})


def _ports(project: Project) -> str:
    """An override by which the engine chooses every published port. JSON has no word for "instead"; YAML has."""
    lines = ["services:"]
    for name, service in project.services.items():
        if ports := [f"{port['host_ip']}::{port['target']}" for port in service.get("ports", [])]:
            lines += [f"  {name}:", f"    ports: !override {json.dumps(ports)}"]
    return "\n".join(lines)


if __name__ == "__main__":
    asked = Project(Path(sys.argv[2]))
    print(_ports(asked) if sys.argv[1] == "ports" else "\n".join(_images(asked)))
