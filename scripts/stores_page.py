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
    "moto": "for trials only: it stores everything in memory",
}

_INTRODUCTION = """# Which store, which settings

For operators who choose a store, or want to know how well theirs was tested. The lines for `.env` are in
[set up your store](DOCS/how-to/stores.md). Generated from the tables of the tests by `python -m scripts.documents`.

At each start, the daemon tests which features a store other than Amazon's supports, with
[the probe key](DOCS/operations.md#the-probe-key), and works without missing ones. So the defaults are right for most
stores. This page lists the tested stores, and how they were tested.
"""

_REAL = """## Tested on every change

The full contract tests and complete recordings run on these stores with every change. Random kills of
all processes (`python -m bench.soak --store minio`) run on the first two.

| store | version | settings | missing features, and what the daemon does instead |
|---|---|---|---|
"""

_TRIED = """## Tested once, manually

The daemon was run on these manually, with the default settings: recordings that are plain, patched during their upload,
patched and grown after their completion, resumed after a kill, and adopted after a kill with Redis wiped; then a wrong
access key ID. Each object was compared with its file by SHA-256. Behaviour covered by a
simulation below is tested with every change, the rest is not.

| store | version | date | how | settings | results |
|---|---|---|---|---|---|
"""

_PERSONALITIES = """## Tested on simulations

A proxy in front of a local store imitates the behaviour that the sources describe. Six recordings are uploaded to each:
plain; patched while it grows; grown after its completion; resumed after a kill; adopted after a kill with Redis wiped;
recognised after Redis has lost it. Each object equals its file, no upload is left open, and nothing is sent twice
unnecessarily. A simulation is not the service itself and has none of its undocumented behaviour. AWS, Backblaze B2,
Cloudflare R2, Wasabi, Scaleway and GCS have not been tested in any other way: no real account was used.

| store | simulated behaviour | local store | settings | sources |
|---|---|---|---|---|
"""

_UNTRIED = """## Not tested

These rows and their advice rely on third-party reports.

| store | what is known | settings to begin with | sources |
|---|---|---|---|
"""

_OTHERWISE = """## When yours is not here

Start with the defaults, and watch the log of the first recording. If the store refuses something, the log has
the store's message and a hint that names the setting:

- `S3_CHECKSUM=none`: no checksum headers; ETags, or a download of the object, are used instead.
- `S3_CONDITIONAL_WRITES=off`: no conditional requests; the daemon checks the key just before it completes
  an upload, which leaves a small gap.
- `S3_PART_COPY=off`: unchanged parts of an object that is replaced are uploaded, not copied.
- `S3_EQUAL_PARTS=on`: all parts but the last have the same size; this limits recordings (`S3_EQUAL_PARTS` in
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
