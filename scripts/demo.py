"""Records a test picture while the daemon uploads it, then compares the object with the file.

Started by ``scripts/demo``. Exit code 0: object and file are equal.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from dotenv import dotenv_values

ROOT = Path(__file__).resolve().parents[1]
# The same tie that the daemon uses for its services: whoever kills the demo does not leave a daemon behind.
TETHER = ROOT / "src" / "embedded" / "tether.py"
DATA = ROOT / "data"
LOG = DATA / "logs" / "demo.log"

START_SECONDS = 60.0
FINISH_SECONDS = 120.0
STOP_SECONDS = 30.0
# Smallest chunks and a short quiet time: the demo shows in half a minute what a day's recording does.
DEMO_SETTINGS = {"STREAM_TIMEOUT_SECONDS": "5", "CHUNK_SIZE_BYTES": "5242880"}
UPLOADED_BYTES_METRIC = "video_bytes_uploaded_total"
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Demo:
    """Where everything of this demonstration is."""

    settings: Mapping[str, str]
    recording: Path
    key: str
    metrics_port: int

    @property
    def bucket(self) -> str:
        return self.settings.get("S3_BUCKET_NAME") or "video-streams"

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.metrics_port}{path}"


class DemoFailed(Exception):
    """The demonstration cannot go on; the message is for its user."""


def main() -> int:
    arguments = _arguments()
    os.chdir(ROOT)
    demo = _plan()
    with _terminated_like_interrupted():
        try:
            return _run(demo, arguments.seconds, arguments.mbit)
        except DemoFailed as failure:
            print(f"\n{failure}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\nStopped.", file=sys.stderr)
            return 130


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--seconds", type=int, default=25, help="length of the recording (default: 25)")
    parser.add_argument("--mbit", type=int, default=20, help="its bit rate in Mbit/s (default: 20)")
    return parser.parse_args()


def _plan() -> Demo:
    from_file = {name: value for name, value in dotenv_values(ROOT / ".env").items() if value}
    settings = {**from_file, **os.environ}
    folder = Path(settings.get("WATCH_DIR") or "local_watch_dir")
    folder.mkdir(parents=True, exist_ok=True)
    # A name of its own for each demonstration, so that the key is the name.
    name = f"demo-{datetime.now().astimezone():%Y%m%d-%H%M%S}.mp4"
    return Demo(settings, folder / name, settings.get("S3_KEY_PREFIX", "") + name, _free_port())


def _run(demo: Demo, seconds: int, mbit: int) -> int:
    with _daemon(demo) as daemon:
        _wait_until_ready(demo, daemon)
        if _fetch(demo.url("/")) is not None:
            print(f"Status page: {demo.url('/')}")
        print(f"Recording {seconds} s of test picture at {mbit} Mbit/s into {demo.recording}")
        with _recorder(demo.recording, seconds, mbit) as recorder:
            progress = Progress(demo)
            while recorder.poll() is None:
                _check(daemon)
                progress.show("recording")
                time.sleep(0.5)
        if recorder.returncode != 0:
            raise DemoFailed(f"ffmpeg ended with exit code {recorder.returncode}.")
        quiet = DEMO_SETTINGS["STREAM_TIMEOUT_SECONDS"]
        progress.note(
            "recorded",
            f"The recorder has closed the file. After two quiet seconds, or {quiet} where that cannot be proved, "
            "it is compared with the parts, "
            "what the recorder patched is sent again, and the object is completed.",
        )
        _wait_until_finished(demo, daemon, progress)
        return _compare(demo)


# --- The daemon -------------------------------------------------------------------------------------------------------


@contextmanager
def _daemon(demo: Demo) -> Iterator[subprocess.Popen[bytes]]:
    """The daemon runs; on the way out it is asked to stop and waited for."""
    LOG.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, **DEMO_SETTINGS, "PROM_PORT": str(demo.metrics_port)}
    print(f"Starting the daemon; its log goes to {LOG.relative_to(ROOT)}")
    with LOG.open("wb") as log:
        daemon = subprocess.Popen(  # noqa: S603  (our own interpreter and module)
            _tied([sys.executable, "-m", "src.main"]),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield daemon
    finally:
        _stop(daemon)


def _tied(command: list[str]) -> list[str]:
    return [sys.executable, "-I", str(TETHER), str(os.getpid()), *command]


def _stop(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _check(daemon: subprocess.Popen[bytes]) -> None:
    if daemon.poll() is not None:
        raise _failed(f"The daemon ended with exit code {daemon.returncode}.")


def _failed(what: str) -> DemoFailed:
    said = LOG.read_text(errors="replace").splitlines()[-15:]
    return DemoFailed(
        "\n".join([what, f"The last lines of {LOG.relative_to(ROOT)}:", *(f"  | {line}" for line in said)])
    )


def _wait_until_ready(demo: Demo, daemon: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while _fetch(demo.url("/-/ready")) is None:
        _check(daemon)
        if time.monotonic() > deadline:
            raise _failed(f"The daemon was not ready within {START_SECONDS:.0f} seconds.")
        time.sleep(0.2)


def _fetch(url: str) -> str | None:
    """The text of a page that answers 200, else None."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310  (always http, always our own port)
            return str(response.read().decode())
    except (urllib.error.URLError, OSError):
        return None


def _uploaded_bytes(demo: Demo) -> int:
    """The sum over all streams; parts that were sent twice count twice."""
    lines = (_fetch(demo.url("/metrics")) or "").splitlines()
    samples = [line for line in lines if line.startswith((UPLOADED_BYTES_METRIC + "{", UPLOADED_BYTES_METRIC + " "))]
    return int(sum(float(line.rsplit(" ", 1)[1]) for line in samples))


# --- The recorder -----------------------------------------------------------------------------------------------------


@contextmanager
def _recorder(path: Path, seconds: int, mbit: int) -> Iterator[subprocess.Popen[bytes]]:
    """An ordinary MP4 grows in real time, as a camera's recorder writes it; the head is patched when it is closed."""
    recorder = subprocess.Popen(  # noqa: S603  (a fixed list of words)
        _tied(["ffmpeg", *_recorder_options(seconds, mbit), str(path)]),
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield recorder
    finally:
        _stop(recorder)


def _recorder_options(seconds: int, mbit: int) -> list[str]:
    picture = f"testsrc2=size=640x360:rate=25:duration={seconds}"
    sound = f"sine=frequency=440:duration={seconds}"
    rate = f"{mbit}M"
    return [
        *("-hide_banner", "-loglevel", "error", "-nostdin"),
        *("-re", "-f", "lavfi", "-i", picture, "-re", "-f", "lavfi", "-i", sound),
        *("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac"),
        # A test picture would compress to nothing; a constant rate is filled up.
        *("-b:v", rate, "-minrate", rate, "-maxrate", rate, "-bufsize", rate, "-x264-params", "nal-hrd=cbr"),
    ]


# --- What is shown ----------------------------------------------------------------------------------------------------


class Progress:
    """One line that is rewritten on a terminal, and a line now and then elsewhere."""

    def __init__(self, demo: Demo) -> None:
        self._demo = demo
        self._terminal = sys.stdout.isatty()
        self._began = time.monotonic()
        self._next = 0.0

    def show(self, what: str) -> None:
        elapsed = time.monotonic() - self._began
        if elapsed < self._next:
            return
        self._next = elapsed + (0.0 if self._terminal else 5.0)
        recorded = self._demo.recording.stat().st_size if self._demo.recording.exists() else 0
        uploaded = _uploaded_bytes(self._demo)
        line = f"{elapsed:4.0f} s  {what:<9}  recorded {_mb(recorded)}  uploaded {_mb(uploaded)}"
        print(f"\r\033[K{line}" if self._terminal else line, end="" if self._terminal else "\n", flush=True)

    def note(self, what: str, text: str) -> None:
        self._next = 0.0
        self.show(what)
        print(f"{chr(10) if self._terminal else ''}{text}", flush=True)


def _mb(size: int) -> str:
    return f"{size / MEGABYTE:7.1f} MB"


# --- The object -------------------------------------------------------------------------------------------------------


def _wait_until_finished(demo: Demo, daemon: subprocess.Popen[bytes], progress: Progress) -> None:
    """The metadata document is written last, after the object was proved."""
    client = _s3_client(demo)
    deadline = time.monotonic() + FINISH_SECONDS
    while not _exists(client, demo.bucket, demo.key + ".metadata.json"):
        _check(daemon)
        if time.monotonic() > deadline:
            raise _failed(f"The object was not complete {FINISH_SECONDS:.0f} seconds after the recording.")
        progress.show("finishing")
        time.sleep(0.5)
    progress.note("complete", "The object and its metadata are in the store.")


def _s3_client(demo: Demo) -> Any:
    """The store that the settings name, else the embedded one."""
    settings = demo.settings
    config = Config(s3={"addressing_style": "path"})
    if not settings.get("S3_ENDPOINT_URL"):
        os.environ["AWS_CONFIG_FILE"] = str(DATA / "aws-config")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
            os.environ.pop(name, None)
        os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
        return botocore.session.get_session().create_client("s3", config=config)
    return botocore.session.get_session().create_client(
        "s3",
        endpoint_url=settings["S3_ENDPOINT_URL"],
        aws_access_key_id=settings.get("S3_ACCESS_KEY_ID") or None,
        aws_secret_access_key=settings.get("S3_SECRET_ACCESS_KEY") or None,
        region_name=settings.get("S3_REGION_NAME") or None,
        config=config,
    )


def _exists(client: Any, bucket: str, key: str) -> bool:
    try:
        client.head_object(Bucket=bucket, Key=key)
    except (ClientError, BotoCoreError):
        return False
    return True


def _compare(demo: Demo) -> int:
    with demo.recording.open("rb") as file:
        of_file = hashlib.file_digest(file, "sha256").hexdigest()
    body = _s3_client(demo).get_object(Bucket=demo.bucket, Key=demo.key)["Body"]
    object_hash = hashlib.sha256()
    for block in body.iter_chunks(1024 * 1024):
        object_hash.update(block)
    of_object = object_hash.hexdigest()
    print(f"SHA-256 of the file    {of_file}  {demo.recording}")
    print(f"SHA-256 of the object  {of_object}  s3://{demo.bucket}/{demo.key}")
    print("They are equal." if of_file == of_object else "THEY DIFFER.")
    copy = DATA / "s3" / demo.bucket / demo.key
    if copy.exists():
        print(f"The copy is a plain file: {copy.relative_to(ROOT)} (beside it: {copy.name}.metadata.json)")
    return 0 if of_file == of_object else 1


# --- Small things -----------------------------------------------------------------------------------------------------


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM takes the same way out as Ctrl-C, so that daemon and recorder are stopped cleanly."""

    def interrupt(_number: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
