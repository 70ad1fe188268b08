"""Settings: definitions, descriptions, defaults and limits.

Values come from the environment and an env file (the environment takes precedence; an empty value counts as unset).
Invalid values, conflicting older names and misspelt names are collected and raised together. Names of other programs
that share the file are ignored. ``python -m src.config`` prints ``example.env``.

Only ``main``, ``trying_out``, ``answering``, ``store_from_settings`` and ``cli`` read settings. A value reaches the
code that uses it through the functions that build that code's arguments: ``store_settings``, and in ``main`` such as
``_rhythm``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from .domain import MIB, S3_LIMITS, Retention
from .exceptions import ConfigurationError
from .settings import (
    CREDENTIALS,
    LOWER,
    OLD_NAMES,
    BucketName,
    Duration,
    Findings,
    Folder,
    Given,
    Host,
    HostNames,
    HttpUrl,
    KeyPrefix,
    LogLevel,
    OnOff,
    Patterns,
    RedisUrl,
    Seconds,
    SecondsOrOff,
    ZeroOrASecond,
    check_key_pair,
    check_password_file,
    example_text,
    filled,
    leaves_out_all,
    misspelt,
    read_env_file,
    seconds_of,
    sentence,
    slip,
    take_older_spellings,
    unusable,
    url_secrets,
    without_user_info,
    written_defaults,
)


class Settings(BaseSettings):
    """All settings, frozen. The environment variables have the same names in upper case."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    app_env: Annotated[Literal["development", "production"], LOWER] = Field(
        default="development",
        description="Log format: human-readable lines (development) or one JSON object per line (production).",
    )
    log_level: LogLevel = Field(default="INFO", description="Minimum level of the log lines that are written.")
    prom_port: int = Field(
        default=8000,
        ge=0,
        le=65_535,
        description="Port for the status page, /metrics, /-/healthy and /-/ready. 0: any free port.",
    )
    prom_host: Host = Field(
        default="127.0.0.1",
        description="Address to listen on. The default accepts only local connections, because the pages need no "
        "login; set 0.0.0.0 inside a container.",
    )
    metrics_stream_max: int = Field(
        default=200,
        ge=0,
        le=10_000,
        description="Maximum number of streams with per-stream metrics; it keeps /metrics small.",
    )
    metrics_stream_retention_seconds: Seconds = Field(
        default=600,
        ge=0,
        le=604_800,
        description="How long a stream's own metrics are kept after the stream has ended. Choose more than two "
        "scrape intervals.",
    )
    watchdog_seconds: ZeroOrASecond = Field(
        default=60,
        ge=0,
        le=3_600,
        description="Maximum time the event loop may hang. After that, all stacks are logged and the process exits "
        "with code 70, so that the service manager restarts it. 0: no watchdog.",
    )

    status_page: Annotated[Literal["auto", "open", "off"], LOWER] = Field(
        default="auto",
        description="Status page at / of PROM_PORT; it shows file names and changes nothing. auto: serve it if only "
        "this machine can connect, or if STATUS_PASSWORD_FILE is set. open: serve it to everyone who can connect. "
        "off: do not serve it.",
    )
    status_password_file: Path | None = Field(
        default=None,
        description="File with the password of the status page (HTTP Basic, any user name). It is read at the start. "
        "/metrics, /-/healthy and /-/ready need no password.",
    )
    status_hosts: HostNames | None = Field(
        default=None,
        description="Host names under which the status page may be opened, separated by commas, such as "
        "recorder.example.com. localhost and IP addresses are always allowed; other names are refused, because web "
        "sites could use them to read the page through a visitor's browser.",
    )
    status_published_on: Host | None = Field(
        default=None,
        description="Address on which a container's port is published, for STATUS_PAGE=auto. Compose sets it to "
        "PUBLISH_ADDRESS. Empty: PROM_HOST.",
    )

    watch_dir: Folder = Field(
        default=Path("local_watch_dir"),
        description="Folder to watch for recordings, including its subfolders.",
    )
    watch_filter_globs: Patterns = Field(
        default=("*.mp4",),
        description='File name patterns of recordings, as a JSON list such as ["*.mp4", "*.MP4"].',
    )
    watch_exclude_globs: Patterns = Field(
        default=(
            *("._*", ".Trash*", ".AppleDouble", ".TemporaryItems", ".Spotlight-V100", ".fseventsd"),
            *("$RECYCLE.BIN", "System Volume Information", "lost+found"),
            *("#recycle", "#snapshot", "@eaDir", "@Recycle", "@Recently-Snapshot"),
            *(".snapshot", ".snapshots", ".zfs", ".stversions", ".stfolder"),
            *(".sync", ".~tmp~", ".@__thumb", ".recycle"),
        ),
        description="Patterns of files and folders to exclude even if they match WATCH_FILTER_GLOBS: trash, "
        "snapshots, versions and side files of other programs. A pattern without a slash is compared with the "
        "file's name and with the name of each folder above it. Your list replaces the default: repeat the entries "
        "that you want to keep. []: nothing is excluded.",
    )
    ignore_older_than: Duration | None = Field(
        default=None,
        description="Ignore files that have not changed for this long when the daemon starts (30d, 36h), unless "
        "their upload has begun. Use it to leave an old archive out. Files that appear later are uploaded whatever "
        "their age. Empty: no file is ignored.",
    )
    watch_file_min_age_seconds_for_idle: Seconds = Field(
        default=0,
        ge=0,
        le=604_800,
        description="Minimum time since the daemon found a file before the file can count as finished.",
    )
    watch_force_polling: bool = Field(
        default=False,
        description="Poll for changes instead of using file system notifications, which network file systems and "
        "Docker Desktop mounts do not deliver.",
    )
    watch_scan_seconds: Seconds = Field(
        default=10,
        gt=0,
        le=3_600,
        description="Interval between scans of the whole folder. Scans find changes whose notification was lost.",
    )
    stream_timeout_seconds: Seconds = Field(
        default=30,
        gt=0,
        le=86_400,
        description="A recording that has not changed for this long is finished. Choose more than the recorder's "
        "longest pause between two writes.",
    )
    finish_early_seconds: SecondsOrOff = Field(
        default="2",
        description="Shorter timeout for recordings whose end is proved: no process has the file open for writing, "
        "and the file is an MP4 with its index (moov), or a fragmented MP4 with an mfra box at its end. All others "
        "wait for STREAM_TIMEOUT_SECONDS. off: all recordings do. Choose more, or off, if a tool remuxes, tags or "
        "replaces recordings after they are closed.",
    )
    on_name_reused: Annotated[Literal["keep", "replace"], LOWER] = Field(
        default="keep",
        description="What to do when a new recording has the name of an earlier one. keep: keep both objects (the "
        "new one becomes name~2.mp4). replace: replace the earlier object.",
    )
    on_source_missing: Annotated[Literal["keep", "abort", "complete"], LOWER] = Field(
        default="keep",
        description="What to do when a file disappears before its recording is finished. keep: keep the open "
        "upload; it resumes when the file comes back. abort: abort the upload. complete: complete the upload with "
        "the bytes sent so far.",
    )
    orphan_upload_retention: Duration = Field(
        default="7d",
        description="Abort open uploads that belong to no stream once they have received nothing for this long and "
        "the recording at their key is complete: 7d, 36h, or off to keep them.",
    )
    marker_retention: Duration = Field(
        default="30d",
        description="A completed recording whose file is gone is forgotten after this much running time of the daemon, "
        "counted in whole days: 30d, or off for no limit. The wall clock is not used.",
    )
    marker_max: int = Field(
        default=100_000,
        ge=0,
        le=100_000_000,
        description="Maximum number of completed recordings that are remembered after their file is gone; the oldest "
        "are forgotten first. Recordings whose file is in the folder are always remembered. A thousand take about "
        "0.8 MB of Redis memory.",
    )

    max_concurrent_streams: int = Field(
        default=5,
        ge=1,
        le=1_000,
        description="Maximum number of recordings that are uploaded at the same time. The number of open recordings "
        "is unlimited; the others wait on disk. Memory: this × PARTS_IN_FLIGHT × CHUNK_SIZE_BYTES.",
    )
    parts_in_flight: int = Field(
        default=2,
        ge=1,
        le=64,
        description="Maximum number of parts of one recording that are sent at the same time when the upload is "
        "behind.",
    )
    chunk_size_bytes: int = Field(
        default=10 * MIB,
        ge=S3_LIMITS.min_part,
        le=S3_LIMITS.max_part,
        description="Part size. S3 accepts 5 MiB to 5 GiB. Smaller parts reach S3 sooner; larger parts need fewer "
        "requests.",
    )
    shutdown_grace_seconds: Seconds = Field(
        default=20,
        ge=0,
        le=3_600,
        description="How long a shutdown waits for parts in flight. Choose less than the service manager's kill "
        "timeout (stop_grace_period in compose).",
    )

    s3_endpoint_url: HttpUrl | None = Field(default=None, repr=False, description="URL of the store. Empty: Amazon S3.")
    s3_access_key_id: str | None = Field(
        default=None,
        repr=False,
        description="Access key with write access to the bucket. If this and the secret are empty, the AWS "
        "credential chain is used (roles, profiles, web identity).",
    )
    s3_secret_access_key: SecretStr | None = Field(default=None, description="Secret key for S3_ACCESS_KEY_ID.")
    s3_access_key_id_file: Path | None = Field(
        default=None,
        description="File with the access key, instead of S3_ACCESS_KEY_ID. It is read again when the store refuses "
        "the key.",
    )
    s3_secret_access_key_file: Path | None = Field(
        default=None,
        description="File with the secret key, instead of S3_SECRET_ACCESS_KEY (such as /run/secrets/s3). It is "
        "read again when the store refuses the key, so a rotated secret needs no restart.",
    )
    s3_bucket_name: BucketName = Field(
        default="video-streams",
        description="Bucket name. The bucket is created if it does not exist and the access key may create it.",
    )
    s3_region_name: str | None = Field(
        default=None, description="Region of the bucket. Empty: the region of the AWS profile, or us-east-1."
    )
    s3_key_prefix: KeyPrefix = Field(
        default="",
        description="Prefix for all object keys. End it with a slash to make it a folder, such as cam-7/.",
    )
    s3_checksum: Annotated[Literal["auto", "crc64nvme", "none"], LOWER] = Field(
        default="auto",
        description="Checksum that the store keeps for each part. auto: the one that the store verifies; where "
        "parts copied inside the store have no correct checksum, an upload that consists mostly of copies has none. "
        "none: for stores that refuse checksums; parts are then compared by the MD5 in their ETag.",
    )
    s3_conditional_writes: OnOff = Field(
        default="auto",
        description="Conditional requests (If-None-Match and If-Match), which protect objects of other programs "
        "from being overwritten. auto: on if the store supports them. off: the store does not support them.",
    )
    s3_equal_parts: OnOff = Field(
        default="auto",
        description="Use the same size for all parts of an upload, as Cloudflare R2 requires. auto: on for R2, "
        "which is recognised by its address.",
    )
    s3_max_parts: Annotated[int | None, Ge(2), Le(10_000)] = Field(
        default=None,
        description="Maximum number of parts per upload. Empty: the known limit of the store at this address "
        "(Scaleway: 1,000), or 10,000. With a low limit, part sizes double sooner.",
    )
    s3_part_copy: OnOff = Field(
        default="auto",
        description="Copy unchanged parts inside the store when an object is replaced. auto: on if the store "
        "supports it.",
    )
    s3_payload_signing: OnOff = Field(
        default="auto",
        description="Include the SHA-256 of each part in its signature. auto: only over plain HTTP to another "
        "machine; elsewhere TLS or the daemon's own checksum protects the data with less CPU.",
    )
    s3_addressing_style: Annotated[Literal["auto", "path", "virtual"], LOWER] = Field(
        default="auto",
        description="Path-style or virtual-hosted addressing. auto: path-style if S3_ENDPOINT_URL is set.",
    )

    redis_url: RedisUrl = Field(
        default="redis://localhost:6379/0",
        repr=False,
        description="URL of the Redis that stores the checkpoints. It may include a password "
        "(redis://:password@host:6379/0). Empty: redis://localhost:6379/0.",
    )
    redis_key_prefix: str = Field(
        default="", max_length=128, description="Prefix for all Redis keys, so that several daemons can share a Redis."
    )

    ffprobe_path: str = Field(
        default="ffprobe", description="Name or path of ffprobe. Without ffprobe, the metadata has no duration."
    )
    ffprobe_timeout_seconds: Seconds = Field(default=30, gt=0, le=3_600, description="Timeout for ffprobe.")

    embedded_services: Annotated[Literal["off", "auto"], LOWER] = Field(
        default="off",
        description="auto: start a private Redis and a private S3 server for a trial, each only if REDIS_URL or "
        "S3_ENDPOINT_URL is not set (scripts/run does this). Do not use them for data that you want to keep.",
    )
    embedded_data_dir: Folder = Field(default=Path("data"), description="Data folder of the embedded services.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use only the arguments: ``load_settings`` reads both sources itself, so that it can report every problem."""
        return (init_settings,)

    @property
    def redis_url_given(self) -> bool:
        """Whether a Redis is configured; an embedded one then never replaces it."""
        return "redis_url" in self.model_fields_set

    @property
    def s3_endpoint_url_given(self) -> bool:
        """Whether a store is configured; an embedded one then never replaces it."""
        return self.s3_endpoint_url is not None

    @property
    def finish_early(self) -> float | None:
        """Timeout in seconds of a recording whose end is proved; None: it waits like any other."""
        return None if self.finish_early_seconds.lower() == "off" else float(self.finish_early_seconds)

    @property
    def orphan_retention(self) -> timedelta | None:
        """None: orphan uploads are never aborted."""
        off = self.orphan_upload_retention.lower() == "off"
        return None if off else timedelta(seconds=seconds_of(self.orphan_upload_retention))

    @property
    def retention(self) -> Retention:
        """How long finished recordings are remembered whose file is gone."""
        off = self.marker_retention.lower() == "off"
        time = None if off else timedelta(seconds=seconds_of(self.marker_retention))
        return Retention.lasting(time, self.marker_max)

    @property
    def old_seconds(self) -> float | None:
        """None: no file is ignored because of its age."""
        off = self.ignore_older_than is None or self.ignore_older_than.lower() == "off"
        return None if off else seconds_of(str(self.ignore_older_than))

    def secrets(self) -> tuple[str, ...]:
        """Every text that must never be printed, in each form in which the settings contain it."""
        found = [self.s3_secret_access_key.get_secret_value()] if self.s3_secret_access_key else []
        for url in (self.redis_url, self.s3_endpoint_url or ""):
            found += url_secrets(url)
        return tuple(dict.fromkeys(text for text in found if text))

    def summary(self) -> dict[str, object]:
        """The main settings and those that differ from their defaults, for one log line; without secrets."""
        usual = type(self)()
        names = [n for n in type(self).model_fields if n in _ALWAYS_TOLD or getattr(self, n) != getattr(usual, n)]
        told: dict[str, object] = {name: _told(getattr(self, name)) for name in names if name not in CREDENTIALS}
        given = self.s3_access_key_id or self.s3_access_key_id_file
        told["s3_keys"] = "from the settings" if given else "from the AWS chain"
        return told


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


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and notices for the operator about older names that still work.

    ``given`` are the settings that have a value in a source, by attribute, as written there; ``origins`` are the
    sources by the name that was written: "environment", or an env file with its line.
    """

    settings: Settings
    notices: tuple[str, ...]
    given: Mapping[str, Given] = field(default_factory=dict, repr=False)
    origins: Mapping[str, str] = field(default_factory=dict)


_NAMES = {name.upper(): name for name in Settings.model_fields}
_OLD_NAMES = OLD_NAMES
_HEADINGS = {
    "app_env": "Logging, metrics and health",
    "status_page": "Status page",
    "watch_dir": "Recordings",
    "max_concurrent_streams": "Uploads",
    "s3_endpoint_url": "S3",
    "redis_url": "Redis",
    "ffprobe_path": "ffprobe",
    "embedded_services": "Embedded services for a trial",
}


def load_settings(environ: Mapping[str, str], env_file: Path | None = None) -> Loaded:
    """The settings from ``environ`` and ``env_file``, which may be missing.

    Raises ``ConfigurationError`` with one sentence for each problem.
    """
    found = Findings()
    in_file = filled(read_env_file(env_file, environ, found))
    in_environment = filled(environ)
    given = {**in_file, **in_environment}
    found.origins |= dict.fromkeys(in_environment, "environment")
    found.given = {_NAMES[name]: Given(name, text, text) for name, text in given.items() if name in _NAMES}
    take_older_spellings(given, found)
    found.problems += misspelt(in_file, in_environment, _NAMES)
    check_key_pair(found)
    check_password_file(found)
    settings = _validated(found)
    if settings is None or found.problems:
        raise ConfigurationError(found.problems)
    return Loaded(settings, tuple(found.notices), found.given, found.origins)


def _validated(found: Findings) -> Settings | None:
    values: dict[str, Any] = {}
    for attribute, given in found.given.items():
        problem = unusable(given)
        is_path = Settings.model_fields[attribute].annotation in (Path, Path | None)
        if problem is None and (mistake := slip(attribute, given, found, Settings.model_fields)) is not None:
            found.problems.append(mistake)
            continue
        if problem is not None and not is_path:
            found.problems.append(problem)
        elif "\0" in given.text:
            found.problems.append(f"{given.name} contains a NUL character, which is not allowed in a path.")
        else:  # a path may contain bytes that are not UTF-8, which pydantic accepts only in a Path
            values[attribute] = Path(given.text) if is_path else given.value
    try:
        settings = Settings(**values)
    except ValidationError as error:
        wrong = ((found.given[str(one["loc"][0])], one) for one in error.errors(include_url=False))
        found.problems += [sentence(given, one, Settings.model_fields) for given, one in wrong]
        return None
    if leaves_out_all(settings.watch_filter_globs, settings.watch_exclude_globs):
        found.problems.append("WATCH_EXCLUDE_GLOBS excludes everything that WATCH_FILTER_GLOBS includes: exclude less.")
    return settings


def example_env() -> str:
    """The text of ``example.env``: every setting with its description and its default, which is commented out."""
    return example_text(Settings.model_fields, _HEADINGS)


def defaults() -> dict[str, str]:
    """Each setting's default by name, as written in the file."""
    return written_defaults(Settings.model_fields)


if __name__ == "__main__":
    print(example_env(), end="")
