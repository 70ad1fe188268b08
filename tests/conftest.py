"""What all tests share: real servers, one of each for a session, and an honest list of what was left out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.harness import canary, rotation, servers

#: For ``--hypothesis-profile nightly``; what fails is kept in ``.hypothesis`` and tried first by the next run.
settings.register_profile(
    "nightly",
    max_examples=5_000,
    stateful_step_count=150,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)

# No test has a time: machines are shared. Else as hypothesis has it here, or in CI.
settings.register_profile("shared machine", settings(), deadline=None)
settings.load_profile("shared machine")

_LEFT_OUT = "left out: "
#: Which programs the tests with a marker need.
_NEEDS = {
    "redis": ("redis-server",),
    "ffmpeg": ("ffmpeg", "ffprobe"),
    "minio": ("minio",),
    "versitygw": ("versitygw",),
    "prometheus": ("promtool", "prometheus"),
    "systemd": ("systemd-analyze", "strace"),
}


#: Rings of short tests: what a module makes is made once, since all of it runs in one worker.
_WHOLE_MODULES = ("unit", "documents", "deploy")
#: End-to-end tests that take a minute or more, longest first: begun last they would run alone at the end.
_LONGEST = (
    "test_redis_faults",
    "test_names",
    "test_s3_faults",
    "test_readme",
    "test_watchdog",
    "test_at_risk",
    "test_set_up",
    "test_nobody_waits",
)
#: A shared fixture in whose name pytest-asyncio keeps its loop makes nothing.
_LOOPS = "_"


def pytest_configure(config: pytest.Config) -> None:
    """The workers take the cases that the first process takes."""
    os.environ.setdefault(rotation.SEED, rotation.seed())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With ``--dist loadgroup``: the tests that share a module's fixture run in one worker."""
    for item in items:
        if _ring(item) == "e2e" and item.path.stem != "test_embedded_services":
            item.add_marker("no_cover")  # what it tests is another process
        if group := _group(item):
            item.add_marker(pytest.mark.xdist_group(group))
    if hasattr(config, "workerinput"):
        items[:] = _mixed(items)


def _mixed(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Tests that wait for a daemon by turns with those that only compute, the many short ones last.

    So processors are busy from the beginning, and no long test runs alone at the end. xdist takes this order with
    ``--no-loadscope-reorder``.
    """
    units: dict[str, list[pytest.Item]] = {}
    for item in items:
        marker = item.get_closest_marker("xdist_group")
        units.setdefault(marker.args[0] if marker else item.nodeid, []).append(item)
    by_ring: dict[str, list[list[pytest.Item]]] = {}
    for unit in units.values():
        by_ring.setdefault(_ring(unit[0]), []).append(unit)
    waiting = sorted(by_ring.pop("e2e", []), key=lambda unit: _rank(unit[0].path.stem))
    computing = by_ring.pop("crash", [])
    turns = sorted([*_spread(waiting), *_spread(computing)], key=lambda turn: turn[0])
    order = [unit for _, unit in turns] + [unit for some in by_ring.values() for unit in some]
    return [item for unit in order for item in unit]


def _spread(units: Sequence[list[pytest.Item]]) -> list[tuple[float, list[pytest.Item]]]:
    """Each with its place between 0 and 1: tests of many cases, which are not traced, have more room than others."""
    room = [10.0 if unit[0].get_closest_marker("no_cover") else 1.0 for unit in units]
    places = accumulate(room, initial=0.0)
    return [(place / sum(room), unit) for place, unit in zip(places, units, strict=False)]


def _rank(module: str) -> int:
    return _LONGEST.index(module) if module in _LONGEST else len(_LONGEST)


def _ring(item: pytest.Item) -> str:
    """The folder of tests; empty for a test that lies elsewhere."""
    here = Path(__file__).parent
    return item.path.relative_to(here).parts[0] if item.path.is_relative_to(here) else ""


def _group(item: pytest.Item) -> str | None:
    """Which tests this one must be together with; None where it may run anywhere."""
    if item.get_closest_marker("xdist_group") or not isinstance(item, pytest.Function):
        return None
    if _ring(item) in _WHOLE_MODULES:
        return item.path.stem
    fixtures = item._fixtureinfo.name2fixturedefs
    shared = [name for name, found in sorted(fixtures.items()) if found[-1].scope in ("module", "package")]
    named = [name for name in shared if not name.startswith(_LOOPS)]
    return " ".join((item.path.stem, *named)) if named else None


def _tool(name: str) -> Path:
    """Where the program is. Without it the test is skipped; where it was promised to be there, the test fails."""
    try:
        return servers.find_tool(name)
    except servers.ToolMissing as exc:
        missing = exc
    if missing.required:
        pytest.fail(str(missing), pytrace=False)
    pytest.skip(_LEFT_OUT + str(missing))


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers():
        for tool in _NEEDS.get(marker.name, ()):
            _tool(tool)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Redis for all tests of this process; each takes a key prefix of its own."""
    _tool("redis-server")
    with servers.start_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture(scope="session")
def guarded_redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of another one, with a password in it that nobody may ever tell."""
    _tool("redis-server")
    with servers.start_redis(tmp_path_factory.mktemp("redis"), password=canary.secret()) as server:
        yield server.url


@pytest.fixture(scope="session")
def versitygw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.S3Server]:
    """A real S3 server for all tests of this process; each takes a bucket of its own."""
    _tool("versitygw")
    with servers.start_versitygw(tmp_path_factory.mktemp("versitygw")) as server:
        yield server


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.S3Server]:
    """Another real S3 server for all tests of this process; each takes a bucket of its own."""
    _tool("minio")
    with servers.start_minio(tmp_path_factory.mktemp("minio")) as server:
        yield server


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.S3Server]:
    """moto's S3 for all tests of this process; each takes a bucket of its own."""
    with servers.start_moto(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(scope="session")
def ffmpeg() -> Path:
    """The ffmpeg program."""
    return _tool("ffmpeg")


@pytest.fixture(scope="session")
def ffprobe() -> Path:
    """The ffprobe program."""
    return _tool("ffprobe")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Whatever a test has written, in its own process or as the tail of a daemon's log: no secret is in it."""
    report = yield
    told = [title for title, text in report.sections if canary.is_told(text)]
    if told:
        report.outcome, report.longrepr = "failed", f"{item.nodeid} shows a secret in: {', '.join(told)}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        if isinstance(report.longrepr, tuple):
            reason = report.longrepr[2].removeprefix("Skipped: ")
            if reason.startswith(_LEFT_OUT):
                reasons[reason.removeprefix(_LEFT_OUT)] += 1
    if reasons:
        terminalreporter.section("left out for lack of a tool")
    for reason, tests in sorted(reasons.items()):
        terminalreporter.line(f"{tests} tests: {reason}")
    properties = [p for report in terminalreporter.stats.get("passed", []) for p in report.user_properties]
    gaps = sorted({str(value) for name, value in properties if name == "gap"})
    if gaps:
        terminalreporter.section("what the stores lack, where the fallback was tested instead")
    for gap in gaps:
        terminalreporter.line(gap)
    crash = [str(value) for name, value in properties if name == "crash cases"]
    if crash:
        terminalreporter.section("which cases this run took")
        terminalreporter.line(f"{crash[0]}; {rotation.told()}")
