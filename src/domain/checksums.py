"""Checksums in the forms in which S3 writes them.

CRC64NVME is an unsigned integer of 64 bits everywhere in the project; S3 writes it as base64 of its eight bytes,
the highest first. It can be combined over a whole object from its parts' values without reading a byte again.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import repeat

from awscrt import checksums

_CRC64_BYTES = 8
_ZEROS = bytes(1024 * 1024)


def crc64_to_base64(value: int) -> str:
    """The checksum as S3 writes it. Raises ``OverflowError`` for what is no unsigned 64-bit integer."""
    return base64.b64encode(value.to_bytes(_CRC64_BYTES, "big")).decode("ascii")


def crc64_from_base64(text: str) -> int:
    """The checksum from S3's form. Raises ``ValueError`` for anything that is not eight bytes in base64."""
    raw = base64.b64decode(text, validate=True)
    if len(raw) != _CRC64_BYTES:
        raise ValueError(f"a CRC64NVME has {_CRC64_BYTES} bytes, not {len(raw)}")
    return int.from_bytes(raw, "big")


def combine(parts: Iterable[tuple[int, int]]) -> int:
    """CRC64NVME of the parts' bytes one after the other, from each part's (CRC64NVME, size in bytes)."""
    whole = 0  # of no bytes at all
    for crc, size in parts:
        whole = int(checksums.combine_crc64nvme(whole, crc, size))
    return whole


@lru_cache(maxsize=64)  # of sizes: an upload has a few
def crc64_of_zeros(size: int) -> int:
    """CRC64NVME of so many zero bytes."""
    blocks, rest = divmod(size, len(_ZEROS))
    block = int(checksums.crc64nvme(_ZEROS))
    return combine([*repeat((block, len(_ZEROS)), blocks), (int(checksums.crc64nvme(_ZEROS[:rest])), rest)])


def is_md5(etag: str) -> bool:
    """Whether an ETag can be the MD5 of a part's bytes. With SSE-KMS or SSE-C it only looks so."""
    return re.fullmatch(r"[0-9a-f]{32}", etag) is not None


def multipart_etag(md5_hex: Sequence[str]) -> str:
    """The ETag that S3 gives an object made of parts with these MD5s (hex): the MD5 of the MD5s, and their number."""
    joined = b"".join(bytes.fromhex(digest) for digest in md5_hex)
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(md5_hex)}"
