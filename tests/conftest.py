"""What all tests share: real servers, one of each for a session, and an honest list of what was left out."""

from __future__ import annotations

import gc
import os
import sys
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.harness import asked_for, canary, rotation, servers, service_models, workers

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
    "chromium": ("chromium",),
    "systemd": ("systemd-analyze", "strace"),
}
#: How many cases of a test are traced, by ring: all others take the same way through the code with other values.
_TRACED_IN_PART = {"crash": 2, "contract": 2, "corpus": 2}
_collected: Counter[str] = Counter()
#: Three lives of a simulated daemon make as many objects; the usual 700 have the collector run every few milliseconds.
_GARBAGE = 10_000


def pytest_configure(config: pytest.Config) -> None:
    """The workers take the cases that the first process takes."""
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        gc.disable()  # until the tests are collected, which the first process of xdist never does
    os.environ.setdefault(rotation.SEED, rotation.seed())
    service_models.share()
    if config.pluginmanager.has_plugin("xdist"):
        config.pluginmanager.register(workers)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """From here on the collector looks at what tests make only: thousands of tests and all modules are left out."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE)
    gc.enable()


def pytest_itemcollected(item: pytest.Item) -> None:
    """What is not traced takes a third of the time."""
    ring = workers.ring(item)
    if ring == "e2e" and item.path.stem != "test_embedded_services":
        item.add_marker("no_cover")  # what it tests is another process
    if ring in _TRACED_IN_PART and item.get_closest_marker("no_cover") is None:
        function = f"{item.path} {getattr(item, 'originalname', item.name)}"
        _collected[function] += 1
        if _collected[function] > _TRACED_IN_PART[ring]:
            item.add_marker(pytest.mark.no_cover(again=True))


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Traces nothing where coverage is paused: in a worker, pytest-cov 7.1 has begun twice and pauses once.

    Last, so that it is inside of pytest-cov's own pause and gives back what was there.
    """
    traced = sys.gettrace()
    if item.get_closest_marker("no_cover"):
        sys.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(traced)


@pytest.fixture(scope="session", autouse=True)
def _nothing_beside_the_least_rights() -> Iterator[None]:
    """Set up first and torn down last, in each worker: whatever the product asked of a store, the policy grants it."""
    asked_for.begin()
    yield
    beside = asked_for.beside_the_policy()
    seen = asked_for.seen()
    said = [f"{asked} needs {', '.join(sorted(actions))} ({seen[asked]})" for asked, actions in beside.items()]
    assert not said, f"asked of a store, but not granted by doctor --policy: {said}"


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
