"""From what was found at one look after the other to the figures that an operator asks for first."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.domain import Curve, Figures, Holding, Identity, Look, Risk, Snapshot, Tally, Waiting, Watch
from src.domain.at_risk import Rate, catch_up_seconds

UTC = 1_700_000_000.0
MB = 1_000_000


def seen(size: int, *, inode: int = 1, born: float = UTC, changed: float = UTC) -> Snapshot:
    changed_ns = round(changed * 1e9)
    return Snapshot(Identity(inode, round(born * 1e9)), size, changed_ns, changed_ns)


def carried(size: int, stored: int = 0, *, inode: int = 1, sendable: int = 0, **times: float) -> Holding:
    return Holding("a.mp4", seen(size, inode=inode, **times), stored, sendable, stream_id=f"stream-{inode}")


class Observer:
    """Looks every five seconds."""

    def __init__(self) -> None:
        self.watch = Watch()
        self.at = 0.0

    def sees(
        self,
        *holdings: Holding,
        waiting: Waiting | None = None,
        sent: float = 0.0,
        free: float = 1e9,
        media: float | None = None,
        away: bool = False,
    ) -> Figures:
        look = Look(self.at, UTC + self.at, holdings, waiting or Waiting(), sent, free, away)
        self.at += 5.0
        return self.watch.look(look, {} if media is None else {holdings[0].seen.identity: media})


def test_a_tail_is_at_risk_and_what_s3_has_is_not() -> None:
    figures = Observer().sees(carried(25 * MB, 20 * MB), carried(3 * MB, inode=2))
    assert figures.total.bytes == 8 * MB
    assert {stream: risk.bytes for stream, risk in figures.streams.items()} == {"stream-1": 5 * MB, "stream-2": 3 * MB}


def test_without_recordings_nothing_is_at_risk_and_nothing_is_late() -> None:
    figures = Observer().sees()
    assert (figures.total, figures.backlog, figures.catch_up) == (Risk(), 0, 0.0)
    assert (figures.ingest, figures.disk_full) == (0.0, math.inf)


def test_a_file_that_is_looked_up_is_at_risk_and_has_no_series_of_its_own() -> None:
    figures = Observer().sees(Holding("a.mp4", seen(7 * MB), sendable=7 * MB))
    assert (figures.total.bytes, figures.backlog, dict(figures.streams)) == (7 * MB, 7 * MB, {})


def test_files_that_wait_are_at_risk_and_backlog_together() -> None:
    figures = Observer().sees(carried(5 * MB), waiting=Waiting(7 * MB, 20.0, UTC - 100))
    assert (figures.total.bytes, figures.total.oldest, figures.backlog) == (12 * MB, 100.0, 7 * MB)
    assert figures.total.seconds == 20.0


def test_a_file_that_grows_while_it_waits_is_ingest() -> None:
    observer, tally = Observer(), Tally()
    for step in range(60):
        tally.put("a.mp4", seen(step * 5 * MB))
        figures = observer.sees(waiting=tally.waiting())
    assert figures.ingest == pytest.approx(MB)


@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.none() | st.tuples(*3 * [st.integers(0, 50)], st.integers(1, 3))),
        max_size=40,
    )
)
def test_a_tally_is_the_sum_of_what_waits(
    course: Sequence[tuple[str, tuple[int, int, int, int] | None]],
) -> None:
    tally, files = Tally(), dict[str, tuple[Identity, int, float, float]]()
    for path, change in course:
        if change is None:
            tally.drop(path)
            files.pop(path, None)
        else:
            size, stored, born, inode = change
            now = seen(size, inode=inode, born=UTC + born, changed=UTC + 50)
            tally.put(path, now, seen(stored, inode=inode) if stored else None)
            since = 50.0 if stored else born
            if path in files and files[path][0] == now.identity:
                since = min(since, files[path][2])
            missing = max(0, size - stored)
            files[path] = now.identity, missing, since, (50 - since) * missing / max(1, size)
    waiting, at_risk = tally.waiting(), [since for _, missing, since, _ in files.values() if missing]
    assert waiting.bytes == sum(missing for _, missing, _, _ in files.values())
    assert waiting.seconds == pytest.approx(sum(seconds for *_, seconds in files.values()), abs=1e-3)
    assert waiting.born == (pytest.approx(UTC + min(at_risk)) if at_risk else None)


def test_a_file_without_a_birth_time_ages_from_when_it_was_first_seen() -> None:
    tally = Tally()
    for second in range(0, 7200, 5):
        tally.put("a.mp4", seen(second * MB + 1, born=0, changed=UTC + second))
    waiting = tally.waiting()
    assert waiting.born == pytest.approx(UTC)
    assert waiting.seconds == pytest.approx(7195)


def test_of_a_file_whose_object_is_proved_only_what_came_since_ages() -> None:
    tally, done = Tally(), seen(100 * MB, born=UTC - 86_400, changed=UTC - 80_000)
    tally.put("done.mp4", seen(100 * MB, born=UTC - 86_400, changed=UTC), done)
    assert tally.waiting().born is None, "a touched file has nothing at risk"
    tally.put("new.mp4", seen(5, inode=2, born=UTC - 10, changed=UTC))
    assert tally.waiting().born == pytest.approx(UTC - 10)
    tally.put("done.mp4", seen(101 * MB, born=UTC - 86_400, changed=UTC), done)
    assert tally.waiting().born == pytest.approx(UTC - 10), "its new megabyte is as young as its first change"


def test_a_finished_recording_that_goes_on_is_as_young_as_its_growth() -> None:
    done = seen(100 * MB, born=UTC - 86_400, changed=UTC - 86_300)
    now = Holding("a.mp4", seen(150 * MB, born=UTC - 86_400), 100 * MB, stream_id="one", proved=done)
    assert Observer().sees(now).total.oldest <= 5


@pytest.mark.parametrize("born", [0.0, UTC], ids=["no birth times", "birth times"])
def test_a_tally_stays_as_small_as_its_files(born: float) -> None:
    tally = Tally()
    tally.put("first.mp4", seen(5, inode=2, born=UTC - 100, changed=UTC - 100))
    for number in range(10_000):
        if number % 3 == 0:
            tally.drop("a.mp4")
        tally.put("a.mp4", seen(number + 1, born=born, changed=UTC + number))
        tally.put(f"{number}.mp4", seen(1, inode=number + 3))
        tally.drop(f"{number}.mp4")
    assert len(tally._by_birth) <= 100
    assert tally.waiting().bytes == 10_005


def test_a_file_that_is_to_be_looked_up_is_a_number_until_it_changes() -> None:
    tally = Tally()
    tally.put("a.mp4", seen(7, born=UTC - 10**6), to_look_up=True)
    figures = Observer().sees(waiting=tally.waiting())
    assert (figures.to_look_up, figures.total, figures.backlog) == (1, Risk(), 0)
    tally.put("a.mp4", seen(8, born=UTC - 10**6))
    figures = Observer().sees(waiting=tally.waiting())
    assert (figures.to_look_up, figures.total.bytes, figures.backlog) == (0, 8, 8)
    assert figures.total.oldest == pytest.approx(10**6)


def test_two_names_of_one_file_count_once() -> None:
    assert Observer().sees(Holding("a.mp4", seen(5)), Holding("b.mp4", seen(5))).total.bytes == 5


def test_an_object_that_is_longer_than_its_file_has_become_leaves_nothing_at_risk() -> None:
    assert Observer().sees(carried(5, 9)).total == Risk()


# -- seconds and age ---------------------------------------------------------------------------------------------------


def grown(observer: Observer, minutes: float, *, stored: int = 0, start: int = 0) -> Figures:
    """A recorder that writes a megabyte a second; S3 has the first ``stored`` bytes."""
    figures = observer.sees(carried(start, stored))
    for step in range(1, int(minutes * 12) + 1):
        figures = observer.sees(carried(start + step * 5 * MB, stored))
    return figures


def test_while_s3_is_away_seconds_and_age_follow_the_clock() -> None:
    figures = grown(Observer(), minutes=3)
    assert figures.total.seconds == pytest.approx(180, rel=0.02)
    assert figures.total.oldest == pytest.approx(180, abs=5)
    assert figures.ingest == pytest.approx(1 * MB, rel=0.05)


def test_what_s3_takes_makes_the_oldest_byte_younger() -> None:
    observer = Observer()
    grown(observer, minutes=3)
    figures = observer.sees(carried(185 * MB, 165 * MB))
    assert figures.total.oldest == pytest.approx(20, abs=5)
    assert figures.total.seconds == pytest.approx(20, abs=2)


def test_a_recorder_that_pauses_ages_but_its_seconds_stay() -> None:
    observer = Observer()
    grown(observer, minutes=2)
    for _ in range(120):
        figures = observer.sees(carried(120 * MB, 110 * MB))
    assert figures.total.seconds == pytest.approx(10, abs=1)
    assert figures.total.oldest == pytest.approx(610, abs=10)
    figures = observer.sees(carried(125 * MB, 120 * MB))
    assert figures.total.oldest <= 5, "what came after the pause is young"


def test_a_recorder_that_is_slow_to_begin_is_not_held_to_that() -> None:
    """It writes a header, and then nothing until its encoder has warmed up."""
    observer = Observer()
    observer.at = 4.0
    observer.sees(carried(1000, changed=UTC + 3))
    for step in range(1, 4):
        figures = observer.sees(carried(1000 + step * 5 * MB, changed=UTC + 4 + step * 5))
    assert figures.total.seconds == pytest.approx(15, rel=0.3)


def test_a_recorder_that_writes_in_bursts_is_as_fast_as_its_average() -> None:
    observer = Observer()
    for step in range(60):
        figures = observer.sees(carried(step // 4 * 20 * MB))
    assert figures.total.seconds == pytest.approx(280, rel=0.05)


def test_an_upload_that_is_lost_makes_everything_at_risk_again_with_its_age() -> None:
    observer = Observer()
    grown(observer, minutes=3, stored=170 * MB)
    assert observer.sees(carried(180 * MB, 0)).total.oldest == pytest.approx(185, abs=5)


def test_a_file_that_was_there_before_the_daemon_tells_by_its_birth_and_last_change() -> None:
    figures = Observer().sees(carried(60 * MB, 30 * MB, born=UTC - 70, changed=UTC - 10))
    assert figures.total.oldest == pytest.approx(40)
    assert figures.total.seconds == pytest.approx(30)


@pytest.mark.parametrize("born", [0.0, UTC + 900], ids=["no birth time", "a clock that is ahead"])
def test_times_that_tell_nothing_make_no_nonsense(born: float) -> None:
    figures = Observer().sees(carried(60 * MB, 30 * MB, born=born, changed=UTC + 500))
    assert figures.total == Risk(30 * MB, 0.0, 0.0)


def test_the_medias_own_clock_is_believed_before_the_growth() -> None:
    assert Observer().sees(carried(60 * MB, born=UTC - 10), media=42.5).total.seconds == 42.5


def test_a_file_that_became_shorter_is_followed_from_there() -> None:
    observer = Observer()
    grown(observer, minutes=2)
    observer.sees(carried(0, 0))
    assert grown(observer, minutes=1).total.oldest == pytest.approx(60, abs=10)


# -- rates, backlog, disk ----------------------------------------------------------------------------------------------


def test_the_uplink_is_measured_while_there_is_a_backlog_and_remembered_without() -> None:
    observer = Observer()
    for step in range(40):
        busy = observer.sees(carried(10_000 * MB, sendable=MB), sent=step * 10 * MB)
    for _ in range(40):
        idle = observer.sees(sent=390 * MB)
    assert busy.uplink == idle.uplink == pytest.approx(2 * MB, rel=0.01)


def test_the_time_to_catch_up_is_the_backlog_by_what_the_link_can_do_beyond_the_recorders() -> None:
    assert catch_up_seconds(600, 30, 10) == 30
    assert catch_up_seconds(0, 0, 10) == 0
    assert catch_up_seconds(600, 10, 10) == math.inf


def test_during_an_outage_it_never_catches_up_and_the_disk_has_an_end() -> None:
    observer = Observer()
    for step in range(120):
        figures = observer.sees(carried(step * 5 * MB, sendable=step * 5 * MB), free=3600 * MB)
    assert figures.catch_up == math.inf
    assert figures.disk_full == pytest.approx(3600, rel=0.02)


@pytest.mark.parametrize("minutes", [0.1, 2, 120])
def test_after_an_outage_the_link_is_as_fast_as_before_and_not_as_slow_as_nothing(minutes: float) -> None:
    observer, backlog = Observer(), carried(10_000 * MB, sendable=10_000 * MB)
    for step in range(40):
        before = observer.sees(backlog, sent=step * 10 * MB)
    for _ in range(round(minutes * 12) + 1):
        away = observer.sees(backlog, sent=390 * MB, away=True)
    back = observer.sees(backlog, sent=391 * MB)  # it came a moment before the look
    assert (away.uplink, away.catch_up) == (0, math.inf)
    assert back.uplink == before.uplink
    assert observer.sees(backlog, sent=391 * MB).uplink == pytest.approx(before.uplink, rel=0.1)


def test_a_link_that_was_never_measured_is_measured_when_the_store_comes_back() -> None:
    observer, backlog = Observer(), carried(10_000 * MB, sendable=10_000 * MB)
    for _ in range(24):
        observer.sees(backlog, away=True)
    assert observer.sees(backlog, sent=100 * MB).uplink == 20 * MB


CHUNK = 10 * MB


def day(observer: Observer, *, recorders: int, link: float, seconds: float, hours: float) -> list[Figures]:
    """Recorders of 2.5 MB/s begin one after the other within half an hour; a part arrives so many seconds after its
    chunk is whole, but never more than ``link`` bytes a second go out."""
    seen_figures, stored, at, sent = [], [0] * recorders, 0.0, 0
    starts = [1800.0 * number / recorders for number in range(recorders)]

    def size(number: int, now: float) -> int:
        return int(max(0.0, now - starts[number]) * 2.5 * MB)

    while at < hours * 3600:
        at += 5.0
        allowance = link * at
        for number in range(recorders):
            while stored[number] + CHUNK <= size(number, at - seconds) and sent + CHUNK <= allowance:
                stored[number] += CHUNK
                sent += CHUNK
        held = []
        for number, has in enumerate(stored):
            if at > starts[number]:
                now, whole = size(number, at), size(number, at) // CHUNK * CHUNK
                times = {"born": UTC + starts[number], "changed": UTC + at}
                held.append(carried(now, has, inode=number + 1, sendable=whole - has, **times))
        observer.at = at
        seen_figures.append(observer.sees(*held, sent=sent, free=5e12))
    return seen_figures


@pytest.mark.parametrize("seconds", [1.0, 4.0])
def test_on_a_healthy_day_with_many_recorders_it_is_always_about_to_be_caught_up(seconds: float) -> None:
    course = day(Observer(), recorders=40, link=math.inf, seconds=seconds, hours=1)
    assert sum(figures.backlog > 0 for figures in course) > len(course) / 2, "some part is nearly always on its way"
    assert max(figures.catch_up for figures in course[12:]) < 60


def test_a_link_that_is_too_slow_never_catches_up() -> None:
    course = day(Observer(), recorders=20, link=30 * MB, seconds=1.0, hours=2)
    assert all(math.isinf(figures.catch_up) for figures in course[len(course) // 2 :])
    assert course[-1].uplink == pytest.approx(30 * MB, rel=0.1)


def test_a_file_that_was_moved_into_the_folder_fills_no_disk() -> None:
    observer = Observer()
    observer.sees()
    assert observer.sees(carried(100_000 * MB, born=UTC - 864_000)).ingest < MB


def test_a_file_without_a_birth_time_is_measured_from_its_second_look_on() -> None:
    observer = Observer()
    observer.sees()
    assert observer.sees(carried(100_000 * MB, born=0, changed=UTC + 5)).ingest == 0
    assert 0 < observer.sees(carried(100_005 * MB, born=0, changed=UTC + 10)).ingest < MB


def test_a_file_that_was_just_begun_counts_whole() -> None:
    observer = Observer()
    observer.sees()
    assert observer.sees(carried(5 * MB, born=UTC + 3)).ingest == pytest.approx(MB)


def test_a_disk_of_which_nothing_is_known_is_not_full() -> None:
    observer = Observer()
    observer.sees(carried(0))
    figures = observer.sees(carried(50 * MB), free=math.nan)
    assert math.isnan(figures.free) and math.isnan(figures.disk_full)


# -- the pieces --------------------------------------------------------------------------------------------------------


def test_a_rate_forgets_what_was_measured_long_ago() -> None:
    rate = Rate()
    rate.measure(100.0, 0.0)
    rate.measure(0.0, 60.0)
    assert rate.value == pytest.approx(100 / math.e)
    rate.measure(7.0, 6000.0)
    assert rate.value == pytest.approx(7.0)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=600))
def test_a_curve_of_steady_growth_stays_small_and_true(steps: Sequence[int]) -> None:
    curve, length = Curve(0, 0.0), 0
    for step in steps:
        length += step
        curve.reach(length, length / 10)
    assert len(curve._points) <= 128
    for at in (0, length // 3, length // 2, length):
        assert curve.moment(at) == pytest.approx(at / 10, abs=1e-6)


@given(st.lists(st.integers(0, 50), max_size=300), st.integers(0, 60))
def test_any_course_of_a_file_gives_figures_that_can_be(sizes: Sequence[int], stored: int) -> None:
    observer = Observer()
    for size in sizes:
        figures = observer.sees(carried(size, stored, sendable=max(0, size - stored)))
        risk = figures.total
        assert risk.bytes == max(0, size - stored)
        assert 0 <= risk.oldest <= observer.at and risk.seconds >= 0
        assert figures.ingest >= 0 and figures.catch_up >= 0


def test_what_has_ended_is_forgotten() -> None:
    observer = Observer()
    for inode in range(1, 1000):
        observer.sees(carried(5, inode=inode))
    assert len(observer.watch._growing) == len(observer.watch._sizes) == 1
