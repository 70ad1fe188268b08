"""A store that takes few parts, and a proxy that takes small bodies only: the object is the file all the same."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.harness.e2e.recorders import CHUNK, Writer, write
from tests.harness.e2e.stage import Stage
from tests.harness.faulty_s3 import Exchange, Fault, FaultyS3, Request, http_answer

pytestmark = [pytest.mark.slow, pytest.mark.versitygw, pytest.mark.redis]

MIB = 1024 * 1024


def _refusing(refuses: Callable[[Request], bool], answer: bytes, *, name: str) -> Fault:
    """Some requests get this answer and never reach the store; the others pass."""

    async def happen(exchange: Exchange) -> None:
        await exchange.body()
        await exchange.answer(answer if refuses(exchange.request) else await exchange.forward())

    return Fault(name, happen)


def _few_parts(most: int) -> Fault:
    message = f"Part number must be an integer between 1 and {most}, inclusive"
    body = f"<Error><Code>InvalidArgument</Code><Message>{message}</Message></Error>".encode()

    def refuses(request: Request) -> bool:
        number = re.search(r"partNumber=(\d+)", request.target)
        return number is not None and int(number[1]) > most

    return _refusing(refuses, http_answer(400, body, {"Content-Type": "application/xml"}), name=f"{most} parts")


def _small_bodies(most: int) -> Fault:
    page = http_answer(413, b"<html><h1>413 Request Entity Too Large</h1></html>", {"Content-Type": "text/html"})

    def refuses(request: Request) -> bool:
        return int(request.headers.get("content-length", "0")) > most

    return _refusing(refuses, page, name=f"bodies of {most} bytes")


def test_a_store_of_few_parts_gets_the_recording_in_as_many_as_it_takes(stage: Stage) -> None:
    path = stage.folder / "long.mp4"
    with FaultyS3(stage.store.port) as proxy:
        proxy.on("UploadPart", _few_parts(4), times=None)
        stage.daemon.start_and_wait(S3_ENDPOINT_URL=proxy.url)
        with Writer(path) as writer:
            for _ in range(6):
                writer.append(CHUNK)
            writer.append(1)
        document = stage.wait_until_done(path)
    assert document["schema_version"] == 2
    assert document["object"]["part_schedule"]["parts_per_step"] == 1
    assert len(document["chunks"]) <= 4
    assert "S3_MAX_PARTS" in stage.daemon.everything_said()
    assert stage.daemon.lines("stream_failed") == []
    stage.wait_until_clean("long.mp4")


def test_a_store_whose_limit_is_set_is_never_asked_for_more(stage: Stage) -> None:
    path = stage.folder / "long.mp4"
    with FaultyS3(stage.store.port) as proxy:
        proxy.on("UploadPart", _few_parts(10), times=None)
        stage.daemon.start_and_wait(S3_ENDPOINT_URL=proxy.url, S3_MAX_PARTS="10")
        write(path, 12 * CHUNK + 7)
        document = stage.wait_until_done(path)
        assert len(proxy.seen("CreateMultipartUpload", "long.mp4")) == 1
    assert [chunk["size_bytes"] for chunk in document["chunks"]] == [CHUNK, 2 * CHUNK, 4 * CHUNK, 5 * CHUNK + 7]
    stage.wait_until_clean("long.mp4")


def test_a_proxy_of_small_bodies_gets_smaller_parts(stage: Stage) -> None:
    path = stage.folder / "wide.mp4"
    with FaultyS3(stage.store.port) as proxy:
        proxy.on("UploadPart", _small_bodies(6 * MIB), times=None)
        stage.daemon.start_and_wait(S3_ENDPOINT_URL=proxy.url, CHUNK_SIZE_BYTES=str(16 * MIB))
        write(path, 40 * MIB)
        document = stage.wait_until_done(path)
    assert max(chunk["size_bytes"] for chunk in document["chunks"]) == CHUNK
    assert stage.daemon.lines("stream_failed") == []
    assert "client_max_body_size" in stage.daemon.everything_said()
    stage.wait_until_clean("wide.mp4")
