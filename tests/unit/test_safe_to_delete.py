"""``verify --safe-to-delete``: what it prints is true when it prints it, not when the file was read."""

from __future__ import annotations

from typing import Any

from src.domain import Chunk, Digest, Hashes, Identity, InspectedObject, Snapshot, StoredObject, Writers
from src.verification import Level, LocalFiles, Order, Report, Sample, Verification
from src.verification.verdicts import Expected, Finding, Verdict

CRC64 = 42


class _Folder:
    """Files with one checksum, which may change between two looks."""

    def __init__(self) -> None:
        self.files = {name: Snapshot(Identity(n, n), 100, 1, 1) for n, name in enumerate(("a.mp4", "b.mp4"), start=1)}
        self.written: set[str] = set()

    async def snapshot(self, path: str) -> Snapshot | None:
        return self.files.get(path)

    async def digest(self, path: str, identity: Identity, chunk: Chunk, hashes: Hashes) -> Digest:
        return Digest(chunk.size, CRC64)

    async def writers(self, path: str) -> Writers:
        return Writers.PRESENT if path in self.written else Writers.NONE


async def _verification(folder: _Folder) -> Verification:
    local = LocalFiles(folder, "", quiet_for=30, now=lambda: 1e9)
    await local.meet(list(folder.files))
    nobody: Any = None
    verification = Verification(Order(Level.FILE, Sample(1), safe_to_delete=True), nobody, local=local)
    verification.report = Report(Level.FILE, Sample(1))
    return verification


async def _compare(verification: Verification, key: str, identity: Identity) -> Finding:
    expected = Expected(key, "s1", 100, CRC64, "e", identity)
    seen: Any = type("Seen", (), {"found": InspectedObject(StoredObject(100, "e", CRC64)), "crc64": CRC64})
    assert verification.local is not None
    return await verification._with_files(verification.local, expected, seen)


async def test_a_file_that_changes_while_others_are_read_is_not_safe() -> None:
    folder = _Folder()
    verification = await _verification(folder)
    for name, snapshot in tuple(folder.files.items()):
        assert (await _compare(verification, name, snapshot.identity)).verdict is Verdict.PROVED
    assert verification.report.safe == ["a.mp4", "b.mp4"]
    folder.files["a.mp4"] = Snapshot(Identity(1, 1), 200, 2, 2)
    await verification._look_at_what_is_safe_again()
    assert verification.report.safe == ["b.mp4"]
    folder.written.add("b.mp4")
    await verification._look_at_what_is_safe_again()
    assert verification.report.safe == []


async def test_a_file_with_the_bytes_of_two_objects_is_named_once() -> None:
    folder = _Folder()
    verification = await _verification(folder)
    for key in ("a.mp4", "a~2.mp4"):
        await _compare(verification, key, Identity(1, 1))
    await verification._look_at_what_is_safe_again()
    assert verification.report.safe == ["a.mp4"]
