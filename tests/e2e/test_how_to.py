"""What the how-to pages have somebody type, as far as this machine can."""

from __future__ import annotations

import asyncio
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness.e2e.daemon import PATIENCE_SECONDS, ROOT
from tests.harness.e2e.operator import type_command
from tests.harness.e2e.recorders import CHUNK, write
from tests.harness.e2e.stage import Stage

_CAMERA = "-rtsp_transport tcp -i rtsp://CAMERA/stream -c copy"
#: In its place: three seconds of a test picture, at its own speed (a segment is named by the second), with a key frame
#: each second.
_TEST_PICTURE = "-re -f lavfi -i testsrc2=size=320x180:rate=25:duration=3 -c:v libx264 -preset ultrafast -g 25"


def _commands(page: str, beginning: str) -> list[str]:
    text = (ROOT / "docs" / "how-to" / page).read_text(encoding="utf-8").replace("\\\n", " ")
    return [re.sub(" +", " ", line) for line in text.splitlines() if line.startswith(beginning)]


@pytest.mark.ffmpeg
def test_what_the_page_on_ffmpeg_has_one_type_writes_what_it_says(tmp_path: Path) -> None:
    """Fragments, and at the end the box that proves it: nothing is sent again, and two quiet seconds are enough."""
    commands = _commands("ffmpeg.md", "ffmpeg ")
    assert len(commands) == 2
    (tmp_path / "local_watch_dir").mkdir()
    for command in commands:
        assert _CAMERA in command
        typed = command.replace(_CAMERA, f"-loglevel error -nostdin {_TEST_PICTURE}").replace(" 600 ", " 1 ")
        subprocess.run(["bash", "-c", typed], cwd=tmp_path, check=True, timeout=PATIENCE_SECONDS)
    written = sorted((tmp_path / "local_watch_dir").iterdir())
    assert tmp_path / "local_watch_dir" / "camera.mp4" in written
    assert len(written) >= 3  # the segments: two may share a second
    for path in written:
        data = path.read_bytes()
        assert data.count(b"moof") >= 1, path.name
        assert b"mfra" in data[-200:], path.name


@pytest.mark.slow
@pytest.mark.versitygw
@pytest.mark.redis
def test_a_failed_recording_is_given_up_as_the_page_says(stage: Stage) -> None:
    """Its commands, with the ID of this run."""
    daemon, path = stage.daemon, stage.folder / "gone.mp4"
    daemon.start_and_wait(WATCH_SCAN_SECONDS="0.5", STREAM_TIMEOUT_SECONDS="600")  # it does not end before it is gone
    write(path, CHUNK + 10)
    stage.wait_until_sent(path, 1)
    path.unlink()
    failed = daemon.wait_for("stream_failed", reason="source_missing")
    planned, applied = _commands("failed-recordings.md", "cefmp4 give-up ")
    for command, said in ((planned, "Nothing was done"), (applied, "is given up")):
        typed = type_command(daemon, *command.replace("8f1c", failed["stream_id"][:4]).split()[1:])
        assert (typed.code, said in typed.out) == (0, True)
    assert daemon.stop() == 0
    daemon.start_and_wait()
    daemon.wait_for("streams_recovered")
    assert daemon.metric("cefmp4_failed_streams") == 0
    stage.wait_until_clean()


class _Proxy:
    """An HTTP proxy for requests with whole addresses; it keeps their first lines."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()

    def run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._stop = asyncio.Event()
        self._ready.set()
        async with server:
            await self._stop.wait()

    def wait(self) -> None:
        assert self._ready.wait(PATIENCE_SECONDS)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.readline()
        method, address, version = first.decode().split()
        self.asked.append(f"{method} {address}")
        host, port, path = re.fullmatch(r"http://([^:/]+):(\d+)(/.*)", address).groups()  # type: ignore[union-attr]
        there, here = await asyncio.open_connection(host, int(port))
        here.write(f"{method} {path} {version}\r\nConnection: close\r\n".encode())
        up = asyncio.create_task(_pump(reader, here))
        await _pump(there, writer)
        up.cancel()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@contextmanager
def _proxy() -> Iterator[_Proxy]:
    proxy = _Proxy()
    thread = threading.Thread(target=proxy.run, daemon=True)
    thread.start()
    proxy.wait()
    try:
        yield proxy
    finally:
        proxy.stop()
        thread.join(PATIENCE_SECONDS)


@pytest.mark.slow
@pytest.mark.versitygw
@pytest.mark.redis
def test_the_store_is_reached_through_the_proxy_of_the_environment(stage: Stage) -> None:
    """The page has HTTPS_PROXY, for a store with TLS; the variable for a store without is HTTP_PROXY."""
    with _proxy() as proxy:
        daemon = stage.another_daemon("behind", HTTP_PROXY=f"http://127.0.0.1:{proxy.port}")
        daemon.start_and_wait()
        write(stage.folder / "x.mp4", 6_000_000)
        stage.wait_until_done(stage.folder / "x.mp4")
        daemon.stop()
    assert any(asked.startswith("PUT http://") and "x.mp4" in asked for asked in proxy.asked)
