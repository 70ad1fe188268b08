"""The prober against the real ffprobe, hostile files, and programs that only pretend to be ffprobe."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from src.containers import Film, Track
from src.domain import MediaStream, Probe
from src.domain.ports import Prober
from src.metadata_generator import child_process, ffprobe, places
from src.metadata_generator.media import STREAMS_LIMIT, read_answer
from tests.harness.probing import AnyFile, identity_at

TEST_DATA = Path(__file__).parents[2] / "test_data"
VIDEO = MediaStream(
    *("video", "h264", 160, 120, 25.0),
    rotation_degrees=0,
    sample_aspect_ratio="1:1",
    display_width=160,
    display_height=120,
)
AUDIO = MediaStream("audio", "aac", sample_rate_hz=48_000, channels=1)

needs_ffprobe = pytest.mark.ffmpeg


def prober(root: Path, binary: str | Path = "ffprobe", *, timeout_seconds: float = 20.0) -> AnyFile:
    return AnyFile(str(binary), root, timeout_seconds=timeout_seconds)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A folder with one good recording, ``rec.mp4``."""
    shutil.copy(TEST_DATA / "sample.mp4", tmp_path / "rec.mp4")
    return tmp_path


@pytest.fixture
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes a program in sh that is called in ffprobe's place."""

    def make(script: str) -> Path:
        program = tmp_path_factory.mktemp("bin") / "ffprobe"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return program

    return make


async def eventually(condition: Callable[[], bool], *, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.01)


def number_in(file: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        return int(file.read_text())
    return None


def lives(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def boxes(body: bytes) -> Iterator[int]:
    """The offsets at which the file's outermost boxes begin."""
    offset = 0
    while offset < len(body):
        yield offset
        offset += struct.unpack_from(">I", body, offset)[0]


# --- Recordings -------------------------------------------------------------------------------------------------------


@needs_ffprobe
@pytest.mark.parametrize("name", ["sample.mp4", "sample_faststart.mp4", "sample_fragmented.mp4"])
async def test_a_recording_of_each_shape_is_described(name: str) -> None:
    asks: Prober = prober(TEST_DATA)
    found = await asks.probe(name, identity_at(TEST_DATA / name))
    assert found.duration_seconds == pytest.approx(2.0, abs=0.1)
    assert found.streams == (VIDEO, AUDIO)
    assert found.error is None


@needs_ffprobe
@pytest.mark.parametrize("name", ["sample.mp4", "sample_faststart.mp4", "sample_fragmented.mp4"])
async def test_a_recording_cut_at_any_box_is_no_error_of_ours(name: str, tmp_path: Path) -> None:
    body = (TEST_DATA / name).read_bytes()
    for offset in boxes(body):
        (tmp_path / "cut.mp4").write_bytes(body[:offset])
        found = await prober(tmp_path).probe_any("cut.mp4")
        assert (found.duration_seconds is None) == (found.error is not None)


@needs_ffprobe
async def test_a_recording_without_its_index_is_described_by_the_reason(tmp_path: Path) -> None:
    body = (TEST_DATA / "sample.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(body[: body.index(b"moov") - 4])
    found = await prober(tmp_path).probe_any("cut.mp4")
    reason = "ffprobe: moov atom not found; Invalid data found when processing input (exit code 1)"
    assert found == Probe(error=reason)


@needs_ffprobe
@pytest.mark.parametrize("body", [b"", b"\0", b"garbage" * 999, bytes(range(256)) * 64, b"\0\0\0\x08ftyp" * 500])
async def test_what_is_no_mp4_is_described_by_an_error(body: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(body)
    found = await prober(tmp_path).probe_any("x.mp4")
    assert found.error and found.duration_seconds is None


@needs_ffprobe
async def test_the_same_damaged_file_gives_the_same_error_twice(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(b"garbage" * 999)
    assert await prober(tmp_path).probe_any("x.mp4") == await prober(tmp_path).probe_any("x.mp4")


@needs_ffprobe
@pytest.mark.parametrize(
    "name",
    [
        b"-version.mp4",
        b"-i",
        b"new\nline.mp4",
        b"concat:rec.mp4|rec.mp4",
        b"http:x.mp4",
        b"$(touch pwned).mp4",
        b"caf\xe9\x01.mp4",
        b"..mp4",
        b" ",
        b"x" * 251 + b".mp4",
    ],
)
async def test_no_name_is_an_option_a_protocol_or_a_command(name: bytes, recording: Path) -> None:
    os.rename(recording / "rec.mp4", os.path.join(os.fsencode(recording), name))
    found = await prober(recording).probe_any(os.fsdecode(name))
    assert found.duration_seconds == 2.0
    assert len(os.listdir(recording)) == 1


# --- Files that want more than to be read -----------------------------------------------------------------------------


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def _playlists(target: str) -> dict[str, str]:
    return {
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:9,\n{target}\n#EXT-X-ENDLIST\n",
        "concat": f"ffconcat version 1.0\nfile '{target}'\n",
        "sdp": f"v=0\nc=IN IP4 127.0.0.1\nm=video {target.rpartition(':')[2].strip('/') or 9} RTP/AVP 96\n",
        "dash": f'<?xml version="1.0"?><MPD><Period><BaseURL>{target}</BaseURL></Period></MPD>',
    }


@needs_ffprobe
@pytest.mark.parametrize("kind", ["hls", "concat", "sdp", "dash"])
async def test_a_playlist_that_calls_itself_mp4_opens_neither_another_file_nor_a_url(
    kind: str, recording: Path, listener: socket.socket
) -> None:
    host, port = listener.getsockname()
    for target in (str(recording / "rec.mp4"), "rec.mp4", f"file:{recording}/rec.mp4", f"http://{host}:{port}/"):
        (recording / "x.mp4").write_text(_playlists(target)[kind])
        found = await prober(recording).probe_any("x.mp4")
        assert found.error and found.duration_seconds is None and found.streams == ()
    with pytest.raises(BlockingIOError):
        listener.accept()


@needs_ffprobe
async def test_a_playlist_never_reaches_a_fifo_beside_it(recording: Path) -> None:
    fifo = recording / "canary.mp4"
    os.mkfifo(fifo)
    (recording / "x.mp4").write_text(_playlists(str(fifo))["hls"])
    # An ffprobe that opened the FIFO would wait for its writer until the time limit.
    found = await prober(recording).probe_any("x.mp4")
    assert found.error and "longer than" not in found.error


def _with_external_track(body: bytes, target: Path) -> bytes:
    """The recording with the media of its tracks "in another file": an alias with an absolute path in each ``dref``."""
    old = struct.pack(">I4sI", 12, b"url ", 1)
    path = os.fsencode(target)
    path += b"\0" * (len(path) % 2)
    alias = bytes(150) + struct.pack(">HH", 2, len(path)) + path + struct.pack(">hH", -1, 0)
    return _grown(body, old, struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + alias)


def _grown(body: bytes, old: bytes, new: bytes) -> bytes:
    """``old`` replaced inside boxes, and every box around it made longer."""
    offset, grown = 0, b""
    while offset < len(body):
        size, kind = struct.unpack_from(">I4s", body, offset)
        head = 16 if kind == b"dref" else 8
        inside = body[offset + head : offset + size]
        if kind in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
            inside = _grown(inside, old, new)
        elif kind == b"dref":
            inside = inside.replace(old, new)
        grown += struct.pack(">I4s", head + len(inside), kind) + body[offset + 8 : offset + head] + inside
        offset += size
    return grown


@needs_ffprobe
async def test_tracks_in_other_files_stay_closed(recording: Path) -> None:
    canary = recording / "canary"
    os.mkfifo(canary)
    (recording / "x.mp4").write_bytes(_with_external_track((recording / "rec.mp4").read_bytes(), canary))
    stock = await asyncio.create_subprocess_exec("ffprobe", str(recording / "x.mp4"), stderr=subprocess.PIPE)
    _, told = await stock.communicate()
    assert told.count(b"external track") == 2, "the file is no longer what this test needs"
    # An ffprobe that opened the FIFO would wait for its writer until the time limit.
    found = await prober(recording).probe_any("x.mp4")
    assert found.duration_seconds == 2.0


@needs_ffprobe
async def test_the_canary_is_alive_without_the_fence_a_playlist_opens_the_other_file(recording: Path) -> None:
    (recording / "x.mp4").write_text(_playlists(str(recording / "rec.mp4"))["hls"])
    question = ("-v", "error", "-protocol_whitelist", "file", "-show_entries", "stream=codec_name")
    stock = await asyncio.create_subprocess_exec(
        "ffprobe", *question, str(recording / "x.mp4"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output, _ = await stock.communicate()
    assert b"h264" in output


@needs_ffprobe
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
async def test_the_one_file_that_the_kernel_saw_opened_is_standard_input(
    recording: Path, stand_in: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """strace stands between fence and ffprobe and tells what was opened once the libraries were loaded."""
    real = shutil.which("ffprobe")
    assert real
    traces = tmp_path_factory.mktemp("trace")
    fifo = traces / "trace"
    os.mkfifo(fifo)  # the fence forbids to write files
    reader = await asyncio.create_subprocess_exec("cat", str(fifo), stdout=subprocess.PIPE)
    (recording / "x.mp4").write_text(_playlists(str(recording / "rec.mp4"))["hls"])
    program = stand_in(f'exec /usr/bin/strace -f -o {fifo} -e trace=open,openat,openat2,connect,execve {real} "$@"')
    await prober(recording, program).probe_any("x.mp4")
    trace, _ = await reader.communicate()
    seen = trace.decode()
    assert "/dev/fd/0" in seen
    assert "connect(" not in seen and "rec.mp4" not in seen


@needs_ffprobe
async def test_a_link_out_of_the_folder_is_not_followed(recording: Path) -> None:
    inner = recording / "inner"
    inner.mkdir()
    (inner / "out.mp4").symlink_to(recording / "rec.mp4")
    shutil.copy(recording / "rec.mp4", inner / "rec.mp4")
    (inner / "in.mp4").symlink_to("rec.mp4")
    for path in ("out.mp4", "../rec.mp4", str(recording / "rec.mp4")):
        assert (
            await prober(inner).probe_any(path)
        ).error == "the file cannot be opened: it lies outside the watched folder"
    assert (await prober(inner).probe_any("in.mp4")).duration_seconds == 2.0


async def test_fifos_folders_and_missing_files_are_described_by_an_error(recording: Path) -> None:
    os.mkfifo(recording / "fifo.mp4")
    (recording / "folder.mp4").mkdir()
    asks = prober(recording, "/bin/true")
    for path in ("fifo.mp4", "folder.mp4"):
        assert (await asks.probe_any(path)).error == "the file cannot be opened: it is not a regular file"
    assert (await asks.probe_any("gone.mp4")).error == "the file cannot be opened: No such file or directory"


# --- Programs that misbehave ------------------------------------------------------------------------------------------


async def test_without_a_binary_every_probe_says_so(recording: Path) -> None:
    for binary in ("no-such-ffprobe", str(recording / "rec.mp4"), str(recording)):
        asks = prober(recording, binary)
        assert await asks.available() is None
        assert await asks.probe_any("rec.mp4") == Probe(error=f"there is no program {binary!r}")


async def test_a_folder_that_vanished_is_described_by_an_error(recording: Path) -> None:
    assert (await prober(recording / "gone", "/bin/true").probe_any("rec.mp4")).error


@needs_ffprobe
async def test_the_version_is_known_for_the_line_at_start(tmp_path: Path) -> None:
    version = await prober(tmp_path).available()
    assert version and version[0].isalnum()


@pytest.mark.parametrize("script", ["exit 1", "echo hello", "echo ffprobe version 5; exit 1", "sleep 600 & wait"])
async def test_what_is_no_ffprobe_is_not_available(
    script: str, tmp_path: Path, stand_in: Callable[[str], Path]
) -> None:
    assert await prober(tmp_path, stand_in(script), timeout_seconds=1.5).available() is None


async def test_a_program_that_hangs_is_killed_with_its_children(
    recording: Path, stand_in: Callable[[str], Path]
) -> None:
    fifo = recording / "pids"
    os.mkfifo(fifo)
    reading = await asyncio.create_subprocess_exec("cat", str(fifo), stdout=subprocess.PIPE)
    program = stand_in(f"sleep 600 & echo $$ $! >{fifo}; trap '' TERM; while :; do wait; done")
    found = await prober(recording, program, timeout_seconds=1.5).probe_any("rec.mp4")
    assert found == Probe(error="ffprobe took longer than 1.5 s")
    pids, _ = await reading.communicate()
    for pid in map(int, pids.split()):
        await eventually(lambda pid=pid: not lives(pid))  # type: ignore[misc]


async def test_a_child_that_keeps_the_pipe_does_not_outlive_the_time_limit(
    recording: Path, stand_in: Callable[[str], Path]
) -> None:
    program = stand_in("sleep 600 & exit 0")
    before = len(os.listdir("/proc/self/fd"))
    found = await prober(recording, program, timeout_seconds=1.0).probe_any("rec.mp4")
    assert found == Probe(error="ffprobe took longer than 1 s")
    # A pipe may still be open.
    await eventually(lambda: len(os.listdir("/proc/self/fd")) == before, seconds=60)


async def test_a_flood_of_output_is_cut_off(recording: Path, stand_in: Callable[[str], Path]) -> None:
    found = await prober(recording, stand_in("exec cat /dev/zero")).probe_any("rec.mp4")
    assert found == Probe(error="ffprobe wrote more than 8 MiB")


async def test_a_flood_of_complaints_does_not_stop_the_answer(recording: Path, stand_in: Callable[[str], Path]) -> None:
    program = stand_in("""head -c 1000000 /dev/zero >&2; echo '{"format": {"duration": "2.0"}}'""")
    assert (await prober(recording, program).probe_any("rec.mp4")).duration_seconds == 2.0


async def test_only_the_end_of_the_complaints_is_told_and_nothing_unprintable(
    recording: Path, stand_in: Callable[[str], Path]
) -> None:
    program = stand_in(r"printf 'first\n[mov @ 0x55d7] se\033[31mcond\nfile:/dev/fd/0: la\377st\n' >&2; exit 3")
    found = await prober(recording, program).probe_any("rec.mp4")
    assert found.error == "ffprobe: se\ufffd[31mcond; la\ufffdst (exit code 3)"
    long = await prober(recording, stand_in("printf '%0999d' 0 >&2; exit 1")).probe_any("rec.mp4")
    assert long.error is not None and len(long.error) == ffprobe.ERROR_LIMIT


async def test_a_crash_is_named_by_its_signal(recording: Path, stand_in: Callable[[str], Path]) -> None:
    found = await prober(recording, stand_in("kill -SEGV $$")).probe_any("rec.mp4")
    assert found == Probe(error="ffprobe: ended by signal 11")


async def test_the_limits_are_those_of_the_process_itself(recording: Path, stand_in: Callable[[str], Path]) -> None:
    program = stand_in('cat /proc/$$/limits /proc/$$/environ /proc/$$/status >&2; echo "cwd: $(pwd)" >&2; exit 1')
    asks = prober(recording, program, timeout_seconds=30)
    nothing = os.open(os.devnull, os.O_RDONLY)
    try:
        ending = await asks._ask([str(program)], nothing)
    finally:
        os.close(nothing)
    told = ending.complaints.decode()
    rows = {line[:26].strip(): line[26:].split()[:2] for line in told.splitlines() if line.startswith("Max ")}
    assert rows["Max address space"] == [str(1 << 30)] * 2
    assert rows["Max open files"] == ["16", "16"]
    assert rows["Max cpu time"] == ["30", "30"]
    assert rows["Max file size"] == rows["Max core file size"] == ["0", "0"]
    assert "HOME=" not in told and "PATH=" not in told
    assert "cwd: /\n" in told
    if shutil.which("setpriv"):
        assert "NoNewPrivs:\t1" in told


async def test_of_many_recordings_few_are_examined_at_once_with_low_priority(
    recording: Path, stand_in: Callable[[str], Path]
) -> None:
    """A station that rolls 1,000 files on the hour must not start 1,000 programs, nor open 1,000 files."""
    program = stand_in("""echo '{"format": {"duration": "2.0"}}'; sleep 0.2""")
    asks = AnyFile(str(program), recording, timeout_seconds=60, at_once=3)
    identity = identity_at(recording / "rec.mp4")
    most = 0
    others = {child.pid for child in psutil.Process().children()}  # servers of other tests
    nice: set[int] = set()
    sessions: set[int] = set()
    open_before = len(os.listdir("/proc/self/fd"))
    async with asyncio.TaskGroup() as group:
        probes = [group.create_task(asks.probe("rec.mp4", identity)) for _ in range(30)]
        while not all(probe.done() for probe in probes):
            running = [child for child in psutil.Process().children() if child.pid not in others and _lives(child)]
            most = max(most, len(running))
            for child in running:
                with contextlib.suppress(psutil.Error, ProcessLookupError):
                    nice.add(child.nice())
                    sessions.add(os.getsid(child.pid))
                    assert os.getpgid(child.pid) != os.getpgid(0), "Ctrl-C in the terminal ends it"
            assert len(os.listdir("/proc/self/fd")) <= open_before + 3 * 8
            await asyncio.sleep(0.01)
    assert 1 <= most <= 3
    own = psutil.Process().nice()
    assert min(19, own + 5) in nice
    assert sessions == {os.getsid(0)}, "the kernel may divide a processor among sessions first, whatever their niceness"
    assert [probe.result().duration_seconds for probe in probes] == [2.0] * 30


def _lives(child: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return bool(child.status() != psutil.STATUS_ZOMBIE)
    return False


async def test_files_that_hang_keep_no_other_waiting_for_long(
    recording: Path, stand_in: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "_BESIDE_SECONDS", 0.05)
    shutil.copy(recording / "rec.mp4", recording / "good.mp4")
    hanging = recording / "rec.mp4"
    hanging.write_bytes(b"hang")
    program = stand_in(
        """read -r first; case $first in hang*) exec sleep 600;; esac; echo '{"format": {"duration": "2"}}'"""
    )
    asks = AnyFile(str(program), recording, timeout_seconds=600, at_once=1)
    stuck = [asyncio.create_task(asks.probe_any("rec.mp4")) for _ in range(3)]
    async with asyncio.timeout(60):
        found = await asks.probe_any("good.mp4")
    assert found.duration_seconds == 2.0
    assert not any(task.done() for task in stuck)
    for task in stuck:
        task.cancel()
    await asyncio.gather(*stuck, return_exceptions=True)


async def test_setpriv_is_tried_once(recording: Path, stand_in: Callable[[str], Path], tmp_path: Path) -> None:
    """Each process that is started for a recording costs a millisecond."""
    asks = prober(recording, stand_in("""echo '{"format": {"duration": "2.0"}}'"""))
    started: list[list[str]] = []
    really = child_process.start

    async def start(command: list[str], *rest: int, **more: int) -> child_process.Child:
        started.append(command)
        return await really(command, *rest, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(child_process, "start", start)
        for _ in range(3):
            assert (await asks.probe_any("rec.mp4")).duration_seconds == 2.0
    assert len(started) == 4
    assert [command[-1] == "true" for command in started] == [True, False, False, False]


async def test_a_program_that_eats_memory_ends(recording: Path, stand_in: Callable[[str], Path]) -> None:
    program = stand_in(f"exec {sys.executable} -c 'len(bytes(2 << 30))'")
    found = await prober(recording, program).probe_any("rec.mp4")
    assert found.error and "exit code 1" in found.error


async def test_a_program_that_writes_files_ends(recording: Path, stand_in: Callable[[str], Path]) -> None:
    found = await prober(recording, stand_in(f"echo x >{recording}/written; exit 0")).probe_any("rec.mp4")
    assert found.error
    assert not (recording / "written").exists() or (recording / "written").stat().st_size == 0


async def test_a_limit_of_the_daemon_itself_that_is_lower_stays(
    recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (12, 12))
    assert ffprobe._limits(30.0) == ["12", "12", "0"]


async def test_a_host_that_can_start_nothing_is_described_by_an_error(
    recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "posix_spawn", refuse)
    found = await prober(recording, "/bin/true").probe_any("rec.mp4")
    assert found == Probe(error="ffprobe cannot be started: Resource temporarily unavailable")


async def test_cancelled_in_the_middle_nothing_is_left_behind(recording: Path, stand_in: Callable[[str], Path]) -> None:
    fifo = recording / "pid"
    os.mkfifo(fifo)
    reading = await asyncio.create_subprocess_exec("cat", str(fifo), stdout=subprocess.PIPE)
    before = len(os.listdir("/proc/self/fd"))
    probing = asyncio.create_task(prober(recording, stand_in(f"echo $$ >{fifo}; exec sleep 600")).probe_any("rec.mp4"))
    pids, _ = await reading.communicate()
    assert lives(int(pids))
    probing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probing
    await eventually(lambda: not lives(int(pids)))
    await eventually(lambda: len(os.listdir("/proc/self/fd")) < before)


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="without setpriv the kernel is not asked")
async def test_a_killed_daemon_leaves_no_ffprobe_behind(recording: Path, stand_in: Callable[[str], Path]) -> None:
    fifo = recording / "pid"
    os.mkfifo(fifo)
    reading = await asyncio.create_subprocess_exec("cat", str(fifo), stdout=subprocess.PIPE)
    program = stand_in(f"echo $$ >{fifo}; exec sleep 600")
    daemon = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c"),
        "import asyncio, pathlib, sys; from tests.harness.probing import AnyFile; "
        "asyncio.run(AnyFile(sys.argv[1], pathlib.Path(sys.argv[2]), timeout_seconds=600).probe_any('rec.mp4'))",
        *(str(program), str(recording)),
        cwd=TEST_DATA.parent,
    )
    pids, _ = await reading.communicate()
    assert lives(int(pids))
    daemon.kill()
    await daemon.wait()
    await eventually(lambda: not lives(int(pids)))


async def test_cancelled_while_the_file_is_opened_the_descriptor_is_closed(
    recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening, go_on = threading.Event(), threading.Event()
    opened: list[int] = []
    really = ffprobe._open_inside

    def slowly(root: Path, path: str) -> int:
        opening.set()
        go_on.wait(20)
        opened.append(really(root, path))
        return opened[0]

    monkeypatch.setattr(ffprobe, "_open_inside", slowly)
    probing = asyncio.create_task(prober(recording, "/bin/true").probe_any("rec.mp4"))
    await asyncio.to_thread(opening.wait, 20)
    probing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probing
    go_on.set()
    await eventually(lambda: bool(opened))

    def closed() -> bool:
        try:
            return os.readlink(f"/proc/self/fd/{opened[0]}") != str(recording / "rec.mp4")
        except OSError:
            return True

    await eventually(closed)


async def test_the_loop_goes_on_while_ffprobe_works(recording: Path, stand_in: Callable[[str], Path]) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    await prober(recording, stand_in("exec sleep 600"), timeout_seconds=1.0).probe_any("rec.mp4")
    ticking.cancel()
    assert ticks >= 10


# --- Answers ----------------------------------------------------------------------------------------------------------


def test_an_answer_is_taken_word_by_word_and_never_on_trust() -> None:
    streams: list[object] = [
        {"codec_type": "video", "codec_name": "h264", "width": 160, "height": 120, "avg_frame_rate": "30000/1001"},
        {"codec_type": "video", "avg_frame_rate": "0/0", "r_frame_rate": "25/1", "width": 0, "height": -5},
        {"codec_type": "audio", "codec_name": "a\ud800", "sample_rate": "48000", "channels": True},
        {"codec_type": 7, "width": 2**31, "height": 1.5, "sample_rate": "1e9", "channels": "٣"},
        "no stream",
    ]
    found = read_answer(json.dumps({"streams": streams, "format": {"duration": "12.480000"}}).encode())
    assert found == Probe(
        12.48,
        (
            MediaStream(
                "video", "h264", 160, 120, 30000 / 1001, rotation_degrees=0, display_width=160, display_height=120
            ),
            MediaStream("video", None, rotation_degrees=0),
            MediaStream("audio", None, sample_rate_hz=48_000),
            MediaStream("unknown", None),
        ),
    )


def test_a_stream_that_ffprobe_does_not_recognise_has_neither_a_codec_nor_a_kind() -> None:
    """An ffprobe without decoders says so of the AAC sound in M2TS."""
    streams = [
        {"id": "0x1011", "codec_type": "video", "codec_name": "h264"},
        {"id": "0x1100", "codec_type": "data", "codec_name": "bin_data"},
    ]
    body = json.dumps({"streams": streams}).encode()
    clock = Film(2.0, {}, is_fragmented=False, is_approximate=True)
    for film in (None, clock):
        picture, sound = read_answer(body, film).streams
        assert (picture.kind, picture.codec) == ("video", "h264")
        assert sound == MediaStream("unknown", None)
    boxes = Film(2.0, {0x1100: Track(0x1100, "meta")}, is_fragmented=False)
    assert read_answer(body, boxes).streams[1] == MediaStream("data", None), "a camera's own data: the boxes confirm it"


@pytest.mark.parametrize(
    "duration", ["NaN", "nan", "inf", "-1", "1e300", "N/A", "9" * 400, "", 3.5, None, True, "99999999999"]
)
def test_an_impossible_duration_is_none(duration: object) -> None:
    body = json.dumps({"format": {"duration": duration}}).encode()
    assert read_answer(body) == Probe(error="ffprobe found no duration")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b"null", b"[" * 100_000, b"9" * 5_000, b"\xff"])
def test_an_answer_that_is_no_answer_is_an_error(body: bytes) -> None:
    assert read_answer(body) == Probe(error="ffprobe's answer cannot be read")


def test_a_nan_in_the_answer_is_nothing() -> None:
    assert read_answer(b'{"streams": {}, "format": {"duration": NaN}}').duration_seconds is None
    assert read_answer(b'{"streams": [{"width": Infinity}], "format": []}').streams == (MediaStream("unknown", None),)


def test_of_thousands_of_streams_only_the_first_are_kept() -> None:
    body = json.dumps({"streams": [{"codec_type": "data"}] * 5_000, "format": {"duration": "1"}}).encode()
    assert len(read_answer(body).streams) == STREAMS_LIMIT


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["streams", "format", "duration", "width"]), inner),
)


@given(JSON.map(lambda value: json.dumps(value).encode()) | st.binary())
@example(b'{"streams": [{"avg_frame_rate": "1/0"}]}')
def test_no_answer_is_ever_an_exception(body: bytes) -> None:
    found = read_answer(body)
    assert (found.duration_seconds is None) == (found.error is not None)


@needs_ffprobe
async def test_another_file_in_its_place_is_not_described(recording: Path) -> None:
    """A rotation moved the film away and began the next under its name."""
    asks, film = prober(recording), identity_at(recording / "rec.mp4")
    assert (await asks.probe("rec.mp4", film)).duration_seconds is not None
    (recording / "rec.mp4").rename(recording / "rec-1.mp4")
    (recording / "rec.mp4").write_bytes((recording / "rec-1.mp4").read_bytes())
    found = await asks.probe("rec.mp4", film)
    assert found == Probe(error="the file cannot be opened: another file has taken its place")
    assert (await asks.probe("rec-1.mp4", film)).duration_seconds is not None
