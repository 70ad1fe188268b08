"""Words the status for the page. Pure: the same status always gives the same page."""

from __future__ import annotations

import hashlib
import heapq
import math
from collections.abc import Sequence
from functools import lru_cache

from ..status import Advice, Disk, RecordingView, State, StatusView, Tone, Totals, count, rate, shortened, size, span
from ..status import Failure as FailureView
from .shown import Advised, Drawing, Failure, Figure, Name, Row, Service, Shown, Step
from .throughput import Sample, curve

#: More recordings than these are left out, and counted; of the others, those that are most at risk.
MOST_ROWS = 200
MOST_FAILURES = 20
MOST_ADVICE = 10
#: Names and digests that are remembered from one rendering to the next.
_KEPT = 2 * MOST_ROWS
#: A backlog that takes longer is worth a word.
_BEHIND_SECONDS = 60.0
_DISK_SOON_SECONDS = 6 * 3600.0
_SERVICES = {"s3": "Store", "redis": "Redis", "watched_folder": "Folder"}


def shown(view: StatusView, samples: Sequence[Sample], now: float, program: str = "cefmp4") -> Shown:
    """The page of this status. ``now`` is the time of the curve's right end, on the clock of the samples; ``program``:
    how commands are typed."""
    failed = [each for each in view.recordings if each.failure is not None]
    away = [_SERVICES.get(each.name, each.name) for each in view.services if not each.ok]
    daemon = view.daemon
    return Shown(
        title=_title(failed, away),
        version=daemon.version if daemon else "",
        up=span(daemon.up_seconds) if daemon else "",
        folder=daemon.folder if daemon else "",
        rendered=view.at.strftime("%H:%M:%S UTC"),
        rendered_at=view.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        tone=view.tone.value,
        verdict=view.verdict.rstrip("."),
        because=_because(view, away),
        announced=_announced(failed, away),
        failures=tuple(_failure(each, each.failure) for each in failed[:MOST_FAILURES] if each.failure is not None),
        failures_left_out=_left_out(len(failed) - MOST_FAILURES, "failed", program),
        figures=_figures(view),
        services=_services(view),
        curve=_drawing(samples, now),
        rows=tuple(_row(each) for each in _most_important(view.recordings)),
        count=_count(len(view.recordings) - len(failed), len(failed), view.totals.waiting),
        left_out=_left_out(len(view.recordings) - MOST_ROWS, "open", program),
        nothing=_nothing(view),
        advice=tuple(map(_advised, view.advice[:MOST_ADVICE])),
        advice_left_out=_advice_left_out(len(view.advice) - MOST_ADVICE, program),
        finished=_finished(view),
        command=f"{program} status --watch",
    )


def _most_important(recordings: Sequence[RecordingView]) -> Sequence[RecordingView]:
    """In the order of the status."""
    if len(recordings) <= MOST_ROWS:
        return recordings
    by_risk = heapq.nlargest(
        MOST_ROWS,
        range(len(recordings)),
        key=lambda n: (recordings[n].failure is not None, recordings[n].at_risk_bytes),
    )
    return [recordings[n] for n in sorted(by_risk)]


def _because(view: StatusView, away: Sequence[str]) -> str:
    """A failure or a full disk is in the headline; a service that is unavailable besides is named below it."""
    because = view.because or _outlook(view)
    if away and view.tone is Tone.BAD:
        return f"{because} Not available: {', '.join(away)}."
    return because


def _outlook(view: StatusView) -> str:
    totals = view.totals
    if not totals.at_risk_bytes:
        return "No byte of a recording is only on this disk."
    here = f"{size(totals.at_risk_bytes)} are only on this disk"
    if not totals.backlog_bytes or not totals.catch_up_seconds or totals.catch_up_seconds < 1:
        return f"{here}."
    return f"{here}; at the present rate the upload has caught up in {span(totals.catch_up_seconds)}."


def _announced(failed: Sequence[RecordingView], away: Sequence[str]) -> str:
    """Changes only when a listener should know."""
    services = f"Not available: {', '.join(away)}." if away else "All services answer."
    return f"{services} {count(len(failed), 'recording')} failed." if failed else services


def _title(failed: Sequence[RecordingView], away: Sequence[str]) -> str:
    """What a tab in the background shows."""
    said = [f"{', '.join(away)} away"] if away else []
    said += [f"{len(failed):,} failed"] if failed else []
    return " · ".join([*said, "cefmp4"])


@lru_cache(_KEPT)
def _name(path: str) -> Name:
    folder, slash, file = path.rpartition("/")
    return Name(shortened(folder) + slash, shortened(file))


def _id(kind: str, each: RecordingView) -> str:
    """For the browser: the same recording keeps its place."""
    return kind + _digest(each.id or each.name)


@lru_cache(_KEPT)
def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _failure(each: RecordingView, failure: FailureView) -> Failure:
    facts = f"{size(each.in_s3)} in the store"
    if each.size_is_known:
        facts = f"{size(each.size)}, {each.percent} % in the store"
    if each.at_risk_bytes:
        facts += f", {size(each.at_risk_bytes)} only on this disk"
    steps = tuple(Step(action.what, action.command or "") for action in failure.actions)
    return Failure(_id("f", each), _name(each.name), facts, _sentence(failure.text), steps)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _figures(view: StatusView) -> tuple[Figure, ...]:
    totals = view.totals
    seconds, oldest = span(totals.at_risk_seconds), span(totals.oldest_seconds)
    risk = f"{seconds} of recording, oldest {oldest}" if totals.at_risk_bytes else "all is in the store"
    growing = sum(each.state is State.RECORDING and each.size_is_known for each in view.recordings)
    # Rates are averages over a minute, which shows only where nothing is being recorded any more.
    is_over = not growing and totals.ingest >= 1
    recorders = "no file open; average of the last minute" if is_over else f"{count(growing, 'file')} open"
    return (
        Figure("Only on this disk", size(totals.at_risk_bytes), risk, at_risk=totals.at_risk_bytes > 0),
        Figure("Recording", rate(totals.ingest), recorders),
        Figure("Upload", rate(totals.sent), _pace(totals)),
        _disk(view.disk),
    )


def _pace(totals: Totals) -> str:
    if not totals.backlog_bytes:
        return "nothing waits"
    if totals.catch_up_seconds is None:
        return "does not catch up"
    if totals.catch_up_seconds <= _BEHIND_SECONDS:
        return "keeps up"
    return f"caught up in {span(totals.catch_up_seconds)}"


def _disk(disk: Disk) -> Figure:
    if disk.free is None:
        return Figure("Disk free", "unknown", "the disk does not answer")
    free = size(disk.free)
    if disk.full_in_seconds is None or math.isinf(disk.full_in_seconds):
        return Figure("Disk free", free, "nothing is being written")
    soon = disk.full_in_seconds < _DISK_SOON_SECONDS
    return Figure("Disk full in", span(disk.full_in_seconds), f"{free} free", at_risk=soon)


def _services(view: StatusView) -> tuple[Service, ...]:
    told = []
    for each in view.services:
        label = _SERVICES.get(each.name, each.name)
        since = f"since {each.since.strftime('%H:%M:%S UTC')}: " if each.since else ""
        reason = "" if each.ok else since + each.reason
        told.append(Service(label, ok=each.ok, word="answers" if each.ok else "away", reason=reason))
    return tuple(told)


def _drawing(samples: Sequence[Sample], now: float) -> Drawing | None:
    found = curve(samples, now)
    if found is None:
        return None
    recorded, uploaded = rate(found.highest_recorded), rate(found.highest_uploaded)
    told = f"Throughput of the last {span(found.seconds)}. Recorded: at most {recorded}; uploaded: at most {uploaded}."
    return Drawing(
        recorded=found.recorded,
        uploaded=found.uploaded,
        most=rate(found.scale),
        half=rate(found.scale / 2),
        begin=span(found.seconds),
        middle=span(found.seconds / 2),
        told=told,
    )


def _row(each: RecordingView) -> Row:
    return Row(
        id=_id("r", each),
        name=_name(each.name),
        state=str(each.state),
        failed=each.state is State.FAILED,
        size=size(each.size) if each.size_is_known else "unknown",
        percent=each.percent,
        in_store=size(each.in_s3),
        at_risk=_at_risk(each),
        safe_in=_safe_in(each),
        trouble=each.trouble or "",
    )


def _at_risk(each: RecordingView) -> str:
    if not each.size_is_known:
        return "unknown"
    return size(each.at_risk_bytes) if each.at_risk_bytes else "nothing"


def _safe_in(each: RecordingView) -> str:
    return "" if each.ends_in_s3_seconds is None else span(each.ends_in_s3_seconds)


def _count(unfinished: int, failed: int, waiting: int) -> str:
    said = [f"{unfinished:,} open"]
    said += [f"{failed:,} failed"] if failed else []
    said += [f"{waiting:,} waiting"] if waiting else []
    return ", ".join(said)


def _left_out(more: int, kind: str, program: str) -> str:
    if more <= 0:
        return ""
    return f"{count(more, f'more {kind} recording', f'more {kind} recordings')}: type {program} status to see all."


def _nothing(view: StatusView) -> str:
    return f"No recording is open. Drop one into {view.daemon.folder}." if view.daemon else ""


def _advised(each: Advice) -> Advised:
    which = hashlib.sha256(f"{each.kind}\0{each.recordings}".encode()).hexdigest()[:16]
    steps = tuple(Step(remedy.program, remedy.setting) for remedy in each.remedies)
    return Advised(f"a{which}", _name(each.recordings), _sentence(each.text), steps)


def _advice_left_out(more: int, program: str) -> str:
    return f"{count(more, 'more piece', 'more pieces')} of advice: type {program} doctor." if more > 0 else ""


def _finished(view: StatusView) -> str:
    if view.finished is None:
        return ""
    if not view.finished.last_day:
        return "No recording was finished in the last 24 hours."
    last_day = count(view.finished.last_day, "recording")
    return f"{last_day} finished in the last 24 hours, proved in the store."
