"""The facts of a running daemon, gathered from what its parts know at this moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from ..domain import (
    STATUSES,
    Care,
    Clock,
    Figures,
    Holding,
    Identity,
    Risk,
    Unfinished,
    first_risk,
    lifecycle,
    part_plan,
)
from .advice import Advice, OnceADay, advice_on
from .chronicle import Chronicle
from .conclusions import view_of
from .facts import DaemonFacts, Facts, RecordingFacts, ServiceFacts
from .recorders import RecorderNotes
from .view import StatusView


class Condition(Protocol):
    """Whether a service is available."""

    @property
    def ok(self) -> bool: ...
    @property
    def since(self) -> datetime: ...
    @property
    def reason(self) -> str: ...


class Gathering:
    """Makes the view of a running daemon. Nothing here waits, so that it can be made at any time.

    What may change is copied on the event loop, in one piece; the rest may be done in a thread, since with thousands of
    recordings it takes long.

    ``unfinished`` returns the recordings, and the number of further files that wait; ``figures`` the newest figures at
    risk; ``services`` the newest checks; ``recorders`` what is known of recorders. ``masked`` removes secrets from a
    text.
    """

    def __init__(
        self,
        daemon: DaemonFacts,
        chronicle: Chronicle,
        clock: Clock,
        *,
        unfinished: Callable[[], tuple[Sequence[Unfinished], int]],
        figures: Callable[[], Figures | None],
        services: Callable[[], Mapping[str, Condition]],
        recorders: RecorderNotes,
        masked: Callable[[str], str],
        program: str,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._daemon = daemon
        self._chronicle = chronicle
        self._clock = clock
        self._unfinished = unfinished
        self._figures = figures
        self._services = services
        self._recorders = recorders
        self._once_a_day = OnceADay()
        self._masked = masked
        self._program = program
        self._stopping = stopping

    def newest(self) -> Callable[[], StatusView]:
        """The status with the newest size of each file, for decisions; metrics and page may be some seconds older."""
        facts = self._gathered(None)
        return lambda: view_of(facts())

    def shown(self) -> Callable[[], StatusView]:
        """The status to show. Sizes are those of the newest figures, so that the rows add up to their totals."""
        figures = self._figures()
        facts = self._gathered(figures.holdings if figures else None)
        return lambda: view_of(facts())

    def recordings(self) -> Callable[[], Sequence[RecordingFacts]]:
        """What is known of each recording, for ``advise``."""
        figures = self._figures()
        facts = self._gathered(figures.holdings if figures else None)
        return lambda: facts().recordings

    def advise(self, recordings: Sequence[RecordingFacts]) -> list[Advice]:
        """What recorders cost, as far as it was not returned within a day. To be called about once a minute, since it
        also notes how fast the recordings grow."""
        self._recorders.look(recordings)
        return self._once_a_day.of(advice_on(self._recorders.facts()), self._clock.monotonic())

    def _gathered(self, looked_at: Mapping[Identity, Holding] | None) -> Callable[[], Facts]:
        unfinished, waiting = self._unfinished()
        figures = self._figures()
        basis = Facts(
            at=self._clock.utc_now(),
            daemon=self._daemon,
            services=[
                ServiceFacts(name, each.ok, each.since, self._masked(each.reason))
                for name, each in self._services().items()
            ],
            figures=figures,
            waiting=waiting,
            is_stopping=self._stopping(),
            done_last_day=self._chronicle.last_day,
            done_newest=self._chronicle.newest,
            program=self._program,
            recorders=self._recorders.facts(),
        )

        def facts() -> Facts:
            looked = unfinished if looked_at is None else [_as_looked_at(each, looked_at) for each in unfinished]
            return replace(basis, recordings=list(self._recordings(looked, figures)))

        return facts

    def _recordings(self, unfinished: Sequence[Unfinished], figures: Figures | None) -> Iterator[RecordingFacts]:
        for each in unfinished:
            known = recording_facts(each)
            yield replace(
                known,
                risk=self._risk(each, figures),
                failure=None if known.failure is None else self._masked(known.failure),
                hint=self._masked(self._chronicle.hint(known.stream_id or "")),
                trouble=self._masked(self._chronicle.trouble(known.stream_id, each.path)),
            )

    def _risk(self, each: Unfinished, figures: Figures | None) -> Risk:
        """As in the figures; of one that they do not have yet, as the next ones will have it."""
        utc = figures.utc if figures else self._clock.utc_now().timestamp()
        if each.waits is not None:
            return each.waits.risk(utc)
        if each.holding is None:
            return Risk()
        known = figures.recordings.get(each.holding.seen.identity) if figures else None
        return first_risk(each.holding, utc) if known is None else known


def _as_looked_at(unfinished: Unfinished, holdings: Mapping[Identity, Holding]) -> Unfinished:
    """One that the figures do not have yet stays as it is."""
    if unfinished.holding is None:
        return unfinished
    return replace(unfinished, holding=holdings.get(unfinished.holding.seen.identity, unfinished.holding))


def recording_facts(unfinished: Unfinished) -> RecordingFacts:
    """What the dispatcher's entry says. Of a missing file only the bytes in S3 or in its expected object are known."""
    holding, record = unfinished.holding, unfinished.record
    if record is None:
        size, stored = (holding.seen.size, holding.stored) if holding else (0, 0)
        return RecordingFacts(path=unfinished.path, size=size, stored=stored, waits=unfinished.waits is not None)
    expected = record.manifest.size if record.manifest else 0
    has_failed = STATUSES[record.status].care is Care.KEPT
    return RecordingFacts(
        path=unfinished.path,
        size=holding.seen.size if holding else max(unfinished.stored, expected),
        stored=holding.stored if holding else unfinished.stored,
        size_is_known=holding is not None,
        sendable=holding.sendable if holding else 0,
        stream_id=record.stream_id,
        status=record.status,
        key=record.key,
        parts=unfinished.parts,
        part_size=part_plan.part_size(record.schedule, unfinished.parts + 1),
        started_at=record.started_at,
        failure=record.failure if has_failed else None,
        failed_for=lifecycle.failed_for(record) if has_failed else None,
    )
