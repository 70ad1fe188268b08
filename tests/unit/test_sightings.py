"""What a hint is worth: each numbered case at its boundaries."""

from __future__ import annotations

from dataclasses import replace

from src.dispatcher.sightings import Case, Sighting, decide
from src.domain import Identity, Snapshot
from tests.harness.findings import each

NOW = 1_800_000_000.0
FILE = Snapshot(Identity(7, 5), size=100, mtime_ns=int((NOW - 3600) * 1e9), ctime_ns=6)
OTHER = replace(FILE, identity=Identity(8, 5))
LONGER = replace(FILE, size=101)
TOUCHED = replace(FILE, ctime_ns=7)
EMPTY = replace(FILE, size=0)


def seen(path: str = "m.mp4", snapshot: Snapshot | None = FILE, **known: object) -> Sighting:
    return Sighting(path, snapshot, NOW, **known)  # type: ignore[arg-type]


def _written_ago(seconds: float) -> Snapshot:
    return replace(FILE, mtime_ns=int((NOW - seconds) * 1e9))


SIGHTINGS: dict[Case, list[Sighting]] = {
    Case.GONE: [
        seen(snapshot=None),
        seen(snapshot=None, done=FILE),
        seen(snapshot=None, to_be_read=FILE),
        seen(snapshot=None, ready=FILE),
    ],
    Case.GONE_WHILE_CARRIED: [seen(snapshot=None, is_carried_here=True)],
    Case.ITS_OWN_PATH: [
        seen(name="m.mp4", at_name=FILE, is_carried_here=True),
        seen(name="m.mp4", at_name=EMPTY, snapshot=EMPTY, is_carried_here=True),
        seen(name="m.mp4", at_name=FILE, is_carried_here=True, done=FILE),
    ],
    Case.MOVED: [
        seen(name="a.mp4"),
        seen(name="z.mp4"),
        seen(name="a.mp4", at_name=OTHER),
        seen(name="a.mp4", at_name=OTHER, is_carried_here=True),
    ],
    Case.LINK: [
        seen(name="a.mp4", at_name=FILE),
        seen(name="a.mp4", at_name=LONGER),
        seen(name="a.mp4", at_name=FILE, is_carried_here=True),
        # As text it is the smaller one: the order is that of the names' bytes.
        seen("\udcff.mp4", name="\uff21.mp4", at_name=FILE),
    ],
    Case.BETTER_NAME: [
        seen(name="z.mp4", at_name=FILE),
        seen("m", name="m.mp4", at_name=FILE),
        seen(name="z.mp4", at_name=FILE, is_carried_here=True),
    ],
    Case.IN_ANOTHERS_PLACE: [
        seen(is_carried_here=True),
        seen(is_carried_here=True, snapshot=EMPTY),
        seen(is_carried_here=True, done=FILE),
    ],
    Case.EMPTY: [seen(snapshot=EMPTY), seen(snapshot=EMPTY, done=EMPTY), seen(snapshot=EMPTY, ready=FILE)],
    Case.DONE: [seen(done=FILE), seen(done=FILE, ready=LONGER), seen(snapshot=_written_ago(1), done=_written_ago(1))],
    Case.WAITS_TO_BE_READ: [seen(to_be_read=FILE), seen(to_be_read=FILE, done=TOUCHED)],
    Case.CHANGED_WHILE_IT_WAITED: [
        seen(to_be_read=TOUCHED),
        seen(ready=TOUCHED),
        seen(ready=LONGER, done=LONGER),
        seen(to_be_read=TOUCHED, ready=FILE),
    ],
    Case.WRITTEN_LATELY: [
        seen(snapshot=_written_ago(119.9)),
        seen(snapshot=_written_ago(-3600)),
        seen(snapshot=_written_ago(1), ready=_written_ago(1)),
        seen(snapshot=_written_ago(1), done=FILE),
    ],
    Case.LIES_READY: [
        seen(snapshot=_written_ago(120)),
        seen(),
        seen(ready=FILE),
        seen(done=TOUCHED),
        seen(done=OTHER),
    ],
}


@each("case", Case)
def test_each_case_is_decided_by_its_facts(case: Case) -> None:
    assert [decide(sighting) for sighting in SIGHTINGS[case]] == [case] * len(SIGHTINGS[case])
