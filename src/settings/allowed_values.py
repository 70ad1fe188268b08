"""The settings' types and their validators. A validator raises the end of a sentence: "… must be ⟨this⟩"."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from ..domain import prefix_problem
from .addresses import http_url, redis_url

_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)*\.?")
_DURATION = re.compile(r"\d{1,5}[mhd]", re.ASCII | re.IGNORECASE)


def level(value: object) -> object:
    upper = str(value).upper()
    return "WARNING" if upper == "WARN" else upper


def _lower(value: object) -> object:
    return str(value).lower()


def _globs(value: object) -> object:
    """Text that is not a list of patterns was refused before."""
    return tuple(json.loads(value)) if isinstance(value, str) else value


def _folder(path: Path) -> Path:
    if os.path.exists(path) and not os.path.isdir(path):
        raise ValueError("a folder; this path is not one")
    return path


def _duration(text: str) -> str:
    if text.lower() != "off" and not _DURATION.fullmatch(text):
        raise ValueError("a duration such as 7d, 36h or 90m, or off")
    if text.lower() != "off" and seconds_of(text) < 3600:
        raise ValueError("at least 1h, or off")
    return text


def _seconds_or_off(text: str) -> str:
    number = re.fullmatch(r"\d{1,5}(\.\d{1,3})?", text, re.ASCII)
    if text.lower() != "off" and not (number and 0.1 <= float(text) <= 86_400):
        raise ValueError("a number of seconds from 0.1 to 86400, or off")
    return text


def seconds_of(duration: str) -> float:
    """Seconds in a duration such as 7d, 36h or 90m."""
    return float(duration[:-1]) * {"m": 60, "h": 3600, "d": 86_400}[duration[-1].lower()]


def _bucket(name: str) -> str:
    legal = all(c.isascii() and (c.isalnum() or c in "._-") for c in name)
    if not legal or not 3 <= len(name) <= 63 or not name[0].isalnum():
        raise ValueError("3 to 63 letters, digits, dots, hyphens or underscores, the first a letter or a digit")
    return name


def _key_prefix(prefix: str) -> str:
    problem = prefix_problem(prefix) if prefix else None
    if problem:
        raise ValueError(f"a prefix such as cam-7/; this one {problem}")
    return prefix


def _off_or_a_second(seconds: float) -> float:
    if 0 < seconds < 1:
        raise ValueError("0, or a number from 1 to 3600")
    return seconds


def _plain_name(text: str) -> str:
    if not text.isprintable() or any(c.isspace() or c in "/@" for c in text):
        raise ValueError("a host name or an IP address, such as 127.0.0.1")
    return text


def _host_names(value: object) -> object:
    if not isinstance(value, str):
        return value
    names = tuple(name for name in re.split(r"[\s,]+", value) if name)
    if not names or not all(_HOST_NAME.fullmatch(name) for name in names):
        raise ValueError("host names separated by commas, such as recorder.example.com, without scheme, port or path")
    return names


#: Upper and lower case are equal.
LOWER = BeforeValidator(_lower)
OnOff = Annotated[Literal["auto", "on", "off"], LOWER]
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(level)]
Patterns = Annotated[tuple[str, ...], BeforeValidator(_globs)]
Seconds = Annotated[float, Field(allow_inf_nan=False)]
ZeroOrASecond = Annotated[Seconds, AfterValidator(_off_or_a_second)]
SecondsOrOff = Annotated[str, AfterValidator(_seconds_or_off)]
Duration = Annotated[str, AfterValidator(_duration)]
Folder = Annotated[Path, AfterValidator(_folder)]
Host = Annotated[str, AfterValidator(_plain_name)]
HostNames = Annotated[tuple[str, ...], BeforeValidator(_host_names)]
BucketName = Annotated[str, AfterValidator(_bucket)]
KeyPrefix = Annotated[str, AfterValidator(_key_prefix)]
HttpUrl = Annotated[str, AfterValidator(http_url)]
RedisUrl = Annotated[str, AfterValidator(redis_url)]
