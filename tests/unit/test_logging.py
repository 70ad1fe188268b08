"""Log lines: one event is one line, in both shapes, and a secret is in none of them."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from src.logging_config import MASK, Redactor, configure_logging
from tests.corpus.names import RECORDINGS, Odd
from tests.harness.findings import each

SECRET = 'CANARY "söcret\\' + "/+=key"


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("src")
    before = list(root.handlers), root.level, ours.level
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])
    structlog.reset_defaults()


class Terminal(io.TextIOWrapper):
    """A text stream over bytes with an encoding of its own."""

    def __init__(self, encoding: str, *, tty: bool = False) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, errors="strict", newline="")
        self._tty = tty

    def isatty(self) -> bool:
        return self._tty

    def text(self) -> str:
        self.flush()
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode(self.encoding)


def logger(name: str = "src.watcher") -> structlog.stdlib.BoundLogger:
    found: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return found


def production(level: str = "INFO", secrets: tuple[str, ...] = (), encoding: str = "utf-8") -> Terminal:
    stream = Terminal(encoding)
    configure_logging("production", level, secrets, stream=stream)
    return stream


def development(secrets: tuple[str, ...] = (), encoding: str = "utf-8", *, tty: bool = False) -> Terminal:
    stream = Terminal(encoding, tty=tty)
    configure_logging("development", "DEBUG", secrets, stream=stream)
    return stream


def objects(stream: Terminal) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.text().splitlines()]


# ---- shape ----


def test_in_production_every_event_is_one_json_object_with_the_promised_fields() -> None:
    stream = production()
    with structlog.contextvars.bound_contextvars(stream_id="s1", file_path="cam/a.mp4"):
        logger().info("part_stored", number=3, size=5, ratio=0.5, left=None)
    (line,) = objects(stream)
    assert list(line)[:6] == ["timestamp", "level", "logger_name", "event", "stream_id", "file_path"]
    assert line | {"timestamp": ""} == {
        "timestamp": "",
        "level": "info",
        "logger_name": "src.watcher",
        "event": "part_stored",
        "stream_id": "s1",
        "file_path": "cam/a.mp4",
        "number": 3,
        "size": 5,
        "ratio": 0.5,
        "left": None,
    }
    assert datetime.fromisoformat(line["timestamp"]).utcoffset() == timedelta(0)


def test_the_standard_librarys_loggers_take_the_same_road() -> None:
    stream = production(secrets=(SECRET,))
    with structlog.contextvars.bound_contextvars(stream_id="s1"):
        logging.getLogger("redis.connection").error("cannot log in with %s", SECRET)
    (line,) = objects(stream)
    assert (line["event"], line["level"]) == (f"cannot log in with {MASK}", "error")
    assert (line["logger_name"], line["stream_id"]) == ("redis.connection", "s1")


def test_other_libraries_are_muted_below_warning_whatever_our_level() -> None:
    stream = production("DEBUG")
    for name in ("botocore.endpoint", "redis", "asyncio"):
        logging.getLogger(name).info("chatter")
        logging.getLogger(name).warning("trouble")
    logger().debug("ours")
    assert [line["event"] for line in objects(stream)] == ["trouble"] * 3 + ["ours"]


def test_the_level_holds_for_our_own_lines() -> None:
    stream = production("ERROR")
    logger().warning("not_now")
    logging.getLogger("redis").warning("nor this")
    logger().error("now")
    assert [line["event"] for line in objects(stream)] == ["now"]


def test_configuring_again_replaces_and_never_doubles() -> None:
    first, second = production(), production()
    logger().info("once")
    assert first.text() == ""
    assert len(objects(second)) == 1


def test_standard_output_is_where_lines_go(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("production", "INFO")
    logger().info("here")
    out, err = capsys.readouterr()
    assert json.loads(out)["event"] == "here"
    assert err == ""


def test_an_error_is_a_field_of_the_same_line() -> None:
    stream = production()
    try:
        raise OSError("disk\nfull")
    except OSError:
        logger().exception("read_failed")
    (line,) = objects(stream)
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("OSError: disk\nfull")


def test_values_that_json_does_not_know_become_text() -> None:
    stream = production()
    itself: dict[str, Any] = {}
    itself["again"] = itself
    logger().info("odd", path=Path("/a"), error=ValueError("bad"), nan=float("nan"), many={1}, deep=itself, raw=b"x")
    (line,) = objects(stream)
    assert (line["path"], line["error"], line["nan"], line["many"], line["raw"]) == ("/a", "bad", "nan", [1], "b'x'")


def test_in_development_lines_are_for_people() -> None:
    stream = development()
    logger().info("part_stored", number=3, file_path="my cam.mp4")
    (line,) = stream.text().splitlines()
    assert re.search(r"\[info +\] part_stored +\[src.watcher\] file_path='my cam.mp4' number=3", line)
    assert "\x1b" not in line


def test_colours_are_only_for_terminals() -> None:
    stream = development(tty=True)
    logger().info("part_stored")
    assert "\x1b[" in stream.text()


# ---- names of files ----

NASTY = "a\nlevel=error \x1b[31mb\x9b2J\u2028\u202egpj\udcff\ud800\x7f\r.mp4"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
@pytest.mark.parametrize("app_env", ["production", "development"])
def test_no_name_of_a_file_can_break_a_line_or_reach_the_terminal(app_env: str, encoding: str) -> None:
    stream = Terminal(encoding)
    configure_logging(app_env, "INFO", stream=stream)
    logger().info("file_skipped", file_path=NASTY, **{NASTY: {NASTY: [NASTY]}})
    logging.getLogger("watchfiles").warning("cannot read %s", NASTY)
    text = stream.text()
    assert text.endswith("\n")
    assert len(text.splitlines()) == 2
    assert all(c.isprintable() for line in text.split("\n") for c in line)
    if app_env == "production":
        for line in objects(stream):
            assert "\\xff" in json.dumps(line)


@each("name", RECORDINGS)
@pytest.mark.parametrize("told", [production, development])
def test_each_name_of_the_corpus_is_one_line_and_drives_no_terminal(told: Callable[[], Terminal], name: Odd) -> None:
    stream = told()
    logger().info("part_stored", file_path=os.fsdecode(name.path))
    line = stream.text().removesuffix("\n")
    assert len(line.splitlines()) == 1
    assert not any(unicodedata.category(c) in ("Cc", "Cs") or c in "\u202e\u2066\ufeff" for c in line)
    if told is production:
        assert [fields["event"] for fields in objects(stream)] == ["part_stored"]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_names_in_any_script_survive_in_json(encoding: str) -> None:
    stream = production(encoding=encoding)
    logger().info("found", file_path="відео 7 é.mp4\n")
    assert objects(stream)[0]["file_path"] == "відео 7 é.mp4\n"
    assert ("відео" in stream.text()) == (encoding == "utf-8")


def test_an_errors_text_cannot_pass_for_a_line_of_its_own() -> None:
    stream = development()
    try:
        raise OSError("x\n2025-01-01T00:00:00Z [info] forged\x1b[2J")
    except OSError:
        logger().exception("read_failed")
    first, *others = stream.text().splitlines()
    assert "read_failed" in first
    assert all(line.startswith("    ") for line in others)
    assert "\x1b" not in stream.text()


# ---- secrets ----


@pytest.mark.parametrize("app_env", ["production", "development"])
def test_a_known_secret_is_in_no_line_wherever_it_hides(app_env: str) -> None:
    stream = Terminal("utf-8")
    configure_logging(app_env, "DEBUG", (SECRET, "", "pw1"), stream=stream)
    log = logger()
    log.info("event " + SECRET, value=SECRET, listed=[SECRET, (SECRET,)], nested={"a": {"b": SECRET}, SECRET: 1})
    log.info("url", url="redis://:CANARY%20%22s%C3%B6cret%5C%2F%2B%3Dkey@host:6379/0", path=Path(SECRET))
    log.info("quoted", written=repr({"x": SECRET}), sent=json.dumps({"x": SECRET}))
    log.info("short", text="login pw1 refused, pw12 unharmed")
    logging.getLogger("botocore").error("headers: %r", {"x": SECRET})
    try:
        raise RuntimeError(f"refused: {SECRET}")
    except RuntimeError as error:
        log.exception("failed", error=error)
        logging.getLogger("asyncio").error("unhandled", exc_info=error)
    text = stream.text()
    assert "CANARY" not in text
    assert not re.search(r"s(ö|%C3%B6|\\+(u00|x)f6)cret", text)
    assert "pw12" in text
    assert "login *** refused" in text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("s3_secret_access_key", "CANARY"),
        ("password", "CANARY"),
        ("AWS_SESSION_TOKEN", ["CANARY"]),
        ("Authorization", {"scheme": "CANARY"}),
        ("x-amz-signature", b"CANARY"),
        ("headers", {"authorization": "CANARY", "inner": [{"api_key": "CANARY"}]}),
        ("url", "https://user:CANARY@host/path"),
        ("url", "redis://:CANARY@host:6379/0"),
        ("url", "https://b.s3.amazonaws.com/k?X-Amz-Credential=CANARY/x&X-Amz-Signature=CANARY&partNumber=1"),
        ("text", "Authorization: AWS4-HMAC-SHA256 Credential=CANARY/2025/s3, SignedHeaders=host, Signature=CANARY"),
        ("text", "Authorization: Bearer CANARY"),
        ("text", "connect(host='h', password='CANARY', db=0)"),
        ("text", '{"SecretAccessKey": "CANARY", "SessionToken": "CANARY"}'),
    ],
)
def test_what_looks_like_a_secret_is_masked_though_nobody_named_it(name: str, value: object) -> None:
    stream = production()
    logger().info("event", **{name: value})
    assert "CANARY" not in stream.text()
    assert MASK in stream.text()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("key", "cam/2025/a.mp4"),
        ("upload_id", "2~abc"),
        ("etag", "d41d8cd9"),
        ("url", "http://localhost:9000/bucket/key@2x.mp4"),
        ("text", "AUTH failed: WRONGPASS invalid username-password pair or user is disabled."),
        ("password", None),
        ("has_token", True),
        ("seconds", 1.5),
    ],
)
def test_what_is_no_secret_stays_readable(name: str, value: object) -> None:
    stream = production()
    logger().info("event", **{name: value})
    assert objects(stream)[0][name] == value


# ---- trouble while logging ----


@pytest.mark.timeout(60)  # where the time grows with the square of the length, these take hours
@pytest.mark.parametrize("word", ["a", "A1-", "secret", "token:", "x+y.z", "http://", "password "])
def test_a_long_text_is_masked_in_time_that_grows_with_its_length_alone(word: str) -> None:
    text = word * (200_000 // len(word))
    assert Redactor(["not in there"]).text(f"{text} secret=hunter2").endswith("secret=***")


def test_a_line_that_cannot_be_made_is_told_without_its_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    stream = production(secrets=(SECRET,))
    del logging.getLogger().handlers[:-1]  # those of pytest raise instead
    logging.getLogger("other").warning("%d parts", SECRET)
    logger().info("goes_on")
    lost, after = objects(stream)
    assert (lost["event"], lost["error_type"], lost["logger_name"]) == ("log_line_lost", "TypeError", "other")
    assert after["event"] == "goes_on"
    assert capsys.readouterr() == ("", "")


def test_nobody_reading_the_log_ends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    stream = production()
    stream.close()
    logger().info("into_the_void")
    assert capsys.readouterr() == ("", "")


def test_a_full_disk_under_the_log_ends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    full = open("/dev/full", "w")  # noqa: SIM115 - closing it fails, too
    configure_logging("production", "INFO", (), stream=full)
    logger().info("no_room_for_this")
    assert capsys.readouterr() == ("", "")
    with suppress(OSError):
        full.close()
