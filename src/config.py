"""Settings: what an operator may choose, said once, with the reason and the limits.

Everything comes from the environment and an env file (the environment wins; an empty value is no value). Wrong
values, old spellings that contradict and names that nearly are ours are collected and raised together, in the
operator's own words. Names of other programs that share the file are left alone. ``python -m src.config`` prints
``example.env``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from .domain import MIB, S3_LIMITS
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
    """All settings, frozen. The names in the environment are these in capitals."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    app_env: Annotated[Literal["development", "production"], LOWER] = Field(
        default="development",
        description="How log lines look: for people (development) or one JSON object a line (production).",
    )
    log_level: LogLevel = Field(default="INFO", description="The least important log lines that are written.")
    prom_port: int = Field(
        default=8000, ge=0, le=65_535, description="Port of /metrics, /-/healthy and /-/ready. 0: any free port."
    )
    prom_host: Host = Field(
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
    watchdog_seconds: ZeroOrASecond = Field(
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
    watch_filter_globs: Patterns = Field(
        default=("*.mp4",),
        description='Which file names are recordings: patterns as a JSON list, such as ["*.mp4", "*.MP4"].',
    )
    watch_exclude_globs: Patterns = Field(
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
    ignore_older_than: Duration | None = Field(
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
    finish_early_seconds: SecondsOrOff = Field(
        default="2",
        description="Quiet time of a recording whose end is proved: nobody has the file open for writing, and it is an "
        "ordinary MP4 with its index (moov), or a fragmented one with an mfra box at its end. All others wait for "
        "STREAM_TIMEOUT_SECONDS. off: every recording does. Choose more, or off, where a tool remuxes, tags or "
        "replaces recordings after they are closed.",
    )
    on_name_reused: Annotated[Literal["keep", "replace"], LOWER] = Field(
        default="keep",
        description="A new recording under the name of an earlier one: keep both objects (the new one becomes "
        "name~2.mp4), or replace the earlier one.",
    )
    on_source_missing: Annotated[Literal["keep", "abort", "complete"], LOWER] = Field(
        default="keep",
        description="A recording whose file disappears before its end: keep what S3 holds as an open upload (it goes "
        "on when the file comes back), abort it, or complete it as an object of what had been sent.",
    )
    orphan_upload_retention: Duration = Field(
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

    s3_endpoint_url: HttpUrl | None = Field(
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
    s3_bucket_name: BucketName = Field(
        default="video-streams", description="The bucket; it is created when it is missing and the key allows it."
    )
    s3_region_name: str | None = Field(
        default=None, description="Region of the bucket. Empty: what the AWS profile says, else us-east-1."
    )
    s3_key_prefix: KeyPrefix = Field(
        default="",
        description="Put before every object's key; end it with a slash to make it a folder, such as cam-7/.",
    )
    s3_checksum: Annotated[Literal["auto", "crc64nvme", "none"], LOWER] = Field(
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
    s3_addressing_style: Annotated[Literal["auto", "path", "virtual"], LOWER] = Field(
        default="auto",
        description="The bucket in the path or in the host name. auto: in the path where an endpoint is named.",
    )

    redis_url: RedisUrl = Field(
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

    embedded_services: Annotated[Literal["off", "auto"], LOWER] = Field(
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
        return None if off else timedelta(seconds=seconds_of(self.orphan_upload_retention))

    @property
    def old_seconds(self) -> float | None:
        """None: no file is too old."""
        off = self.ignore_older_than is None or self.ignore_older_than.lower() == "off"
        return None if off else seconds_of(str(self.ignore_older_than))

    def secrets(self) -> tuple[str, ...]:
        """Every text that must never be printed, each in all spellings that it has in the settings."""
        found = [self.s3_secret_access_key.get_secret_value()] if self.s3_secret_access_key else []
        for url in (self.redis_url, self.s3_endpoint_url or ""):
            found += url_secrets(url)
        return tuple(dict.fromkeys(text for text in found if text))

    def summary(self) -> dict[str, object]:
        """The settings that matter, and those that are not as usual, for one log line; without secrets."""
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
    """Settings, and sentences that the operator should read once: old spellings that still work."""

    settings: Settings
    notices: tuple[str, ...]


_NAMES = {name.upper(): name for name in Settings.model_fields}
_OLD_NAMES = OLD_NAMES
_HEADINGS = {
    "app_env": "Log, metrics and health",
    "watch_dir": "Recordings",
    "max_concurrent_streams": "Sending",
    "s3_endpoint_url": "S3",
    "redis_url": "Redis",
    "ffprobe_path": "ffprobe",
    "embedded_services": "Trying it out",
}


def load_settings(environ: Mapping[str, str], env_file: Path | None = None) -> Loaded:
    """The settings from ``environ`` and ``env_file`` (no file there: none).

    Raises ``ConfigurationError`` with a sentence for every problem there is.
    """
    found = Findings()
    in_file = filled(read_env_file(env_file, environ, found))
    in_environment = filled(environ)
    given = {**in_file, **in_environment}
    found.given = {_NAMES[name]: Given(name, text, text) for name, text in given.items() if name in _NAMES}
    take_older_spellings(given, found)
    found.problems += misspelt(in_file, in_environment, _NAMES)
    check_key_pair(found)
    settings = _validated(found)
    if settings is None or found.problems:
        raise ConfigurationError(found.problems)
    return Loaded(settings, tuple(found.notices))


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
            found.problems.append(f"{given.name} holds a NUL character, which no path may.")
        else:  # a path may hold bytes that are not UTF-8, which pydantic takes only in a Path
            values[attribute] = Path(given.text) if is_path else given.value
    try:
        settings = Settings(**values)
    except ValidationError as error:
        wrong = ((found.given[str(one["loc"][0])], one) for one in error.errors(include_url=False))
        found.problems += [sentence(given, one, Settings.model_fields) for given, one in wrong]
        return None
    if leaves_out_all(settings.watch_filter_globs, settings.watch_exclude_globs):
        found.problems.append(
            "WATCH_EXCLUDE_GLOBS leaves out all that WATCH_FILTER_GLOBS takes: write only what is to be left out."
        )
    return settings


def example_env() -> str:
    """The text of ``example.env``: every setting with its reason and its default, which is commented out."""
    return example_text(Settings.model_fields, _HEADINGS)


def defaults() -> dict[str, str]:
    """Each setting's name, and its default as it would be written into the file."""
    return written_defaults(Settings.model_fields)


if __name__ == "__main__":
    print(example_env(), end="")
