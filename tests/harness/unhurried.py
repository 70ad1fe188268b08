"""For tests of ``doctor`` on a shared machine: neither its speed, nor its disk, nor a container around it is judged."""

from __future__ import annotations

import pytest

_LONG = 100.0


def judge_no_machine(patch: pytest.MonkeyPatch, *, speed: bool = False) -> None:
    """``speed``: a slow answer is a fault nevertheless."""
    for share in ("FULL_SHARE", "LOW_SHARE", "LOW_SHARE_OF_SMALL", "LOW_BYTES"):
        patch.setattr(f"src.doctor.judgement.{share}", 0)
    if not speed:
        patch.setattr("src.doctor.judgement.SLOW_SECONDS", _LONG)
    for limit in ("s3_client.checkup._SECONDS", "s3_client.checkup._FEATURES_SECONDS", "redis_client.outside._SECONDS"):
        patch.setattr(f"src.{limit}", _LONG)
    patch.setattr("src.cli.doctor._exists", lambda _: False)
