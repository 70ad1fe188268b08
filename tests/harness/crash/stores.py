"""Kinds of S3 stores: what each of them lacks or does otherwise."""

from __future__ import annotations

from typing import Any

from tests.harness.crash.simulation import LIMITS
from tests.harness.fakes.store import FakeStore

STORES: dict[str, dict[str, Any]] = {
    "etags that are md5": {"crc64": False},
    "no checksums at all": {"crc64": False, "md5_etags": False, "object_size": False},
    "no copying": {"copy": False},
    "copies without checksums": {"copy_checksum": "refused"},
    "copies with a wrong checksum": {"copy_checksum": "wrong"},
    "no conditions": {"conditional": False},
    "nothing beyond the oldest S3": {"crc64": False, "object_size": False, "conditional": False, "copy": False},
    "repeated completions are gone": {"repeat_completion": "gone"},
    "repeated completions fail their condition": {"repeat_completion": "precondition"},
}


def store_with(**options: Any) -> FakeStore:
    """A store with the simulation's small limits."""
    return FakeStore(limits=LIMITS, **options)
