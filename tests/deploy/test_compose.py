"""The compose file: by the schema of compose, for this machine alone, and a copy of ``example.env`` is all it needs."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import src
from src.config import _NAMES, _OLD_NAMES, Loaded, defaults, load_settings
from src.page import Listening, Mode, is_served
from tests.harness.deploy_files import GRAFANA, PROMETHEUS, ROOT, read_yaml

COMPOSE = ROOT / "docker-compose.yml"
SECRETS = ROOT / "deploy" / "compose" / "secrets.yml"
EXAMPLE = dict(re.findall(r"^([A-Z0-9_]+)=(.*)$", (ROOT / "example.env").read_text(), re.MULTILINE))
#: Values that are right for a daemon outside of a container.
OF_THE_HOST = {
    "APP_ENV": "development",
    "WATCH_DIR": "/srv/recordings",
    "PROM_HOST": "127.0.0.1",
    "PROM_PORT": "9100",
    "FFPROBE_PATH": "/opt/ffmpeg/bin/ffprobe",
    "EMBEDDED_SERVICES": "auto",
    "S3_ACCESS_KEY_ID_FILE": "/etc/cefmp4/key",
    "S3_SECRET_ACCESS_KEY_FILE": "/etc/cefmp4/secret",
    "REDIS_HOST": "localhost",
    "REDIS_PORT": "6390",
}
#: How Redis is used, wherever it is: these stay as .env has them.
REDIS_CONDUCT = {"REDIS_KEY_PREFIX"}
ENVIRONMENTS: dict[str, Mapping[str, str]] = {
    "no .env": {},
    "a copy of example.env": EXAMPLE,
    "an .env of the host": OF_THE_HOST,
}
#: As the project's first documents have it; tried on an engine, too.
FIRST = dict(re.findall(r"^([A-Z0-9_]+)=(.*)$", (ROOT / "tests/deploy/first.env").read_text(), re.MULTILINE))
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
    found: dict[str, Any] = _interpolated(read_yaml(path), variables)["services"]
    return found


SERVICES = _services({})
MONITORING = [name for name, service in SERVICES.items() if "monitoring" in service.get("profiles", [])]


def _variables() -> set[tuple[str, str]]:
    """The name and the default of everything that the compose files take from ``.env``."""
    found = {each for path in (COMPOSE, SECRETS) for each in _VARIABLE.findall(path.read_text(encoding="utf-8"))}
    return {(name, default) for name, default in found if name}


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
    loaded, services = _loaded(ENVIRONMENTS[name], COMPOSE), _services(ENVIRONMENTS[name])
    settings, store = loaded.settings, services["minio"]["environment"]
    assert loaded.notices == ()
    assert settings.s3_endpoint_url == "http://minio:9000"
    assert settings.redis_url == "redis://redis:6379/0"
    assert settings.s3_secret_access_key is not None
    assert settings.s3_secret_access_key.get_secret_value() == store["ROOT_SECRET_KEY"] != ""
    assert (settings.s3_access_key_id, settings.s3_region_name) == (store["ROOT_ACCESS_KEY"], store["VGW_REGION"])
    assert settings.chunk_size_bytes == int(defaults()["CHUNK_SIZE_BYTES"])


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_what_must_fit_the_container_is_the_same_whatever_the_env_file_says(name: str) -> None:
    settings = _loaded(ENVIRONMENTS[name], COMPOSE).settings
    (folder,) = (volume.split(":")[1] for volume in SERVICES["app"]["volumes"])
    (port,) = (port.rpartition(":")[2] for port in SERVICES["app"]["ports"])
    assert str(settings.watch_dir) == folder == "/app/local_watch_dir"
    assert (settings.prom_host, str(settings.prom_port)) == ("0.0.0.0", port)
    assert (settings.app_env, settings.embedded_services, settings.ffprobe_path) == ("production", "off", "ffprobe")


@pytest.mark.parametrize(
    ("variables", "served"),
    [
        ({}, True),
        ({"PUBLISH_ADDRESS": ""}, True),
        ({"PUBLISH_ADDRESS": "127.0.0.2"}, True),
        ({"PUBLISH_ADDRESS": "0.0.0.0"}, False),
        ({"PUBLISH_ADDRESS": "192.0.2.7", "STATUS_PAGE": "open"}, True),
        ({"STATUS_PUBLISHED_ON": "127.0.0.1", "PUBLISH_ADDRESS": "0.0.0.0"}, False),
        ({"STATUS_PAGE": "off"}, False),
    ],
)
def test_the_status_page_is_there_where_only_this_machine_can_connect(variables: dict[str, str], served: bool) -> None:
    settings = _loaded(variables, COMPOSE).settings
    listening = Listening(settings.prom_host, settings.status_published_on)
    assert is_served(Mode(settings.status_page), listening, has_password=False) is served


def test_the_first_env_file_works_unchanged() -> None:
    loaded, store = _loaded(FIRST, COMPOSE), _services(FIRST)["minio"]
    settings = loaded.settings
    assert settings.s3_endpoint_url == "http://minio:9000"
    assert settings.redis_url == "redis://redis:6379/0"
    assert settings.chunk_size_bytes == 5 * 2**20
    assert (settings.s3_access_key_id, store["environment"]["ROOT_ACCESS_KEY"]) == ("minioadmin", "minioadmin")
    assert store["environment"]["ROOT_SECRET_KEY"] == "minioadmin"
    assert "CHUNK_SIZE_MB is an older name of CHUNK_SIZE_BYTES; it still works." in loaded.notices


def test_the_daemon_on_the_host_finds_the_services_in_containers() -> None:
    """By the lines of the how-to, and by the ports and keys of the compose file."""
    page = (ROOT / "docs" / "how-to" / "compose.md").read_text(encoding="utf-8")
    how_to = page.partition("\n## Services in containers, the daemon on the host\n")[2]
    lines = dict(line.split("=", 1) for line in how_to.partition("```ini\n")[2].partition("```")[0].splitlines())
    settings = load_settings(lines).settings
    store, redis = SERVICES["minio"], SERVICES["redis"]
    assert f"127.0.0.1:{urlsplit(settings.s3_endpoint_url or '').port}:9000" in store["ports"]
    assert f"127.0.0.1:{urlsplit(settings.redis_url).port}:6379" in redis["ports"]
    assert settings.s3_access_key_id == store["environment"]["ROOT_ACCESS_KEY"]
    assert settings.s3_secret_access_key is not None
    assert settings.s3_secret_access_key.get_secret_value() == store["environment"]["ROOT_SECRET_KEY"]
    assert how_to.partition("```sh\n")[2].startswith("docker compose up --detach minio redis\n")


@pytest.mark.parametrize("address", ["http://minio:9000", "http://s3:9000", "http://minio:7070", "http://s3:7070"])
def test_the_store_answers_under_each_of_its_names(address: str) -> None:
    store = SERVICES["minio"]
    host, port = address.removeprefix("http://").split(":")
    assert host in {"minio", *store["networks"]["default"]["aliases"]}
    assert f"--port=:{port}" in store["command"]


def test_every_name_that_makes_up_the_address_of_redis_is_pinned() -> None:
    """Else one from the host's ``.env`` (``REDIS_HOST=localhost``) would contradict ``REDIS_URL`` in the container."""
    names = [name for name in (*_NAMES, *_OLD_NAMES) if name.startswith("REDIS_") and name not in REDIS_CONDUCT]
    assert {"REDIS_URL", "REDIS_HOST", "REDIS_PORT"} <= set(names)
    assert [name for name in names if name not in SERVICES["app"]["environment"]] == []


def test_a_store_and_a_redis_of_ones_own_are_used() -> None:
    own = {"S3_ENDPOINT_URL": "https://store.example", "REDIS_URL": "rediss://:secret@redis.example:6380/1"}
    settings = _loaded({**EXAMPLE, **own}, COMPOSE).settings
    assert {"S3_ENDPOINT_URL": settings.s3_endpoint_url, "REDIS_URL": settings.redis_url} == own


def test_the_names_that_only_compose_knows_are_no_slips_to_the_daemon() -> None:
    names = {name for name, _ in _variables()}
    assert names > {"PUBLISH_ADDRESS", "S3_PORT", "S3_SECRET_FILE"}
    load_settings(dict.fromkeys(names - defaults().keys(), "1"))


def test_the_how_to_lists_the_names_that_only_compose_knows_with_their_defaults() -> None:
    page = (ROOT / "docs" / "how-to" / "compose.md").read_text(encoding="utf-8")
    section = page.partition("\n## Settings of the compose file\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[A-Z].*?) \| (.*?) \|", section, re.MULTILINE)
    listed = [pair for row in rows for pair in zip(*(re.findall("`([^`]+)`", cell) for cell in row), strict=False)]
    unnamed = {(name, default) for name, default in _variables() if name not in defaults()}
    assert sorted(listed) == sorted((name, default) for name, default in unnamed if default)
    assert sorted(name for row in rows for name in re.findall("`([^`]+)`", row[0])) == sorted(dict(unnamed))


def test_the_secret_may_come_from_a_file(tmp_path: Path) -> None:
    fixed = _services({}, SECRETS)
    inside = Path(fixed["app"]["environment"]["S3_SECRET_ACCESS_KEY_FILE"])
    assert inside.name in fixed["app"]["secrets"]
    assert fixed["minio"]["environment"]["ROOT_SECRET_KEY_FILE"] == str(inside)
    own = {**SERVICES["app"]["environment"], **fixed["app"]["environment"]}
    (tmp_path / inside.name).write_text("from-a-file\n")
    settings = load_settings({**own, "S3_SECRET_ACCESS_KEY_FILE": str(tmp_path / inside.name)}).settings
    assert settings.s3_secret_access_key is None
    assert settings.s3_secret_access_key_file == tmp_path / inside.name


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_has_limits_a_way_back_and_no_rights_that_it_does_not_need(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"].keys() >= {"interval", "timeout", "retries", "start_period"}
    assert service["cpus"] and service["mem_limit"] and service["pids_limit"]
    assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", MONITORING)
def test_monitoring_is_not_root_and_writes_into_its_volume_alone(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] and not service["user"].startswith("0")


def test_the_daemon_is_asked_for_its_health_as_its_image_says() -> None:
    image = re.search(r"HEALTHCHECK (.*)", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    assert image is not None
    options = dict(re.findall(r"--([a-z-]+)=(\S+)", image[1]))
    own = {name.replace("_", "-"): str(value) for name, value in SERVICES["app"]["healthcheck"].items()}
    assert own == options == {"interval": "30s", "timeout": "10s", "retries": "3", "start-period": "30s"}
    assert [name for name in SERVICES if name != "app" and not SERVICES[name]["healthcheck"]["test"]] == []


def test_the_daemon_is_the_images_user_or_the_recorder() -> None:
    """Only the owner of a file gets a read lease on it, and no capability can be given to a user other than root."""
    image = re.search(r"^USER (.*)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert image is not None
    assert SERVICES["app"]["user"] == image[1] == "1001:1001"
    assert _services({"APP_USER": "1000:100"})["app"]["user"] == "1000:100"


def test_every_port_is_for_this_machine_alone_unless_asked() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) >= 3
    assert [port for port in ports if not str(port).startswith("127.0.0.1:")] == []
    opened = _services({"PUBLISH_ADDRESS": "0.0.0.0"})
    assert all(port.startswith("0.0.0.0:") for port in opened["minio"]["ports"])
    assert opened["redis"]["ports"] == ["127.0.0.1:6379:6379"], "nobody has to log in there"


def test_the_ports_are_those_that_people_know_and_each_is_moved_by_its_name() -> None:
    assert SERVICES["minio"]["ports"] == ["127.0.0.1:9000:9000", "127.0.0.1:9001:9001"]
    moved = _services({"S3_PORT": "1", "S3_WEBUI_PORT": "2", "REDIS_PUBLISH_PORT": "3", "PROM_PORT": "4"})
    assert moved["minio"]["ports"] == ["127.0.0.1:1:9000", "127.0.0.1:2:9001"]
    assert moved["redis"]["ports"] == ["127.0.0.1:3:6379"]
    assert moved["app"]["ports"] == ["127.0.0.1:4:8000"]


def test_troubleshooting_names_every_port_and_what_moves_it() -> None:
    page = (ROOT / "docs" / "how-to" / "troubleshooting.md").read_text(encoding="utf-8")
    section = page.partition('\n## "port is already allocated"\n')[2].partition("\n## ")[0]
    rows = [
        re.findall(r"\w+", f"{ports} {names}")
        for ports, names in re.findall(r"^\| (\d.*?) \| .* \| (.*) \|$", section, re.M)
    ]
    listed = {name: port for row in rows for port, name in zip(row[: len(row) // 2], row[len(row) // 2 :], strict=True)}
    published = re.findall(r'- "\S+:\$\{([A-Z0-9_]+):-(\d+)\}:\d+"', COMPOSE.read_text(encoding="utf-8"))
    assert listed == dict(published)


def test_the_page_of_the_bucket_works_under_the_name_that_the_browser_uses() -> None:
    command = _services({"PUBLIC_HOST": "nas.example", "S3_PORT": "17070", "S3_WEBUI_PORT": "17071"})["minio"][
        "command"
    ]
    assert "--webui-gateways=http://nas.example:17070" in command
    assert "--cors-allow-origin=http://nas.example:17071" in command


def test_every_image_is_of_one_version() -> None:
    images = {name: service["image"] for name, service in SERVICES.items()}
    assert images["minio"] == "versity/versitygw:v1.8.0"
    assert {name: image for name, image in images.items() if not re.search(r":v?\d+\.\d+", image)} == {}


def test_the_daemon_waits_for_healthy_services_and_has_time_to_stop() -> None:
    app = SERVICES["app"]
    assert app["depends_on"] == {name: {"condition": "service_healthy"} for name in ("redis", "minio")}
    grace = int(app["stop_grace_period"].removesuffix("s"))
    assert grace >= int(defaults()["SHUTDOWN_GRACE_SECONDS"]) + 5


def test_redis_keeps_everything_in_a_volume() -> None:
    command = " ".join(SERVICES["redis"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command
    assert "redis-data:/data" in SERVICES["redis"]["volumes"]


def _mounts(name: str) -> dict[str, str]:
    return {here: there for here, there, *_ in (volume.split(":") for volume in SERVICES[name]["volumes"])}


def test_the_image_is_of_the_version_that_the_daemon_tells() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    assert re.findall(r"^ARG VERSION=(.+)$", dockerfile, re.MULTILINE) == [src.__version__]
    assert re.findall(r"\$\{\w*VERSION:-([^}]+)\}", compose) == [src.__version__] * 2


def test_monitoring_is_prometheus_and_grafana() -> None:
    assert MONITORING == ["prometheus", "grafana"]


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
    assert mounts["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning", "where Grafana's image looks"
    (provider,) = read_yaml(GRAFANA / "provisioning" / "dashboards" / "cefmp4.yml")["providers"]
    assert mounts["./deploy/grafana/dashboards"] == provider["options"]["path"]
    assert settings["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == f"{provider['options']['path']}/cefmp4.json"
