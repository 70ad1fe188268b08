"""Translates redis-py's errors into ours, by what the caller should do, with a hint about what to change."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping

from redis.exceptions import (
    AuthenticationError,
    InvalidResponse,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ..exceptions import Permanent, RedisOperationError, RedisUnavailable
from ..retry import ErrorClass


class RedisRejected(RedisOperationError, Permanent):
    """Redis understood the command and will never accept it. ``code`` is the first word of its reply."""

    def __init__(self, message: str, *, operation: str = "", hint: str = "", code: str = "") -> None:
        super().__init__(message, operation=operation, hint=hint)
        self.code = code


_AUTHENTICATION = (
    True,
    "check the user name and the password in REDIS_URL, or, with REDIS_HOST, REDIS_USERNAME and REDIS_PASSWORD",
)
_HINTS: Mapping[str, tuple[bool, str]] = {  # error code of Redis: (whether a change is required, hint)
    "NOAUTH": (
        True,
        "Redis requires a password, and REDIS_URL has none: write redis://:password@host:6379/0, or set "
        "REDIS_PASSWORD if you use REDIS_HOST",
    ),
    "WRONGPASS": _AUTHENTICATION,
    "NOPERM": (
        True,
        "give the Redis user of REDIS_URL the rights to read and write the keys that begin with REDIS_KEY_PREFIX",
    ),
    "DENIED": (
        True,
        "this Redis is in protected mode and accepts only local connections: set a password there (requirepass) and "
        "write it into REDIS_URL, or start it with --protected-mode no in a network that you trust",
    ),
    "MOVED": (True, "REDIS_URL points to a Redis Cluster, which is not supported: use a single Redis server"),
    "ASK": (True, "REDIS_URL points to a Redis Cluster, which is not supported: use a single Redis server"),
    "CROSSSLOT": (True, "REDIS_URL points to a Redis Cluster, which is not supported: use a single Redis server"),
    "READONLY": (False, "this Redis is a read-only replica: set REDIS_URL to the primary"),
    "OOM": (
        False,
        "Redis is out of memory: raise its maxmemory or delete other data (and keep maxmemory-policy noeviction)",
    ),
    "MISCONF": (False, "Redis cannot write to its disk: check its log and free disk space"),
    "BUSY": (False, "a script blocks Redis: stop it with SCRIPT KILL"),
    "LOADING": (False, "Redis is still loading its data from disk"),
    "MASTERDOWN": (False, "this Redis is a replica that lost its primary: set REDIS_URL to the primary"),
    "CLUSTERDOWN": (False, ""),
    "TRYAGAIN": (False, ""),
}
_NO_DATABASE = (True, "this Redis does not have the database number at the end of REDIS_URL")
_NO_REDIS = (True, "the server at REDIS_URL is not a Redis: check host and port")
_UNKNOWN_HOST = (
    False,
    "the host name in REDIS_URL cannot be resolved; the Redis of docker compose is redis://redis:6379/0 inside its "
    "containers and redis://localhost:6379/0 on the host",
)
_AWAY = (False, "check that Redis is running and that REDIS_URL is correct")
#: What redis-py raises if a reply has another shape than expected.
UNREADABLE_ANSWER = (TypeError, ValueError, LookupError, AttributeError)
_MISLED = (
    False,
    "no action is needed unless it repeats; then check proxies and load balancers between the daemon and Redis",
)


_IN_SCRIPT = re.compile(r"@user_script: ?\d+: -?([A-Z]{2,}\b.*)", re.DOTALL)
_DENIED_IN_SCRIPT = re.compile("user executing the script can't|ACL failure in script")
_SCRIPTS = (
    True,
    "the daemon writes to Redis with Lua scripts: grant +@scripting (EVALSHA and EVAL) to the Redis user of REDIS_URL",
)


def taken(operation: str, owner: object) -> RedisUnavailable:
    """The record has another owner. Waited out: nothing of it may be changed, and nothing is lost."""
    name = owner.decode(errors="replace") if isinstance(owner, bytes) else "another process"
    return RedisUnavailable(
        f"redis.{operation}: the record belongs to {name}",
        operation=f"redis.{operation}",
        hint="another release of the daemon uses the same REDIS_URL and REDIS_KEY_PREFIX: stop one of the two",
        misconfigured=True,
    )


def translate(exc: Exception, *, operation: str) -> RedisOperationError:
    """Translate redis-py's error. The message contains Redis's own words, never a password (it never contains the
    URL)."""
    code, text = said(exc)
    found = _trouble(exc, code, text)
    if found is None:
        return RedisRejected(f"{operation}: {text}", operation=operation, code=code)
    misconfigured, hint = found
    return RedisUnavailable(f"{operation}: {text}", operation=operation, hint=hint, misconfigured=misconfigured)


def said(exc: BaseException) -> tuple[str, str]:
    """Redis's error code and message, without the command that redis-py prepends in a transaction."""
    text = str(exc) or type(exc).__name__
    if " of pipeline caused error: (" in text:
        text = text.partition(" of pipeline caused error: (")[2].strip("(),'\"")
    if inside := _IN_SCRIPT.search(text):  # before Redis 7 an error in a script is reported as one of the script
        text = inside[1]
    word = re.match(r"[A-Z]{2,}\b", text)
    code = getattr(exc, "status_code", None) or (word.group() if word else "")
    if code in ("ERR", "") and _DENIED_IN_SCRIPT.search(text):
        code = "NOPERM"
    return code, text


def _trouble(exc: Exception, code: str, text: str) -> tuple[bool, str] | None:
    if code in ("NOPERM", "ERR") and re.search(r"(?i)(unknown command|no permissions to run the) .?eval", text):
        return _SCRIPTS
    if code in _HINTS:
        return _HINTS[code]
    if isinstance(exc, AuthenticationError):
        return _AUTHENTICATION
    if isinstance(exc, InvalidResponse):
        return _NO_REDIS
    if isinstance(exc, RedisConnectionError | RedisTimeoutError | OSError):
        return _UNKNOWN_HOST if _does_not_resolve(exc) else _AWAY
    if "DB index" in text:
        return _NO_DATABASE
    if isinstance(exc, ResponseError) and not code:  # redis-py's own message: the replies do not fit the commands
        return _MISLED
    # All other error codes are about the state of Redis (NOREPLICAS, DENIED, …); these two are about the command.
    return (
        None
        if code in ("ERR", "WRONGTYPE", "")
        else (True, "see the error message from Redis, and fix the cause there")
    )


def _does_not_resolve(exc: BaseException) -> bool:
    """Whether the host name did not resolve; redis-py shows this by the exception that it was handling."""
    found: BaseException | None = exc
    while found is not None and not isinstance(found, socket.gaierror):
        found = found.__cause__ or found.__context__
    return found is not None


def error_class(exc: BaseException) -> ErrorClass:
    """The error class for the metrics."""
    text = said(exc)
    if text[0] in ("NOAUTH", "WRONGPASS", "NOPERM") or isinstance(exc, AuthenticationError):
        return ErrorClass.DENIED
    if text[0] in _HINTS:
        return ErrorClass.SERVER
    if isinstance(exc, RedisTimeoutError | TimeoutError):
        return ErrorClass.TIMEOUT
    if isinstance(exc, RedisConnectionError | OSError):
        return ErrorClass.CONNECTION
    return ErrorClass.NOT_FOUND if "no such key" in text[1] else ErrorClass.OTHER
