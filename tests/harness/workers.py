"""Which tests run in one worker, and in which order: for ``-n`` with ``--dist loadgroup``.

Tests that share what a module makes once run in one worker. Each worker writes down these groups for the first process:
xdist 3.8 sends them as a part of the tests' ids, which pytest 9.2 no longer lets it change, and then groups nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

_TESTS = Path(__file__).parents[1]
#: Rings of short tests: what a module makes is made once, since all of it runs in one worker.
_WHOLE_MODULES = ("unit", "documents", "deploy")
#: A shared fixture in whose name pytest-asyncio keeps its loop makes nothing.
_LOOPS = "_"
#: End-to-end tests that take a minute or more, longest first: begun last they would run alone at the end. And of the
#: short tests those that are longer than the others of their ring.
_LONGEST = (
    "test_redis_faults",
    "test_nobody_waits",
    "test_set_up",
    "test_names",
    "test_s3_faults",
    "test_readme",
    "test_watchdog",
    "test_at_risk",
    "test_workers",
    "test_architecture",
    "test_films",
)
_FOLDER = "folder of the groups"

Unit = list[pytest.Item]


def ring(item: pytest.Item) -> str:
    """The folder of tests; empty for a test that lies elsewhere."""
    return item.path.relative_to(_TESTS).parts[0] if item.path.is_relative_to(_TESTS) else ""


def group(item: pytest.Item) -> str | None:
    """Which tests this one must be together with; None where it may run anywhere."""
    if marker := item.get_closest_marker("xdist_group"):
        return str(marker.args[0])
    if not isinstance(item, pytest.Function):
        return None
    if ring(item) in _WHOLE_MODULES:
        return item.path.stem
    fixtures = {name: found[-1] for name, found in sorted(item._fixtureinfo.name2fixturedefs.items())}
    shared = {name for name, fixture in fixtures.items() if fixture.scope in ("module", "package")}
    shared = {name for name in shared if not name.startswith(_LOOPS)}
    # What is made of another one goes where that is.
    first = [name for name in sorted(shared) if shared.isdisjoint(fixtures[name].argnames)]
    return " ".join((item.path.stem, *first)) if first else None


def mixed(items: Sequence[pytest.Item]) -> Unit:
    """Tests that wait for a daemon by turns with those that only compute, the many short ones last.

    So processors are busy from the beginning, and no long test runs alone at the end.
    """
    units: dict[str, Unit] = {}
    for item in items:
        units.setdefault(group(item) or item.nodeid, []).append(item)
    by_ring: dict[str, list[Unit]] = {}
    for unit in units.values():
        by_ring.setdefault(ring(unit[0]), []).append(unit)
    waiting = sorted(by_ring.pop("e2e", []), key=_rank)
    computing = by_ring.pop("crash", [])
    turns = sorted([*_spread(waiting), *_spread(computing)], key=lambda turn: turn[0])
    short = sorted((unit for some in by_ring.values() for unit in some), key=lambda unit: (_rank(unit), -len(unit)))
    order = [unit for _, unit in turns] + short
    return [item for unit in order for item in unit]


def _rank(unit: Unit) -> int:
    module = unit[0].path.stem
    return _LONGEST.index(module) if module in _LONGEST else len(_LONGEST)


def _spread(units: Sequence[Unit]) -> list[tuple[float, Unit]]:
    """Each with its place between 0 and 1: tests that walk through many cases have more room than others."""
    room = [10.0 if _has_many_cases(unit[0]) else 1.0 for unit in units]
    places = accumulate(room, initial=0.0)
    return [(place / sum(room), unit) for place, unit in zip(places, units, strict=False)]


def _has_many_cases(item: pytest.Item) -> bool:
    """They are not traced, and not because others of the same test are."""
    marker = item.get_closest_marker("no_cover")
    return marker is not None and "again" not in marker.kwargs


class _Units(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives out groups and single tests as the workers have ordered them."""

    def __init__(self, config: pytest.Config, log: Any, folder: Path) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)
        self._folder = folder

    @cached_property
    def _groups(self) -> dict[str, str]:
        """By the test's id, as the workers have written them down, all alike."""
        first = min(self._folder.glob("*.json"))
        return dict(json.loads(first.read_text(encoding="utf-8")))

    def _split_scope(self, nodeid: str) -> str:
        return self._groups.get(nodeid, nodeid)


# -- hooks of pytest and of xdist, called once they are registered ----------------------------------------------------


def pytest_configure_node(node: Any) -> None:
    """In the first process, for each worker."""
    config: pytest.Config = node.config
    if not hasattr(config, "_groups_folder"):
        config._groups_folder = Path(tempfile.mkdtemp(prefix="groups-"))  # type: ignore[attr-defined]
    node.workerinput[_FOLDER] = str(config._groups_folder)  # type: ignore[attr-defined]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    if config.getoption("dist") != "loadgroup":
        return None
    return _Units(config, log, config._groups_folder)  # type: ignore[attr-defined]


def pytest_unconfigure(config: pytest.Config) -> None:
    if hasattr(config, "_groups_folder"):
        shutil.rmtree(config._groups_folder, ignore_errors=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        items[:] = mixed(items)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Before xdist tells the first process that this worker knows its tests."""
    worker: dict[str, str] = getattr(session.config, "workerinput", {})
    if _FOLDER in worker:
        groups = {item.nodeid: found for item in session.items if (found := group(item))}
        whole = Path(worker[_FOLDER]) / f"{worker['workerid']}.json"
        begun = whole.with_suffix(".begun")
        begun.write_text(json.dumps(groups), encoding="utf-8")
        os.replace(begun, whole)
