"""The socket for commands: only root and the daemon's user come in; who misbehaves holds a place for a while."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from src import doorkeeper
from src.domain import moments
from src.door import Door, NoAnswer, Peer, Refused, find_doors, knock, name_of
from src.doorkeeper import MOST_CALLERS, Doorkeeper
from src.exceptions import ChunkProcessingError, S3Rejected, Stopped
from tests.harness.nonsense import malformed

NOBODY = 65534
PATIENCE_SECONDS = 60.0


class FakeDesk:
    """Answers at once; ``act`` is what acting does."""

    def __init__(self, folder: Path, group: str) -> None:
        self._folder, self._group = folder, group
        self.body = "x"
        self.acted: list[tuple[str, bool | None]] = []
        self.act: Callable[[], Awaitable[None]] = self._at_once

    async def _at_once(self) -> None:
        return

    def daemon(self) -> dict[str, Any]:
        return {"folder": str(self._folder), "group": self._group, "version": "1", "pid": os.getpid()}

    async def status(self) -> dict[str, Any]:
        return {"body": self.body}

    def scan(self) -> dict[str, Any]:
        return {"scan": 1, "pid": os.getpid()}

    async def waiting(self, scan: int) -> dict[str, Any]:
        return {"scanned": scan > 0}

    async def retry(self, stream_id: str) -> dict[str, Any]:
        await self.act()
        self.acted.append((stream_id, None))
        return {"id": stream_id, "result": "begun"}

    async def give_up(self, stream_id: str, *, apply: bool) -> dict[str, Any]:
        await self.act()
        self.acted.append((stream_id, apply))
        return {"id": stream_id, "result": "given_up"}


class House:
    """A doorkeeper, its desk, and what it told."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.group = folder, secrets.token_hex(4)
        self.desk = FakeDesk(folder, self.group)
        self.told: list[moments.DaemonMoment] = []
        self.keeper = Doorkeeper(folder, self.group, self.desk, self.told.append)

    @property
    def name(self) -> str:
        found = self.folder.stat()
        return name_of(str(self.folder), (found.st_dev, found.st_ino), self.group)

    async def door(self) -> Door:
        """Waits until it is open."""

        def opened() -> Door | None:
            with suppress(NoAnswer):
                return knock(str(self.folder), self.group)
            return None

        found: Door = await _eventually(lambda: asyncio.to_thread(opened))
        return found

    async def ask(self, method: str, path: str, body: dict[str, object] | None = None) -> tuple[int, Any]:
        door = await self.door()
        return await asyncio.to_thread(door.ask, method, path, body)


async def _eventually(look: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (found := await look()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        return found


@asynccontextmanager
async def _house(folder: Path) -> AsyncIterator[House]:
    house = House(folder)
    running = asyncio.create_task(house.keeper.run())
    try:
        await house.door()
        yield house
    finally:
        running.cancel()
        await asyncio.wait({running})


async def test_it_answers_its_own_user_and_names_folder_and_group(tmp_path: Path) -> None:
    async with _house(tmp_path) as house:
        door = await house.door()
        assert (door.folder, door.group, door.peer.pid) == (str(tmp_path), house.group, os.getpid())
        assert await house.ask("GET", "/v1/status") == (200, {"body": "x"})
        assert await house.ask("GET", "/v1/waiting?scan=3") == (200, {"scanned": True})


async def test_another_name_of_the_folder_leads_to_the_same_door(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    async with _house(tmp_path / "real") as house:
        door = await asyncio.to_thread(knock, str(tmp_path / "link"), house.group)
        assert door.folder == str(tmp_path / "real")


async def test_another_group_or_folder_has_no_door(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    async with _house(tmp_path) as house:
        for folder, group in ((tmp_path, house.group + "x"), (tmp_path / "other", house.group)):
            with pytest.raises(NoAnswer):
                await asyncio.to_thread(knock, str(folder), group)


async def test_a_folder_that_comes_later_or_goes_away_is_found_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorkeeper, "LOOK_SECONDS", 0.05)
    folder = tmp_path / "mounted-later"
    async with _house(folder) as house:
        missing = (await house.door()).socket_name
        folder.mkdir()
        door = await _eventually(lambda: _other_than(house, missing))
        assert door.socket_name == house.name
        folder.rmdir()
        assert (await house.door()).folder == str(folder)


async def _other_than(house: House, name: str) -> Door | None:
    door = await house.door()
    return door if door.socket_name != name else None


async def test_a_second_daemon_goes_on_without_and_opens_when_the_first_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorkeeper, "LOOK_SECONDS", 0.05)
    told: list[moments.DaemonMoment] = []
    async with _house(tmp_path) as first:
        second = FakeDesk(tmp_path, first.group)
        second.body = "second"
        running = asyncio.create_task(Doorkeeper(tmp_path, first.group, second, told.append).run())
        await _eventually(lambda: _true(bool(told)))
        assert {type(each) for each in told} == {moments.DoorClosed}
        assert await first.ask("GET", "/v1/status") == (200, {"body": "x"})
    try:
        assert await _eventually(lambda: _is_second(first))
    finally:
        running.cancel()
        await asyncio.wait({running})


async def _true(value: bool) -> bool:
    return value


async def _is_second(house: House) -> bool:
    return bool((await house.ask("GET", "/v1/status"))[1] == {"body": "second"})


# -- who may come in ---------------------------------------------------------------------------------------------------


def _as_nobody(name: str) -> bytes:
    """What another user is sent: in a child, which cannot come back to being root."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setresuid(NOBODY, NOBODY, NOBODY)
            with socket.socket(socket.AF_UNIX) as caller:
                caller.settimeout(30)
                caller.connect(b"\0" + name.encode())
                with suppress(OSError):
                    caller.sendall(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n")
                try:
                    got = caller.recv(1000)
                except ConnectionError:
                    got = b""
            os.write(theirs, b"got:" + got)
        finally:
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    assert told.startswith(b"got:"), "the child could not even connect"
    return told.removeprefix(b"got:")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_another_user_is_sent_away_unread_and_named(tmp_path: Path) -> None:
    async with _house(tmp_path) as house:
        assert await asyncio.to_thread(_as_nobody, house.name) == b""
        await _eventually(lambda: _true(moments.DoorRefused(NOBODY) in house.told))
        for _ in range(2 * MOST_CALLERS):  # it holds no place
            await asyncio.to_thread(_as_nobody, house.name)
        assert (await house.ask("GET", "/v1/status"))[0] == 200


async def test_a_caller_does_not_believe_a_socket_of_another_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody may take the name of a daemon that does not run."""
    async with _house(tmp_path) as house:
        monkeypatch.setattr("src.door.caller.os.geteuid", lambda: 1234)
        monkeypatch.setattr("src.door.names.os.geteuid", lambda: 1234)
        monkeypatch.setattr("src.door.caller.peer_of", lambda _: Peer(1, NOBODY))
        with pytest.raises(Refused) as refused:
            await asyncio.to_thread(knock, str(tmp_path), house.group)
        assert refused.value.uid == NOBODY
        assert [each for each in await asyncio.to_thread(lambda: list(find_doors())) if each.group == house.group] == []


# -- who misbehaves ----------------------------------------------------------------------------------------------------


async def test_five_hundred_malformed_requests_do_nothing_and_are_refused(tmp_path: Path) -> None:
    async with _house(tmp_path) as house:

        def send(number: int) -> bytes:
            with socket.socket(socket.AF_UNIX) as caller:
                caller.settimeout(30)
                caller.connect(b"\0" + house.name.encode())
                with suppress(OSError):
                    caller.sendall(malformed(number))
                    caller.shutdown(socket.SHUT_WR)
                try:
                    return caller.recv(100)
                except ConnectionError:
                    return b""

        for number in range(500):
            answer = await asyncio.to_thread(send, number)
            assert answer == b"" or (answer.startswith(b"HTTP/1.") and answer[9:10] == b"4"), (number, answer)
        assert house.desk.acted == []
        assert (await house.ask("GET", "/v1/status"))[0] == 200
        assert house.told == []


@pytest.mark.parametrize(
    "request_",
    [
        b'Content-Length: 100\r\n\r\n{"ids"',
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\nqq\r\n",
        b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nabcde",
        b"Content-Type: application/json; charset=nonsense\r\nContent-Length: 2\r\n\r\n[]",
        b"Content-Length: 4\r\n\r\n\xff\xfe[]",
    ],
)
async def test_a_body_that_is_cut_or_nonsense_is_no_bug_of_the_daemon(request_: bytes, tmp_path: Path) -> None:
    async with _house(tmp_path) as house:

        def send() -> bytes:
            with socket.socket(socket.AF_UNIX) as caller:
                caller.settimeout(30)
                caller.connect(b"\0" + house.name.encode())
                caller.sendall(b"POST /v1/retry HTTP/1.1\r\nHost: x\r\n" + request_)
                caller.shutdown(socket.SHUT_WR)
                return caller.recv(100)

        assert (await asyncio.to_thread(send))[9:12] in (b"400", b"")
        assert (await house.ask("GET", "/v1/status"))[0] == 200
        assert (house.told, house.desk.acted) == ([], [])


async def test_callers_that_never_read_or_never_send_lose_their_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorkeeper, "CONNECTION_SECONDS", 3.0)
    async with _house(tmp_path) as house:
        house.desk.body = "x" * 5_000_000
        silent = []
        for number in range(MOST_CALLERS + 4):
            caller = socket.socket(socket.AF_UNIX)
            caller.setblocking(False)
            silent.append(caller)
            with suppress(BlockingIOError):
                caller.connect(b"\0" + house.name.encode())
                if number % 2:
                    caller.send(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n")
        status, told = await _eventually(lambda: _whole_answer(house))  # it has no more time than the silent ones
        assert (status, len(told["body"])) == (200, 5_000_000)
        for caller in silent:
            caller.close()


async def _whole_answer(house: House) -> tuple[int, Any] | None:
    with suppress(NoAnswer):
        return await house.ask("GET", "/v1/status")
    return None


# -- acting ------------------------------------------------------------------------------------------------------------


async def test_what_was_done_is_told_with_the_user_and_a_plan_is_not(tmp_path: Path) -> None:
    async with _house(tmp_path) as house:
        await house.ask("POST", "/v1/retry", {"ids": ["a"]})
        await house.ask("POST", "/v1/give-up", {"ids": ["b"]})
        await house.ask("POST", "/v1/give-up", {"ids": ["c"], "apply": True})
        assert house.desk.acted == [("a", None), ("b", False), ("c", True)]
        uid = os.geteuid()
        assert house.told == [
            moments.OperatorAsked("retry", "a", uid, "begun"),
            moments.OperatorAsked("give-up", "c", uid, "given_up"),
        ]


async def _forever() -> None:
    await asyncio.Event().wait()


async def _unreadable() -> None:
    raise ChunkProcessingError("x")


async def _stopping() -> None:
    raise Stopped


async def _rejected() -> None:
    raise S3Rejected("secret", hint="Allow it.")


@pytest.mark.parametrize(
    ("act", "answer"),
    [
        (_forever, {"id": "a", "result": "no_answer"}),
        (_unreadable, {"id": "a", "result": "folder_away"}),
        (_stopping, {"id": "a", "result": "stopping"}),
        (_rejected, {"id": "a", "result": "refused", "hint": "Allow it."}),
    ],
)
async def test_what_could_not_be_done_is_said_in_time(
    act: Callable[[], Awaitable[None]], answer: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorkeeper, "ACT_SECONDS", 0.2)
    async with _house(tmp_path) as house:
        house.desk.act = act
        assert await house.ask("POST", "/v1/retry", {"ids": ["a"]}) == (200, {"answers": [answer]})
        assert house.desk.acted == []


async def _bug() -> None:
    raise RuntimeError("secret")


async def test_a_bug_costs_one_answer_and_is_reported(tmp_path: Path) -> None:
    async with _house(tmp_path) as house:
        house.desk.act = _bug
        told = {"error": "the daemon failed to answer; its log says why"}
        assert await house.ask("POST", "/v1/retry", {"ids": ["a"]}) == (500, told)
        assert [type(each) for each in house.told] == [moments.Unexpected]
        assert (await house.ask("GET", "/v1/status"))[0] == 200
