"""Settings: what an operator may choose, said once, with the reason and the limits.

Everything comes from the environment and an env file (the environment wins; an empty value is no value). Wrong
values, old spellings that contradict and names that nearly are ours are collected and raised together, in the
operator's own words. Names of other programs that share the file are left alone. ``python -m src.config`` prints
``example.env``.
"""

from __future__ import annotations

import io
import json
import os
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from difflib import SequenceMatcher
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin
from urllib.parse import quote, unquote, urlsplit

from annotated_types import Ge, Gt, Le
from dotenv.parser import parse_stream
from dotenv.variables import Variable, parse_variables
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from .domain import GIB, MIB, S3_LIMITS, prefix_problem
from .exceptions import ConfigurationError
from .typed_values import bucket_name, leaves_out_all, path_syntax, patterns, redis_address, shell_syntax, store_address

_DURATION = re.compile(r"\d{1,5}[mhd]", re.ASCII | re.IGNORECASE)


def _level(value: object) -> object:
    upper = str(value).upper()
    return "WARNING" if upper == "WARN" else upper


def _lower(value: object) -> object:
    return str(value).lower()


def _globs(value: object) -> object:
    """What is no list of patterns was refused before."""
    return tuple(json.loads(value)) if isinstance(value, str) else value


def _folder(path: Path) -> Path:
    if os.path.exists(path) and not os.path.isdir(path):
        raise ValueError("a folder, and there is something else at this path")
    return path


def _duration(text: str) -> str:
    if text.lower() != "off" and not _DURATION.fullmatch(text):
        raise ValueError("a time such as 7d, 36h or 90m, or off")
    if text.lower() != "off" and _seconds(text) < 3600:
        raise ValueError("at least 1h, or off")
    return text


def _seconds_or_off(text: str) -> str:
    number = re.fullmatch(r"\d{1,5}(\.\d{1,3})?", text, re.ASCII)
    if text.lower() != "off" and not (number and 0.1 <= float(text) <= 86_400):
        raise ValueError("a number of seconds from 0.1 to 86400, or off")
    return text


def _seconds(duration: str) -> float:
    return float(duration[:-1]) * {"m": 60, "h": 3600, "d": 86_400}[duration[-1].lower()]


def _http_url(url: str) -> str:
    if not _is_url(url, schemes=("http", "https"), needs_host=True):
        raise ValueError("an address with its scheme, such as http://localhost:9000")
    return url


def _redis_url(url: str) -> str:
    if not _is_url(url, schemes=("redis", "rediss"), needs_host=False) and not _is_socket_url(url):
        raise ValueError(
            "an address such as redis://localhost:6379/0, rediss://user:password@host:6380/0 or unix:///run/redis.sock"
        )
    return url


def _is_url(url: str, *, schemes: tuple[str, ...], needs_host: bool) -> bool:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    if parts.scheme not in schemes or not url.startswith(f"{parts.scheme}://"):
        return False
    return bool(host or not needs_host) and not any(c in "{}$\\^|<>\"'" or c.isspace() for c in host)


def _is_socket_url(url: str) -> bool:
    try:
        return url.startswith("unix://") and len(urlsplit(url).path) > 1
    except ValueError:
        return False


def _bucket(name: str) -> str:
    legal = all(c.isascii() and (c.isalnum() or c in "._-") for c in name)
    if not legal or not 3 <= len(name) <= 63 or not name[0].isalnum():
        raise ValueError("3 to 63 letters, digits, dots, hyphens or underscores, the first a letter or a digit")
    return name


def _key_prefix(prefix: str) -> str:
    problem = prefix_problem(prefix) if prefix else None
    if problem:
        raise ValueError(f"a prefix such as cam-7/; this one {problem}")
    return prefix


def _off_or_a_second(seconds: float) -> float:
    if 0 < seconds < 1:
        raise ValueError("0, or a number from 1 to 3600")
    return seconds


def _plain_name(text: str) -> str:
    if not text.isprintable() or any(c.isspace() or c in "/@" for c in text):
        raise ValueError("a host name or an address, such as 127.0.0.1")
    return text


OnOff = Annotated[Literal["auto", "on", "off"], BeforeValidator(_lower)]
Seconds = Annotated[float, Field(allow_inf_nan=False)]
Folder = Annotated[Path, AfterValidator(_folder)]


class Settings(BaseSettings):
    """All settings, frozen. The names in the environment are these in capitals."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    app_env: Annotated[Literal["development", "production"], BeforeValidator(_lower)] = Field(
        default="development",
        description="How log lines look: for people (development) or one JSON object a line (production).",
    )
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_level)] = Field(
        default="INFO", description="The least important log lines that are written."
    )
    prom_port: int = Field(
        default=8000, ge=0, le=65_535, description="Port of /metrics, /-/healthy and /-/ready. 0: any free port."
    )
    prom_host: Annotated[str, AfterValidator(_plain_name)] = Field(
        default="127.0.0.1",
        description="Address on which that port listens. Only this machine, because the pages tell about the daemon "
        "and nobody has to log in; 0.0.0.0 inside a container.",
    )
    metrics_stream_max: int = Field(
        default=200,
        ge=0,
        le=10_000,
        description="At most so many streams have metrics of their own, so that /metrics stays small.",
    )
    metrics_stream_retention_seconds: Seconds = Field(
        default=600,
        ge=0,
        le=604_800,
        description="How long a stream's own metrics stay after it ended: longer than two scrapes.",
    )
    watchdog_seconds: Annotated[Seconds, AfterValidator(_off_or_a_second)] = Field(
        default=60,
        ge=0,
        le=3_600,
        description="An event loop that hangs for so long is written to the log with all stacks, and the process ends "
        "with exit code 70, so that the service manager starts it again. 0: never.",
    )

    watch_dir: Folder = Field(
        default=Path("local_watch_dir"),
        description="The folder in which recordings appear; folders inside it are watched too.",
    )
    watch_filter_globs: Annotated[tuple[str, ...], BeforeValidator(_globs)] = Field(
        default=("*.mp4",),
        description='Which file names are recordings: patterns as a JSON list, such as ["*.mp4", "*.MP4"].',
    )
    watch_exclude_globs: Annotated[tuple[str, ...], BeforeValidator(_globs)] = Field(
        default=(
            *("._*", ".Trash*", ".AppleDouble", ".TemporaryItems", ".Spotlight-V100", ".fseventsd"),
            *("$RECYCLE.BIN", "System Volume Information", "lost+found"),
            *("#recycle", "#snapshot", "@eaDir", "@Recycle", "@Recently-Snapshot"),
            *(
                ".snapshot",
                ".snapshots",
                ".zfs",
                ".stversions",
                ".stfolder",
                ".sync",
                ".~tmp~",
                ".@__thumb",
                ".recycle",
            ),
        ),
        description="Names of files and folders that are left out though they match WATCH_FILTER_GLOBS: trash, "
        "snapshots, versions and side files of other programs. A pattern without a slash is compared with the file's "
        "name and with each folder's above it. The list replaces the default: repeat what is to stay left out. []: "
        "nothing is left out.",
    )
    ignore_older_than: Annotated[str, AfterValidator(_duration)] | None = Field(
        default=None,
        description="Files that the start finds unchanged for longer are left alone (30d, 36h), unless their upload "
        "was begun: for an old archive of which only what comes is wanted. What appears later is taken, however old. "
        "Empty: every file is taken.",
    )
    watch_file_min_age_seconds_for_idle: Seconds = Field(
        default=0,
        ge=0,
        le=604_800,
        description="A file that was found less than so many seconds ago is never taken for finished.",
    )
    watch_force_polling: bool = Field(
        default=False,
        description="Look for changes instead of waiting for the system's notifications, which do not come on network "
        "file systems and on Docker Desktop's mounts.",
    )
    watch_scan_seconds: Seconds = Field(
        default=10,
        gt=0,
        le=3_600,
        description="The whole folder is looked through this often, because notifications get lost.",
    )
    stream_timeout_seconds: Seconds = Field(
        default=30,
        gt=0,
        le=86_400,
        description="A recording that did not change for so long is finished. Longer than the recorder's longest pause "
        "between two writes.",
    )
    finish_early_seconds: Annotated[str, AfterValidator(_seconds_or_off)] = Field(
        default="2",
        description="Quiet time of a recording whose end is proved: nobody has the file open for writing, and it is an "
        "ordinary MP4 with its index (moov), or a fragmented one with an mfra box at its end. All others wait for "
        "STREAM_TIMEOUT_SECONDS. off: every recording does. Choose more, or off, where a tool remuxes, tags or "
        "replaces recordings after they are closed.",
    )
    on_name_reused: Annotated[Literal["keep", "replace"], BeforeValidator(_lower)] = Field(
        default="keep",
        description="A new recording under the name of an earlier one: keep both objects (the new one becomes "
        "name~2.mp4), or replace the earlier one.",
    )
    on_source_missing: Annotated[Literal["keep", "abort", "complete"], BeforeValidator(_lower)] = Field(
        default="keep",
        description="A recording whose file disappears before its end: keep what S3 holds as an open upload (it goes "
        "on when the file comes back), abort it, or complete it as an object of what had been sent.",
    )
    orphan_upload_retention: Annotated[str, AfterValidator(_duration)] = Field(
        default="7d",
        description="Open uploads that belong to no stream are thrown away when nothing came into them for so long and "
        "the recording at their key is complete: 7d, 36h, or off to leave them alone.",
    )

    max_concurrent_streams: int = Field(
        default=5,
        ge=1,
        le=1_000,
        description="So many recordings are sent at the same time; the others wait their turn on the disk. Memory: "
        "this × PARTS_IN_FLIGHT × CHUNK_SIZE_BYTES.",
    )
    parts_in_flight: int = Field(
        default=2, ge=1, le=64, description="So many parts of one recording are sent at once when it is behind."
    )
    chunk_size_bytes: int = Field(
        default=10 * MIB,
        ge=S3_LIMITS.min_part,
        le=S3_LIMITS.max_part,
        description="Size of a part. S3 takes 5 MiB to 5 GiB; smaller parts reach S3 sooner, larger ones cost fewer "
        "requests.",
    )
    shutdown_grace_seconds: Seconds = Field(
        default=20,
        ge=0,
        le=3_600,
        description="At a stop, parts in flight get so long to arrive. Shorter than the time after which the service "
        "manager kills (stop_grace_period).",
    )

    s3_endpoint_url: Annotated[str, AfterValidator(_http_url)] | None = Field(
        default=None, repr=False, description="Address of the store. Empty: Amazon S3."
    )
    s3_access_key_id: str | None = Field(
        default=None,
        repr=False,
        description="Key with the right to write into the bucket. Empty, both of them: the usual AWS ways (roles, "
        "profiles, web identity).",
    )
    s3_secret_access_key: SecretStr | None = Field(
        default=None, description="The secret that belongs to S3_ACCESS_KEY_ID."
    )
    s3_access_key_id_file: Path | None = Field(
        default=None,
        description="A file that holds the key, instead of S3_ACCESS_KEY_ID. It is read again when the store refuses.",
    )
    s3_secret_access_key_file: Path | None = Field(
        default=None,
        description="A file that holds the secret, instead of S3_SECRET_ACCESS_KEY (such as /run/secrets/s3). It is "
        "read again when the store refuses, so that a rotated secret needs no restart.",
    )
    s3_bucket_name: Annotated[str, AfterValidator(_bucket)] = Field(
        default="video-streams", description="The bucket; it is created when it is missing and the key allows it."
    )
    s3_region_name: str | None = Field(
        default=None, description="Region of the bucket. Empty: what the AWS profile says, else us-east-1."
    )
    s3_key_prefix: Annotated[str, AfterValidator(_key_prefix)] = Field(
        default="",
        description="Put before every object's key; end it with a slash to make it a folder, such as cam-7/.",
    )
    s3_checksum: Annotated[Literal["auto", "crc64nvme", "none"], BeforeValidator(_lower)] = Field(
        default="auto",
        description="Checksum that the store keeps of every part. none: for stores that refuse it; parts are then "
        "compared by the MD5 in their ETag. auto: what the store verifies; where parts that are copied inside it have "
        "no right checksum, an upload that mostly copies has none either.",
    )
    s3_conditional_writes: OnOff = Field(
        default="auto",
        description="If-None-Match and If-Match, which keep a stranger's object safe. off: the store has none.",
    )
    s3_equal_parts: OnOff = Field(
        default="auto",
        description="All parts of an upload have one size, as Cloudflare R2 wants (auto knows its address).",
    )
    s3_max_parts: Annotated[int | None, Ge(2), Le(10_000)] = Field(
        default=None,
        description="Maximum number of parts of one upload. Empty: what is known of the store by its address "
        "(Scaleway: 1,000), else 10,000. Where it is small, part sizes double sooner.",
    )
    s3_part_copy: OnOff = Field(
        default="auto", description="Copy unchanged parts inside the store when an object is brought up to date."
    )
    s3_payload_signing: OnOff = Field(
        default="auto",
        description="SHA-256 of every part in its signature. auto: only over plain http to another machine, since TLS "
        "or our own checksum guards the bytes elsewhere, at less CPU.",
    )
    s3_addressing_style: Annotated[Literal["auto", "path", "virtual"], BeforeValidator(_lower)] = Field(
        default="auto",
        description="The bucket in the path or in the host name. auto: in the path where an endpoint is named.",
    )

    redis_url: Annotated[str, AfterValidator(_redis_url)] = Field(
        default="redis://localhost:6379/0",
        repr=False,
        description="Address of the Redis that keeps the checkpoints; it may hold a password "
        "(redis://:password@host:6379/0). Empty: redis://localhost:6379/0.",
    )
    redis_key_prefix: str = Field(
        default="", max_length=128, description="Put before every Redis key, so that daemons can share a Redis."
    )

    ffprobe_path: str = Field(
        default="ffprobe", description="ffprobe's name or path; without it there is no duration in the metadata."
    )
    ffprobe_timeout_seconds: Seconds = Field(default=30, gt=0, le=3_600, description="ffprobe is ended after so long.")

    embedded_services: Annotated[Literal["off", "auto"], BeforeValidator(_lower)] = Field(
        default="off",
        description="auto: start a private Redis and a private S3 for trying out, each only where REDIS_URL or "
        "S3_ENDPOINT_URL names none (scripts/run does that). Not for data you want to keep safe.",
    )
    embedded_data_dir: Folder = Field(default=Path("data"), description="Where the embedded services keep their data.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what ``load_settings`` gives: it reads both sources itself, so that it can name every problem."""
        return (init_settings,)

    @property
    def redis_url_given(self) -> bool:
        """Whether somebody named a Redis; an embedded one then never takes its place."""
        return "redis_url" in self.model_fields_set

    @property
    def s3_endpoint_url_given(self) -> bool:
        """Whether somebody named a store; an embedded one then never takes its place."""
        return self.s3_endpoint_url is not None

    @property
    def finish_early(self) -> float | None:
        """Quiet seconds of a recording whose end is proved; None: it waits like any other."""
        return None if self.finish_early_seconds.lower() == "off" else float(self.finish_early_seconds)

    @property
    def orphan_retention(self) -> timedelta | None:
        """None: orphan uploads are left alone."""
        off = self.orphan_upload_retention.lower() == "off"
        return None if off else timedelta(seconds=_seconds(self.orphan_upload_retention))

    @property
    def old_seconds(self) -> float | None:
        """None: no file is too old."""
        off = self.ignore_older_than is None or self.ignore_older_than.lower() == "off"
        return None if off else _seconds(str(self.ignore_older_than))

    def secrets(self) -> tuple[str, ...]:
        """Every text that must never be printed, each in all spellings that it has in the settings."""
        found = [self.s3_secret_access_key.get_secret_value()] if self.s3_secret_access_key else []
        for url in (self.redis_url, self.s3_endpoint_url or ""):
            found += _url_secrets(url)
        return tuple(dict.fromkeys(text for text in found if text))

    def summary(self) -> dict[str, object]:
        """The settings that matter, and those that are not as usual, for one log line; without secrets."""
        usual = type(self)()
        names = [n for n in type(self).model_fields if n in _ALWAYS_TOLD or getattr(self, n) != getattr(usual, n)]
        told: dict[str, object] = {name: _told(getattr(self, name)) for name in names if name not in _CREDENTIALS}
        given = self.s3_access_key_id or self.s3_access_key_id_file
        told["s3_keys"] = "from the settings" if given else "from the AWS chain"
        return told


_CREDENTIALS = frozenset({"s3_access_key_id", "s3_secret_access_key"})
#: Nothing of these is told when they cannot be used: what is malformed may hold a secret anywhere.
_CONFIDENTIAL = _CREDENTIALS | {"s3_endpoint_url", "redis_url"}
_PATTERNS = frozenset({"watch_filter_globs", "watch_exclude_globs"})
_ALWAYS_TOLD = frozenset(
    {
        *("app_env", "log_level", "prom_host", "prom_port", "watch_dir", "watch_filter_globs", "chunk_size_bytes"),
        *("stream_timeout_seconds", "max_concurrent_streams", "parts_in_flight"),
        *("s3_endpoint_url", "s3_bucket_name", "s3_key_prefix", "redis_url", "embedded_services"),
    }
)


def _told(value: object) -> object:
    if isinstance(value, str) and "://" in value:
        return without_user_info(value)
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value


def without_user_info(url: str) -> str:
    """The URL without user, password and query, fit for a log."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _url_secrets(url: str) -> Iterator[str]:
    parts = urlsplit(url)
    queried = (pair.partition("=") for pair in parts.query.split("&"))
    written = [parts.password or "", *(value for name, _, value in queried if "password" in name.lower())]
    for text in written:
        yield text
        yield unquote(text)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and sentences that the operator should read once: old spellings that still work."""

    settings: Settings
    notices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Given:
    """One value: the name under which the operator wrote it, his text, and the value that it stands for."""

    name: str
    text: str
    value: object


@dataclass(slots=True)
class _Findings:
    """What one reading of all sources brings to light."""

    given: dict[str, _Given] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


_PATHS = frozenset(
    {"watch_dir", "embedded_data_dir", "ffprobe_path", "s3_access_key_id_file", "s3_secret_access_key_file"}
)
_NAMES = {name.upper(): name for name in Settings.model_fields}
_MEBIBYTES = ("CHUNK_SIZE_MB", "STREAM_CHUNK_SIZE_MB")
#: Older spellings, and what is to be written instead.
_OLD_NAMES = {
    **dict.fromkeys(_MEBIBYTES, "CHUNK_SIZE_BYTES"),
    "PYTHON_LOG_LEVEL": "LOG_LEVEL",
    "REDIS_HOST": "REDIS_URL",
    "REDIS_PORT": "REDIS_URL",
    "REDIS_USERNAME": "REDIS_URL",
    "REDIS_PASSWORD": "REDIS_URL",
    "REDIS_DB": "REDIS_URL",
}
#: They say more of the Redis that REDIS_HOST names.
_OF_REDIS_HOST = ("REDIS_USERNAME", "REDIS_PASSWORD", "REDIS_DB")
#: What other programs call the same, and what it is called here.
_SYNONYMS = {
    **dict.fromkeys(("WATCH_DIRECTORY", "WATCH_FOLDER", "WATCH_PATH"), "WATCH_DIR"),
    "S3_SECRET": "S3_SECRET_ACCESS_KEY",
    "S3_URL": "S3_ENDPOINT_URL",
}
#: The same of what belongs to REDIS_HOST; without that they are another program's.
_SYNONYMS_OF_REDIS_HOST = {
    **dict.fromkeys(("REDIS_PASS", "REDIS_PWD", "REDIS_PASSWD"), "REDIS_PASSWORD"),
    "REDIS_USER": "REDIS_USERNAME",
    "REDIS_DATABASE": "REDIS_DB",
}
#: Names so common that what resembles them in everybody's environment is not meant for us.
_COMMON_NAMES = frozenset({"APP_ENV", "LOG_LEVEL", "PYTHON_LOG_LEVEL"})
_UNITS = ("_SECONDS", "_BYTES")


def load_settings(environ: Mapping[str, str], env_file: Path | None = None) -> Loaded:
    """The settings from ``environ`` and ``env_file`` (no file there: none).

    Raises ``ConfigurationError`` with a sentence for every problem there is.
    """
    found = _Findings()
    in_file = _filled(_read_env_file(env_file, environ, found))
    in_environment = _filled(environ)
    given = {**in_file, **in_environment}
    found.given = {_NAMES[name]: _Given(name, text, text) for name, text in given.items() if name in _NAMES}
    _take_old_log_level(given, found)
    _take_old_chunk_sizes(given, found)
    _take_old_redis_address(given, found)
    synonyms = {**_SYNONYMS, **(_SYNONYMS_OF_REDIS_HOST if given.get("REDIS_HOST") else {})}
    found.problems += _misspelt(in_file, synonyms, but=frozenset())
    found.problems += _misspelt(in_environment.keys() - in_file.keys(), synonyms, but=_COMMON_NAMES)
    _check_key_pair(found)
    settings = _validated(found)
    if settings is None or found.problems:
        raise ConfigurationError(found.problems)
    return Loaded(settings, tuple(found.notices))


def _filled(values: Mapping[str, str]) -> dict[str, str]:
    """Without empty values; without the blanks and carriage returns that editors leave at an end."""
    return {name: text.strip() for name, text in values.items() if text.strip()}


def _read_env_file(path: Path | None, environ: Mapping[str, str], found: _Findings) -> dict[str, str]:
    if path is None:
        return {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        found.problems.append(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8.")
        return {}
    except OSError as error:
        found.problems.append(f"{path} cannot be read: {error.strerror}.")
        return {}
    return _parse_env_file(path, text, environ, found)


def _parse_env_file(path: Path, text: str, environ: Mapping[str, str], found: _Findings) -> dict[str, str]:
    values: dict[str, str] = {}
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:  # the line itself is not shown: it may hold a secret
            line = binding.original.line + _blank_lines(binding.original.string)
            found.problems.append(f"Line {line} of {path} cannot be read; it must look like NAME=value.")
        elif binding.key is not None and binding.value is not None:
            values[binding.key] = _expanded(binding.value, {**values, **environ})
    return values


def _blank_lines(text: str) -> int:
    return text[: len(text) - len(text.lstrip())].count("\n")


def _expanded(text: str, known: Mapping[str, str]) -> str:
    """``${NAME}`` and ``${NAME:-default}`` replaced as compose does; a name that is not known stays as it is."""
    return "".join(
        f"${{{atom.name}}}"
        if isinstance(atom, Variable) and atom.default is None and atom.name not in known
        else atom.resolve(known)
        for atom in parse_variables(text)
    )


def _take_old_log_level(given: Mapping[str, str], found: _Findings) -> None:
    if text := given.get("PYTHON_LOG_LEVEL"):
        _take_old("log_level", _Given("PYTHON_LOG_LEVEL", text, text), found, same=_level)


def _take_old_chunk_sizes(given: Mapping[str, str], found: _Findings) -> None:
    for name in _MEBIBYTES:
        if not (text := given.get(name)):
            continue
        try:
            size = int(text) * MIB
        except ValueError:
            found.problems.append(f"{name} is {_shown(text)}, but must be a whole number of mebibytes, such as 10.")
            continue
        _take_old("chunk_size_bytes", _Given(name, text, size), found, same=_bytes)


def _bytes(size: object) -> object:
    try:
        return int(str(size))
    except ValueError:
        return size


def _take_old_redis_address(given: Mapping[str, str], found: _Findings) -> None:
    """``REDIS_PORT`` alone never contradicts: it often is another program's, and Kubernetes makes one by itself."""
    host, port = given.get("REDIS_HOST"), given.get("REDIS_PORT", "")
    port = "" if port.startswith("tcp://") else port
    more = [name for name in _OF_REDIS_HOST if given.get(name)]
    if more and (not host or "redis_url" in found.given):
        why = "REDIS_URL is set" if "redis_url" in found.given else "REDIS_HOST is not set"
        found.notices.append(f"{' and '.join(more)} {'are' if more[1:] else 'is'} ignored, because {why}.")
        more = []
    if not host and (not port or "redis_url" in found.given):
        return
    if problems := list(_wrong_parts_of_redis(given, host, more)):
        found.problems += problems
        return
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        found.problems.append(f"REDIS_PORT is {_shown(port)}, but must be a whole number from 1 to 65535.")
        return
    name = "REDIS_HOST" if host else "REDIS_PORT"
    host = host or "localhost"
    who = f"{quote(given.get('REDIS_USERNAME', ''), safe='')}:{quote(given.get('REDIS_PASSWORD', ''), safe='')}@"
    user_info = who if {"REDIS_USERNAME", "REDIS_PASSWORD"} & set(more) else ""
    database = int(given["REDIS_DB"]) if "REDIS_DB" in more else 0
    url = f"redis://{user_info}{f'[{host}]' if ':' in host else host}:{port or 6379}/{database}"
    _take_old("redis_url", _Given(name, given[name], url), found, same=_host_and_port)


def _wrong_parts_of_redis(given: Mapping[str, str], host: str | None, more: list[str]) -> Iterator[str]:
    """Nothing of a host that is more than that is told: it may be an address with a password."""
    if host and (slip := shell_syntax("REDIS_HOST", host, secret=True)):
        yield f"REDIS_HOST is set, but {slip}."
    elif host and any(c in host for c in "/@"):
        yield "REDIS_HOST is set, but it is an address: write it into REDIS_URL."
    elif host and re.fullmatch(r"[^:]+:\d*", host):
        yield "REDIS_HOST is set, but it holds a port: write the host alone, and the port into REDIS_PORT."
    elif host and not re.fullmatch(r"[\w.-]+|[0-9A-Fa-f:.]+(%\w+)?", host):
        yield "REDIS_HOST is set, but must be a host name or an address, such as 127.0.0.1."
    for name in more:
        if unusable := _unusable(_Given(name, given[name], given[name])):
            yield unusable
        elif slip := shell_syntax(name, given[name], secret=True):
            yield f"{name} is set, but {slip}."
        elif name == "REDIS_DB" and not (given[name].isascii() and given[name].isdigit()):
            yield "REDIS_DB is set, but must be a whole number, such as 0."


def _host_and_port(url: object) -> object:
    try:
        parts = urlsplit(str(url))
        return parts.hostname or "localhost", parts.port or 6379
    except ValueError:
        return url


def _take_old(attribute: str, old: _Given, found: _Findings, *, same: Any) -> None:
    """Use the older spelling, or, where another one is used already, make sure that both say the same."""
    name = attribute.upper()
    found.notices.append(f"{old.name} is an older spelling of {name}; it still works.")
    present = found.given.get(attribute)
    if present is None:
        found.given[attribute] = old
    elif same(present.value) != same(old.value):
        found.problems.append(f"{present.name} and its older spelling {old.name} differ; keep only {name}.")


def _misspelt(names: Iterable[str], synonyms: Mapping[str, str], *, but: frozenset[str]) -> list[str]:
    """A sentence for each name that nearly is one of ours, or means the same."""
    found = []
    for name in sorted(names):
        if name in _NAMES or name in _OLD_NAMES:
            continue
        if meant := synonyms.get(name):
            found.append(f"{name} is no setting; did you mean {meant}?")
        elif (ours := _nearest(name)) is not None and ours not in but:
            found.append(f"{_shown_name(name)} is no setting; did you mean {_OLD_NAMES.get(ours, ours)}?")
    return found


def _nearest(name: str) -> str | None:
    written = name.upper().replace("-", "_").replace(".", "_")
    likeness = {ours: _likeness(written, ours) for ours in (*_NAMES, *_OLD_NAMES)}
    best = max(likeness, key=lambda ours: likeness[ours])
    return best if likeness[best] > 0 else None


def _likeness(written: str, ours: str) -> float:
    """How alike two names are, 0 to 1; 0 unless one can be a slip for the other.

    The first word tells whose a name is (``AWS_ACCESS_KEY_ID`` is not ours), so that it must nearly agree. Then
    a slip is a letter or two, a word left out, or another unit.
    """
    if written.replace("_", "") == ours.replace("_", ""):
        return 1.0
    their_words, our_words = written.split("_"), ours.split("_")
    if SequenceMatcher(None, their_words[0], our_words[0]).ratio() < 0.7:
        return 0.0
    ratio = SequenceMatcher(None, written, ours).ratio()
    if ratio >= 0.88:
        return ratio
    left_out = any(their_words == our_words[:i] + our_words[i + 1 :] for i in range(1, len(our_words)))
    if left_out and len(their_words) > 1 and ratio >= 0.7:
        return ratio
    other_unit = ours.endswith(_UNITS) and their_words[:-1] == our_words[:-1]
    return max(ratio, 0.1) if other_unit else 0.0


def _check_key_pair(found: _Findings) -> None:
    """Half a pair of keys would be refused by the store much later, and in other words."""
    names = ("s3_access_key_id", "s3_secret_access_key")
    there = {name: [each for each in (name, f"{name}_file") if each in found.given] for name in names}
    for given in there.values():
        if len(given) == 2:
            found.problems.append(f"{given[0].upper()} and {given[1].upper()} are both set; keep one of them.")
        elif given and given[0].endswith("_file"):
            _check_key_file(found.given[given[0]], found)
    missing = [name for name in names if not there[name]]
    if len(missing) == 1:
        (present,) = (given[0] for name, given in there.items() if name not in missing)
        found.problems.append(f"{present.upper()} is set, but {missing[0].upper()} is not; set both or neither.")


def _check_key_file(given: _Given, found: _Findings) -> None:
    """A file that is not there yet may come; at the start it more likely is a slip."""
    try:
        text = Path(given.text).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is no text"
        if _may_be_the_secret_itself(given.text):
            found.problems.append(
                f"{given.name} is set, but names no file that can be read: {reason}. It takes a path; the value itself "
                f"belongs into {given.name.removesuffix('_FILE')}."
            )
        else:
            found.problems.append(f"{given.name} is {_shown(given.text)}, but that file cannot be read: {reason}.")
        return
    if not text or not text.isprintable():
        found.problems.append(f"{given.name} is {_shown(given.text)}, but that file does not hold one line of text.")


def _may_be_the_secret_itself(text: str) -> bool:
    """A secret may hold slashes, but its beginning names no folder that is there."""
    folder = os.path.dirname(text)
    return not text.startswith("/") or folder == "/" or not os.path.isdir(folder)


def _validated(found: _Findings) -> Settings | None:
    values: dict[str, Any] = {}
    for attribute, given in found.given.items():
        problem = _unusable(given)
        is_path = Settings.model_fields[attribute].annotation in (Path, Path | None)
        if problem is None and (slip := _slip(attribute, given, found)) is not None:
            found.problems.append(slip)
            continue
        if problem is not None and not is_path:
            found.problems.append(problem)
        elif "\0" in given.text:
            found.problems.append(f"{given.name} holds a NUL character, which no path may.")
        else:  # a path may hold bytes that are not UTF-8, which pydantic takes only in a Path
            values[attribute] = Path(given.text) if is_path else given.value
    try:
        settings = Settings(**values)
    except ValidationError as error:
        found.problems += [_sentence(found.given[str(e["loc"][0])], e) for e in error.errors(include_url=False)]
        return None
    if leaves_out_all(settings.watch_filter_globs, settings.watch_exclude_globs):
        found.problems.append(
            "WATCH_EXCLUDE_GLOBS leaves out all that WATCH_FILTER_GLOBS takes: write only what is to be left out."
        )
    return settings


def _slip(attribute: str, given: _Given, found: _Findings) -> str | None:
    """A sentence for what was typed by mistake, with what to type instead."""
    if given.name != attribute.upper():
        return None  # made of several older spellings, which were looked at
    secret = attribute in _CONFIDENTIAL or attribute.endswith("_file")
    wrong = patterns(given.text, of_recordings=attribute == "watch_filter_globs") if attribute in _PATTERNS else None
    if attribute not in _PATTERNS:
        wrong = shell_syntax(given.name, given.text, secret=secret)
    if wrong is None and attribute in _PATHS:
        wrong = path_syntax(given.text)
    if wrong is None and attribute == "redis_url":
        wrong = redis_address(given.text)
    if wrong is None and attribute == "s3_endpoint_url":
        bucket = found.given.get("s3_bucket_name")
        usual = str(Settings.model_fields["s3_bucket_name"].default)
        wrong = store_address(given.text, bucket.text if bucket else usual)
    if wrong is None and attribute == "s3_bucket_name":
        wrong = bucket_name(given.text)
    if wrong is None:
        return None
    return f"{given.name} is {'set' if secret else _shown(given.text)}, but {wrong}."


def _unusable(given: _Given) -> str | None:
    if any("\ud800" <= character <= "\udfff" for character in given.text):
        return f"{given.name} holds bytes that are not UTF-8 text."
    if not given.text.isprintable():
        return f"{given.name} holds a character that cannot be printed, such as a line break."
    return None


def _sentence(given: _Given, error: Any) -> str:
    attribute = str(error["loc"][0])
    raised = error.get("ctx", {}).get("error")
    allowed = str(raised) if raised is not None else _allowed(attribute, Settings.model_fields[attribute])
    if attribute in _CONFIDENTIAL or "@" in given.text:
        return f"{given.name} is set, but must be {allowed}."
    if given.name in _MEBIBYTES:
        return f"{given.name} is {_shown(given.text)} ({given.value} bytes), but must be {allowed}."
    return f"{given.name} is {_shown(given.text)}, but must be {allowed}."


def _shown(text: str) -> str:
    return ascii(text) if len(text) <= 100 else f"{text[:97]!a}..."


def _shown_name(name: str) -> str:
    return name if name.isprintable() and name.isascii() else ascii(name)


def _allowed(attribute: str, info: FieldInfo) -> str:
    """What the type allows, in words."""
    if get_origin(info.annotation) is Literal:
        *most, last = get_args(info.annotation)
        return f"{', '.join(most)} or {last}"
    if info.annotation is bool:
        return "true or false"
    if info.annotation in (int, float, int | None):
        return _range(info, in_bytes=attribute.endswith("_bytes"))
    return "at most 128 characters of text"


def _range(info: FieldInfo, *, in_bytes: bool) -> str:
    kind = "a number" if info.annotation is float else "a whole number"
    highest = next(_amount(limit.le, in_bytes) for limit in info.metadata if isinstance(limit, Le))
    above = [limit.gt for limit in info.metadata if isinstance(limit, Gt)]
    if above:
        return f"{kind} above {_amount(above[0], in_bytes)} and at most {highest}"
    lowest = next(_amount(limit.ge, in_bytes) for limit in info.metadata if isinstance(limit, Ge))
    return f"{kind} from {lowest} to {highest}"


def _amount(number: object, in_bytes: bool) -> str:
    if not in_bytes or not isinstance(number, int):
        return str(number)
    unit, name = (GIB, "GiB") if number % GIB == 0 else (MIB, "MiB")
    return f"{number} ({number // unit} {name})"


_HEADINGS = {
    "app_env": "Log, metrics and health",
    "watch_dir": "Recordings",
    "max_concurrent_streams": "Sending",
    "s3_endpoint_url": "S3",
    "redis_url": "Redis",
    "ffprobe_path": "ffprobe",
    "embedded_services": "Trying it out",
}


#: What only the user knows, with no default to show; a value without which some daemons still do their work.
_TO_FILL_IN = frozenset({"s3_endpoint_url", "s3_access_key_id", "s3_secret_access_key", "redis_url"})


def example_env() -> str:
    """The text of ``example.env``: every setting with its reason and its default, which is commented out."""
    lines = [
        "# Copy this file to .env and fill in the lines that do not begin with #; a line without a value means the",
        "# default. The others show the defaults: remove the leading # from a line that you change. A copy pins",
        "# nothing: the defaults of a later version apply. Variables of the environment win over this file.",
    ]
    for attribute, info in Settings.model_fields.items():
        if attribute in _HEADINGS:
            lines += ["", f"# ---- {_HEADINGS[attribute]} ----"]
        lines += ["", *(f"# {line}" for line in textwrap.wrap(info.description or "", 116))]
        lines.append(f"{attribute.upper()}=" if attribute in _TO_FILL_IN else f"#{_line(attribute)}")
    return "\n".join(lines) + "\n"


def defaults() -> dict[str, str]:
    """Each setting's name, and its default as it would be written into the file."""
    lines = (_line(attribute).partition("=") for attribute in Settings.model_fields)
    return {name: value for name, _, value in lines}


def _line(attribute: str) -> str:
    # A Redis that is written down is a Redis that somebody named, and then none is embedded.
    value = "" if attribute == "redis_url" else _as_written(Settings.model_fields[attribute].default)
    return f"{attribute.upper()}={value}"


def _as_written(default: object) -> str:
    if default is None:
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return json.dumps(list(default))
    return f"./{default}" if isinstance(default, Path) else str(default)


if __name__ == "__main__":
    print(example_env(), end="")
