"""A local S3 server: VersityGW, whose objects are plain files, or moto if VersityGW is not installed."""

from __future__ import annotations

import configparser
import os
import secrets
import shutil
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from .child import ChildProcess, EmbeddedServiceError, listening_child, made, only_user

PREFERRED_S3_PORT = 7070
PREFERRED_BROWSE_PORT = 7071
REGION = "us-east-1"
AWS_CONFIG_NAME = "aws-config"


@dataclass(frozen=True, slots=True)
class EmbeddedS3:
    """The address and the credentials of the local S3 server.

    ``objects_dir``: the folder whose subfolders are the buckets (None: objects are in memory only). ``browse_url``: a
    page that shows the buckets. ``kind``: "versitygw" or "moto".
    """

    endpoint_url: str
    access_key_id: str
    secret_access_key: str
    region: str
    objects_dir: Path | None
    browse_url: str | None
    kind: str


@dataclass(frozen=True, slots=True)
class _Keys:
    access_key_id: str
    secret_access_key: str


def find_versitygw(root: Path) -> Path | None:
    """The gateway that the set-up built below ``root``, otherwise one in PATH, otherwise None."""
    built = root / ".tools" / "bin" / "versitygw"
    if os.access(built, os.X_OK):
        return built
    installed = shutil.which("versitygw")
    return Path(installed) if installed else None


@asynccontextmanager
async def embedded_s3(data_dir: Path, *, versitygw: Path | None) -> AsyncIterator[EmbeddedS3]:
    """A private S3 server on 127.0.0.1, ended on exit; without VersityGW it is moto's, which keeps nothing.

    ``<data_dir>/aws-config`` configures any AWS tool for it (``AWS_CONFIG_FILE``), including keys. Raises
    EmbeddedServiceError: it does not start, or another run uses the data.
    """
    data_dir = made(data_dir)
    async with only_user(data_dir / "s3.lock", "S3") as lock:
        keys = _kept_keys(data_dir / AWS_CONFIG_NAME)
        service = _moto(data_dir, keys, lock) if versitygw is None else _versitygw(data_dir, versitygw, keys, lock)
        async with service as s3:
            _write_aws_config(data_dir / AWS_CONFIG_NAME, s3)
            yield s3


@asynccontextmanager
async def _versitygw(data_dir: Path, program: Path, keys: _Keys, lock: int) -> AsyncIterator[EmbeddedS3]:
    if not os.access(program, os.X_OK):
        raise EmbeddedServiceError(f"{program} is not a VersityGW executable.")
    # VersityGW takes any neighbour whose name begins with "s3" for a folder inside "s3", and refuses it.
    objects, metadata = made(data_dir / "s3"), data_dir / "object-metadata"
    # As attributes of the object's own file they are created together with it, also when the gateway is killed.
    beside = [] if keeps_attributes(objects) and not metadata.exists() else ["--sidecar", str(made(metadata))]
    # A path that only this gateway knows: another one that took the port first cannot answer in its place.
    health = f"/health-{secrets.token_hex(8)}"

    def command(ports: Sequence[int]) -> list[str]:
        return [
            os.path.abspath(program),
            *_gateway_options(ports, health),
            "posix",
            *beside,
            str(objects),
        ]

    async def answers(_child: ChildProcess, ports: Sequence[int]) -> bool:
        return await _is_ok(f"http://127.0.0.1:{ports[0]}{health}") and await _is_ok(f"http://127.0.0.1:{ports[1]}/")

    async with listening_child(
        "S3 (VersityGW)",
        command,
        answers,
        preferred_ports=[PREFERRED_S3_PORT, PREFERRED_BROWSE_PORT],
        log=data_dir / "logs" / "versitygw.log",
        lock=lock,
        env=_gateway_environment(keys),
    ) as ports:
        yield EmbeddedS3(
            endpoint_url=f"http://127.0.0.1:{ports[0]}",
            access_key_id=keys.access_key_id,
            secret_access_key=keys.secret_access_key,
            region=REGION,
            objects_dir=objects,
            browse_url=f"http://127.0.0.1:{ports[1]}/",
            kind="versitygw",
        )


def keeps_attributes(folder: Path) -> bool:
    """Whether the file system supports user extended attributes."""
    try:
        os.setxattr(folder, "user.cefmp4", b"")
        os.removexattr(folder, "user.cefmp4")
    except OSError:
        return False
    return True


def _gateway_options(ports: Sequence[int], health: str) -> list[str]:
    s3, browse = (f"127.0.0.1:{port}" for port in ports)
    return [
        *("--port", s3, "--region", REGION, "--health", health),
        # Without keep-alive every request is a new connection.
        *("--keep-alive", "--quiet"),
        # The page queries the gateway from the browser, so it needs the gateway's address and its permission (CORS).
        *("--webui", browse, "--webui-gateways", f"http://{s3}", "--cors-allow-origin", f"http://{browse}"),
    ]


def _gateway_environment(keys: _Keys) -> Mapping[str, str]:
    """Credentials are passed in the environment, which ``ps`` does not show. None of our own variables are: the gateway
    reads names as general as LOGFILE and WEBHOOK."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "TZ") if name in os.environ}
    return {**inherited, "ROOT_ACCESS_KEY": keys.access_key_id, "ROOT_SECRET_KEY": keys.secret_access_key}


@asynccontextmanager
async def _moto(data_dir: Path, keys: _Keys, lock: int) -> AsyncIterator[EmbeddedS3]:
    def command(ports: Sequence[int]) -> list[str]:
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(ports[0])]

    async def answers(_child: ChildProcess, ports: Sequence[int]) -> bool:
        return await _is_ok(f"http://127.0.0.1:{ports[0]}/moto-api/data.json")

    async with listening_child(
        "S3 (moto)",
        command,
        answers,
        preferred_ports=[PREFERRED_S3_PORT],
        log=data_dir / "logs" / "moto.log",
        lock=lock,
    ) as ports:
        yield EmbeddedS3(
            endpoint_url=f"http://127.0.0.1:{ports[0]}",
            access_key_id=keys.access_key_id,
            secret_access_key=keys.secret_access_key,
            region=REGION,
            objects_dir=None,
            browse_url=f"http://127.0.0.1:{ports[0]}/moto-api/",
            kind="moto",
        )


async def _is_ok(url: str) -> bool:
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session,
            session.get(url) as response,
        ):
            return response.status == 200
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False


def _kept_keys(config_file: Path) -> _Keys:
    """The keys of the last run; new random ones if there was none."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(config_file, encoding="utf-8")
        kept = parser["default"]
        return _Keys(kept["aws_access_key_id"], kept["aws_secret_access_key"])
    except (configparser.Error, KeyError, UnicodeDecodeError):
        return _Keys(f"cefmp4-{secrets.token_hex(4)}", secrets.token_urlsafe(30))


def _write_aws_config(config_file: Path, s3: EmbeddedS3) -> None:
    """The file is complete at any time and readable for its owner only."""
    text = (
        "# Written at every start. AWS_CONFIG_FILE=<this file> makes AWS tools use the embedded S3.\n"
        "[default]\n"
        f"endpoint_url = {s3.endpoint_url}\n"
        f"region = {s3.region}\n"
        f"aws_access_key_id = {s3.access_key_id}\n"
        f"aws_secret_access_key = {s3.secret_access_key}\n"
        "s3 =\n"
        "  addressing_style = path\n"
    )
    draft = config_file.with_name(config_file.name + ".new")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(config_file)
