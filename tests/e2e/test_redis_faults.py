"""Every operation of the daemon on Redis meets every fault: one object for each file, and nothing else is left.

One living daemon carries a recording for each combination at the same time; a Redis proxy breaks exactly one exchange
of each. A second pair of daemons does the same with the reading of records at start.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from urllib.parse import urlparse

import pytest

from src.redis_client.scripts import FINISH, RECALL
from tests.harness import servers
from tests.harness.e2e.daemon import Daemon, eventually
from tests.harness.e2e.recorders import write
from tests.harness.e2e.stage import Stage, set_stage
from tests.harness.faulty_redis import CONNECT, Fault, FaultyRedis, Rule

# Long: two hundred recordings in one set-up, at a time at which other tests have the processors, too.
pytestmark = [pytest.mark.slow, pytest.mark.versitygw, pytest.mark.redis, pytest.mark.timeout(900)]

#: Ids are those of the table of failure modes: D2 lost, D8 full, D9 refusals, D10 replies of others, D15 slow.
FAULTS: Mapping[str, Fault] = {
    "D2 not done": Fault("drop"),
    "D2 done, unanswered": Fault("lose"),
    "D2 done twice": Fault("twice"),
    "D2 reset": Fault("reset"),
    "D2 half an answer": Fault("half"),
    "D15 late": Fault("delay", seconds=2.0),
    "D15 silent": Fault("stall"),
    "D10 garbage": Fault("garbage"),
    "D10 another's answer": Fault("another"),
    "D10 an answer before": Fault("stray"),
    "D10 an answer behind": Fault("doubled"),
    "D10 answers swapped": Fault("swapped"),
    "D8 full": Fault("error", "OOM command not allowed when used memory > 'maxmemory'."),
    "D9 replica": Fault("error", "READONLY You can't write against a read only replica."),
    "D9 loading": Fault("error", "LOADING Redis is loading the dataset in memory"),
    "D9 disk": Fault("error", "MISCONF Redis is configured to save RDB snapshots, but it's unable to persist to disk."),
    "D9 busy": Fault("error", "BUSY Redis is busy running a script. You can only call SCRIPT KILL."),
    "D9 no script": Fault("error", "NOSCRIPT No matching script. Please use EVAL."),
    "D9 no password": Fault("error", "NOAUTH Authentication required."),
    "D9 wrong password": Fault("error", "WRONGPASS invalid username-password pair or user is disabled."),
    "D9 cluster": Fault("error", "CLUSTERDOWN The cluster is down"),
    "D9 primary": Fault("error", "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."),
    "D9 crowded": Fault("error", "ERR max number of clients reached"),
}
#: What the daemon does with Redis for one recording, by the commands that show it.
OPERATIONS: Mapping[str, Rule] = {
    "intent": Rule(Fault(""), command="EVALSHA", says=b"active"),
    "upload id": Rule(Fault(""), command="EVALSHA", says=b"active", nth=2),
    "part": Rule(Fault(""), command="EVALSHA", says=b"pending_completion"),
    # By its field: what a part writes may go with it, when Redis was away for the part.
    "manifest": Rule(Fault(""), command="EVALSHA", says=b"manifest"),
    "proved": Rule(Fault(""), command="EVALSHA", says=b"s3_completed"),
    "document": Rule(Fault(""), command="EVALSHA", says=b"s3_completed", nth=2),
    "done": Rule(Fault(""), command="EVALSHA", says=FINISH.sha.encode()),
    "marker": Rule(Fault(""), command="EVALSHA", says=RECALL.sha.encode()),
}
COMBINATIONS = list(product(OPERATIONS, FAULTS))
#: Faults that a connection can have before its first command; the first few of a start have one each.
CONNECTING = ("D2 not done", "D2 reset", "D15 silent", "D9 crowded", "D9 loading")
SIZE = 60_000


def named(*words: str) -> str:
    return "-".join(words).replace(" ", "_").replace("'", "").replace(",", "") + ".mp4"


@dataclass
class Aftermath:
    """What is left when the daemon has come to rest."""

    stage: Stage
    daemon: Daemon
    rules: Mapping[str, Rule]
    pid: int

    def check(self, name: str) -> None:
        """Its fault was injected, once, and its object is the file."""
        assert self.rules[name].injected == 1, f"not injected: {self.rules[name]}"
        assert self.stage.bucket.holds(name, self.stage.folder / name)
        # A part whose note was lost is listed by the store, with the store's time.
        self.stage.bucket.check_document(name, self.stage.folder / name)


@contextmanager
def faulty_stage(home: Path, *rules: Rule) -> Iterator[tuple[Stage, FaultyRedis]]:
    """A stage whose daemons reach Redis through the proxy; everything else on it sees Redis itself."""
    with ExitStack() as stack:
        store = stack.enter_context(servers.start_versitygw(home / "versitygw"))
        server = stack.enter_context(servers.start_redis(home / "redis", persistent=True))
        proxy = stack.enter_context(FaultyRedis(urlparse(server.url).port or 0, *rules))
        stage = stack.enter_context(set_stage(home, store, server.url))
        stage.settings |= {"REDIS_URL": proxy.url, "MAX_CONCURRENT_STREAMS": "8", "WATCH_SCAN_SECONDS": "1"}
        # Looking into hundreds of recordings of random bytes would take longer than sending them.
        stage.settings["FFPROBE_PATH"] = "/nowhere/ffprobe"
        yield stage, proxy


def wait_until_all_are_done(stage: Stage, daemon: Daemon, count: int) -> None:
    """Every recording is described in the bucket and nothing is left in Redis."""
    eventually(lambda: len(stage.bucket.described()) >= count, f"{count} objects are described", within=600)
    eventually(lambda: not stage.redis_keys("stream:*"), "no stream is left in Redis")
    assert daemon.is_running()


@pytest.fixture(scope="module")
def living(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aftermath]:
    """A daemon has carried a recording for each combination, and rests."""
    home = tmp_path_factory.mktemp("living")
    with faulty_stage(home) as (stage, proxy):
        # By a setting alone no short recording is sent in one request: each has an upload and a part.
        stage.settings["S3_CONDITIONAL_WRITES"] = "on"
        rules = {}
        (home / "made").mkdir()
        for seed, (operation, fault) in enumerate(COMBINATIONS):
            name = named(operation, fault)
            write(home / "made" / name, SIZE + seed, seed=seed)
            about = name if operation != "marker" else f"{(home / 'made' / name).stat().st_ino}:"
            rule = replace(OPERATIONS[operation], fault=FAULTS[fault], about=about.encode())
            rules[name] = proxy.add(rule)
        stage.daemon.start_and_wait()
        for file in (home / "made").iterdir():
            file.rename(stage.folder / file.name)  # the same inode: the rules about markers know it
        wait_until_all_are_done(stage, stage.daemon, len(COMBINATIONS))
        yield Aftermath(stage, stage.daemon, rules, stage.daemon.pid)


@pytest.mark.parametrize(("operation", "fault"), COMBINATIONS, ids=[" meets ".join(pair) for pair in COMBINATIONS])
def test_one_broken_exchange_costs_a_recording_nothing(living: Aftermath, operation: str, fault: str) -> None:
    """D2, D8, D9, D10, D15."""
    living.check(named(operation, fault))


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aftermath]:
    """A daemon was killed in the middle of a recording for each fault; another one has read their records, and rests.

    The rules are kept by recording; those about connections by their fault's name.
    """
    home = tmp_path_factory.mktemp("resumed")
    with faulty_stage(home) as (stage, proxy):
        for seed, fault in enumerate(FAULTS):
            write(stage.folder / named("start", fault), SIZE + seed, seed=seed)
        stage.daemon.start(STREAM_TIMEOUT_SECONDS="300")
        records = eventually(lambda: begun(stage, len(FAULTS)), "every recording has an upload")
        stage.daemon.kill()
        rules = {
            named("start", fault): Rule(FAULTS[fault], command="HGETALL", key=f"*{records[named('start', fault)]}*")
            for fault in FAULTS
        }
        rules |= {fault: Rule(FAULTS[fault], command=CONNECT) for fault in CONNECTING}
        for rule in rules.values():
            proxy.add(rule)
        stage.daemon.start()
        wait_until_all_are_done(stage, stage.daemon, len(FAULTS))
        yield Aftermath(stage, stage.daemon, rules, stage.daemon.pid)


def begun(stage: Stage, count: int) -> dict[str, str]:
    """The stream ids of the recordings that have an upload, by path; nothing before there are so many."""
    metas = [stage.redis.hgetall(key) for key in stage.redis_keys("stream:*:meta")]
    found = {meta["path"]: meta["stream_id"] for meta in metas if "upload_id" in meta}
    return found if len(found) == count else {}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_broken_look_at_a_record_costs_its_recording_nothing(resumed: Aftermath, fault: str) -> None:
    """D2, D8, D9, D10, D15: at start, where nobody else remembers."""
    resumed.check(named("start", fault))
    assert resumed.daemon.lines("stream_resumed", file_path=named("start", fault))


@pytest.mark.parametrize("fault", CONNECTING)
def test_a_connection_that_is_refused_at_start_costs_nothing(resumed: Aftermath, fault: str) -> None:
    """D1, D9, D11."""
    assert resumed.rules[fault].injected == 1


@pytest.mark.parametrize(
    "aftermath",
    [pytest.param(name, marks=pytest.mark.xdist_group(f"test_redis_faults {name}")) for name in ("living", "resumed")],
)
def test_after_all_these_faults_nothing_else_is_left(request: pytest.FixtureRequest, aftermath: str) -> None:
    """D2, D8, D9, D10, D12, D15."""
    found: Aftermath = request.getfixturevalue(aftermath)
    stage, daemon = found.stage, found.daemon
    stage.wait_until_clean(*(name for name in found.rules if name.endswith(".mp4")))
    assert daemon.pid == found.pid and daemon.is_running()
    assert stage.redis_keys("bad:*") == []
    for event in ("unexpected_error", "stream_failed", "record_set_aside"):
        assert daemon.lines(event) == []
    assert "Traceback" not in daemon.everything_said()
    assert daemon.stop() == 0
