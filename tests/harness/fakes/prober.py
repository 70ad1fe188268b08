"""The twin of ``ports.Prober``: says of each file what the test told it to say."""

from __future__ import annotations

import asyncio

from src.recording import Identity, MediaStream, Probe

ONE_SECOND = Probe(duration_seconds=1.0, streams=(MediaStream(kind="video", codec="h264", width=64, height=48),))


class FakeProber:
    """``answers`` by path; any other file is one second of video."""

    def __init__(self, answers: dict[str, Probe] | None = None) -> None:
        self.answers = answers or {}
        self.asked: list[str] = []

    async def probe(self, path: str, identity: Identity) -> Probe:
        self.asked.append(path)
        await asyncio.sleep(0)
        return self.answers.get(path, ONE_SECOND)
