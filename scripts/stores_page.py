"""The text of ``docs/how-to/which-store.md``, from the tables that the tests of the stores are made of."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator

from tests.harness.stores.personalities import PERSONALITIES, UNTRIED, Personality
from tests.harness.stores.real import REAL, TRIED, RealStore, Trial

_NAMES = {"versitygw": "VersityGW", "minio": "MinIO", "moto": "moto's server"}
_SETTINGS = {
    "versitygw": "the defaults",
    "minio": "the defaults; raise `MINIO_API_STALE_UPLOADS_EXPIRY` above the longest recording (24 hours)",
    "moto": "for trying out only: it is in memory",
}

_INTRODUCTION = """# Which store, which settings

Generated from the tables of the tests by `python -m scripts.documents`.

The daemon asks a store other than Amazon's at each start what it verifies, with
[the probe key](DOCS/operations.md#the-probe-key), and does without what the store lacks. So the defaults are right for
most. This page says for which stores that was tried, and how.
"""

_REAL = """## Tried for real

The whole contract of a store, and recordings from the first byte to the last, run on these with every change. Kills of
everything at random (`python -m bench.soak --store minio`) run on the first two.

| store | version | settings | what it lacks, and what the daemon does then |
|---|---|---|---|
"""

_TRIED = """## Tried once

The daemon ran on these by hand, with the default settings: recordings that are plain, patched while they are sent,
patched and grown after their completion, resumed after a kill, and adopted after a kill with Redis wiped; then a wrong
access key id. Each object was compared with its file by SHA-256. What a personality below holds is tried again with
every change, the rest is not.

| store | version | when | how | settings | what was found |
|---|---|---|---|---|---|
"""

_PERSONALITIES = """## Tried by personality

A proxy before a real store acts as the sources say that these do. Six recordings live their whole lives on each: plain;
patched while it grows; grown after its completion; resumed after a kill; adopted after a kill with Redis wiped; known
again although Redis has forgotten it. Each object equals its file, nothing is left open, and nothing is sent twice that
need not be. That is not the store itself: what nobody has written about is not in it.

| store | what it does | before | settings | sources |
|---|---|---|---|---|
"""

_UNTRIED = """## Tried by nobody

What is known is hearsay, and so is the advice.

| store | what is known | settings to begin with | sources |
|---|---|---|---|
"""

_OTHERWISE = """## When yours is not here

Begin with the defaults, and watch the log of the first recording. A store that refuses something is named there with
its own words and a hint that names the setting:

- `S3_CHECKSUM=none`: no header about checksums; ETags, or fetching the object, prove it instead.
- `S3_CONDITIONAL_WRITES=off`: no conditions; the daemon looks right before it completes, which leaves a small gap.
- `S3_PART_COPY=off`: unchanged parts of an object that is brought up to date are sent, not copied.
- `S3_EQUAL_PARTS=on`: all parts but the last have one size; the largest recording is then limited (`S3_EQUAL_PARTS` in
  [the settings](DOCS/configuration.md)).
- `S3_ADDRESSING_STYLE`, `S3_REGION_NAME`, `S3_PAYLOAD_SIGNING`: how requests are addressed and signed.
"""


def which_store() -> str:
    """The page."""
    sections = (
        _INTRODUCTION,
        _table(_REAL, map(_real, REAL.values())),
        _table(_TRIED, map(_trial, TRIED)),
        _table(_PERSONALITIES, map(_personality, PERSONALITIES)),
        _table(_UNTRIED, ((each.name, each.what, each.advice, _links(each.sources)) for each in UNTRIED)),
        _OTHERWISE,
    )
    text = "\n".join(section.rstrip("\n") + "\n" for section in sections)
    return text.replace("](DOCS/", f"]({os.pardir}/")


def _table(head: str, rows: Iterable[Iterable[str]]) -> str:
    return head + "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def _real(store: RealStore) -> Iterator[str]:
    yield _NAMES[store.name]
    yield store.version
    yield _SETTINGS[store.name]
    yield "<br>".join(sorted(store.lacks)) or "nothing"


def _trial(trial: Trial) -> Iterator[str]:
    yield from (trial.name, trial.version, trial.day, trial.how, trial.advice)
    yield "<br>".join(trial.found)


def _personality(personality: Personality) -> Iterator[str]:
    yield personality.name
    told = (personality.what, personality.note, personality.fault, personality.fault_in_life)
    yield "; ".join(part for part in told if part)
    yield _NAMES[personality.behind]
    yield personality.advice
    yield _links(personality.sources)


def _links(sources: Iterable[str]) -> str:
    return ", ".join(f"[{_short(source)}]({source})" for source in sources)


def _short(source: str) -> str:
    """``owner/name#7`` for a thread, else the host."""
    host, _, path = re.sub(r"^https://(www\.)?", "", source).partition("/")
    thread = re.fullmatch(r"([^/]+/[^/]+)/(?:issues|pull)/(\d+)", path)
    if thread:
        return f"{thread[1]}#{thread[2]}"
    return host
