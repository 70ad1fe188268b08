"""A status that is added to the one table is known everywhere: nothing else has to be edited for it.

The sources are copied, the status is added to the copy, and a process of its own tells what it makes of it, with a real
Redis.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.redis

_STATUS = '    FAILED = "failed"\n'
_ENTRY = "        Status.COMPLETED: Standing("
#: How a person would write it: never carried, out of ``failed`` when somebody decides so.
_ADDED = """        Status.REJECTED: Standing(
            members="rejected",
            care=Care.{care},
            ways=MappingProxyType({{Fact.SEEN_AGAIN: Status.ACTIVE}}),
        ),
"""
_ASKED = """
import asyncio, json, sys
from dataclasses import replace
from prometheus_client import CollectorRegistry
from scripts.documents import architecture, lifecycle
from src.domain import Status
from src.metrics.instruments import Instruments
from src.redis_client.names import SETS
from tests.contract.test_checkpoints import client, opened_redis, record

url, prefix = sys.argv[1:]


def members():
    beside = client(url)
    try:
        return {str(status): beside.sismember(prefix + name.decode(), "a1b2") for status, name in SETS.items()}
    finally:
        beside.close()


async def kept():
    async with opened_redis(url, prefix=prefix) as before:
        await before.save(record())
        await before.save(replace(record(), status=Status("rejected")))
    where = members()
    async with opened_redis(url, prefix=prefix) as after:
        found = [str(one.status) for one in await after.load()]
        await after.save(replace(record(), status=Status.ACTIVE))
    return where, found, members()


where, found, then = asyncio.run(kept())
registry = CollectorRegistry()
Instruments(registry)
streams = next(metric for metric in registry.collect() if metric.name == "cefmp4_streams")
print(json.dumps({
    "where": where, "found": found, "then": then,
    "gauge": sorted(sample.labels["status"] for sample in streams.samples),
    "diagram": lifecycle(), "table": architecture(),
}))
"""


def _told(tree: Path, care: str, url: str) -> dict[str, Any]:
    for folder in ("src", "scripts", "tests"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__", "breaks", "media"))
    (tree / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "architecture.md", tree / "docs")
    shutil.copy(ROOT / "pyproject.toml", tree)
    for name, place, added in (
        ("recording", _STATUS, '    REJECTED = "rejected"\n'),
        ("lifecycle", _ENTRY, _ADDED.format(care=care)),
    ):
        path = tree / "src" / "domain" / f"{name}.py"
        before, found, after = path.read_text(encoding="utf-8").partition(place)
        assert found
        path.write_text(before + added + found + after, encoding="utf-8")
    command = [sys.executable, "-c", _ASKED, url, f"test-{uuid4().hex}:"]
    ended = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    told: dict[str, Any] = json.loads(ended.stdout)
    return told


@pytest.mark.parametrize(("care", "is_read"), [("KEPT", True), ("DONE", False)])
def test_a_new_status_needs_no_edit_but_its_entry(tmp_path: Path, redis_server: str, care: str, is_read: bool) -> None:
    told = _told(tmp_path, care, redis_server)
    assert [status for status, is_there in told["where"].items() if is_there] == ["rejected"]  # out of the others
    assert told["found"] == (["rejected"] if is_read else [])
    assert [status for status, is_there in told["then"].items() if is_there] == ["active"]  # and out of its own again
    assert ("rejected" in told["gauge"]) is is_read
    assert "    rejected --> active: seen_again\n" in told["diagram"]
    assert "| `rejected` | `seen_again` | `active` |\n" in told["table"]
