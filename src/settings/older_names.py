"""Older names of settings, which still work: the setting that each stands for, and the error if both are set."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from ..domain import MIB
from .allowed_values import level
from .complaints import shown, unusable
from .findings import Findings, Given
from .typed_values import shell_syntax

MEBIBYTES = ("CHUNK_SIZE_MB", "STREAM_CHUNK_SIZE_MB")
#: Older names, and the setting that replaces each.
OLD_NAMES = {
    **dict.fromkeys(MEBIBYTES, "CHUNK_SIZE_BYTES"),
    "PYTHON_LOG_LEVEL": "LOG_LEVEL",
    "REDIS_HOST": "REDIS_URL",
    "REDIS_PORT": "REDIS_URL",
    "REDIS_USERNAME": "REDIS_URL",
    "REDIS_PASSWORD": "REDIS_URL",
    "REDIS_DB": "REDIS_URL",
}
#: The rest of the Redis address; used only together with REDIS_HOST.
_OF_REDIS_HOST = ("REDIS_USERNAME", "REDIS_PASSWORD", "REDIS_DB")


def take_older_spellings(given: Mapping[str, str], found: Findings) -> None:
    """Translate each older name in ``given`` into its setting, or record a problem."""
    _take_old_log_level(given, found)
    _take_old_chunk_sizes(given, found)
    _take_old_redis_address(given, found)


def _take_old_log_level(given: Mapping[str, str], found: Findings) -> None:
    if text := given.get("PYTHON_LOG_LEVEL"):
        _take_old("log_level", Given("PYTHON_LOG_LEVEL", text, text), found, same=level)


def _take_old_chunk_sizes(given: Mapping[str, str], found: Findings) -> None:
    for name in MEBIBYTES:
        if not (text := given.get(name)):
            continue
        try:
            size = int(text) * MIB
        except ValueError:
            found.problems.append(f"{name} is {shown(text)}, but must be a whole number of mebibytes, such as 10.")
            continue
        _take_old("chunk_size_bytes", Given(name, text, size), found, same=_bytes)


def _bytes(size: object) -> object:
    try:
        return int(str(size))
    except ValueError:
        return size


def _take_old_redis_address(given: Mapping[str, str], found: Findings) -> None:
    """``REDIS_PORT`` alone is never a conflict: it often belongs to another program, and Kubernetes sets one itself."""
    host, port = given.get("REDIS_HOST"), given.get("REDIS_PORT", "")
    port = "" if port.startswith("tcp://") else port
    more = [name for name in _OF_REDIS_HOST if given.get(name)]
    if more and (not host or "redis_url" in found.given):
        why = "REDIS_URL is set" if "redis_url" in found.given else "REDIS_HOST is not set"
        found.notices.append(f"{' and '.join(more)} {'are' if more[1:] else 'is'} ignored, because {why}.")
        more = []
    if not host and (not port or "redis_url" in found.given):
        return
    if problems := list(_wrong_parts_of_redis(given, host, more)):
        found.problems += problems
        return
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        found.problems.append(f"REDIS_PORT is {shown(port)}, but must be a whole number from 1 to 65535.")
        return
    name = "REDIS_HOST" if host else "REDIS_PORT"
    host = host or "localhost"
    who = f"{quote(given.get('REDIS_USERNAME', ''), safe='')}:{quote(given.get('REDIS_PASSWORD', ''), safe='')}@"
    user_info = who if {"REDIS_USERNAME", "REDIS_PASSWORD"} & set(more) else ""
    database = int(given["REDIS_DB"]) if "REDIS_DB" in more else 0
    url = f"redis://{user_info}{f'[{host}]' if ':' in host else host}:{port or 6379}/{database}"
    _take_old("redis_url", Given(name, given[name], url), found, same=_host_and_port)


def _wrong_parts_of_redis(given: Mapping[str, str], host: str | None, more: list[str]) -> Iterator[str]:
    """A malformed host is never quoted: it may be a URL with a password."""
    if host and (slip := shell_syntax("REDIS_HOST", host, secret=True)):
        yield f"REDIS_HOST is set, but {slip}."
    elif host and any(c in host for c in "/@"):
        yield "REDIS_HOST is set, but it is a URL: write it into REDIS_URL."
    elif host and re.fullmatch(r"[^:]+:\d*", host):
        yield "REDIS_HOST is set, but it contains a port: write the host alone, and the port into REDIS_PORT."
    elif host and not re.fullmatch(r"[\w.-]+|[0-9A-Fa-f:.]+(%\w+)?", host):
        yield "REDIS_HOST is set, but must be a host name or an IP address, such as 127.0.0.1."
    for name in more:
        if problem := unusable(Given(name, given[name], given[name])):
            yield problem
        elif slip := shell_syntax(name, given[name], secret=True):
            yield f"{name} is set, but {slip}."
        elif name == "REDIS_DB" and not (given[name].isascii() and given[name].isdigit()):
            yield "REDIS_DB is set, but must be a whole number, such as 0."


def _host_and_port(url: object) -> object:
    try:
        parts = urlsplit(str(url))
        return parts.hostname or "localhost", parts.port or 6379
    except ValueError:
        return url


def _take_old(attribute: str, old: Given, found: Findings, *, same: Any) -> None:
    """Use the value of the older name. If the setting has a value already, both must be equal."""
    name = attribute.upper()
    found.notices.append(f"{old.name} is an older name of {name}; it still works.")
    present = found.given.get(attribute)
    if present is None:
        found.given[attribute] = old
    elif same(present.value) != same(old.value):
        found.problems.append(f"{present.name} and its older name {old.name} differ; keep only {name}.")
