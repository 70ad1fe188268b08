"""What follows from the facts: progress, when a recording will be safe, what to do about a failure, and the verdict.

Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile

from ..domain import STATUSES, Care, FailedFor, Figures, Risk, Status, total_of
from .advice import advice_on
from .facts import DaemonFacts, DoneFacts, Facts, RecordingFacts, ServiceFacts
from .texts import count, name, size, span
from .view import (
    FILE_MISSING,
    Action,
    DaemonView,
    Disk,
    DoneView,
    Failure,
    Finished,
    RecordingView,
    ServiceView,
    State,
    StatusView,
    Tone,
    Totals,
    UnreadableView,
)

_SERVICES = {"s3": "The store", "redis": "Redis", "watched_folder": "The watched folder"}
_SHORTEST_ID = 4
#: Progress is rounded down, so that 1 means that nothing is missing.
_STEPS = 1000
#: A disk that is full sooner is urgent.
_SOON_SECONDS = 3600.0


def view_of(facts: Facts) -> StatusView:
    """The view of these facts."""
    ends = when_they_end(facts.recordings, facts.figures)
    short = short_ids([each.stream_id for each in facts.recordings if each.stream_id])
    recordings = tuple(
        sorted(
            (_recording(each, ends.get(number), short, facts) for number, each in enumerate(facts.recordings)),
            key=lambda each: (each.state is not State.FAILED, each.name),
        )
    )
    services = tuple(ServiceView(each.name, each.ok, each.since, name(each.reason)) for each in facts.services)
    totals, disk = _totals(facts, recordings), _disk(facts.figures)
    tone, verdict, because = _verdict(facts, totals, disk, recordings)
    return StatusView(
        at=facts.at,
        tone=tone,
        verdict=verdict,
        because=because,
        daemon=_daemon(facts.daemon, facts) if facts.daemon else None,
        services=services,
        totals=totals,
        disk=disk,
        recordings=recordings,
        finished=Finished(facts.done_last_day, tuple(map(_done, facts.done_newest))) if facts.daemon else None,
        advice=advice_on(facts.recorders),
        unreadable=tuple(UnreadableView(name(key), name(reason)) for key, reason in facts.unreadable.items()),
    )


def state_of(status: Status | None) -> State:
    """Follows from the status's entry in ``lifecycle``, so that a new status needs no edit here."""
    if status is None:
        return State.WAITING
    standing = STATUSES[status]
    if standing.care is Care.KEPT:
        return State.FAILED
    if standing.is_growing:
        return State.RECORDING
    return State.DESCRIBING if standing.is_proved or standing.care is Care.DONE else State.SEALING


def short_ids(ids: Iterable[str]) -> Mapping[str, str]:
    """For each ID the shortest beginning, of at least four characters, that no other one has."""
    in_order = sorted(set(ids))
    short: dict[str, str] = {}
    for number, each in enumerate(in_order):
        beside = (in_order[other] for other in (number - 1, number + 1) if 0 <= other < len(in_order))
        shared = max((_shared(each, other) for other in beside), default=0)
        short[each] = each[: max(_SHORTEST_ID, shared + 1)]
    return short


def _shared(one: str, other: str) -> int:
    """How many characters both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def when_they_end(recordings: Sequence[RecordingFacts], figures: Figures | None) -> Mapping[int, float]:
    """Seconds until each finished recording is in S3, by its position; nothing for those of which it is unknown.

    All that have something to send share the uplink evenly, so the smallest is done first, and then the others are
    faster.
    """
    if figures is None or figures.uplink <= 0:
        return {}
    to_send = sorted((each.sendable, number) for number, each in enumerate(recordings) if each.status is not None)
    ends: dict[int, float] = {}
    now, sent = 0.0, 0
    for position, (sendable, number) in enumerate(to_send):
        now += (sendable - sent) * (len(to_send) - position) / figures.uplink
        sent = sendable
        if state_of(recordings[number].status) in (State.SEALING, State.DESCRIBING):
            ends[number] = now
    return ends


def _recording(facts: RecordingFacts, ends_in: float | None, short: Mapping[str, str], around: Facts) -> RecordingView:
    stored = min(facts.stored, facts.size)
    return RecordingView(
        id=facts.stream_id,
        short_id=short.get(facts.stream_id or ""),
        name=name(facts.path),
        path=_exact(facts.path),
        state=state_of(facts.status),
        size=facts.size,
        size_is_known=facts.size_is_known,
        in_s3=stored,
        progress=stored * _STEPS // facts.size / _STEPS if facts.size else 0.0,
        at_risk_bytes=facts.size - stored if facts.size_is_known else 0,
        at_risk_seconds=facts.risk.seconds,
        oldest_seconds=facts.risk.oldest,
        ends_in_s3_seconds=ends_in,
        parts=facts.parts,
        key=name(facts.key) if facts.key is not None else None,
        started_at=facts.started_at,
        failure=_failure(facts, short.get(facts.stream_id or "", "ID"), around.program),
        trouble=_trouble(facts, looks_at_files=around.daemon is not None),
    )


def _exact(path: str) -> str | None:
    try:
        path.encode()
    except UnicodeEncodeError:
        return None
    return path


def _trouble(facts: RecordingFacts, *, looks_at_files: bool) -> str | None:
    """A recording whose file is gone fails only after a while; until then nothing else says so."""
    if looks_at_files and not facts.size_is_known and state_of(facts.status) is not State.FAILED:
        return FILE_MISSING
    return name(facts.trouble) or None


def _failure(facts: RecordingFacts, short_id: str, program: str) -> Failure | None:
    if state_of(facts.status) is not State.FAILED:
        return None
    give_up = f"{program} give-up {short_id} --apply"
    retry = Action("Try again", f"{program} retry {short_id}")
    waits_for = facts.failed_for or FailedFor.OTHER
    match waits_for:
        case FailedFor.SOURCE_MISSING:
            text = "file missing"
            actions: tuple[Action, ...] = (
                Action("Move the file back; it then continues by itself", None),
                Action("Give it up: its upload is aborted", give_up),
            )
        case FailedFor.DISPOSED:
            text = "file missing; its upload was ended as ON_SOURCE_MISSING says"
            actions = (Action("Nothing has to be done. Take it off this list", give_up),)
        case _:
            text = name(facts.failure or "unknown")
            first = (Action(name(facts.hint), None),) if facts.hint else ()
            actions = (*first, retry, Action("Give it up: its upload is aborted", give_up))
    return Failure(name(facts.failure or ""), str(waits_for), text, actions)


def _totals(facts: Facts, recordings: Sequence[RecordingView]) -> Totals:
    figures = facts.figures
    failed = [each for each in recordings if each.state is State.FAILED]
    # Not the figures' own total: a recording may have begun or ended since.
    each_risk = [Risk(each.at_risk_bytes, each.at_risk_seconds, each.oldest_seconds) for each in recordings]
    at_risk = total_of([*each_risk, _rest(facts)])
    return Totals(
        at_risk_bytes=at_risk.bytes,
        at_risk_seconds=at_risk.seconds,
        oldest_seconds=at_risk.oldest,
        backlog_bytes=figures.backlog if figures else 0,
        ingest=figures.ingest if figures else 0.0,
        uplink=figures.uplink if figures else 0.0,
        sent=figures.sent if figures else 0.0,
        catch_up_seconds=_finite(figures.catch_up) if figures else None,
        waiting=facts.waiting + sum(each.state is State.WAITING for each in recordings),
        to_look_up=figures.to_look_up if figures else 0,
        failed=len(failed),
        failed_at_risk_bytes=sum(each.at_risk_bytes for each in failed),
    )


def _rest(facts: Facts) -> Risk:
    """The risk of the waiting files that are not listed."""
    if facts.figures is None or not facts.waiting:
        return Risk()
    every, listed = facts.figures.waiting, total_of(each.risk for each in facts.recordings if each.waits)
    left = every.bytes - listed.bytes
    return Risk(left, max(0.0, every.seconds - listed.seconds), every.oldest) if left > 0 else Risk()


def _disk(figures: Figures | None) -> Disk:
    free = _finite(figures.free) if figures else None
    return Disk(None if free is None else int(free), _finite(figures.disk_full) if figures else None)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _daemon(daemon: DaemonFacts, facts: Facts) -> DaemonView:
    return DaemonView(
        version=daemon.version,
        pid=daemon.pid,
        started_at=daemon.started_at,
        up_seconds=max(0.0, (facts.at - daemon.started_at).total_seconds()),
        folder=name(daemon.folder),
        bucket=daemon.bucket,
        group=name(daemon.group),
    )


def _done(done: DoneFacts) -> DoneView:
    return DoneView(name(done.path), name(done.key), done.size, done.at)


def _verdict(facts: Facts, totals: Totals, disk: Disk, recordings: Sequence[RecordingView]) -> tuple[Tone, str, str]:
    """The first that applies: what needs an operator, what is unavailable, what is late; else all is well."""
    failed = [each for each in recordings if each.failure and each.failure.waits_for != FailedFor.DISPOSED]
    if facts.daemon is None:
        return Tone.BAD, "No daemon answers.", _unfinished(recordings, len(facts.unreadable))
    if facts.is_stopping:
        return Tone.WAITING, "The daemon is stopping.", "What is written from now on is seen at its next start."
    if failed:
        return Tone.BAD, f"{count(len(failed), 'recording')} failed.", _left_of(failed)
    if disk.full_in_seconds is not None and disk.full_in_seconds < _SOON_SECONDS:
        return Tone.BAD, f"The disk is full in {span(disk.full_in_seconds)}.", _only_here(totals.at_risk_bytes)
    away = [each for each in facts.services if not each.ok]
    missing = sum(each.trouble == FILE_MISSING for each in recordings)
    if away:
        more = f" {count(missing, 'file')} missing." if missing else ""
        return Tone.WAITING, f"{_who(away)} not available.", _only_here(totals.at_risk_bytes) + more
    if missing:
        return Tone.WAITING, f"{count(missing, 'file')} missing.", "How much of it S3 lacks is unknown."
    if facts.figures is None:
        return Tone.WAITING, "The daemon has just started.", ""
    if totals.backlog_bytes and totals.catch_up_seconds is None:
        return Tone.WAITING, "The upload is slower than the recordings.", _only_here(totals.at_risk_bytes)
    if totals.to_look_up:
        because = f"{count(totals.to_look_up, 'file')} from before the start: their state in S3 is still being checked."
        return Tone.WAITING, _safe_until(totals), because
    return Tone.GOOD, _safe_until(totals), ""


def _left_of(failed: Sequence[RecordingView]) -> str:
    """What is known of the data of recordings that failed."""
    if alone := sum(each.at_risk_bytes for each in failed):
        return _only_here(alone)
    if all(each.failure and each.failure.waits_for == FailedFor.SOURCE_MISSING for each in failed):
        return "Its file is missing." if len(failed) == 1 else "Their files are missing."
    return "What was sent is not finished."


def _safe_until(totals: Totals) -> str:
    if not totals.at_risk_bytes:
        return "Everything recorded is safe."
    return f"Everything recorded until {span(totals.oldest_seconds)} ago is safe."


def _only_here(at_risk: int) -> str:
    return f"{size(at_risk)} are only on this disk." if at_risk else "Everything recorded is safe in S3."


def _unfinished(recordings: Sequence[RecordingView], unreadable: int) -> str:
    more = f" {count(unreadable, 'entry', 'entries')} there cannot be read." if unreadable else ""
    if not recordings:
        return f"By Redis, no {'other ' if unreadable else ''}recording is unfinished.{more}"
    are = "is" if len(recordings) == 1 else "are"
    return f"By Redis, {count(len(recordings), 'recording')} {are} unfinished.{more}"


def _who(away: Sequence[ServiceFacts]) -> str:
    names = [_SERVICES.get(each.name, each.name) for each in away]
    later = [each if each == "Redis" else each[0].lower() + each[1:] for each in names[1:]]
    if not later:
        return f"{names[0]} is"
    return f"{', '.join([names[0], *later[:-1]])} and {later[-1]} are"
