"""Turns events into log lines: each event is exactly one line, without secrets.

All logging, by structlog or by the standard library, goes to standard output in the same way: human-readable in
development, one JSON object per line in production. Secrets are masked, and characters that could break a line or
control a terminal are escaped, so that a file's name can do neither.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TextIO
from urllib.parse import quote

# structlog imports rich if it can, to show tracebacks with local variables. The daemon does without: rich is there for
# the commands, makes the start slower, and those variables may be secrets.
_has_rich = sys.modules.setdefault("rich", None) is not None  # type: ignore[arg-type]

import structlog  # noqa: E402
from structlog.typing import EventDict, Processor, WrappedLogger  # noqa: E402

if not _has_rich:
    del sys.modules["rich"]

MASK = "***"
#: The fields that come first, in this order; the others follow in the given order.
_FIRST = ("timestamp", "level", "logger_name", "event", "stream_id", "file_path")
_TEXTS = {"exception", "stack"}

_TELLTALE = r"secret|passw|token|authorization|credential|signature|api_?key|private_?key"
_SECRET_KEY = re.compile(_TELLTALE, re.IGNORECASE)
# Every repetition before the telltale part is bounded: a text of one long word must not block the event loop.
_NAMED_SECRET = re.compile(
    rf"""((?:{_TELLTALE})[\w-]{{0,64}}["']?\s{{0,8}}[=:]\s{{0,8}}["']?)(?:(?:basic|bearer)\s+)?[^\s"'&,;{{}}()]+""",
    re.IGNORECASE,
)
_USER_INFO = re.compile(r"""([a-z][a-z0-9+.-]{0,20}://)[^\s/?#"'<>]*@""", re.IGNORECASE)
#: Shorter secrets are only masked as whole words: "a" would make every line unreadable.
_LONG_ENOUGH = 6
_DEEPEST = 6
#: Maximum number of secrets and tokens learnt at run time; the oldest is dropped.
_LEARNT_AT_MOST = 16

#: Control characters, line separators, marks that change the text direction, and bytes that are not UTF-8.
_UNSAFE_BUT_ASCII = r"\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
_UNSAFE_IN_JSON = re.compile(f"[{_UNSAFE_BUT_ASCII}]")
_UNSAFE_ON_CONSOLE = re.compile(f"[\x00-\x1f{_UNSAFE_BUT_ASCII}]")


def configure_logging(app_env: str, level: str, secrets: Sequence[str] = (), *, stream: TextIO | None = None) -> None:
    """Send every log line to ``stream`` (standard output); a second call replaces the first.

    ``app_env`` is development or production, ``level`` the minimum level of the project's own lines; for libraries it
    is WARNING. ``secrets`` are texts that must never appear.
    """
    global _current
    _current = Redactor(secrets)
    stream = sys.stdout if stream is None else stream
    arriving: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        _add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    leaving: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _current,
        _in_order,
        *(_json_lines(stream) if app_env == "production" else _console_lines(stream)),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *arriving,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    _install(_Lines(stream, structlog.stdlib.ProcessorFormatter(processors=leaving, foreign_pre_chain=arriving)), level)


def mask(secret: str) -> None:
    """Mask ``secret`` in all lines from now on."""
    _current.learn(secret)


def masked(text: str) -> str:
    """The text without the secrets that are known now; for what is shown elsewhere than in the log."""
    return _current.text(text)


def _install(handler: logging.Handler, level: str) -> None:
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _Lines)]:
        root.removeHandler(old)
    root.addHandler(handler)
    own_level: int = getattr(logging, level)
    root.setLevel(max(logging.WARNING, own_level))
    logging.getLogger(__name__.partition(".")[0]).setLevel(own_level)


class _Lines(logging.StreamHandler[TextIO]):
    """Writes lines; characters that the stream cannot encode are escaped, and an error with one line affects no
    other."""

    def __init__(self, stream: TextIO, formatter: logging.Formatter) -> None:
        super().__init__(stream)
        self.setFormatter(formatter)

    def format(self, record: logging.LogRecord) -> str:
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        return super().format(record).encode(encoding, "backslashreplace").decode(encoding)

    def handleError(self, record: logging.LogRecord) -> None:
        """Report that a line was lost. The standard library would print its arguments, including secrets."""
        lost = {
            "timestamp": datetime.now(UTC).isoformat(),
            "level": "error",
            "logger_name": record.name,
            "event": "log_line_lost",
            "error_type": type(sys.exc_info()[1]).__name__,
        }
        with contextlib.suppress(OSError, ValueError):  # the reader is gone: there is nowhere left to report it
            self.stream.write(json.dumps(lost) + "\n")
            self.flush()


def _add_logger_name(logger: logging.Logger, _: str, event: EventDict) -> EventDict:
    record: logging.LogRecord | None = event.get("_record")
    event["logger_name"] = logger.name if record is None else record.name
    return event


def _in_order(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {**{name: event[name] for name in _FIRST if name in event}, **event}


def _json_lines(stream: TextIO) -> Iterable[Processor]:
    def safe(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        escaped: EventDict = _changed(event, _escape_for_json, _nothing_hidden)
        return escaped

    in_utf8 = (getattr(stream, "encoding", None) or "").lower().replace("-", "") == "utf8"
    return safe, structlog.processors.JSONRenderer(ensure_ascii=not in_utf8)


def _nothing_hidden(_: str) -> bool:
    return False


def _escape_for_json(text: str) -> str:
    return _UNSAFE_IN_JSON.sub(_escaped, text)


def _console_lines(stream: TextIO) -> Iterable[Processor]:
    """Values are shown in Python notation, which escapes them; names, the event and tracebacks are not.

    A traceback's lines are indented, so that no line inside an error's text looks like a line of the log.
    """

    def safe(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        shown = {_escape_for_console(name): value for name, value in event.items()}
        shown["event"] = _escape_for_console(str(event["event"]))
        for name in _TEXTS & event.keys():
            shown[name] = "\n".join(f"    {_escape_for_console(line)}" for line in str(event[name]).split("\n"))
        return shown

    colors = stream.isatty()
    return safe, structlog.dev.ConsoleRenderer(
        colors=colors,
        repr_native_str=True,
        sort_keys=False,
        exception_formatter=structlog.dev.plain_traceback,  # it is text already
    )


def _escape_for_console(text: str) -> str:
    return _UNSAFE_ON_CONSOLE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match.group())
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a name that is not UTF-8, as returned by os.fsdecode
        return f"\\x{code - 0xDC00:02x}"
    return match.group().encode("unicode_escape").decode()


class Redactor:
    """Masks secrets in an event: by the name of a field, by their form in a text, and known secrets."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._learnt: deque[tuple[str, ...]] = deque(maxlen=_LEARNT_AT_MOST)
        known = sorted({form for secret in filter(None, secrets) for form in _forms(secret)}, key=len, reverse=True)
        patterns = [
            re.escape(text) if len(text) >= _LONG_ENOUGH else rf"(?<!\w){re.escape(text)}(?!\w)" for text in known
        ]
        self._known = re.compile("|".join(patterns)) if patterns else None

    def learn(self, secret: str) -> None:
        """One more text that must never appear; the newest of those learnt are remembered."""
        if all(secret not in forms for forms in self._learnt):
            self._learnt.append(tuple(_forms(secret)))

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        masked: EventDict = _changed(event, self.text, _names_a_secret)
        return masked

    def text(self, text: str) -> str:
        """The text without secrets."""
        if self._known is not None:
            text = self._known.sub(MASK, text)
        for forms in self._learnt:
            for form in forms:
                text = text.replace(form, MASK)
        # Without these characters neither can match; to search for them costs a tenth.
        if "@" in text:
            text = _USER_INFO.sub(rf"\1{MASK}@", text)
        return _NAMED_SECRET.sub(rf"\1{MASK}", text) if "=" in text or ":" in text else text


_current = Redactor(())


def _forms(secret: str) -> set[str]:
    """The forms of a secret in a URL, in JSON and in Python notation."""
    return {secret, quote(secret, safe=""), quote(secret), json.dumps(secret)[1:-1], repr(secret)[1:-1]}


@lru_cache(maxsize=1024)  # the names of fields are few
def _names_a_secret(name: str) -> bool:
    return _SECRET_KEY.search(name) is not None


def _changed(
    value: Any, text: Callable[[str], str], hidden: Callable[[str], bool], name: str = "", depth: int = 0
) -> Any:
    """The same value with every text in it changed and secret names masked; types that JSON lacks become text."""
    if value is None or isinstance(value, bool):
        return value
    if hidden(name):
        return MASK
    if isinstance(value, str):
        return text(str(value))
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if depth < _DEEPEST and isinstance(value, Mapping):
        return {text(str(key)): _changed(each, text, hidden, str(key), depth + 1) for key, each in value.items()}
    if depth < _DEEPEST and isinstance(value, list | tuple | set | frozenset):
        return [_changed(each, text, hidden, "", depth + 1) for each in value]
    return text(str(value))
