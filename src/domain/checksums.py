"""Checksums in the formats that S3 uses.

In this project CRC64NVME is an unsigned 64-bit integer; S3 writes it as base64 of its eight bytes, big-endian. The
value of a whole object is computed from the values of its parts without reading any byte again.
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
    """The checksum as S3 writes it. Raises ``OverflowError`` for a value that is not an unsigned 64-bit integer."""
    return base64.b64encode(value.to_bytes(_CRC64_BYTES, "big")).decode("ascii")


def crc64_from_base64(text: str) -> int:
    """The checksum from S3's form. Raises ``ValueError`` for anything that is not eight bytes in base64."""
    raw = base64.b64decode(text, validate=True)
    if len(raw) != _CRC64_BYTES:
        raise ValueError(f"a CRC64NVME has {_CRC64_BYTES} bytes, not {len(raw)}")
    return int.from_bytes(raw, "big")


def combine(parts: Iterable[tuple[int, int]]) -> int:
    """CRC64NVME of the concatenated parts, from the (CRC64NVME, size in bytes) of each."""
    whole = 0  # the value of zero bytes
    for crc, size in parts:
        whole = int(checksums.combine_crc64nvme(whole, crc, size))
    return whole


@lru_cache(maxsize=64)  # an upload has only a few sizes
def crc64_of_zeros(size: int) -> int:
    """CRC64NVME of ``size`` zero bytes."""
    blocks, rest = divmod(size, len(_ZEROS))
    block = int(checksums.crc64nvme(_ZEROS))
    return combine([*repeat((block, len(_ZEROS)), blocks), (int(checksums.crc64nvme(_ZEROS[:rest])), rest)])


def is_md5(etag: str) -> bool:
    """Whether an ETag can be the MD5 of a part's bytes. With SSE-KMS or SSE-C it only looks like one.

    Not every comparison of an ETag with an MD5 asks here: ``s3_client.requests`` lists them.
    """
    return re.fullmatch(r"[0-9a-f]{32}", etag) is not None


def multipart_etag(md5_hex: Sequence[str]) -> str:
    """The ETag of a multipart object with these part MD5s (hex): the MD5 of the MD5s, and the number of parts."""
    joined = b"".join(bytes.fromhex(digest) for digest in md5_hex)
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(md5_hex)}"
