"""A Redis proxy that breaks what it is told to, command by command, and counts what it broke.

It stands between a client and a real redis-server and reads RESP2 in both directions. What a fault happens to is an
*exchange*: one command with its reply, or a whole transaction (MULTI … EXEC, sent in one piece as redis-py does) with
all of its replies. The first rule that fits breaks an exchange; everything else passes unchanged.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Self

#: What a connection itself is called, so that a rule can break it before its first command.
CONNECT = "CONNECT"
GARBAGE = b"\x16\x03\x01 HTTP/1.1 400 \xff\xfe\r\n"
#: A reply that is well-formed, and the answer to some other question.
ANOTHER = b":42\r\n"

_KEYLESS = frozenset(
    {"AUTH", "CLIENT", "CONFIG", "DISCARD", "EXEC", "HELLO", "INFO", "MULTI", "PING", "SCRIPT", "SELECT", CONNECT}
)
_ALL_KEYS = frozenset({"DEL", "EXISTS", "UNLINK", "TOUCH", "RENAME", "RENAMENX", "SUNION"})
_SCRIPTS = frozenset({"EVAL", "EVALSHA", "FCALL", "EVAL_RO", "EVALSHA_RO", "FCALL_RO"})


class Malformed(ValueError):
    """Bytes that are no RESP2."""


# -- RESP2 -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Command:
    """One command as it was sent. ``raw``: its very bytes."""

    words: tuple[bytes, ...]
    raw: bytes = field(default=b"", repr=False)

    @property
    def name(self) -> str:
        """In capitals."""
        return self.words[0].decode("latin-1").upper() if self.words else ""

    @property
    def keys(self) -> tuple[bytes, ...]:
        """The keys that it names, as far as this project's commands and scripts go."""
        if self.name in _KEYLESS:
            return ()
        if self.name in _ALL_KEYS:
            return self.words[1:]
        if self.name in _SCRIPTS:
            return self.words[3 : 3 + int(self.words[2])]
        return self.words[1:2]


def first_command(buffer: bytes | bytearray) -> Command | None:
    """The first command in the buffer; None while it is not there whole. Raises ``Malformed``."""
    if not buffer:
        return None
    if buffer[0] != ord("*"):
        line = _line(buffer, 0)  # as somebody types it
        return None if line is None else Command(tuple(line[0].split()), bytes(buffer[: line[1]]))
    counted = _number(buffer, 0)
    if counted is None:
        return None
    count, at = counted
    words = []
    for _ in range(count):
        if at < len(buffer) and buffer[at] != ord("$"):
            raise Malformed(f"no bulk string: {bytes(buffer[at : at + 20])!r}")
        end = _reply_end(buffer, at)
        if end is None:
            return None
        words.append(bytes(buffer[buffer.index(b"\n", at) + 1 : end - 2]))
        at = end
    return Command(tuple(words), bytes(buffer[:at]))


def first_reply(buffer: bytes | bytearray) -> bytes | None:
    """The bytes of the first reply, however deeply nested; None while it is not there whole. Raises ``Malformed``."""
    end = _reply_end(buffer, 0)
    return None if end is None else bytes(buffer[:end])


def elements(reply: bytes) -> list[bytes]:
    """The replies inside an array; none for anything else."""
    if not reply.startswith(b"*"):
        return []
    found, rest = [], reply[reply.index(b"\n") + 1 :]
    while (inner := first_reply(rest)) is not None:
        found.append(inner)
        rest = rest[len(inner) :]
    return found


def _line(buffer: bytes | bytearray, start: int) -> tuple[bytes, int] | None:
    """The line that begins there, and where the next one does."""
    end = buffer.find(b"\r\n", start)
    return None if end < 0 else (bytes(buffer[start:end]), end + 2)


def _number(buffer: bytes | bytearray, start: int) -> tuple[int, int] | None:
    """The number after a type byte, and where its line ends."""
    line = _line(buffer, start)
    if line is None:
        return None
    try:
        return int(line[0][1:]), line[1]
    except ValueError:
        raise Malformed(f"no length: {line[0][:20]!r}") from None


def _reply_end(buffer: bytes | bytearray, start: int) -> int | None:
    if start >= len(buffer):
        return None
    kind = buffer[start : start + 1]
    if kind in (b"+", b"-", b":"):
        line = _line(buffer, start)
        return None if line is None else line[1]
    if kind not in (b"$", b"*"):
        raise Malformed(f"no reply of RESP2 begins with {bytes(kind)!r}")
    counted = _number(buffer, start)
    if counted is None or counted[0] < 0:
        return None if counted is None else counted[1]
    count, end = counted
    if kind == b"$":
        return end + count + 2 if end + count + 2 <= len(buffer) else None
    at: int | None = end
    for _ in range(count):
        if at is None:
            return None
        at = _reply_end(buffer, at)
    return at


# -- rules -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to an exchange: the name of one of ``FAULTS``, with its seconds or the words of its error."""

    name: str
    text: str = ""
    seconds: float = 0.0


@dataclass(slots=True)
class Rule:
    """Breaks exchanges with a command of this name at a key of this pattern, from the ``nth`` on, ``times`` times.

    A connection itself is meant only by its name. ``about``: bytes that must be in one of the exchange's words, such as
    a recording's name; ``says``: what one of them must be, such as a status or the SHA-1 of a script. ``times`` None:
    always.
    """

    fault: Fault
    command: str = "*"
    key: str = "*"
    about: bytes = b""
    says: bytes = b""
    nth: int = 1
    times: int | None = 1
    seen: int = 0
    injected: int = 0

    def takes(self, exchange: tuple[Command, ...]) -> bool:
        """Whether this exchange is one to be broken; counts it."""
        words = [word for each in exchange for word in each.words]
        if self.hit(exchange) is None or not any(self.about in word for word in words):
            return False
        if self.says and self.says not in words:
            return False
        self.seen += 1
        if self.seen < self.nth or (self.times is not None and self.injected >= self.times):
            return False
        self.injected += 1
        return True

    def hit(self, exchange: tuple[Command, ...]) -> int | None:
        """The place of the first command that is meant; None when there is none."""
        return next((place for place, command in enumerate(exchange) if self._means(command)), None)

    def _means(self, command: Command) -> bool:
        if not fnmatchcase(command.name, self.command) or (command.name == CONNECT != self.command):
            return False
        return self.key == "*" or any(fnmatchcase(key.decode("latin-1"), self.key) for key in command.keys)


# -- faults ------------------------------------------------------------------------------------------------------------


class _Closed(Exception):
    """The connection has ended."""


@dataclass(slots=True)
class _Broken:
    """One exchange that is to be broken, on its connection."""

    link: _Link
    exchange: tuple[Command, ...]
    hit: int
    fault: Fault

    def drop(self) -> None:
        """It is not done; the connection closes."""
        raise _Closed

    def lose(self) -> None:
        """It is done; nobody is told."""
        self.link.ask(self.exchange)
        raise _Closed

    def twice(self) -> None:
        """It is done twice; the second answer is given."""
        self.link.ask(self.exchange)
        self.link.give(self.link.ask(self.exchange))

    def delay(self) -> None:
        """It is done later."""
        self.link.closing.wait(self.fault.seconds)
        self.link.give(self.link.ask(self.exchange))

    def stall(self) -> None:
        """It is done; the connection stays open and nothing ever comes."""
        self.link.ask(self.exchange)
        self.link.wait_until_the_client_goes()

    def half(self) -> None:
        """It is done; the connection closes in the middle of the last answer."""
        *before, last = self.link.ask(self.exchange)
        self.link.give([*before, last[: max(1, len(last) // 2)]])
        raise _Closed

    def garbage(self) -> None:
        """It is done; the last answer is no RESP."""
        self.link.give([*self.link.ask(self.exchange)[:-1], GARBAGE])

    def another(self) -> None:
        """It is done; the last answer belongs to some other question."""
        self.link.give([*self.link.ask(self.exchange)[:-1], ANOTHER])

    def swapped(self) -> None:
        """It is done; the first two results of the transaction have changed places."""
        *before, last = self.link.ask(self.exchange)
        inner = elements(last)
        inner[:2] = reversed(inner[:2])
        self.link.give([*before, b"*%d\r\n" % len(inner) + b"".join(inner)] if inner else [*before, last])

    def doubled(self) -> None:
        """It is done; its last answer comes twice, so that one is left for the next question."""
        replies = self.link.ask(self.exchange)
        self.link.give([*replies, replies[-1]])

    def stray(self) -> None:
        """It is done; the answer to an earlier question comes first: the off-by-one of a cancelled command. An error if
        the fault has a text."""
        before = b"-%s\r\n" % self.fault.text.encode() if self.fault.text else ANOTHER
        self.link.give([before, *self.link.ask(self.exchange)])

    def reset(self) -> None:
        """It is not done; RST instead of FIN."""
        self.link.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise _Closed

    def error(self) -> None:
        """It is not done; Redis says why. A transaction is discarded, as Redis does it."""
        said = b"-%s\r\n" % self.fault.text.encode()
        if len(self.exchange) == 1:
            self.link.give([said])
            return
        queued = [b"+OK\r\n", *[b"+QUEUED\r\n"] * (len(self.exchange) - 2)]
        queued[self.hit] = said
        self.link.give([*queued, b"-EXECABORT Transaction discarded because of previous errors.\r\n"])


FAULTS: Mapping[str, Callable[[_Broken], None]] = {
    each.__name__: each
    for each in (
        *(_Broken.drop, _Broken.lose, _Broken.twice, _Broken.delay, _Broken.stall, _Broken.half, _Broken.garbage),
        *(_Broken.another, _Broken.swapped, _Broken.doubled, _Broken.stray, _Broken.reset, _Broken.error),
    )
}


# -- the proxy ---------------------------------------------------------------------------------------------------------


class FaultyRedis:
    """The proxy, on a port of its own, for clients on this machine. Rules may be added at any time."""

    def __init__(self, port: int, *rules: Rule) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._rules = list(rules)
        self._deciding = threading.Lock()
        self._links: list[_Link] = []
        self._passed: list[tuple[Command, ...]] = []
        self.closing = threading.Event()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def injected(self) -> int:
        """How many exchanges were broken, by all rules together."""
        return sum(rule.injected for rule in self._rules)

    def exchanges(self, *about: bytes) -> list[tuple[Command, ...]]:
        """Those so far, in their order, that name one of these, such as a recording's id and its file; or all."""
        with self._deciding:
            passed = list(self._passed)
        if not about:
            return passed
        return [each for each in passed if any(name in word for name in about for c in each for word in c.words)]

    def add(self, rule: Rule) -> Rule:
        """From now on; earlier rules come first."""
        with self._deciding:
            self._rules.append(rule)
        return rule

    def clear(self) -> None:
        """Break nothing any more."""
        with self._deciding:
            self._rules.clear()

    def cut(self) -> None:
        """Close every connection in the middle of whatever it does."""
        links, self._links = self._links, []
        for link in links:
            link.close()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def broken_by(self, exchange: tuple[Command, ...]) -> tuple[Fault, int] | None:
        """The fault of the first rule that takes the exchange, and the place of the command that it meant."""
        with self._deciding:
            self._passed.append(exchange)
            rule = next((rule for rule in self._rules if rule.takes(exchange)), None)
        return None if rule is None else (rule.fault, rule.hit(exchange) or 0)

    def _accept(self) -> None:
        while not self.closing.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                continue
            link = _Link(self, client, self._target)
            self._links.append(link)
            threading.Thread(target=link.run, daemon=True).start()


class _Link:
    """One client's connection: its exchanges, one after the other."""

    def __init__(self, proxy: FaultyRedis, client: socket.socket, target: int) -> None:
        self._proxy = proxy
        self._target = target
        self._server: socket.socket | None = None
        self._asked = bytearray()
        self._answered = bytearray()
        self.client = client
        self.closing = proxy.closing

    def run(self) -> None:
        with suppress(OSError, _Closed, Malformed):
            self.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if found := self._proxy.broken_by((Command((CONNECT.encode(),)),)):
                self._greet(found[0])
            self._server = socket.create_connection(("127.0.0.1", self._target))
            self._server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                self._pass_on(self._next_exchange())
        self.close()

    def close(self) -> None:
        for end in (self.client, self._server):
            if end is not None:
                with suppress(OSError):
                    if not self._is_to_be_reset(end):
                        end.shutdown(socket.SHUT_RDWR)
                end.close()

    @staticmethod
    def _is_to_be_reset(end: socket.socket) -> bool:
        return struct.unpack("ii", end.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)) == (1, 0)

    def _greet(self, fault: Fault) -> None:
        """A connection that is broken before it is one: only faults that need no server make sense."""
        broken = _Broken(self, (Command((CONNECT.encode(),)),), 0, fault)
        if fault.name == "stall":
            self.wait_until_the_client_goes()
        if fault.name == "delay":
            self.closing.wait(fault.seconds)
            return
        FAULTS[fault.name](broken)
        raise _Closed

    def _pass_on(self, exchange: tuple[Command, ...]) -> None:
        found = self._proxy.broken_by(exchange)
        if found is None:
            self.give(self.ask(exchange))
        else:
            FAULTS[found[0].name](_Broken(self, exchange, found[1], found[0]))

    def _next_exchange(self) -> tuple[Command, ...]:
        first = self._next_command()
        if first.name != "MULTI":
            return (first,)
        exchange = [first]
        while exchange[-1].name not in ("EXEC", "DISCARD"):
            exchange.append(self._next_command())
        return tuple(exchange)

    def _next_command(self) -> Command:
        while (command := first_command(self._asked)) is None:
            self._asked += self._received(self.client)
        del self._asked[: len(command.raw)]
        return command

    def ask(self, exchange: tuple[Command, ...]) -> list[bytes]:
        """Have it done; every reply."""
        assert self._server is not None
        self._server.sendall(b"".join(command.raw for command in exchange))
        return [self._next_reply(self._server) for _ in exchange]

    def _next_reply(self, server: socket.socket) -> bytes:
        while (reply := first_reply(self._answered)) is None:
            self._answered += self._received(server)
        del self._answered[: len(reply)]
        return reply

    def give(self, replies: list[bytes]) -> None:
        self.client.sendall(b"".join(replies))

    def wait_until_the_client_goes(self) -> None:
        while True:
            self._received(self.client)

    @staticmethod
    def _received(end: socket.socket) -> bytes:
        data = end.recv(262_144)
        if not data:
            raise _Closed
        return data
