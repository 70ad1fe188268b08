"""ffprobe inside its fence, asked about one item of a corpus; and that no item leads it anywhere else."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from src.domain import Probe
from src.metadata_generator import encode_document, ffprobe, metadata_document, read_document
from src.metadata_generator.media import STREAMS_LIMIT
from tests.corpus.media import CANARY
from tests.harness.probing import AnyFile
from tests.unit.test_metadata import VALIDATOR, proved

TIME_LIMIT = 60.0  # of ffprobe's own; none of these needs a tenth of it


async def asked(folder: Path) -> Probe:
    """What ffprobe says of ``x.mp4``, and what holds for every such answer."""
    found = await AnyFile("ffprobe", folder, timeout_seconds=TIME_LIMIT).probe_any("x.mp4")
    assert (found.duration_seconds is None) == (found.error is not None)
    assert "longer than" not in (found.error or "") and "MiB" not in (found.error or "")
    assert len(found.streams) <= STREAMS_LIMIT
    assert len(found.error or "") <= ffprobe.ERROR_LIMIT
    assert (found.error or "").isprintable()
    document = encode_document(metadata_document(proved(), original_file_path="/srv/x.mp4", probe=found))
    VALIDATOR.validate(json.loads(document))
    assert read_document(document) is not None
    assert CANARY.encode() not in document
    return found


async def opens_no_fifo(fifo: Path, items: Mapping[str, bytes]) -> None:
    """Each item, by the name that it has for the FIFO beside it, which would keep whoever opens it waiting for ever."""
    os.mkfifo(fifo)
    for target, item in items.items():
        (fifo.parent / "x.mp4").write_bytes(item)
        probing = asyncio.create_task(asked(fifo.parent))
        until = time.monotonic() + TIME_LIMIT
        while not probing.done() and time.monotonic() < until:
            assert not _is_read(fifo), f"it made it open {target}"
            await asyncio.sleep(0.005)
        await probing


def _is_read(fifo: Path) -> bool:
    """Whether somebody has the FIFO open for reading, or waits to."""
    try:
        os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


async def calls_nobody(folder: Path, item: Callable[[str], bytes]) -> None:
    """``item``: made for an address at which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        host, port = listener.getsockname()
        (folder / "x.mp4").write_bytes(item(f"http://{host}:{port}/"))
        await asked(folder)
        with pytest.raises(BlockingIOError):
            listener.accept()
