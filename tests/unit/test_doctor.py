"""What ``doctor`` concludes from facts alone, at each boundary."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from src.cli.program import COMMANDS
from src.doctor import CHECKS, FAULTS, WITHOUT, Facts, Neighbour, SettingsFacts, Verdict, exit_code, findings, policy
from src.domain import FolderFacts, RedisFacts, Right, Rule, StoreFacts
from src.s3_client.checkup import concerns
from src.status import Advice, Costly, Disk, Remedy
from tests.harness import statuses

GIB = 1024**3


def healthy() -> Facts:
    return Facts(
        SettingsFacts(bucket="films", ffprobe="7"),
        StoreFacts(
            answers=True,
            seconds=0.04,
            clock_ahead=0.2,
            rights=dict.fromkeys(Right, True),
            rules=(),
            versioning="off",
            checksum=True,
            if_none_match=True,
            if_match=True,
        ),
        RedisFacts(configuration={"maxmemory-policy": "noeviction", "appendonly": "yes", "save": ""}),
        FolderFacts(file_system="ext4", folders=3, watches=3, free=500 * GIB, total=1000 * GIB),
        neighbours=(),
    )


def named(facts: Facts) -> set[str]:
    return {line.fault for line in findings(facts) if line.fault}


def test_healthy_facts_have_one_good_line_for_each_check_in_order() -> None:
    lines = findings(healthy())
    assert [line.check for line in lines] == list(CHECKS)
    assert {line.verdict for line in lines} == {Verdict.OK}
    assert exit_code(lines, strict=True) == 0


def test_without_facts_everything_is_unknown_and_nothing_fails() -> None:
    lines = findings(Facts(SettingsFacts(ffprobe="7")))
    assert {line.verdict for line in lines if line.check != "settings"} == {Verdict.UNKNOWN}
    assert (exit_code(lines, strict=False), exit_code(lines, strict=True)) == (0, 1)


@pytest.mark.parametrize(
    ("ahead", "fault"),
    [(0, ""), (60, ""), (-60, ""), (61, "clock-off"), (-61, "clock-off"), (600, "clock-off"), (-601, "clock-wrong")],
)
def test_a_clock_warns_after_a_minute_and_fails_before_signatures_expire(ahead: float, fault: str) -> None:
    facts = healthy()
    assert facts.store is not None
    facts.store = replace(facts.store, clock_ahead=ahead)
    assert named(facts) == ({fault} if fault else set())
    if fault:
        (line,) = (line for line in findings(facts) if line.fault)
        assert ("behind" if ahead > 0 else "ahead of") in line.text


@pytest.mark.parametrize(
    ("rule", "hours", "faults"),
    [
        (Rule("a", aborts_after=7), 1, set()),
        (Rule("a", aborts_after=6), 1, {"rule-aborts"}),
        (Rule("a", aborts_after=7), 100, {"rule-aborts"}),  # a recording of four days, and an outage
        (Rule("a", aborts_after=8), 100, {"rule-aborts"}),
        (Rule("a", aborts_after=9), 100, set()),
        (Rule("", deletes_after=3650), 1, {"rule-deletes"}),
        (Rule("a", archives_after=0, archive="GLACIER"), 1, {"rule-archives"}),
        (Rule("a", 1, 2, 3, "GLACIER"), 1, {"rule-aborts", "rule-deletes", "rule-archives"}),
    ],
)
def test_a_rule_is_judged_by_the_longest_recording(rule: Rule, hours: float, faults: set[str]) -> None:
    facts = healthy()
    assert facts.store is not None and facts.redis is not None
    facts.store = replace(facts.store, rules=(rule,))
    facts.redis = replace(facts.redis, longest_seconds=hours * 3600)
    assert named(facts) == faults


@pytest.mark.parametrize(
    ("rule", "ours", "does"),
    [
        ({"Filter": {"Prefix": ""}}, "cam/", True),
        ({"Prefix": "c"}, "cam/", True),
        ({"Filter": {"Prefix": "cam/1/"}}, "cam/", True),
        ({"Filter": {"Prefix": "other/"}}, "cam/", False),
        ({"Filter": {"And": {"Prefix": "cam/", "Tags": [{"Key": "a", "Value": "b"}]}}}, "cam/", False),
        ({"Filter": {"Tag": {"Key": "a", "Value": "b"}}}, "cam/", False),
        ({"Filter": {"And": {"Prefix": "cam/", "ObjectSizeGreaterThan": 1}}}, "cam/", True),
        ({"Filter": {"Prefix": ""}, "Status": "Disabled"}, "cam/", False),
    ],
)
def test_a_rule_concerns_recordings_by_its_filter(rule: dict[str, object], ours: str, does: bool) -> None:
    assert concerns({"Status": "Enabled", **rule}, ours) is does


@pytest.mark.parametrize(
    ("free", "total", "fault"),
    [
        (0, 100 * GIB, "disk-full"),
        (10 * GIB - 1, 1000 * GIB, "disk-full"),
        (10 * GIB, 1000 * GIB, "disk-low"),  # 1 %
        (20 * GIB - 1, 1000 * GIB, "disk-low"),
        (20 * GIB, 1000 * GIB, ""),  # 2 %
        (5 * GIB - 1, 100 * GIB, "disk-low"),
        (5 * GIB, 100 * GIB, ""),
        (5 * GIB - 1, 64 * GIB, "disk-low"),
        (5 * GIB, 64 * GIB, ""),
        (3 * GIB, 60 * GIB, ""),  # 5 % of a small one
        (3 * GIB - 1, 60 * GIB, "disk-low"),
        (2 * GIB, 1000 * GIB, "disk-full"),
        (11 * GIB, 1000 * GIB, "disk-low"),
        (21 * GIB, 1000 * GIB, ""),
        (GIB, 30 * GIB, "disk-low"),
        (2 * GIB, 30 * GIB, ""),
    ],
)
def test_the_disk_is_judged_by_its_size(free: int, total: int, fault: str) -> None:
    facts = healthy()
    assert facts.folder is not None
    facts.folder = replace(facts.folder, free=free, total=total)
    assert named(facts) == ({fault} if fault else set())


@pytest.mark.parametrize(
    ("remembered", "sent_again", "is_short"), [(19, 19, False), (20, 2, False), (20, 3, True), (200, 21, True)]
)
def test_a_quiet_time_is_short_if_many_recordings_change_afterwards(
    remembered: int, sent_again: int, is_short: bool
) -> None:
    facts = healthy()
    assert facts.redis is not None
    facts.redis = replace(facts.redis, remembered=remembered, sent_again=sent_again)
    assert named(facts) == ({"quiet-time-short"} if is_short else set())


def _line(facts: Facts, check: str) -> str:
    (line,) = (line for line in findings(facts) if line.check == check)
    return line.text


def _with(facts: Facts, part: str, **changes: object) -> Facts:
    setattr(facts, part, replace(getattr(facts, part), **changes))
    return facts


def test_the_daemon_of_the_folder_says_for_how_long_it_runs() -> None:
    facts = healthy()
    assert _line(facts, "daemon") == "none of this user watches this folder"
    facts.status = statuses.idle()
    assert _line(facts, "daemon") == "cefmp4 0.2.0, process 4711, up 3 d 4 h"


def test_figures_are_told_as_people_count_them() -> None:
    assert ", 1234 ms" in _line(_with(healthy(), "store", seconds=1.234), "store")
    assert _line(_with(healthy(), "redis", used=85, limit=100), "redis") == "85% of its memory limit is used"


def test_a_folder_that_cannot_be_looked_at_says_nothing_of_its_disk() -> None:
    assert _line(_with(healthy(), "folder", error="gone"), "disk") == "the folder could not be examined"
    assert _line(_with(healthy(), "folder", total=0), "disk") == "the folder could not be examined"


def test_a_good_line_says_what_was_found() -> None:
    lines = {line.check: line.text for line in findings(healthy())}
    assert lines["settings"] == "environment; ffprobe 7"
    assert lines["store"] == "Amazon S3, bucket films, 40 ms, clock +0 s"
    assert lines["folder"] == "ext4, birth times; 0 recordings, folders: 3"
    assert lines["disk"] == "500.0 GiB of 1000.0 GiB are free"
    assert lines["redis"] == "0 completed recordings"
    assert _line(_with(healthy(), "folder", has_birth_times=False), "folder").startswith("ext4, no birth times;")
    assert _line(_with(healthy(), "redis", configuration={}), "redis").endswith("; its configuration may not be read")
    assert _line(_with(healthy(), "store", clock_ahead=None), "store") == "Amazon S3, bucket films, 40 ms"
    assert _line(_with(healthy(), "store", seconds=None, clock_ahead=-2.6), "store").endswith(", 0 ms, clock -3 s")


@pytest.mark.parametrize(
    ("part", "changes", "fault"),
    [
        ("settings", {"open_files": (".env",)}, "env-file-open"),
        ("settings", {"ffprobe": None}, "no-ffprobe"),
        ("settings", {"host": "::1"}, ""),
        ("settings", {"host": "localhost"}, ""),
        ("store", {"error": "Forbidden", "answers": True}, "credentials-refused"),
        ("store", {"error": "no answer", "answers": False}, "store-away"),
        ("store", {"error": "the bucket does not exist"}, "bucket-missing"),
        ("store", {"seconds": 1.5}, ""),
        ("store", {"seconds": 1.6}, "store-slow"),
        ("store", {"product": "MinIO"}, "store-drops-uploads"),
        ("store", {"if_match": False}, "no-conditions"),
        ("store", {"if_none_match": False}, "no-conditions"),
        ("store", {"checksum": False}, "no-checksums"),
        ("redis", {"error": "no answer"}, "redis-away"),
        ("redis", {"is_replica": True, "refused": "READONLY"}, "redis-replica"),
        ("redis", {"refused": "NOPERM"}, "redis-refuses"),
        ("redis", {"configuration": {"maxmemory-policy": "allkeys-lru"}}, "redis-evicts"),
        ("redis", {"configuration": {"appendonly": "no", "save": ""}}, "redis-forgets"),
        ("redis", {"configuration": {"appendonly": "no", "save": "900 1"}}, ""),
        ("redis", {"configuration": {"appendonly": "yes", "save": ""}}, ""),
        ("redis", {"configuration": {"maxmemory-policy": "volatile-ttl"}}, "redis-evicts"),
        ("redis", {"used": 79, "limit": 100}, ""),
        ("redis", {"used": 80, "limit": 100}, ""),
        ("redis", {"used": 81, "limit": 100}, "redis-full"),
        ("redis", {"used": 81, "limit": 0}, ""),
        ("redis", {"failed": 1}, "recordings-failed"),
        ("folder", {"error": "it does not exist"}, "folder-missing"),
        ("folder", {"has_leases": False}, "no-leases"),
        ("folder", {"watches": None}, ""),
        ("folder", {"watches": 2}, "few-watches"),
        ("folder", {"watches": 4}, ""),
        ("folder", {"folders": 30_000, "watches": 20_000}, ""),
        ("folder", {"folders": 30_000, "watches": 19_999}, "few-watches"),
        ("folder", {"unmatched": (("a.mov", "*.mov"),)}, "unmatched-films"),
    ],
)
def test_each_fault_is_named_by_the_fact_that_shows_it(part: str, changes: dict[str, object], fault: str) -> None:
    assert named(_with(healthy(), part, **changes)) == ({fault} if fault else set())


def test_leases_do_not_matter_where_nothing_is_finished_early() -> None:
    facts = _with(healthy(), "folder", has_leases=False)
    assert named(_with(facts, "settings", finish_early=False)) == set()


def test_what_could_not_be_tried_is_unknown_and_not_good() -> None:
    def verdicts(check: str, **changes: object) -> list[Verdict]:
        return [line.verdict for line in findings(_with(healthy(), "store", **changes)) if line.check == check]

    some = {**dict.fromkeys(Right, True), Right.ABORT: None}
    assert verdicts("rights", rights=some) == [Verdict.UNKNOWN]
    assert verdicts("rights", rights={**some, Right.GET: False}) == [Verdict.FAIL, Verdict.UNKNOWN]
    assert verdicts("rights", rights={**some, Right.PUT: False}) == [Verdict.FAIL]  # nothing could be tried without it
    assert verdicts("rights", rights={}) == [Verdict.UNKNOWN]
    assert verdicts("lifecycle", rules=None) == [Verdict.UNKNOWN]
    assert verdicts("lifecycle", rules=None, product="MinIO") == [Verdict.UNKNOWN, Verdict.WARN]
    assert verdicts("conditions", if_match=None) == verdicts("checksums", if_none_match=None) == [Verdict.UNKNOWN]
    assert verdicts("conditions", checksum=None) == [Verdict.UNKNOWN]


def test_a_store_that_cannot_be_used_says_its_own_hint() -> None:
    (line,) = (line for line in findings(_with(healthy(), "store", error="Forbidden", hint="Ask.", answers=True))
               if line.fault)  # fmt: skip
    assert (line.text, line.remedy) == ("Amazon S3, bucket films: Forbidden", "Ask.")
    (line,) = (line for line in findings(_with(healthy(), "redis", error="no", hint="Start it.")) if line.fault)
    assert (line.text, line.remedy) == ("no", "Start it.")


@pytest.mark.parametrize(
    ("part", "changes", "code"),
    [
        ("store", {"error": "no answer", "answers": False}, 3),
        ("store", {"error": "Forbidden"}, 1),
        ("redis", {"error": "no answer"}, 3),
        ("folder", {"error": "it does not exist"}, 1),
        ("folder", {}, 0),
    ],
)
def test_the_exit_code_tells_what_is_away_from_what_is_wrong(part: str, changes: dict[str, object], code: int) -> None:
    assert exit_code(findings(_with(healthy(), part, **changes)), strict=False) == code


def test_a_warning_fails_only_where_asked_to() -> None:
    lines = findings(_with(healthy(), "redis", failed=1))
    assert (exit_code(lines, strict=False), exit_code(lines, strict=True)) == (0, 1)


def test_the_longest_recording_is_told_where_it_makes_a_rule_too_short() -> None:
    facts = _with(healthy(), "store", rules=(Rule("x", aborts_after=7),))
    assert _line(_with(facts, "redis", longest_seconds=4 * 86_400.0), "lifecycle") == (
        'rule "x" aborts unfinished uploads after 7 days; the longest recording here took 96 h'
    )
    facts = _with(healthy(), "store", rules=(Rule("x", aborts_after=1),))
    assert _line(_with(facts, "redis", longest_seconds=86_400.0), "lifecycle").endswith("took 24 h")
    assert _line(_with(facts, "redis", longest_seconds=3600.0), "lifecycle").endswith("after 1 days")
    facts = _with(healthy(), "store", rules=(Rule("", aborts_after=6),))
    assert _line(_with(facts, "redis", longest_seconds=43_200.0), "lifecycle") == (
        "a rule aborts unfinished uploads after 6 days"
    )
    (line,) = (line for line in findings(facts) if line.fault)
    assert "after 7 days or more" in line.remedy
    facts.redis = None
    assert named(facts) == {"rule-aborts"}


@pytest.mark.parametrize(
    ("page", "has_password", "faults"),
    [
        ("auto", False, {"port-open"}),
        ("auto", True, {"port-open"}),
        ("off", True, {"port-open"}),
        ("open", True, {"port-open"}),
        ("open", False, {"page-open"}),
    ],
)
def test_a_port_that_others_reach_is_named_and_so_is_a_page_without_a_password(
    page: str, has_password: bool, faults: set[str]
) -> None:
    facts = healthy()
    facts.settings = replace(facts.settings, host="0.0.0.0", page=page, has_password=has_password)
    assert named(facts) == set()
    facts.settings = replace(facts.settings, is_port_open=True)
    assert named(facts) == faults
    (line,) = (line for line in findings(facts) if line.fault)
    assert ("asks for its password" in line.text) is (has_password and page != "off")


def test_every_file_with_secrets_that_others_may_read_has_its_line() -> None:
    facts = healthy()
    facts.settings = replace(facts.settings, open_files=("/a", "/b"))
    assert [line.remedy for line in findings(facts) if line.fault] == ["chmod 600 /a", "chmod 600 /b"]


HERE = Neighbour(11, "/srv", "films/", "redis://a/0 ", True)
ELSEWHERE = Neighbour(12, "/other", "films/x/", "redis://b/0 ", False)


@pytest.mark.parametrize(
    ("neighbours", "faults"),
    [
        ([], set()),
        ([HERE], set()),
        ([HERE, ELSEWHERE], set()),
        ([HERE, replace(HERE, pid=12)], {"two-daemons"}),
        ([replace(ELSEWHERE, keys="f", redis="r")], set()),
        ([HERE, replace(ELSEWHERE, redis=HERE.redis)], {"shared-redis-prefix"}),
        ([replace(ELSEWHERE, redis=HERE.redis)], {"shared-redis-prefix"}),
        ([replace(ELSEWHERE, keys=HERE.keys)], {"shared-keys"}),
        ([replace(ELSEWHERE, keys=HERE.keys, redis=HERE.redis)], {"shared-keys", "shared-redis-prefix"}),
    ],
)
def test_daemons_that_get_in_each_others_way_are_named(neighbours: list[Neighbour], faults: set[str]) -> None:
    facts = healthy()
    facts.neighbours, facts.keys, facts.redis_place = neighbours, "films/", "redis://a/0 "
    assert named(facts) == faults


@pytest.mark.parametrize(
    ("versioning", "rules", "verdict", "fault"),
    [
        (None, (), Verdict.UNKNOWN, ""),
        ("off", (), Verdict.OK, ""),
        ("Suspended", (), Verdict.OK, ""),
        ("Enabled", (), Verdict.WARN, "versions-kept"),
        ("Enabled", None, Verdict.OK, ""),
        ("Enabled", (Rule("a"), Rule("b", removes_versions=True)), Verdict.OK, ""),
    ],
)
def test_versions_that_nothing_removes_are_named(
    versioning: str | None, rules: tuple[Rule, ...] | None, verdict: Verdict, fault: str
) -> None:
    facts = healthy()
    assert facts.store is not None
    facts.store = replace(facts.store, versioning=versioning, rules=rules)
    (line,) = (line for line in findings(facts) if line.check == "versioning")
    assert (line.verdict, line.fault) == (verdict, fault)


@pytest.mark.parametrize(("hours", "fault"), [(23, "disk-fills"), (24, ""), (None, "")])
def test_a_disk_that_is_full_within_a_day_is_named(hours: int | None, fault: str) -> None:
    facts = healthy()
    view = statuses.usual()
    facts.status = replace(view, disk=Disk(5, None if hours is None else hours * 3600.0))
    assert named(facts) == ({fault} if fault else set())


@pytest.mark.parametrize("kind", Costly)
def test_what_the_daemon_advises_is_a_line_with_its_price_and_the_time_it_is_known(kind: Costly) -> None:
    facts = healthy()
    advice = Advice(str(kind), "obs/*.mp4", "212 GB sent twice", 5, 0.0, (Remedy("OBS", "Hybrid MP4"),))
    facts.status = replace(statuses.idle(), advice=(advice, replace(advice, kind="of a later version")))
    (line,) = (line for line in findings(facts) if line.check == "recorders")
    assert (line.fault, line.verdict, line.remedy) == (str(kind), Verdict.WARN, "OBS: Hybrid MP4")
    assert line.text == "obs/*.mp4: 212 GB sent twice in 3 d 4 h"
    facts.status = replace(facts.status, advice=())
    (line,) = (line for line in findings(facts) if line.check == "recorders")
    assert "nothing costly in 3 d 4 h" in line.text


def test_a_store_that_is_known_to_drop_uploads_is_named_by_its_address() -> None:
    facts = healthy()
    facts.settings = replace(facts.settings, store="https://account.r2.cloudflarestorage.com")
    assert named(facts) == {"store-drops-uploads"}


def test_every_right_that_is_refused_is_a_line_and_the_policy_has_each() -> None:
    facts = healthy()
    assert facts.store is not None
    facts.store = replace(facts.store, rights=dict.fromkeys(Right, False))
    assert sum(line.check == "rights" for line in findings(facts)) == len(Right) == len(WITHOUT)
    statements = policy("films", "cam/")["Statement"]
    assert isinstance(statements, list)
    assert sorted(action for one in statements for action in one["Action"]) == sorted(map(str, Right))


def test_every_fault_has_a_remedy_and_each_command_in_it_exists() -> None:
    assert all(fault.remedy for fault in FAULTS.values())
    assert {fault.verdict for fault in FAULTS.values()} == {Verdict.WARN, Verdict.FAIL}
    typed = {word for fault in FAULTS.values() for word in re.findall(r"cefmp4 (\w+)", fault.remedy)}
    assert typed
    assert typed - COMMANDS.keys() == set()
