"""The credentials for the store: from the settings, from files, or from the AWS chain; read again when refused.

A rotated secret, an expired token, or a role that the machine gets only after the daemon's start needs no restart.
Refused credentials are dropped, and the next request reads the source again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiobotocore.credentials import AioCredentials
from aiobotocore.session import get_session
from botocore.exceptions import NoCredentialsError

#: The AWS chain may query another machine; fifty streams that are refused at once count as one refusal.
_SHORTEST_LIFE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class KeySettings:
    """The source of the key pair: each half as a value or from a file. Neither: the AWS chain."""

    access_key_id: str | None = None
    secret_access_key: str | None = None
    access_key_id_file: Path | None = None
    secret_access_key_file: Path | None = None

    @property
    def are_given(self) -> bool:
        """Whether the settings define any."""
        return any((self.access_key_id, self.secret_access_key, self.access_key_id_file, self.secret_access_key_file))


class RenewableCredentials(AioCredentials):  # type: ignore[misc]  # botocore has no types
    """Credentials as botocore requests them for each request. ``on_secret`` receives each secret before it is used."""

    def __init__(self, keys: KeySettings, *, on_secret: Callable[[str], None] = lambda _: None) -> None:
        super().__init__("", "")
        self._source: Callable[[], Awaitable[Any]] = _FromSettings(keys) if keys.are_given else _from_chain
        self._on_secret = on_secret
        self._asking = asyncio.Lock()
        self._current: Any = None
        self._asked_at = 0.0

    async def get_frozen_credentials(self) -> Any:
        """Keys and token for one request. Raises ``NoCredentialsError`` if there are none."""
        async with self._asking:
            if self._current is None:
                self._current = await self._source()
                self._asked_at = time.monotonic()
            if self._current is None:
                raise NoCredentialsError
            frozen = await self._current.get_frozen_credentials()
        for secret in filter(None, (frozen.secret_key, frozen.token)):
            self._on_secret(secret)
        return frozen

    def refused(self) -> None:
        """The store refuses them, or there are none: read the source again, but not too often."""
        if time.monotonic() - self._asked_at >= _SHORTEST_LIFE_SECONDS:
            self._current = None


class _FromSettings:
    def __init__(self, keys: KeySettings) -> None:
        self._keys = keys

    async def __call__(self) -> Any:
        return await asyncio.to_thread(self._read)

    def _read(self) -> Any:
        keys = self._keys
        try:
            key_id = keys.access_key_id or _content(keys.access_key_id_file)
            secret = keys.secret_access_key or _content(keys.secret_access_key_file)
        except (OSError, UnicodeDecodeError):
            return None  # being replaced, or unmounted: treated as missing
        return AioCredentials(key_id, secret) if key_id and secret else None


async def _from_chain() -> Any:
    """A new session each time: an old one caches that there was nothing."""
    return await get_session().get_credentials()


def _content(path: Path | None) -> str:
    return "" if path is None else path.read_text(encoding="utf-8").strip()
