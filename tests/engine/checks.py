"""What ``docker compose up --build`` came to, in order: each check finds the project as the one before it left it.

Not part of the suite: ``.ci/compose/up`` starts the project from a copy of ``example.env`` on an engine of its own,
then runs this file. ENGINE_WORK holds the project's checkout, and is removed by its owner.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import src
from src.config import Settings
from tests.harness import servers
from tests.harness.compose_project import Document, Project, run
from tests.harness.e2e.daemon import eventually
from tests.harness.e2e.recorders import Shape, recording
from tests.harness.probing import AnyFile

ROOT = servers.ROOT
#: Recordings wait for half a minute to be taken for finished, on a machine that may have other things to do.
LONG_SECONDS = 180.0
#: Of the image without its base, which is not ours; docs/operations.md names it.
IMAGE_LIMIT_BYTES = 65_000_000
FFPROBE_LIMIT_BYTES = 3_000_000
IMAGE_USER = "1001:1001"
#: A recorder that is neither root nor the image's user.
RECORDER_UID = 1500
#: The default, which a copy of example.env leaves as it is.
STREAM_TIMEOUT_SECONDS = Settings.model_fields["stream_timeout_seconds"].default
BT709 = ("-pix_fmt", "yuv420p", "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709")
#: What recorders and ffmpeg put into MP4.
CODECS = {
    "h264-aac": ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac"),
    "hevc-opus": ("-c:v", "libx265", *BT709, "-x265-params", "log-level=error", "-tag:v", "hvc1", "-c:a", "libopus"),
    "av1-ac3": ("-c:v", "libaom-av1", "-cpu-used", "8", "-c:a", "ac3"),
    "vp9-flac": ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "flac", "-strict", "-2"),
    "mpeg4-alac": ("-c:v", "mpeg4", "-c:a", "alac"),
    "h264-surround-fragmented": ("-c:v", "libx264", "-c:a", "aac", "-ac", "6", "-movflags", "frag_keyframe+empty_moov"),
}
#: Nothing of the build, and no door to the network for whoever gets in.
UNWANTED = ("gcc", "cc", "make", "dpkg-source", "ffmpeg", "curl", "wget", "nc")


@pytest.fixture(scope="module")
def project() -> Project:
    """The project that is up."""
    return Project(Path(os.environ["ENGINE_WORK"]) / "compose")


@pytest.fixture(scope="module")
def films(project: Project, ffmpeg: Path) -> list[Path]:
    """One of each codec, and those of ``test_data``, in the watched folder."""
    paths = []
    for name, options in CODECS.items():
        paths.append(made := watched(project, f"{name}.mp4"))
        film(ffmpeg, made, options)
    for path in sorted((ROOT / "test_data").glob("*.mp4")):
        paths.append(copy := watched(project, path.name))
        copy.write_bytes(path.read_bytes())
    assert len(paths) == len(CODECS) + 3
    for path in paths:
        give_away(path)
    return paths


def watched(project: Project, name: str) -> Path:
    """A file in the folder that the project watches."""
    return project.folder / "local_watch_dir" / name


def give_away(path: Path) -> None:
    """To the daemon's user, who then need not wait for the whole quiet time."""
    os.chown(path, *map(int, IMAGE_USER.split(":")))


def film(ffmpeg: Path, path: Path, options: tuple[str, ...]) -> None:
    """A film of two seconds, at a rate and in a size that nobody guesses."""
    picture = ("-f", "lavfi", "-i", "testsrc=duration=2:size=328x184:rate=30000/1001")
    sound = ("-f", "lavfi", "-i", "sine=duration=2:sample_rate=48000")
    subprocess.run([str(ffmpeg), "-nostdin", "-y", "-v", "error", *picture, *sound, *options, str(path)], check=True)


def arrived(project: Project, path: Path) -> Document:
    """The document of a recording whose object equals it, as soon as there is one."""
    document = eventually(lambda: project.document(path), f"the object of {path.name} equals it", within=LONG_SECONDS)
    assert document is not None
    return document


def in_image(project: Project, *command: str) -> str:
    """What a command prints in a container of the image alone."""
    rights = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--network", "none"]
    return run(["docker", "run", "--rm", "--entrypoint", command[0], *rights, image_name(project), *command[1:]])


def image_name(project: Project) -> str:
    return str(project.services[project.app]["image"])


def image(name: str) -> dict[str, Any]:
    return dict(json.loads(run(["docker", "image", "inspect", name]))[0])


# -- the services, and what they are for -----------------------------------------------------------------------------


def test_every_service_is_healthy(project: Project) -> None:
    usual = [name for name, service in project.services.items() if not service.get("profiles")]
    assert len(usual) == 3
    for name in usual:
        assert project.inspect(name)["State"]["Health"]["Status"] == "healthy", name


def test_a_recording_is_sent_while_it_grows_and_arrives_with_its_document(project: Project, ffmpeg: Path) -> None:
    path = watched(project, "camera.mp4")
    with recording(ffmpeg, path, Shape.ORDINARY, seconds=12) as recorder:
        sent = lambda: project.lines("part_stored", file_path=path.name)  # noqa: E731
        eventually(sent, "the first part is in the store", within=LONG_SECONDS)
        assert recorder.poll() is None, "the first part came only when the recording was over"
        assert recorder.wait(LONG_SECONDS) == 0
    closed = time.monotonic()

    document = arrived(project, path)

    print(f"\n  complete {time.monotonic() - closed:.1f} s after a recorder who is root closed it; app is user 1001")
    jsonschema.validate(document, json.loads((ROOT / "docs" / "metadata.schema.json").read_text()))
    assert document["duration_seconds"] == pytest.approx(12, abs=0.5)
    assert document["total_size_bytes"] == path.stat().st_size
    assert len(document["chunks"]) > 1


def test_the_metrics_are_published_on_the_host(project: Project) -> None:
    assert project.metric("video_bytes_uploaded_total") >= watched(project, "camera.mp4").stat().st_size
    assert project.metric("cefmp4_ready") == 1


def test_the_status_page_is_there_without_a_setting(project: Project) -> None:
    """The port is published for this machine only."""
    assert '<h2 id="h-recordings">' in project.page("app", 8000, "/")


def test_doctor_finds_nothing_wrong_with_the_project_as_it_is(project: Project) -> None:
    """Typed as its operator types it. How fast and how full this machine is, is not the project's."""
    told = json.loads(project.execute("cefmp4", "doctor", "--json"))
    machine = {"store-slow", "disk-full", "disk-low", "disk-fills"}
    bad = [line for line in told["lines"] if line["verdict"] != "ok" and line["fault"] not in machine]
    assert bad == []
    (daemon,) = (line["text"] for line in told["lines"] if line["check"] == "daemon")
    assert daemon.startswith("cefmp4 "), "it asks the daemon that runs in the same container"


def test_its_ffprobe_says_of_each_codec_what_debians_says(project: Project, films: list[Path]) -> None:
    for path in films:
        assert media(arrived(project, path)) == debians(path), path.name


def media(document: Document) -> Mapping[str, object]:
    return {"duration": document["duration_seconds"], **document["media"]}


def debians(path: Path) -> Mapping[str, object]:
    """The same from the ffprobe of this machine."""
    probe = asyncio.run(AnyFile("ffprobe", path.parent).probe_any(path.name))
    streams = [asdict(stream) for stream in probe.streams]
    told = {"streams": streams, "probe_error": probe.error, "remarks": list(probe.remarks)}
    return {"duration": probe.duration_seconds, **told}


# -- the container ---------------------------------------------------------------------------------------------------


def test_it_can_write_nowhere_not_even_to_the_recordings(project: Project) -> None:
    for folder in ("/", "/tmp", "/app", "/app/local_watch_dir", "/opt/venv"):
        said = project.execute("python", "-c", f"open({folder!r} + '/new', 'x')")
        assert "Read-only file system" in said, folder


def test_its_daemon_is_user_1001_without_any_right_beside(project: Project) -> None:
    status = project.execute("python", "-c", DAEMON_STATUS)
    lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert set(lines["Uid"].split()) == set(lines["Gid"].split()) == {"1001"}
    assert lines["Groups"].split() in ([], ["1001"])
    assert {lines[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert lines["NoNewPrivs"] == "1"
    assert project.execute("id", "-un") == "appuser\n"


#: Of the program that process 1, dumb-init, started first.
DAEMON_STATUS = """
first = open("/proc/1/task/1/children").read().split()[0]
print(open(f"/proc/{first}/status").read())
"""


def test_its_health_check_fails_where_nobody_answers(project: Project) -> None:
    config = project.inspect(project.app)["Config"]
    kind, *command = config["Healthcheck"]["Test"]
    assert kind == "CMD"
    assert "ConnectionRefusedError" in project.execute(*command, PROM_PORT="1")
    assert project.execute(*command) == ""


def test_limits_of_the_file_are_the_engines(project: Project) -> None:
    for name, service in project.services.items():
        if service.get("profiles"):
            continue
        limits = project.inspect(name)["HostConfig"]
        assert limits["Memory"] == int(service["mem_limit"]), name
        assert limits["NanoCpus"] == int(float(service["cpus"]) * 1e9), name
        assert limits["PidsLimit"] == service["pids_limit"], name


# -- the image -------------------------------------------------------------------------------------------------------


def test_it_is_less_than_65_mb_larger_than_its_base(project: Project) -> None:
    ours = image(image_name(project))
    base = image(ours["Config"]["Labels"]["org.opencontainers.image.base.name"])
    script = "du --apparent-size -sk /opt/venv /usr/local/bin/ffprobe /app; cd /opt/venv/lib/python3*/site-packages && "
    script += "du --apparent-size -sk * | sort -rn | head -n 8"
    parts = in_image(project, "sh", "-c", script)
    whole, below = ours["Size"] / 1e6, base["Size"] / 1e6
    print(f"\n  The image: {whole:.1f} MB, of which {below:.1f} MB are the base, here a stand-in")
    for line in parts.splitlines():
        size, place = line.split("\t")
        print(f"    {int(size) * 1024 / 1e6:6.1f} MB {place}")
    assert 0 < ours["Size"] - base["Size"] < IMAGE_LIMIT_BYTES


def test_its_ffprobe_is_small_and_knows_three_formats_and_files_alone(project: Project) -> None:
    def known(what: str) -> list[str]:
        return in_image(project, "ffprobe", "-v", "quiet", f"-{what}").split()

    assert int(in_image(project, "stat", "-c", "%s", "/usr/local/bin/ffprobe")) < FFPROBE_LIMIT_BYTES
    assert known("demuxers")[-6:] == ["D", "matroska,webm", "D", "mov,mp4,m4a,3gp,3g2,mj2", "D", "mpegts"]
    assert known("demuxers").count("D") == 3
    assert known("protocols")[-4:] == ["Input:", "file", "Output:", "file"]
    assert known("decoders")[-1] == "------"


def test_its_ffprobe_passes_the_suites_own_tests(project: Project, tmp_path: Path) -> None:
    """Left out is the one that shows what Debian's opens without the fence: ours has no playlist to follow."""
    container = project.inspect(project.app)["Id"]
    run(["docker", "cp", f"{container}:/usr/local/bin/ffprobe", str(tmp_path / "ffprobe")])
    tests = ["tests/contract/test_ffprobe.py", "tests/corpus/test_media.py", "-k", "not the_canary_is_alive"]
    path = f"{tmp_path}:{os.environ['PATH']}"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    said = run(command, folder=ROOT, environment={**os.environ, "PATH": path})
    print(f"\n  {said.splitlines()[-1]}")


def test_nothing_of_the_build_is_left_in_it(project: Project) -> None:
    found = in_image(project, "sh", "-c", 'for one in "$@"; do command -v "$one"; done; :', "sh", *UNWANTED)
    assert found.split() == []
    assert in_image(project, "find", "/opt/venv", "-name", "pip", "-o", "-name", "setuptools").split() == []
    assert sorted(in_image(project, "ls", "-A", "/app").split()) == ["local_watch_dir", "src"]
    for folder in ("/var/lib/apt/lists", "/var/cache/apt", "/tmp", "/build", "/opt/pip"):
        assert in_image(project, "sh", "-c", f"ls -A {folder} 2>/dev/null || :") == "", folder


def test_no_setting_of_the_build_machines_pip_is_left_in_it(project: Project) -> None:
    name = image_name(project)
    assert "PIP_" not in json.dumps(image(name)["Config"])
    secret = (Path(os.environ["ENGINE_WORK"]) / "pip.conf").read_text()
    history = run(["docker", "history", "--no-trunc", "--format", "{{.CreatedBy}}", name])
    assert all(line not in history for line in secret.splitlines() if "=" in line)
    assert in_image(project, "sh", "-c", "cat /etc/pip.conf /etc/xdg/pip/pip.conf 2>/dev/null || :") == ""


def test_services_that_give_credentials_are_known_beside_s3(project: Project) -> None:
    ask = "import botocore.session as b; print(*sorted(b.get_session().get_available_services()))"
    assert in_image(project, "python", "-c", ask).split() == ["s3", "sso", "sso-oidc", "sts"]


def test_its_configuration_says_what_it_is(project: Project) -> None:
    about = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    config = image(image_name(project))["Config"]
    assert config["Labels"]["org.opencontainers.image.title"] == about["name"]
    assert config["Labels"]["org.opencontainers.image.version"] == src.__version__
    assert config["User"] == IMAGE_USER
    assert list(config["ExposedPorts"]) == ["8000/tcp"]
    seconds = {name: config["Healthcheck"][name] / 1e9 for name in ("Interval", "Timeout", "StartPeriod")}
    assert seconds == {"Interval": 30, "Timeout": 10, "StartPeriod": 30}
    assert config["Healthcheck"]["Retries"] == 3
    assert "PYTHONUNBUFFERED=1" in config["Env"]


# -- stop, start again, and other ways to have it --------------------------------------------------------------------


def test_a_stop_ends_the_daemon_with_exit_code_0(project: Project) -> None:
    began = time.monotonic()
    project.compose("stop")
    print(f"\n  docker compose stop: {time.monotonic() - began:.1f} s")
    assert project.inspect(project.app)["State"]["ExitCode"] == 0


def test_a_second_up_sends_nothing_again(project: Project, films: list[Path]) -> None:
    """A new recording tells when the daemon has looked at the folder."""
    project.up()
    before = project.objects()
    assert {path.name for path in films} < before.keys()
    added = watched(project, "added.mp4")
    added.write_bytes(films[0].read_bytes())
    give_away(added)
    arrived(project, added)
    after = project.objects()
    assert {key: after.get(key) for key in before} == before
    assert project.metric("video_bytes_uploaded_total") == added.stat().st_size


def test_as_the_recorders_user_it_need_not_wait_for_the_quiet_time(project: Project, ffmpeg: Path) -> None:
    """Only the owner of a file gets a lease on it, the proof that nobody has it open."""
    folder = project.folder / "local_watch_dir"
    folder.chmod(0o777)
    user = f"{RECORDER_UID}:{RECORDER_UID}"
    as_recorder = ["setpriv", "--reuid", str(RECORDER_UID), "--regid", str(RECORDER_UID), "--clear-groups"]

    def waited(name: str) -> float:
        # By its name alone: the folders above are closed to this user.
        sound = ["-f", "lavfi", "-i", "sine=duration=5", "-c:a", "aac", name]
        subprocess.run([*as_recorder, str(ffmpeg), "-nostdin", "-v", "error", "-re", *sound], cwd=folder, check=True)
        closed = time.monotonic()
        arrived(project, folder / name)
        quiet = quiet_seconds(project, folder / name)
        print(f"\n  user {project.inspect(project.app)['Config']['User']}, recorder {user}: complete ", end="")
        print(f"{time.monotonic() - closed:.1f} s after it was closed; {quiet:.1f} s had to be quiet")
        return quiet

    others = waited("of-another-user.mp4")
    with (project.folder / ".env").open("a") as settings:
        settings.write(f"\nAPP_USER={user}\n")
    project.up()
    own = waited("of-the-same-user.mp4")
    assert own < STREAM_TIMEOUT_SECONDS <= others


def quiet_seconds(project: Project, path: Path) -> float:
    """How long the file had been quiet when the daemon took it for finished."""
    line = project.lines("stream_went_idle", file_path=path.name)[-1]
    return float(line["quiet_seconds"])


def test_monitoring_knows_the_daemon_and_its_rules(project: Project) -> None:
    without = os.environ["ENGINE_WITHOUT"].split()
    offered = {name: each for name, each in project.services.items() if each.get("profiles") == ["monitoring"]}
    started = [name for name, each in offered.items() if each["image"] not in without]
    print(f"\n  of the profile monitoring: {', '.join(started)}; left out: {', '.join(offered.keys() - set(started))}")
    project.up(*started)
    (judge,) = (name for name in started if "/prometheus:" in offered[name]["image"])
    (port,) = (port["target"] for port in offered[judge]["ports"])
    assert "Cefmp4StoreAway" in project.page(judge, port, "/api/v1/rules")
    up = lambda: '"health":"up"' in project.page(judge, port, "/api/v1/targets")  # noqa: E731
    eventually(up, "Prometheus gets answers from the daemon", within=LONG_SECONDS)


def test_down_leaves_nothing_behind(project: Project) -> None:
    project.compose("--profile", "*", "down", "--volumes")
    for kind, all_of in {"container": ["--all"], "volume": [], "network": []}.items():
        left = run(["docker", kind, "ls", *all_of, "--quiet", "--filter", "label=com.docker.compose.project"])
        assert left == "", kind


def test_an_env_file_of_the_first_documents_works_unchanged(project: Project) -> None:
    first = Project(project.folder.with_name("first"), f"{project.folder.parent.name.lower().replace('.', '-')}-first")
    run(["git", "clone", "--quiet", str(project.folder), str(first.folder)])
    (first.folder / ".env").write_bytes((ROOT / "tests" / "deploy" / "first.env").read_bytes())
    first.up()
    path = watched(first, "recording.mp4")
    path.write_bytes(next((ROOT / "test_data").glob("*.mp4")).read_bytes())
    give_away(path)
    arrived(first, path)
    assert first.metric("video_bytes_uploaded_total") == path.stat().st_size
    first.compose("down", "--volumes")
