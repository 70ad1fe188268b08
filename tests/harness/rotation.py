"""Which share of a large set of cases this run takes: another one with each commit, the same one for the same commit.

``CASES_SEED`` sets the seed, by default it is the hash of the commit; ``EVERY_CASE=1`` takes the whole set. Both are
printed at the end of a run.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

SEED = "CASES_SEED"
EVERY = "EVERY_CASE"
#: Where there is no commit to ask: an unpacked source archive.
_WITHOUT_COMMIT = "0" * 40
_ROOT = Path(__file__).resolve().parents[2]

T = TypeVar("T")


@cache
def seed() -> str:
    """What chooses the cases of this run."""
    return os.environ.get(SEED) or _commit() or _WITHOUT_COMMIT


def takes_all() -> bool:
    return os.environ.get(EVERY) == "1"


def share(cases: Sequence[T], every: int, *names: str) -> Sequence[T]:
    """Every so-many-th of the cases, from a place on that seed and names decide; all of them with ``EVERY_CASE=1``.

    With each of ``every`` places once, each case is taken once.
    """
    if takes_all():
        return cases
    return cases[_place(every, seed(), names) :: every]


def told() -> str:
    """One line for whoever reads the end of a run."""
    if takes_all():
        return "pairs of kills: all of them"
    return f"pairs of kills: a share by the seed {seed()} ({SEED}={seed()} takes it again, {EVERY}=1 takes all)"


def _place(every: int, seed: str, names: Sequence[str]) -> int:
    return int.from_bytes(sha256(" ".join((seed, *names)).encode()).digest()[:8], "big") % every


def _commit() -> str:
    try:
        asked = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=_ROOT, capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return asked.stdout.strip() if asked.returncode == 0 else ""
