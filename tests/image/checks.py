"""What the image promises. Not part of the suite: ``.ci/image`` builds the image, mounts it, and runs this file.

It says where the image is by IMAGE_ROOT (the mounted root folder) and IMAGE_JSON (``buildah inspect``).
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest

import src
from src.ffprobe import Ffprobe
from tests.harness import servers
from tests.harness.e2e.bucket import Document
from tests.harness.e2e.daemon import eventually
from tests.harness.e2e.recorders import Shape, recording
from tests.harness.e2e.stage import Stage, set_stage
from tests.image.container import Container, Image

ROOT = servers.ROOT
#: Of the image without its base, which is not ours.
FFPROBE_LIMIT_BYTES = 3_000_000
#: What recorders and ffmpeg put into MP4.
CODECS = {
    "h264-aac": ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac"),
    "hevc-opus": ("-c:v", "libx265", "-x265-params", "log-level=error", "-tag:v", "hvc1", "-c:a", "libopus"),
    "av1-ac3": ("-c:v", "libaom-av1", "-cpu-used", "8", "-c:a", "ac3"),
    "vp9-flac": ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "flac", "-strict", "-2"),
    "mpeg4-alac": ("-c:v", "mpeg4", "-c:a", "alac"),
    "h264-surround-fragmented": ("-c:v", "libx264", "-c:a", "aac", "-ac", "6", "-movflags", "frag_keyframe+empty_moov"),
}
#: Nothing of the build, and no door to the network for whoever gets in.
UNWANTED = ("gcc", "cc", "make", "dpkg-source", "ffmpeg", "curl", "wget", "nc")


@pytest.fixture(scope="module")
def image() -> Image:
    return Image.read(Path(os.environ["IMAGE_ROOT"]), Path(os.environ["IMAGE_JSON"]))


@pytest.fixture
def stage(tmp_path: Path, versitygw: servers.S3Server, guarded_redis_server: str) -> Iterator[Stage]:
    with set_stage(tmp_path, versitygw, guarded_redis_server) as stage:
        yield stage


@pytest.fixture
def container(image: Image, stage: Stage) -> Container:
    """The image on the stage's folder and servers, with its own WATCH_DIR; not started yet."""
    usual = stage.daemon.settings
    settings = {name: value for name, value in usual.items() if name != "WATCH_DIR"}
    container = Container(image, stage.home / "container", stage.folder, settings)
    stage.daemons.append(container)
    return container


def arrived(stage: Stage, path: Path) -> Document:
    """The document of a recording whose object equals it."""

    def found() -> Document | None:
        document = stage.bucket.documents().get(path.name)
        return document if document and stage.bucket.holds(path.name, path) else None

    document = eventually(found, f"the object of {path.name} equals it")
    assert document is not None
    return document


def test_it_uploads_while_a_recorder_writes_as_user_1001_and_ends_with_0(
    container: Container, stage: Stage, ffmpeg: Path
) -> None:
    container.start_and_wait()
    path = stage.folder / "camera.mp4"
    with recording(ffmpeg, path, Shape.ORDINARY, seconds=4) as recorder:
        container.wait_for("part_stored", file_path=path.name)
        assert recorder.poll() is None, "the first part came only when the recording was over"
        assert recorder.wait(60) == 0

    assert arrived(stage, path)["duration_seconds"] == pytest.approx(4, abs=0.5)
    assert container.health() == 0
    assert container.health(PROM_PORT="1") != 0
    program = container.program
    assert set(program.uids()) == set(program.gids()) == {1001}
    assert container.stop() == 0
    assert not psutil.pid_exists(program.pid)


def test_its_ffprobe_says_of_each_codec_what_debians_says(container: Container, stage: Stage, ffmpeg: Path) -> None:
    for name, options in CODECS.items():
        make(ffmpeg, stage.folder / f"{name}.mp4", options)
    for path in (ROOT / "test_data").glob("*.mp4"):
        (stage.folder / path.name).write_bytes(path.read_bytes())
    paths = sorted(stage.folder.iterdir())
    assert len(paths) == len(CODECS) + 3

    container.start_and_wait()

    for path in paths:
        assert media(arrived(stage, path)) == debians(path), path.name


def make(ffmpeg: Path, path: Path, options: tuple[str, ...]) -> None:
    """A film of two seconds, at a rate and in a size that nobody guesses."""
    picture = ("-f", "lavfi", "-i", "testsrc=duration=2:size=328x184:rate=30000/1001")
    sound = ("-f", "lavfi", "-i", "sine=duration=2:sample_rate=48000")
    subprocess.run([str(ffmpeg), "-nostdin", "-v", "error", *picture, *sound, *options, str(path)], check=True)


def media(document: Document) -> Mapping[str, object]:
    return {"duration": document["duration_seconds"], **document["media"]}


def debians(path: Path) -> Mapping[str, object]:
    """The same from the ffprobe of this machine."""
    probe = asyncio.run(Ffprobe("ffprobe", path.parent).probe(path.name))
    streams = [asdict(stream) for stream in probe.streams]
    return {"duration": probe.duration_seconds, "streams": streams, "probe_error": probe.error}


def test_it_can_write_nowhere_not_even_to_the_recordings(image: Image, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    for folder in ("/", "/tmp", "/app", "/app/local_watch_dir", "/opt/venv"):
        answer = image.run(tmp_path, "python", "-c", f"open({folder!r} + '/new', 'x')")
        assert "Read-only file system" in answer.stderr, folder


def test_its_user_has_no_rights_beside_its_own(image: Image, tmp_path: Path) -> None:
    answer = image.run(tmp_path, "python", "-c", "print(open('/proc/self/status').read())")
    lines = dict(line.split(":\t", 1) for line in answer.stdout.splitlines() if ":\t" in line)
    assert lines["Groups"].strip() == ""
    assert {lines[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert image.run(tmp_path, "id", "-un").stdout == "appuser\n"


def test_its_ffprobe_is_small_and_knows_mp4_and_files_alone(image: Image, tmp_path: Path) -> None:
    def known(what: str) -> list[str]:
        answer = image.run(tmp_path, "ffprobe", "-v", "quiet", f"-{what}")
        assert answer.returncode == 0
        return answer.stdout.split()

    assert (image.root / "usr/local/bin/ffprobe").stat().st_size < FFPROBE_LIMIT_BYTES
    assert known("demuxers")[-2:] == ["D", "mov,mp4,m4a,3gp,3g2,mj2"]
    assert known("demuxers").count("D") == 1
    assert known("protocols")[-4:] == ["Input:", "file", "Output:", "file"]
    assert known("decoders")[-1] == "------"


def test_nothing_of_the_build_is_left_in_it(image: Image, tmp_path: Path) -> None:
    found = image.run(tmp_path, "sh", "-c", 'for one in "$@"; do command -v "$one"; done; :', "sh", *UNWANTED)
    assert found.stdout.split() == []
    packages = image.root / "opt" / "venv"
    assert [*packages.rglob("pip"), *packages.rglob("setuptools")] == []
    assert sorted((image.root / "app").iterdir()) == [image.root / "app/local_watch_dir", image.root / "app/src"]
    for folder in ("var/lib/apt/lists", "var/cache/apt", "tmp", "build", "opt/pip"):
        assert not list((image.root / folder).glob("*")), folder


def test_no_setting_of_the_build_machines_pip_is_left_in_it(image: Image) -> None:
    assert "PIP_" not in Path(os.environ["IMAGE_JSON"]).read_text()
    configuration = image.root / "etc" / "pip.conf"
    assert not configuration.exists() or not configuration.read_text()


def test_services_that_give_credentials_are_known_beside_s3(image: Image, tmp_path: Path) -> None:
    ask = "import botocore.session as b; print(*sorted(b.get_session().get_available_services()))"
    assert image.run(tmp_path, "python", "-c", ask).stdout.split() == ["s3", "sso", "sso-oidc", "sts"]


def test_its_configuration_says_what_it_is(image: Image) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    labels = image.config["Labels"]
    assert labels["org.opencontainers.image.title"] == project["name"]
    assert labels["org.opencontainers.image.version"] == src.__version__
    assert image.config["User"] == "1001:1001"
    assert list(image.config["ExposedPorts"]) == ["8000/tcp"]
    seconds = {name: image.config["Healthcheck"][name] / 1e9 for name in ("Interval", "Timeout", "StartPeriod")}
    assert seconds == {"Interval": 30, "Timeout": 10, "StartPeriod": 30}
    assert image.config["Healthcheck"]["Retries"] == 3
    assert image.environment["PYTHONUNBUFFERED"] == "1"
