"""Settings: every problem at once, in the operator's words; other programs' names are left alone."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from annotated_types import Ge, Gt, Le
from pydantic import ValidationError

from src.config import Loaded, Settings, example_env, load_settings
from src.exceptions import ConfigurationError
from src.settings import without_user_info

MIB = 1024 * 1024
ROOT = Path(__file__).parents[2]


def settings(environ: Mapping[str, str]) -> Settings:
    return load_settings(environ).settings


def problems(environ: Mapping[str, str], env_file: Path | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environ, env_file)
    return caught.value.problems


def env_file(folder: Path, text: str | bytes) -> Path:
    path = folder / ".env"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# ---- values ----


def test_nothing_set_gives_the_documented_defaults() -> None:
    loaded = load_settings({})
    assert loaded == Loaded(Settings(), ())
    s = loaded.settings
    assert (s.app_env, s.log_level, s.prom_port, s.prom_host) == ("development", "INFO", 8000, "127.0.0.1")
    assert (s.max_concurrent_streams, s.chunk_size_bytes, s.stream_timeout_seconds) == (5, 10 * MIB, 30)
    assert (s.watch_dir, s.watch_filter_globs) == (Path("./local_watch_dir"), ("*.mp4",))
    assert (s.s3_bucket_name, s.s3_endpoint_url, s.s3_access_key_id) == ("video-streams", None, None)
    assert (s.redis_url, s.watch_file_min_age_seconds_for_idle) == ("redis://localhost:6379/0", 0)


def test_settings_never_read_the_process_environment_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROM_PORT", "9999")
    monkeypatch.setenv("S3_SECRET_ACCESS_KEY", "surprise")
    assert settings({}).prom_port == 8000
    assert settings({}).s3_secret_access_key is None


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings().prom_port = 1


def test_values_are_typed() -> None:
    s = settings(
        {
            "APP_ENV": "Production",
            "LOG_LEVEL": "warn",
            "PROM_PORT": "0",
            "STREAM_TIMEOUT_SECONDS": "0.5",
            "WATCH_FORCE_POLLING": "yes",
            "WATCH_FILTER_GLOBS": '["*.mp4", "*.MP4"]',
            "S3_PART_COPY": "OFF",
            "S3_KEY_PREFIX": "Камера 7/",
            "WATCH_DIR": "/data/in",
        }
    )
    assert (s.app_env, s.log_level, s.prom_port, s.stream_timeout_seconds) == ("production", "WARNING", 0, 0.5)
    assert (s.watch_force_polling, s.watch_filter_globs, s.s3_part_copy) == (True, ("*.mp4", "*.MP4"), "off")
    assert (s.s3_key_prefix, s.watch_dir) == ("Камера 7/", Path("/data/in"))


def test_an_empty_value_is_no_value(tmp_path: Path) -> None:
    file = env_file(tmp_path, "PROM_PORT=9001\nREDIS_URL=\n")
    s = load_settings({"PROM_PORT": "", "CHUNK_SIZE_BYTES": "  ", "REDIS_URL": ""}, file).settings
    assert (s.prom_port, s.chunk_size_bytes, s.redis_url_given) == (9001, 10 * MIB, False)


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = env_file(tmp_path, "PROM_PORT=9001\nLOG_LEVEL=DEBUG\n")
    s = load_settings({"PROM_PORT": "9002"}, file).settings
    assert (s.prom_port, s.log_level) == (9002, "DEBUG")


def test_carriage_returns_of_another_system_do_no_harm(tmp_path: Path) -> None:
    file = env_file(tmp_path, "\ufeffS3_BUCKET_NAME=clips\r\nPROM_PORT=9001\r\n")
    s = load_settings({"S3_REGION_NAME": "eu-west-1\r"}, file).settings
    assert (s.s3_bucket_name, s.prom_port, s.s3_region_name) == ("clips", 9001, "eu-west-1")


def test_names_in_the_file_may_be_used_in_it(tmp_path: Path) -> None:
    text = "STORE_PORT=9000\nS3_ENDPOINT_URL=http://${STORE_HOST}:${STORE_PORT}\nS3_BUCKET_NAME=${NO_SUCH:-clips}\n"
    file = env_file(tmp_path, text + "S3_ACCESS_KEY_ID=k\nS3_SECRET_ACCESS_KEY=a${b}$c\n")
    s = load_settings({"STORE_HOST": "store"}, file).settings
    assert (s.s3_endpoint_url, s.s3_bucket_name) == ("http://store:9000", "clips")
    assert s.s3_secret_access_key is not None
    assert s.s3_secret_access_key.get_secret_value() == "a${b}$c"


@pytest.mark.parametrize("size", [5 * MIB, 10 * MIB, 5 * 1024 * MIB])
def test_chunk_sizes_that_s3_takes_are_legal(size: int) -> None:
    assert settings({"CHUNK_SIZE_BYTES": str(size)}).chunk_size_bytes == size


@pytest.mark.parametrize("size", [0, -1, 1, 5 * MIB - 1, 5 * 1024 * MIB + 1])
def test_chunk_sizes_that_s3_refuses_are_refused_at_start(size: int) -> None:
    assert problems({"CHUNK_SIZE_BYTES": str(size)}) == [
        f"CHUNK_SIZE_BYTES is '{size}', but must be a whole number from 5242880 (5 MiB) to 5368709120 (5 GiB)."
    ]


@pytest.mark.parametrize(
    "url",
    [
        "redis://redis:6379/0",
        "redis:///1",
        "rediss://user:p%40ss@host:6380/0",
        "unix:///run/redis.sock?db=1",
        "redis://[::1]:6379",
    ],
)
def test_redis_addresses_in_every_scheme_are_legal(url: str) -> None:
    s = settings({"REDIS_URL": url})
    assert s.redis_url == url
    assert s.redis_url_given


def test_whether_a_redis_or_a_store_was_named_is_known() -> None:
    assert not Settings().redis_url_given
    assert not Settings().s3_endpoint_url_given
    assert settings({"REDIS_URL": Settings().redis_url}).redis_url_given
    assert settings({"REDIS_HOST": "localhost"}).redis_url_given
    assert settings({"S3_ENDPOINT_URL": "http://localhost:9000"}).s3_endpoint_url_given


def test_a_folder_whose_name_is_not_utf8_is_legal() -> None:
    assert settings({"WATCH_DIR": "/data/\udcff"}).watch_dir == Path("/data/\udcff")


# ---- problems ----


def test_every_problem_is_told_at_once_and_in_words(tmp_path: Path) -> None:
    file = tmp_path / "file.mp4"
    file.touch()
    found = problems(
        {
            "APP_ENV": "staging",
            "LOG_LEVEL": "LOUD",
            "PROM_PORT": "eighty",
            "PROM_HOST": "http://0.0.0.0",
            "STREAM_TIMEOUT_SECONDS": "0",
            "WATCH_FILTER_GLOBS": "*.mp4",
            "WATCH_FORCE_POLLING": "maybe",
            "WATCH_DIR": str(file),
            "S3_ENDPOINT_URL": "localhost:9000",
            "S3_BUCKET_NAME": "My Bucket",
            "S3_KEY_PREFIX": "/videos/",
            "REDIS_URL": "http://localhost:6379",
            "S3_MAX_PARTS": "abc",
            "CHUNK_SIZE_BYTE": "5",
        }
    )
    assert set(found) == {
        "APP_ENV is 'staging', but must be development or production.",
        "LOG_LEVEL is 'LOUD', but must be DEBUG, INFO, WARNING, ERROR or CRITICAL.",
        "PROM_PORT is 'eighty', but must be a whole number from 0 to 65535.",
        "PROM_HOST is 'http://0.0.0.0', but must be a host name or an IP address, such as 127.0.0.1.",
        "STREAM_TIMEOUT_SECONDS is '0', but must be a number above 0 and at most 86400.",
        "WATCH_FILTER_GLOBS is '*.mp4', but it is not a JSON list of patterns: write [\"*.mp4\"].",
        "WATCH_FORCE_POLLING is 'maybe', but must be true or false.",
        f"WATCH_DIR is '{file}', but must be a folder; this path is not one.",
        "S3_ENDPOINT_URL is set, but must be a URL such as http://localhost:9000.",
        "S3_BUCKET_NAME is 'My Bucket', but must be 3 to 63 letters, digits, dots, hyphens or underscores, "
        "the first a letter or a digit.",
        "S3_KEY_PREFIX is '/videos/', but must be a prefix such as cam-7/; this one begins with a "
        "slash or has two in a row.",
        "REDIS_URL is set, but must be a URL such as redis://localhost:6379/0, "
        "rediss://user:password@host:6380/0 or unix:///run/redis.sock.",
        "S3_MAX_PARTS is 'abc', but must be a whole number from 2 to 10000.",
        "CHUNK_SIZE_BYTE is not a setting; did you mean CHUNK_SIZE_BYTES?",
    }
    assert not any("pydantic" in line or "\n" in line for line in found)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STREAM_TIMEOUT_SECONDS", "nan"),
        ("STREAM_TIMEOUT_SECONDS", "inf"),
        ("STREAM_TIMEOUT_SECONDS", "30s"),
        ("MAX_CONCURRENT_STREAMS", "2.5"),
        ("PROM_PORT", "tcp://10.0.0.1:9090"),
        ("S3_ENDPOINT_URL", "http://"),
        ("S3_ENDPOINT_URL", "http://host:port"),
        ("S3_ENDPOINT_URL", "http://${HOST}:9000"),
        ("S3_KEY_PREFIX", "a/../b/"),
        ("S3_KEY_PREFIX", "ü" * 257),
        ("S3_BUCKET_NAME", "ab"),
        ("REDIS_URL", "unix://["),
        ("REDIS_URL", "redis:localhost"),
        ("REDIS_KEY_PREFIX", "x" * 129),
        ("WATCH_FILTER_GLOBS", "[]"),
        ("WATCH_FILTER_GLOBS", "[1]"),
        ("FFPROBE_PATH", "ff\nprobe"),
        ("FFPROBE_PATH", "/opt/\udcff"),
        ("WATCH_DIR", "a\0b"),
    ],
)
def test_a_value_that_cannot_be_used_is_one_sentence_with_its_name(name: str, value: str) -> None:
    (problem,) = problems({name: value})
    assert problem.startswith(name)
    assert problem.endswith(".")
    assert problem.isprintable()


def test_a_very_long_value_is_shown_in_part() -> None:
    (problem,) = problems({"S3_BUCKET_NAME": "x" * 5_000})
    assert len(problem) < 300


@pytest.mark.parametrize("given", ["S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY"])
def test_half_a_pair_of_keys_is_refused(given: str) -> None:
    (problem,) = problems({given: "CANARY"})
    assert {"S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY"} <= set(re.findall(r"[A-Z0-9_]{8,}", problem))
    assert "CANARY" not in problem


def _key_files(tmp_path: Path) -> dict[str, str]:
    key, secret = tmp_path / "key", tmp_path / "secret"
    key.write_text("key-id\n")
    secret.write_text("a secret\n")
    return {"S3_ACCESS_KEY_ID_FILE": str(key), "S3_SECRET_ACCESS_KEY_FILE": str(secret)}


def test_each_half_of_the_keys_may_come_from_a_file(tmp_path: Path) -> None:
    files = _key_files(tmp_path)
    both = settings(files)
    assert both.s3_secret_access_key_file == tmp_path / "secret"
    assert both.summary()["s3_keys"] == "from the settings"
    del files["S3_ACCESS_KEY_ID_FILE"]
    assert problems({**files}) == [
        "S3_SECRET_ACCESS_KEY_FILE is set, but S3_ACCESS_KEY_ID is not; set both or neither."
    ]
    assert settings({**files, "S3_ACCESS_KEY_ID": "key-id"}).s3_access_key_id == "key-id"


def test_a_key_file_that_cannot_be_used_is_told_at_the_start(tmp_path: Path) -> None:
    files = _key_files(tmp_path)
    assert problems({**files, "S3_ACCESS_KEY_ID": "x"}) == [
        "S3_ACCESS_KEY_ID and S3_ACCESS_KEY_ID_FILE are both set; keep one of them."
    ]
    (tmp_path / "secret").write_text("two\nlines")
    (tmp_path / "key").unlink()
    missing, broken = problems(files)
    assert missing.startswith(f"S3_ACCESS_KEY_ID_FILE is '{tmp_path}/key', but that file cannot be read: No such file")
    assert (
        broken
        == f"S3_SECRET_ACCESS_KEY_FILE is '{tmp_path}/secret', but that file does not contain exactly one line of text."
    )


@pytest.mark.parametrize("text", ["7d", "36h", "90m", "7D"])
def test_a_retention_is_a_number_with_its_unit(text: str) -> None:
    seconds = {"7d": 604_800, "36h": 129_600, "90m": 5_400, "7D": 604_800}[text]
    assert settings({"ORPHAN_UPLOAD_RETENTION": text}).orphan_retention == timedelta(seconds=seconds)
    assert settings({"ORPHAN_UPLOAD_RETENTION": "off"}).orphan_retention is None


@pytest.mark.parametrize("text", ["7", "seven days", "59m", "0d", "-1d", "1w", "7 d", "\u0667d"])
def test_a_retention_that_is_none_or_too_short_is_refused(text: str) -> None:
    (problem,) = problems({"ORPHAN_UPLOAD_RETENTION": text})
    assert problem.startswith("ORPHAN_UPLOAD_RETENTION is ")


def test_no_problem_ever_shows_a_secret(tmp_path: Path) -> None:
    file = env_file(tmp_path, "'S3_SECRET_ACCESS_KEY=CANARY\n")
    found = problems(
        {
            "S3_SECRET_ACCESS_KEY": "CANARY\udcff",
            "S3_ACCESS_KEY_ID": "k",
            "REDIS_URL": "http://:CANARY@host",
            "S3_ENDPOINT_URL": "ftp://u:CANARY@host",
        },
        file,
    )
    assert len(found) == 4
    assert "CANARY" not in "\n".join(found)


def test_an_env_file_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    (problem,) = problems({}, env_file(tmp_path, b"S3_BUCKET_NAME=caf\xe9\n"))
    assert problem == f"{tmp_path}/.env is not UTF-8 text (byte 18); save it as UTF-8."


def test_a_line_of_the_env_file_that_makes_no_sense_is_told_by_its_number(tmp_path: Path) -> None:
    file = env_file(tmp_path, "# ours\n\nPROM_PORT=1\n\nPROM_HOST 127.0.0.1\nEXPORTED\n")
    assert problems({}, file) == [f"Line 5 of {file} cannot be parsed; it must have the form NAME=value."]


def test_an_env_file_that_is_a_folder_is_told(tmp_path: Path) -> None:
    (problem,) = problems({}, tmp_path)
    assert "cannot be read" in problem


def test_no_env_file_is_no_problem(tmp_path: Path) -> None:
    assert load_settings({}, tmp_path / "none").settings == Settings()


# ---- names ----

SLIPS = {
    "CHUNK_SIZE_BYTE": "CHUNK_SIZE_BYTES",
    "CHUNKSIZE_BYTES": "CHUNK_SIZE_BYTES",
    "CHUNK_SIZE": "CHUNK_SIZE_BYTES",
    "CHUNK_SIZE_KB": "CHUNK_SIZE_BYTES",
    "STREAM_CHUNK_SIZE_BYTES": "CHUNK_SIZE_BYTES",
    "chunk_size_bytes": "CHUNK_SIZE_BYTES",
    "CHUNK-SIZE-BYTES": "CHUNK_SIZE_BYTES",
    "S3_BUCKET": "S3_BUCKET_NAME",
    "S3_REGION": "S3_REGION_NAME",
    "S3_ENDPOINT": "S3_ENDPOINT_URL",
    "S3_SECRET_KEY": "S3_SECRET_ACCESS_KEY",
    "S3_ACCESS_KEY": "S3_ACCESS_KEY_ID",
    "REDIS_URI": "REDIS_URL",
    "REDIS_HOSTS": "REDIS_URL",
    "STREAM_TIMEOUT": "STREAM_TIMEOUT_SECONDS",
    "STREAM_TIMEOUT_MS": "STREAM_TIMEOUT_SECONDS",
    "STREAM_TIMOUT_SECONDS": "STREAM_TIMEOUT_SECONDS",
    "MAX_CONCURRENT_STREAM": "MAX_CONCURRENT_STREAMS",
    "WATCH_FILTER_GLOB": "WATCH_FILTER_GLOBS",
    "PROM_POTR": "PROM_PORT",
    "FFPROBE_TIMEOUT": "FFPROBE_TIMEOUT_SECONDS",
    "WATCH_DIRECTORY": "WATCH_DIR",
    "WATCH_FOLDER": "WATCH_DIR",
    "WATCH_PATH": "WATCH_DIR",
    "S3_SECRET": "S3_SECRET_ACCESS_KEY",
    "S3_URL": "S3_ENDPOINT_URL",
}

STRANGERS = re.findall(
    r"\S+",
    """
PATH HOME PWD OLDPWD SHELL SHLVL USER LOGNAME LANG LANGUAGE LC_ALL TERM HOSTNAME HOSTTYPE TZ MAIL EDITOR PAGER DISPLAY
TMPDIR _ PS1 IFS LS_COLORS SSH_AUTH_SOCK SSH_CONNECTION XDG_RUNTIME_DIR DBUS_SESSION_BUS_ADDRESS INVOCATION_ID
JOURNAL_STREAM NOTIFY_SOCKET VIRTUAL_ENV PYTHONPATH PYTHONUNBUFFERED PYTHONIOENCODING PYTHON_VERSION PYTHONHASHSEED
PIP_INDEX_URL DEBIAN_FRONTEND CI GITHUB_ACTIONS http_proxy HTTPS_PROXY NO_PROXY SSL_CERT_FILE REQUESTS_CA_BUNDLE
LOGLEVEL LOG_LEVELS log_level GF_LOG_LEVEL APP_LOG_LEVEL LOG_FORMAT LOG_FILE LOG_DIR APP_NAME APP_PORT APP_ENVS
NODE_ENV RAILS_ENV FLASK_ENV ENV PORT HOST DEBUG WATCH WATCHPACK_POLLING WATCHFILES_FORCE_POLLING CHOKIDAR_USEPOLLING
COMPOSE_PROJECT_NAME COMPOSE_FILE COMPOSE_PROFILES DOCKER_HOST DOCKER_BUILDKIT UID GID
ROOT_ACCESS_KEY ROOT_ACCESS_KEY_ID ROOT_SECRET_KEY ROOT_SECRET_ACCESS_KEY VGW_PORT VGW_REGION VGW_ACCESS_LOG
MINIO_ROOT_USER MINIO_ROOT_PASSWORD MINIO_REGION MINIO_SITE_REGION MC_HOST_local
AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_REGION AWS_DEFAULT_REGION AWS_PROFILE AWS_ENDPOINT_URL
AWS_ENDPOINT_URL_S3 AWS_ROLE_ARN AWS_WEB_IDENTITY_TOKEN_FILE AWS_S3_BUCKET_NAME R2_ACCESS_KEY_ID B2_BUCKET_NAME
GF_SECURITY_ADMIN_PASSWORD GF_SERVER_HTTP_PORT S3_WEBUI_PORT PUBLISH_ADDRESS GRAFANA_PORT PROMETHEUS_PORT
PROMETHEUS_RETENTION
PROMETHEUS_MULTIPROC_DIR PROMETHEUS_DISABLE_CREATED_SERIES POSTGRES_USER DATABASE_URL
REDIS_PASSWORD REDIS_ARGS REDIS_DB REDIS_USER REDIS_TLS_URL REDIS_DATA_DIR REDIS_SERVICE_HOST REDIS_SERVICE_PORT
REDIS_PORT_6379_TCP REDIS_PORT_6379_TCP_ADDR REDISCLI_AUTH S3_SERVICE_HOST S3_PORT S3_KEY S3_PORT_9000_TCP
KUBERNETES_PORT KUBERNETES_SERVICE_HOST STREAMLIT_SERVER_PORT FFREPORT EMBEDDED_MODE MAX_CONNECTIONS
REDIS_PASS REDIS_PWD REDIS_DATABASE
""",
)


@pytest.mark.parametrize(("slip", "right"), SLIPS.items())
def test_a_name_that_nearly_is_ours_is_refused_with_the_right_one(slip: str, right: str, tmp_path: Path) -> None:
    expected = [f"{slip} is not a setting; did you mean {right}?"]
    assert problems({slip: "1"}) == expected
    assert problems({}, env_file(tmp_path, f"'{slip}'=1\n")) == expected


@pytest.mark.parametrize(
    ("slip", "right"),
    [
        *((name, "REDIS_PASSWORD") for name in ("REDIS_PASS", "REDIS_PWD", "REDIS_PASSWD")),
        ("REDIS_USER", "REDIS_USERNAME"),
        ("REDIS_DATABASE", "REDIS_DB"),
    ],
)
def test_what_another_program_calls_the_same_is_refused_beside_redis_host(slip: str, right: str) -> None:
    assert problems({"REDIS_HOST": "cache", slip: "1"}) == [f"{slip} is not a setting; did you mean {right}?"]


@pytest.mark.parametrize(
    ("slip", "right"), [("LOG_LEVL", "LOG_LEVEL"), ("LOGLEVEL", "LOG_LEVEL"), ("APP_ENVS", "APP_ENV")]
)
def test_what_resembles_a_common_name_is_refused_only_in_the_file(slip: str, right: str, tmp_path: Path) -> None:
    assert load_settings({slip: "x"}).settings == Settings()
    assert problems({}, env_file(tmp_path, f"{slip}=x\n")) == [f"{slip} is not a setting; did you mean {right}?"]


def test_every_setting_is_found_when_a_letter_is_missing_from_its_name() -> None:
    for attribute in Settings.model_fields.keys() - {"app_env", "log_level"}:
        name = attribute.upper()
        assert problems({name[:-1]: "1"}) == [f"{name[:-1]} is not a setting; did you mean {name}?"]


def test_names_of_other_programs_are_left_alone(tmp_path: Path) -> None:
    assert load_settings(dict.fromkeys(STRANGERS, "whatever")).settings == Settings()
    common = {"LOGLEVEL", "LOG_LEVELS", "log_level", "APP_ENVS"}
    file = env_file(tmp_path, "".join(f"{name}=whatever\n" for name in STRANGERS if name not in common))
    assert load_settings({}, file).settings == Settings()


def test_a_strange_name_is_shown_escaped() -> None:
    assert problems({"REDIS_URL\x1b": "x"}) == ["'REDIS_URL\\x1b' is not a setting; did you mean REDIS_URL?"]


# ---- older names ----


@pytest.mark.parametrize("old", ["CHUNK_SIZE_MB", "STREAM_CHUNK_SIZE_MB"])
def test_a_chunk_size_in_mebibytes_still_works_and_says_so(old: str) -> None:
    loaded = load_settings({old: "5"})
    assert loaded.settings.chunk_size_bytes == 5 * MIB
    assert loaded.notices == (f"{old} is an older name of CHUNK_SIZE_BYTES; it still works.",)


def test_an_older_chunk_size_is_refused_in_the_operators_own_words() -> None:
    assert problems({"CHUNK_SIZE_MB": "4"}) == [
        "CHUNK_SIZE_MB is '4' (4194304 bytes), but must be a whole number from 5242880 (5 MiB) to 5368709120 (5 GiB)."
    ]
    assert problems({"CHUNK_SIZE_MB": "ten"}) == [
        "CHUNK_SIZE_MB is 'ten', but must be a whole number of mebibytes, such as 10."
    ]


def test_old_and_new_spelling_may_agree_but_not_differ() -> None:
    assert settings({"CHUNK_SIZE_MB": "8", "CHUNK_SIZE_BYTES": str(8 * MIB)}).chunk_size_bytes == 8 * MIB
    assert problems({"CHUNK_SIZE_MB": "8", "CHUNK_SIZE_BYTES": str(9 * MIB)}) == [
        "CHUNK_SIZE_BYTES and its older name CHUNK_SIZE_MB differ; keep only CHUNK_SIZE_BYTES."
    ]
    assert len(problems({"CHUNK_SIZE_MB": "8", "STREAM_CHUNK_SIZE_MB": "9"})) == 1
    assert len(problems({"CHUNK_SIZE_MB": "8", "CHUNK_SIZE_BYTES": "x"})) == 2


def test_an_older_log_level_still_works() -> None:
    assert settings({"PYTHON_LOG_LEVEL": "debug"}).log_level == "DEBUG"
    assert settings({"PYTHON_LOG_LEVEL": "debug", "LOG_LEVEL": "DEBUG"}).log_level == "DEBUG"
    assert len(problems({"PYTHON_LOG_LEVEL": "debug", "LOG_LEVEL": "INFO"})) == 1


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"REDIS_HOST": "redis"}, "redis://redis:6379/0"),
        ({"REDIS_HOST": "redis", "REDIS_PORT": "6380"}, "redis://redis:6380/0"),
        ({"REDIS_HOST": "::1", "REDIS_PORT": "6380"}, "redis://[::1]:6380/0"),
        ({"REDIS_PORT": "6380"}, "redis://localhost:6380/0"),
        ({"REDIS_HOST": "redis", "REDIS_PORT": "tcp://10.0.0.1:6379"}, "redis://redis:6379/0"),
        ({"REDIS_URL": "redis://:pw@redis:6379/1", "REDIS_HOST": "redis"}, "redis://:pw@redis:6379/1"),
    ],
)
def test_redis_host_and_port_still_work(environ: Mapping[str, str], url: str) -> None:
    loaded = load_settings(environ)
    assert loaded.settings.redis_url == url
    assert len(loaded.notices) == 1


def test_a_redis_host_that_contradicts_the_address_is_refused() -> None:
    (problem,) = problems({"REDIS_URL": "redis://a:6379/0", "REDIS_HOST": "b"})
    assert problem == "REDIS_URL and its older name REDIS_HOST differ; keep only REDIS_URL."
    assert len(problems({"REDIS_URL": "redis://a:x/0", "REDIS_HOST": "b"})) == 2
    assert len(problems({"REDIS_HOST": "b", "REDIS_PORT": "x"})) == 1


@pytest.mark.parametrize("port", ["tcp://10.96.0.11:6379", "6380"])
def test_another_programs_redis_port_does_not_contradict(port: str) -> None:
    loaded = load_settings({"REDIS_URL": "redis://redis:6379/0", "REDIS_PORT": port})
    assert loaded.settings.redis_url == "redis://redis:6379/0"
    assert loaded.notices == ()


def test_kubernetes_own_redis_port_names_no_redis() -> None:
    assert not settings({"REDIS_PORT": "tcp://10.96.0.11:6379"}).redis_url_given


# ---- what is told of settings ----


def test_no_way_of_printing_the_settings_shows_a_secret() -> None:
    s = settings(
        {
            "S3_ACCESS_KEY_ID": "key-id",
            "S3_SECRET_ACCESS_KEY": "CANARY-1",
            "REDIS_URL": "redis://user:CANARY-2@host:6379/0?password=CANARY-3",
        }
    )
    for text in (repr(s), str(s), json.dumps(s.summary())):
        assert "CANARY" not in text
    assert set(s.secrets()) == {"CANARY-1", "CANARY-2", "CANARY-3"}


def test_a_password_is_secret_as_it_is_written_and_as_it_is_meant() -> None:
    assert settings({"REDIS_URL": "redis://:p%40ss@host/0"}).secrets() == ("p%40ss", "p@ss")


def test_the_summary_tells_what_matters_and_what_is_unusual() -> None:
    told = settings({"REDIS_URL": "redis://u:p@host:1/0", "FFPROBE_PATH": "/opt/ffprobe"}).summary()
    assert told["redis_url"] == "redis://host:1/0"
    assert told["ffprobe_path"] == "/opt/ffprobe"
    assert told["watch_dir"] == "local_watch_dir"
    assert told["watch_filter_globs"] == ["*.mp4"]
    assert told["s3_keys"] == "from the AWS chain"
    assert "s3_part_copy" not in told
    json.dumps(told)


def test_user_and_query_are_left_out_of_an_address() -> None:
    assert without_user_info("unix://u:p@/run/redis.sock?db=1") == "unix:///run/redis.sock"


# ---- example.env ----


def test_example_env_is_what_the_settings_say() -> None:
    assert (ROOT / "example.env").read_text() == example_env(), "python -m src.config > example.env"


_SETTING = re.compile(r"^#?([A-Z0-9_]+)=(.*)$", re.MULTILINE)


def test_example_env_names_every_setting_once_with_a_comment_and_its_default() -> None:
    lines = (ROOT / "example.env").read_text().splitlines()
    named = [found[1] for line in lines if (found := _SETTING.match(line))]
    assert named == [name.upper() for name in Settings.model_fields]
    assert all(lines[i - 1].startswith("# ") for i, line in enumerate(lines) if _SETTING.match(line))


def test_a_copy_of_example_env_pins_nothing() -> None:
    """Only what somebody has to fill in is no remark, and that has no value."""
    text = (ROOT / "example.env").read_text()
    open_lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert open_lines == ["S3_ENDPOINT_URL=", "S3_ACCESS_KEY_ID=", "S3_SECRET_ACCESS_KEY=", "REDIS_URL="]
    loaded = load_settings({}, ROOT / "example.env")
    assert loaded.settings == Settings()
    assert loaded.settings.model_fields_set == set()
    assert loaded.notices == ()


def test_every_default_that_example_env_shows_is_taken_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(_SETTING.sub(r"\1=\2", (ROOT / "example.env").read_text()))
    assert load_settings({}, tmp_path / ".env").settings == Settings()


def test_every_setting_says_why_it_is_there() -> None:
    assert [name for name, info in Settings.model_fields.items() if not info.description] == []


def test_every_number_has_limits() -> None:
    for name, info in Settings.model_fields.items():
        if info.annotation in (int, float):
            assert len([limit for limit in info.metadata if isinstance(limit, Ge | Gt | Le)]) == 2, name
