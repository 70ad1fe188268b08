"""A status that is added to the one table is known everywhere: nothing else has to be edited for it.

The sources are copied, two statuses are added to the copy, and a process of its own tells what it makes of them, with a
real Redis.
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

#: Where they go, and how a person would write them: one whose records are kept, and one that leaves nothing to do.
_STATUS = '    FAILED = "failed"\n'
_ENTRY = "        Status.COMPLETED: Standing("
_STATUSES = '    REJECTED = "rejected"\n    DISCARDED = "discarded"\n'
_ENTRIES = """        Status.REJECTED: Standing(
            members="rejected",
            care=Care.KEPT,
            ways=MappingProxyType({Fact.SEEN_AGAIN: Status.ACTIVE}),
        ),
        Status.DISCARDED: Standing(
            members="discarded",
            care=Care.DONE,
            ways=MappingProxyType({Fact.CHANGED_AFTER_COMPLETION: Status.ACTIVE}),
        ),
"""
_GIVE_UP = "Give it up: its upload is aborted"
_ASKED = """
import asyncio, json, sys
from dataclasses import replace
from scripts.documents import architecture, lifecycle
from src.domain import Status, moments
from src.metrics.instruments import STREAMS
from src.redis_client import open_outside
from src.redis_client.names import SETS
from src.status import view_of
from tests.contract.test_checkpoints import client, opened_redis, record
from tests.unit.test_metrics import Bench
from tests.unit.test_status_view import _facts, _recording

url, prefix = sys.argv[1:]


def members(name):
    beside = client(url)
    try:
        return [str(status) for status, group in SETS.items() if beside.sismember(prefix + group.decode(), name)]
    finally:
        beside.close()


async def gone_through(status):
    # The sets that it is in with this status, what is read of it, and the sets afterwards.
    async with opened_redis(url, prefix=prefix) as before:
        await before.save(record(status))
        await before.save(replace(record(status), status=Status(status)))
    where = members(status)
    async with opened_redis(url, prefix=prefix) as after:
        found = [str(one.status) for one in await after.load()]
        await after.save(replace(record(status), status=Status.ACTIVE))
        then = members(status)
        await after.forget(status)
    return where, found, then


async def counted_by_doctor(*statuses):
    async with opened_redis(url, prefix=prefix) as checkpoints:
        for status in statuses:
            await checkpoints.save(replace(record(status), status=Status(status)))
    async with open_outside(url, key_prefix=prefix, bucket="b") as outside:
        return (await outside.facts()).failed


def shown(status):
    (one,) = view_of(_facts(_recording(status=Status(status)))).recordings
    return str(one.state), [action.what for action in one.failure.actions] if one.failure else []


bench = Bench()
bench.metrics.emit(moments.KeptStreams({}, {Status("rejected"): 2}))
print(json.dumps({
    "rejected": asyncio.run(gone_through("rejected")),
    "discarded": asyncio.run(gone_through("discarded")),
    "means": STREAMS.means,
    "gauge": {str(status): bench.value("cefmp4_streams", status=status) for status in Status},
    "diagram": lifecycle(),
    "table": architecture(),
    "shown": {str(status): shown(status) for status in Status},
    "counted": asyncio.run(counted_by_doctor("rejected", "failed", "active")),
}))
"""


def _told(tree: Path, url: str) -> dict[str, Any]:
    for folder in ("src", "scripts", "tests"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__", "breaks", "media"))
    (tree / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "architecture.md", tree / "docs")
    for name, place, added in (("recording", _STATUS, _STATUSES), ("lifecycle", _ENTRY, _ENTRIES)):
        path = tree / "src" / "domain" / f"{name}.py"
        before, found, after = path.read_text(encoding="utf-8").partition(place)
        assert found
        path.write_text(before + added + found + after, encoding="utf-8")
    command = [sys.executable, "-c", _ASKED, url, f"test-{uuid4().hex}:"]
    ended = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    told: dict[str, Any] = json.loads(ended.stdout)
    return told


def test_a_new_status_needs_no_edit_but_its_entry(tmp_path: Path, redis_server: str) -> None:
    told = _told(tmp_path, redis_server)
    assert told["rejected"] == [["rejected"], ["rejected"], ["active"]]  # each time out of the set that it was in
    assert told["discarded"] == [["discarded"], [], ["active"]]
    assert told["gauge"]["rejected"] == 2
    assert told["gauge"]["failed"] == 0
    assert told["gauge"]["discarded"] is told["gauge"]["completed"] is None
    assert told["means"].endswith("`failed`, `rejected`")
    assert "    rejected --> active: seen_again\n" in told["diagram"]
    assert "| `rejected` | `seen_again` | `active` |\n" in told["table"]
    assert told["shown"]["rejected"] == told["shown"]["failed"] == ["failed", ["Try again", _GIVE_UP]]
    assert told["shown"]["discarded"] == told["shown"]["completed"] == ["describing", []]
    assert told["counted"] == 2
