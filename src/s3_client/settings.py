"""How to reach the store, and its features, as far as settings and addresses determine them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

from ..domain import PROBE_KEY
from .credentials import KeySettings

_AMAZON_PARTS = 10_000  # also the limit of Cloudflare R2
_SCALEWAY_PARTS = 1_000


class Choice(StrEnum):
    """A feature of the store, as set by the operator."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """How to reach the bucket. ``store_from_settings`` builds it from the settings in ``config``."""

    bucket: str
    endpoint_url: str | None = None
    keys: KeySettings = field(default_factory=KeySettings)
    region: str | None = None
    key_prefix: str = ""
    addressing_style: str = "auto"
    checksum: Choice = Choice.AUTO
    conditional_writes: Choice = Choice.AUTO
    part_copy: Choice = Choice.AUTO
    equal_parts: Choice = Choice.AUTO
    payload_signing: Choice = Choice.AUTO
    max_parts: int | None = None
    connections: int = 32

    @property
    def probe_key(self) -> str:
        """The key at which the probe tests the store's features."""
        return f"{self.key_prefix}{PROBE_KEY}"

    @property
    def is_aws(self) -> bool:
        """Whether this is Amazon's own S3, whose features need no probe."""
        host = urlsplit(self.endpoint_url or "").hostname
        return host is None or host.endswith((".amazonaws.com", ".amazonaws.com.cn"))

    @property
    def wants_equal_parts(self) -> bool:
        """Whether all parts but the last must have one size (Cloudflare R2, recognised by its endpoint)."""
        if self.equal_parts is not Choice.AUTO:
            return self.equal_parts is Choice.ON
        return (urlsplit(self.endpoint_url or "").hostname or "").endswith(".r2.cloudflarestorage.com")

    @property
    def most_parts(self) -> int:
        """Maximum number of parts per upload: as set, as known for the address (Scaleway), or Amazon's limit."""
        if self.max_parts is not None:
            return self.max_parts
        host = urlsplit(self.endpoint_url or "").hostname or ""
        return _SCALEWAY_PARTS if host.endswith(".scw.cloud") else _AMAZON_PARTS

    @property
    def signs_payloads(self) -> bool:
        """Off with TLS and on loopback, where our checksum protects the data; on with plain HTTP elsewhere."""
        if self.payload_signing is not Choice.AUTO:
            return self.payload_signing is Choice.ON
        url = urlsplit(self.endpoint_url or "https://")
        return url.scheme != "https" and url.hostname not in ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Abilities:
    """The store's optional features. ``checksum``: it verifies CRC64NVME of parts and whole objects.

    The conditions are those of a completion; a store may support them there and not for PutObject. ``checksum_mode``: a
    HEAD may request the checksum. ``copy_checksum``: a copied range has its own checksum in an upload with checksums;
    ``copies_without_checksums``: it has none or a wrong one there, and its MD5 as ETag in an upload without.
    """

    checksum: bool
    if_none_match: bool
    if_match: bool
    object_size: bool
    part_copy: bool
    put_if_none_match: bool = True
    put_if_match: bool = True
    checksum_mode: bool = True
    copy_checksum: bool = True
    copies_without_checksums: bool = False


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Maximum seconds of a call: a fixed time, plus a time that depends on the size of its body. A body of which no
    byte is accepted for the fixed time counts as hanging.

    ``slowest`` is the assumed speed in bytes per second if none was measured; ``patience`` is how many times slower
    than measured a part may be before it counts as hanging.
    """

    call: float = 30.0
    completion: float = 900.0
    slowest: float = 64 * 1024
    patience: float = 10.0

    def for_body(self, size: int, measured: float | None, patience: float = 1.0) -> float:
        """The deadline of a request with ``size`` bytes, at the measured speed in bytes per second; multiplied by
        ``patience`` if the last one was too short."""
        expected = size / max(self.slowest, (measured or 0.0) / self.patience / patience)
        return max(2 * self.call, self.call + expected)


def addressing(settings: StoreSettings) -> str:
    """Stores other than Amazon's use path-style addressing: few have a DNS name for each bucket."""
    if settings.addressing_style != "auto":
        return settings.addressing_style
    return "auto" if settings.is_aws else "path"
