"""The figures of what is at risk, counted by hand: rates, curves, tallies and what follows from them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from src.domain import Curve, Holding, Identity, Look, Risk, Snapshot, Tally, Waiting, Watch
from src.domain.at_risk import Growth, Rate, catch_up_seconds

UTC = 1_700_000_000.0
MB = 1_000_000


def snapshot(size: int, *, inode: int = 1, born: float = UTC, changed: float = UTC) -> Snapshot:
    changed_ns = round(changed * 1e9)
    return Snapshot(Identity(inode, round(born * 1e9)), size, changed_ns, changed_ns)


def look(at: float, *holdings: Holding, waiting: Waiting | None = None, **more: float) -> Look:
    sent, free = more.get("sent", 0.0), more.get("free", math.nan)
    return Look(at, UTC + at, holdings, waiting or Waiting(), sent, free, away=bool(more.get("away")))


def about(value: Any) -> Any:
    return pytest.approx(value, rel=1e-12, abs=1e-6)


def newer(seconds: float) -> float:
    """The weight of what came in the last so many seconds, where the average is over a minute."""
    return 1 - math.exp(-seconds / 60)


# --- Curves and rates -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "moment"), [(-1, 100), (0, 100), (5, 105), (10, 110), (20, 115), (29, 119.5), (30, 120), (31, 120)]
)
def test_between_two_points_a_file_grew_steadily(length: float, moment: float) -> None:
    curve = Curve(0, 100)
    curve.reach(10, 110)
    curve.reach(30, 120)
    assert curve.moment(length) == about(moment)


def test_a_file_that_is_shorter_now_is_as_long_as_it_is_since_now() -> None:
    curve = Curve(0, 100)
    curve.reach(10, 110)
    curve.reach(30, 120)
    curve.reach(20, 130)
    assert [curve.moment(length) for length in (10, 15, 20, 25)] == about([110, 120, 130, 130])


def test_a_file_that_is_cut_far_back_forgets_all_its_lengths_beyond() -> None:
    curve = Curve(0, 100)
    curve.reach(10, 110)
    curve.reach(5, 120)
    assert [curve.moment(length) for length in (0, 5, 7)] == [100, 120, 120]


def test_a_file_from_a_clock_that_runs_ahead_is_as_old_as_the_first_look() -> None:
    growth = Growth(snapshot(100, born=UTC + 3600, changed=UTC + 3600), 0, UTC)
    assert [growth.risk(stored, 10.0).oldest for stored in (0, 50, 99)] == [10.0] * 3


def test_a_file_that_is_shorter_than_at_first_keeps_the_moment_of_its_first_bytes() -> None:
    curve = Curve(100, 5)
    curve.reach(50, 9)
    assert [curve.moment(length) for length in (20, 50)] == [5, 9]


@pytest.mark.parametrize(("stored", "at_risk"), [(0, 100), (30, 70), (100, 0), (120, 0)])
def test_what_the_store_lacks_of_a_file_is_at_risk_and_a_file_that_shrank_lacks_nothing(
    stored: int, at_risk: int
) -> None:
    assert Holding("/in/a.mp4", Snapshot(Identity(1, 1), 100, 0, 0), stored).at_risk == at_risk


def test_a_file_that_stood_still_grew_afterwards() -> None:
    curve = Curve(0, 0)
    curve.reach(10, 10)
    curve.reach(10, 20)
    curve.reach(20, 30)
    assert [curve.moment(length) for length in (5, 10, 15)] == about([5, 20, 25])


def test_a_long_curve_loses_every_other_point_but_the_first_and_the_last() -> None:
    curve = Curve(0, 0)
    for step in range(1, 129):
        curve.reach(step, step**2)
    assert [curve.moment(length) for length in (0, 2, 126, 128)] == [0, 4, 126**2, 128**2]
    assert curve.moment(1) == about(2), "in the middle of what is left on both sides"


def test_a_rate_is_weighted_by_time() -> None:
    rate = Rate()
    rate.measure(10.0, at=100.0)
    assert rate.value == 10.0, "the first is all there is"
    rate.measure(20.0, at=130.0)
    assert rate.value == about(10 + newer(30) * 10)
    before = rate.value
    rate.measure(0.0, at=131.0)
    assert rate.value == about(before - newer(1) * before)


def test_an_average_has_the_weight_of_its_time() -> None:
    rate = Rate(10.0, at=100.0, begun=40.0)
    rate.measure(20.0, at=130.0)
    assert rate.value == about(10 + 10 * newer(30) / newer(90))
    at_once = Rate(10.0, at=100.0, begun=100.0)
    at_once.measure(20.0, at=100.0)
    assert at_once.value == 10.0


def test_a_rate_that_only_supply_has_limited_raises_it() -> None:
    rate = Rate()
    rate.measure(10.0, at=100.0)
    rate.at_least(5.0)
    assert rate.value == 10.0
    rate.at_least(15.0)
    assert rate.value == 15.0


def test_a_pause_does_not_count() -> None:
    rate = Rate()
    rate.measure(10.0, at=100.0)
    rate.resume(12.0, at=1000.0)
    assert rate.value == 12.0
    rate.measure(0.0, at=1030.0)
    assert rate.value == about(12 - newer(30) * 12)
    unknown = Rate()
    unknown.resume(0.0, at=50.0)
    unknown.measure(7.0, at=51.0)
    assert unknown.value == 7.0, "nothing was measured before"


# --- One file -------------------------------------------------------------------------------------------------------


def test_a_file_that_is_followed_from_its_birth() -> None:
    growth = Growth(snapshot(0), 0, UTC)
    assert growth.risk(0, 0) == Risk()
    growth.follow(5 * MB, 5)
    assert growth.risk(0, 5) == Risk(5 * MB, about(5), about(5))
    growth.follow(15 * MB, 10)
    rate = 1 + newer(5)
    assert growth.risk(0, 10) == Risk(15 * MB, about(15 / rate), about(10))
    assert growth.risk(10 * MB, 10) == Risk(5 * MB, about(5 / rate), about(2.5))
    assert growth.risk(15 * MB, 10) == growth.risk(16 * MB, 10) == Risk()
    assert growth.risk(15 * MB, 40) == Risk(), "all is stored, however long ago it grew"
    assert growth.risk(15 * MB - 1, 10).bytes == 1


def test_after_a_pause_the_first_new_byte_is_as_old_as_the_last_look_without_it() -> None:
    growth = Growth(snapshot(0), 0, UTC)
    growth.follow(5 * MB, 5)
    growth.follow(5 * MB, 40)
    growth.follow(10 * MB, 45)
    rate = 1 + newer(40) * (5 / 40 - 1)
    assert growth.risk(5 * MB, 45) == Risk(5 * MB, about(5 / rate), about(5))
    assert growth.risk(4 * MB, 45).oldest == about(41)


def test_a_pause_longer_than_a_minute_counts_as_a_minute() -> None:
    growth = Growth(snapshot(0), 0, UTC)
    growth.follow(5 * MB, 5)
    growth.follow(11 * MB, 205)
    rate = 1 + newer(200) * (6 / 60 - 1)
    assert growth.risk(5 * MB, 205).seconds == about(6 / rate)


def test_looks_may_follow_each_other_at_once() -> None:
    growth = Growth(snapshot(0), 0, UTC)
    growth.follow(5 * MB, 0.5)
    assert growth.risk(0, 0.5) == Risk(5 * MB, about(0.5), about(0.5))
    at_once = Growth(snapshot(0), 0, UTC)
    at_once.follow(5 * MB, 0)
    assert at_once.risk(0, 0).seconds == about(0.001), "no rate is without end"


def test_a_file_that_shrank_grows_from_there() -> None:
    growth = Growth(snapshot(0), 0, UTC)
    growth.follow(10 * MB, 10)
    growth.follow(4 * MB, 20)
    assert growth.risk(0, 20) == Risk(4 * MB, about(4), about(20))
    growth.follow(6 * MB, 25)
    assert growth.risk(4 * MB, 25).oldest == about(5)


def test_a_file_from_before_is_as_fast_as_between_birth_and_last_change() -> None:
    growth = Growth(snapshot(60 * MB, born=UTC - 70, changed=UTC - 10), 0, UTC)
    assert growth.risk(30 * MB, 0) == Risk(30 * MB, about(30), about(40))
    growth.follow(70 * MB, 5)
    rate = 1 + (10 / 15 - 1) * newer(15) / newer(75)
    assert growth.risk(30 * MB, 5).seconds == about(40 / rate)


def test_a_file_that_was_written_in_no_time_has_no_rate_yet() -> None:
    growth = Growth(snapshot(60 * MB, born=UTC - 10, changed=UTC - 10), 0, UTC)
    assert growth.risk(0, 0) == Risk(60 * MB, 0.0, about(10))


# --- Those who wait -------------------------------------------------------------------------------------------------


def test_a_file_that_waits_has_the_seconds_of_what_is_missing() -> None:
    tally = Tally()
    tally.put("a.mp4", snapshot(10, born=UTC - 100, changed=UTC))
    assert tally.waiting() == Waiting(10, about(100), about(UTC - 100))
    tally.put("b.mp4", snapshot(10, inode=2, born=UTC - 50, changed=UTC), snapshot(4, inode=2))
    assert tally.waiting() == Waiting(16, about(100), about(UTC - 100))
    tally.drop("a.mp4")
    assert tally.waiting() == Waiting(6, 0.0, about(UTC))
    tally.drop("b.mp4")
    tally.drop("b.mp4")
    assert tally.waiting() == Waiting()


def test_when_all_files_are_gone_not_a_fraction_of_a_second_is_left() -> None:
    tally = Tally()
    for number in range(3, 40):
        name, born = f"{number}.mp4", UTC - number * 7654.321
        tally.put(name, snapshot(number, inode=number, born=born))
        tally.put(name, snapshot(number, inode=number, born=born), snapshot(1, inode=number))
    assert tally.waiting().seconds > 0
    for number in range(3, 40):
        tally.drop(f"{number}.mp4")
    assert tally.waiting().seconds == 0


def test_a_file_that_waits_for_twelve_days_has_as_many_seconds() -> None:
    tally = Tally()
    tally.put("a.mp4", snapshot(10, born=UTC - 1_000_000, changed=UTC))
    assert tally.waiting() == Waiting(10, about(1_000_000), about(UTC - 1_000_000))


def test_a_file_that_is_shorter_than_its_object_lacks_nothing() -> None:
    tally = Tally()
    tally.put("a.mp4", snapshot(4), snapshot(5))
    assert tally.waiting() == Waiting()


def test_a_file_without_bytes_has_no_seconds() -> None:
    tally = Tally()
    tally.put("a.mp4", snapshot(0, born=UTC - 100, changed=UTC))
    assert tally.waiting() == Waiting()
    tally.put("b.mp4", snapshot(1, inode=2, born=UTC - 100, changed=UTC))
    assert tally.waiting() == Waiting(1, about(100), about(UTC - 100))


def test_what_a_file_grows_by_while_it_waits_is_counted_once_and_for_good() -> None:
    tally = Tally()
    for size in (10, 25, 20, 21):
        tally.put("a.mp4", snapshot(size))
    assert tally.waiting().grown == 16
    tally.put("a.mp4", snapshot(1000, inode=2))
    assert tally.waiting().grown == 16, "another file has not grown"
    tally.drop("a.mp4")
    assert tally.waiting().grown == 16


def test_files_that_are_to_be_looked_up_are_counted() -> None:
    tally = Tally()
    for number in range(3):
        tally.put(f"{number}.mp4", snapshot(5, inode=number), to_look_up=True)
    assert tally.waiting() == Waiting(to_look_up=3)
    tally.put("0.mp4", snapshot(5, inode=0))
    tally.drop("1.mp4")
    assert (tally.waiting().to_look_up, tally.waiting().bytes) == (1, 5)


def test_the_oldest_is_the_first_that_has_bytes_at_risk() -> None:
    tally = Tally()
    tally.put("old.mp4", snapshot(5, inode=1, born=UTC - 500))
    tally.put("new.mp4", snapshot(5, inode=2, born=UTC - 5))
    assert tally.waiting().born == about(UTC - 500)
    tally.put("old.mp4", snapshot(5, inode=1, born=UTC - 500, changed=UTC), snapshot(5, inode=1))
    assert tally.waiting().born == about(UTC - 5)
    tally.put("old.mp4", snapshot(6, inode=1, born=UTC - 500, changed=UTC), snapshot(5, inode=1))
    assert tally.waiting().born == about(UTC - 500), "once it was that old, and it is the same file"


def test_the_oldest_that_is_left_is_told() -> None:
    tally = Tally()
    for number in range(5):
        tally.put(f"{number}.mp4", snapshot(5, inode=number, born=UTC - 500 + number))
    for number in range(4):
        assert tally.waiting().born == about(UTC - 500 + number)
        tally.drop(f"{number}.mp4")
    assert tally.waiting().born == about(UTC - 496)


@pytest.mark.parametrize("born", [UTC - 5, UTC - 900])
def test_another_file_at_the_same_path_has_its_own_age(born: float) -> None:
    tally = Tally()
    tally.put("a.mp4", snapshot(5, inode=1, born=UTC - 500))
    tally.put("a.mp4", snapshot(5, inode=2, born=born))
    assert tally.waiting().born == about(born)


def test_files_that_come_and_go_fill_no_memory() -> None:
    tally = Tally()
    for number in range(1_000):
        tally.put("a.mp4", snapshot(5, inode=number, born=UTC - 1_000 + number))
    assert len(tally._by_birth) < 100
    assert tally.waiting().born == about(UTC - 1)


def test_a_file_without_a_birth_time_is_as_old_as_its_earliest_change() -> None:
    tally = Tally()
    for changed, born in ((UTC, UTC), (UTC - 100, UTC - 100), (UTC + 50, UTC - 100)):
        tally.put("a.mp4", snapshot(5, born=0.0, changed=changed))
        assert tally.waiting().born == about(born)


# --- All together ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backlog", "uplink", "ingest", "seconds"),
    [(0, 0, 0, 0), (0, 1, 5, 0), (10, 5, 0, 2), (10, 5, 3, 5), (10, 5, 5, math.inf), (10, 3, 5, math.inf)],
)
def test_the_time_to_catch_up(backlog: float, uplink: float, ingest: float, seconds: float) -> None:
    assert catch_up_seconds(backlog, uplink, ingest) == seconds


def carried(size: int, stored: int = 0, *, inode: int = 1, sendable: int = 0) -> Holding:
    return Holding("a.mp4", snapshot(size, inode=inode), stored, sendable, stream_id=f"stream-{inode}")


def test_ingest_is_what_was_written_in_the_time_between_two_looks() -> None:
    watch = Watch()
    watch.look(look(0, carried(0), waiting=Waiting(grown=MB)), {})
    figures = watch.look(look(5, carried(10 * MB), waiting=Waiting(grown=3 * MB), free=48.0 * MB), {})
    assert figures.ingest == about(12 * MB / 5)
    assert (figures.free, figures.disk_full) == (48 * MB, about(20))
    figures = watch.look(look(10, carried(4 * MB), waiting=Waiting(grown=3 * MB)), {})
    assert figures.ingest == about((1 - newer(5)) * 12 * MB / 5), "a file that shrank was not written"


@pytest.mark.parametrize(("written", "is_filling"), [(5, False), (6, True)])
def test_a_byte_a_second_fills_no_disk(written: int, is_filling: bool) -> None:
    watch = Watch()
    watch.look(look(0, carried(0)), {})
    figures = watch.look(look(5, carried(written), free=100.0), {})
    assert figures.disk_full == (about(100 * 5 / 6) if is_filling else math.inf)


def test_without_a_file_nothing_is_at_risk() -> None:
    figures = Watch().look(look(0), {})
    assert (figures.total, figures.backlog, figures.catch_up) == (Risk(), 0, 0.0)


def test_two_looks_at_once_measure_nothing() -> None:
    watch = Watch()
    watch.look(look(0, carried(0)), {})
    figures = watch.look(look(0, carried(MB)), {})
    assert (figures.ingest, figures.uplink) == (0.0, 0.0)
    assert watch.look(look(5, carried(2 * MB)), {}).ingest == about(MB / 5)


@pytest.mark.parametrize(("more", "catches_up"), [(-MB, True), (0, True), (1, False)])
def test_a_backlog_of_a_minutes_growth_is_no_delay(more: int, catches_up: bool) -> None:
    """The link takes exactly what is written: more than a minute's backlog is never caught up with."""
    watch = Watch()
    watch.look(look(0, carried(0)), {})
    backlog = 60 * MB + more
    figures = watch.look(look(5, carried(5 * MB, sendable=backlog), sent=5.0 * MB), {})
    assert (figures.backlog, figures.ingest, figures.uplink) == (backlog, MB, MB)
    assert figures.catch_up == (about(backlog / MB) if catches_up else math.inf)


def test_a_link_is_measured_when_it_was_behind_at_both_looks() -> None:
    watch = Watch()
    watch.look(look(0, carried(0, sendable=MB)), {})
    assert watch.look(look(5, carried(0, sendable=MB), sent=50.0), {}).uplink == 10.0
    # Behind before, too: now it is measured, and what is slower counts.
    assert watch.look(look(10, carried(0, sendable=MB), sent=150.0), {}).uplink == 20.0
    slower = watch.look(look(15, carried(0, sendable=MB), sent=150.0), {}).uplink
    assert slower == about(20 - newer(5) * 20)
    # It has caught up: what is slower says nothing of the link, now and at the next look.
    assert watch.look(look(20, carried(0), sent=150.0), {}).uplink == slower
    assert watch.look(look(25, carried(0, sendable=MB), sent=150.0), {}).uplink == slower
    assert watch.look(look(30, carried(0, sendable=MB), sent=150.0), {}).uplink < slower


def test_while_the_store_is_away_the_link_is_nothing_and_afterwards_as_before() -> None:
    watch = Watch()
    watch.look(look(0, carried(0, sendable=MB)), {})
    assert watch.look(look(5, carried(0, sendable=MB), sent=50.0), {}).uplink == 10.0
    assert watch.look(look(5, carried(0, sendable=MB), sent=50.0), {}).sent == 10.0
    figures = watch.look(look(10, carried(0, sendable=MB), sent=50.0, away=1), {})
    assert figures.sent == 0.0
    assert (figures.uplink, figures.catch_up) == (0.0, math.inf)
    assert watch.look(look(15, carried(0, sendable=MB), sent=50.0), {}).uplink == 10.0
    slower = watch.look(look(20, carried(0, sendable=MB), sent=50.0), {}).uplink
    assert slower == about(10 - newer(5) * 10), "the outage is no time in which it was slow"


def test_all_is_summed_and_the_oldest_is_the_oldest_of_all() -> None:
    old = Holding("b.mp4", snapshot(9, inode=2, born=UTC - 50), 2, 3)
    figures = Watch().look(look(0, carried(5, 1, sendable=4), old, waiting=Waiting(7, 20.0, UTC - 30)), {})
    assert figures.total == Risk(4 + 7 + 7, about(20 + 50 * 7 / 9), about(50 - 50 * 2 / 9))
    assert (figures.backlog, set(figures.streams)) == (4 + 3 + 7, {"stream-1"})
    older = Watch().look(look(0, waiting=Waiting(7, 20.0, UTC - 30)), {})
    assert older.total == Risk(7, 20.0, 30.0)
    assert Watch().look(look(0, waiting=Waiting(7, 20.0, UTC + 30)), {}).total.oldest == 0.0


def test_a_file_that_is_new_here_is_written_as_far_as_it_is_young() -> None:
    def ingest(born: float, size: int = 10 * MB) -> float:
        watch = Watch()
        watch.look(look(0), {})
        return watch.look(look(5, Holding("a.mp4", snapshot(size, born=born, changed=UTC + 5))), {}).ingest

    assert ingest(UTC + 5) == about(2 * MB)
    assert ingest(UTC) == about(2 * MB)
    assert ingest(UTC - 15) == about(2 * MB / 4)
    assert ingest(0.0) == 0.0, "nobody knows when it was born"


def test_a_file_that_is_gone_is_forgotten() -> None:
    watch = Watch()
    watch.look(look(0, carried(0)), {})
    watch.look(look(5, carried(5 * MB)), {})
    watch.look(look(10), {})
    figures = watch.look(look(100, carried(5 * MB)), {})
    assert figures.total.seconds == 0.0, "it is a new one now"
