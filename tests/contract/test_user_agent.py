"""The store's log names the program, and a request does not build botocore's long description of itself."""

from __future__ import annotations

import asyncio
import cProfile
import pstats

from src import __version__
from src.retry import RetryPolicy
from src.s3_client import KeySettings, StoreSettings, open_store

_ANSWER = b"<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>"


async def test_every_request_names_the_program_and_its_version() -> None:
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                heads.append(await reader.readuntil(b"\r\n\r\n"))
                length = b"Content-Length: %d\r\n" % len(_ANSWER)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\n" + length + b"\r\n" + _ANSWER)
                await writer.drain()
        except asyncio.IncompleteReadError:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        settings = StoreSettings(
            bucket="b", endpoint_url=f"http://127.0.0.1:{port}", keys=KeySettings("key", "secret"), region="us-east-1"
        )
        async with open_store(settings, policy=RetryPolicy(), emit=lambda _: None) as store:
            assert await store.list_uploads("a.mp4") == []
            profile = cProfile.Profile()
            profile.enable()
            for _ in range(3):
                await store.list_uploads("a.mp4")
            profile.disable()
    assert heads
    for head in heads:
        found = [line for line in head.split(b"\r\n") if line.lower().startswith(b"user-agent:")]
        assert len(found) == 1
        assert found[0].startswith(b"User-Agent: cefmp4/%b " % __version__.encode())
    called = {name for _, _, name in pstats.Stats(profile).stats}  # type: ignore[attr-defined]
    assert "list_uploads" in called
    assert "sanitize_user_agent_string_component" not in called
