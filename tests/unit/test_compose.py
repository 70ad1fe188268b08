"""The compose file: by the schema of compose, for this machine alone, and a copy of ``example.env`` is all it needs."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from src.config import Loaded, load_settings

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
SECRETS = ROOT / "deploy" / "compose" / "secrets.yml"
EXAMPLE = dict(re.findall(r"^([A-Z0-9_]+)=(.*)$", (ROOT / "example.env").read_text(), re.MULTILINE))
ENVIRONMENTS: dict[str, Mapping[str, str]] = {"no .env": {}, "a copy of example.env": EXAMPLE}
#: ``${NAME}`` and ``${NAME:-default}``; ``$$`` is a dollar of the container's own.
_VARIABLE = re.compile(r"\$\$|\$\{([A-Za-z0-9_]+)(?::-([^}]*))?\}")


def _interpolated(value: Any, variables: Mapping[str, str]) -> Any:
    """As compose does it: an empty value takes the default too."""
    if isinstance(value, dict):
        return {key: _interpolated(each, variables) for key, each in value.items()}
    if isinstance(value, list):
        return [_interpolated(each, variables) for each in value]
    if not isinstance(value, str):
        return value
    return _VARIABLE.sub(lambda v: "$" if v[0] == "$$" else variables.get(v[1]) or v[2] or "", value)


def _services(variables: Mapping[str, str], path: Path = COMPOSE) -> dict[str, Any]:
    found: dict[str, Any] = _interpolated(yaml.safe_load(path.read_text(encoding="utf-8")), variables)["services"]
    return found


SERVICES = _services({})


def _loaded(variables: Mapping[str, str], *files: Path) -> Loaded:
    """The settings of the daemon in its container: those of the .env, then those that the compose files fix."""
    fixed = [_services(variables, path)["app"]["environment"] for path in files]
    return load_settings({**variables, **{name: value for each in fixed for name, value in each.items()}})


@pytest.mark.parametrize("path", [COMPOSE, SECRETS], ids=lambda path: str(path.name))
def test_it_is_by_the_schema_of_compose(path: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_daemon_takes_the_settings_and_finds_store_and_redis(name: str) -> None:
    settings, services = _loaded(ENVIRONMENTS[name], COMPOSE).settings, _services(ENVIRONMENTS[name])
    store = services["s3"]["environment"]
    assert settings.s3_endpoint_url == "http://s3:7070"
    assert settings.redis_url == "redis://redis:6379/0"
    assert settings.s3_secret_access_key is not None
    assert settings.s3_secret_access_key.get_secret_value() == store["ROOT_SECRET_KEY"] != ""
    assert (settings.s3_access_key_id, settings.s3_region_name) == (store["ROOT_ACCESS_KEY"], store["VGW_REGION"])
    assert settings.chunk_size_bytes == int(EXAMPLE["CHUNK_SIZE_BYTES"])


def test_the_names_that_only_compose_knows_are_no_slips_to_the_daemon() -> None:
    names = {name for name, _ in _VARIABLE.findall(COMPOSE.read_text(encoding="utf-8")) if name}
    assert names > {"PUBLISH_ADDRESS", "S3_PORT"}
    load_settings({name: "1" for name in names - EXAMPLE.keys()})


def test_the_secret_may_come_from_a_file(tmp_path: Path) -> None:
    fixed = _services({}, SECRETS)
    inside = Path(fixed["app"]["environment"]["S3_SECRET_ACCESS_KEY_FILE"])
    assert inside.name in fixed["app"]["secrets"]
    assert fixed["s3"]["environment"]["ROOT_SECRET_KEY_FILE"] == str(inside)
    own = {**SERVICES["app"]["environment"], **fixed["app"]["environment"]}
    (tmp_path / inside.name).write_text("from-a-file\n")
    settings = load_settings({**own, "S3_SECRET_ACCESS_KEY_FILE": str(tmp_path / inside.name)}).settings
    assert settings.s3_secret_access_key is None
    assert settings.s3_secret_access_key_file == tmp_path / inside.name


@pytest.mark.parametrize("name", ["app", "s3", "redis"])
def test_each_service_has_a_health_check_limits_and_a_way_back(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert service["deploy"]["resources"]["limits"].keys() >= {"cpus", "memory", "pids"}
    assert "no-new-privileges:true" in service["security_opt"]


def test_every_port_is_for_this_machine_alone_unless_asked() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) >= 3
    assert [port for port in ports if not str(port).startswith("127.0.0.1:")] == []
    opened = _services({"PUBLISH_ADDRESS": "0.0.0.0"})["s3"]["ports"]
    assert all(port.startswith("0.0.0.0:") for port in opened)


def test_every_image_is_of_one_version() -> None:
    images = {name: service["image"] for name, service in SERVICES.items()}
    assert images["s3"] == "versity/versitygw:v1.8.0"
    assert {name: image for name, image in images.items() if not re.search(r":v?\d+\.\d+", image)} == {}


def test_the_daemon_waits_for_healthy_services_and_has_time_to_stop() -> None:
    app = SERVICES["app"]
    assert app["depends_on"] == {name: {"condition": "service_healthy"} for name in ("redis", "s3")}
    grace = int(app["stop_grace_period"].removesuffix("s"))
    assert grace >= int(EXAMPLE["SHUTDOWN_GRACE_SECONDS"]) + 5


def test_redis_keeps_everything_in_a_volume() -> None:
    command = " ".join(SERVICES["redis"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command
    assert "redis-data:/data" in SERVICES["redis"]["volumes"]
