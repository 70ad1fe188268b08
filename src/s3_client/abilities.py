"""What a store can do beyond the oldest S3: asked in a way that one odd answer teaches nothing, and kept in memory.

Only what is asked at the probe's key teaches. A header counts as unknown to the store when it is refused with it,
accepted without it, and refused with it again; as known when a wrong value is refused, a right one (or none) accepted,
and the wrong one refused again; as ignored when a wrong value is accepted twice. Everything else is no answer: trouble,
an upload that vanished, two answers that differ. It is asked again later, and nobody waits for that longer than said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import suppress
from enum import StrEnum
from typing import Any

from ..domain import moments
from ..exceptions import (
    S3NotAble,
    S3NotUnderstood,
    S3OperationError,
    S3Rejected,
    S3Unavailable,
    S3WrongContent,
    Stopped,
)
from ..retry import RetryPolicy
from .settings import Abilities, Choice, StoreSettings


class Ability(StrEnum):
    """In the order in which they are asked: what a recording's beginning waits for first."""

    CHECKSUM = "checksum"
    CHECKSUM_MODE = "checksum_mode"
    IF_NONE_MATCH = "if_none_match"
    IF_MATCH = "if_match"
    PUT_IF_NONE_MATCH = "put_if_none_match"
    PUT_IF_MATCH = "put_if_match"
    OBJECT_SIZE = "object_size"
    PART_COPY = "part_copy"
    COPY_CHECKSUM = "copy_checksum"


#: What a completion and a PutObject of a document wait for.
CONDITIONS = frozenset({Ability.IF_NONE_MATCH, Ability.IF_MATCH})
PUT_CONDITIONS = frozenset({Ability.PUT_IF_NONE_MATCH, Ability.PUT_IF_MATCH})
#: What an upload waits for that is to take over parts of another object.
COPIES = frozenset({Ability.PART_COPY, Ability.COPY_CHECKSUM})
_OF_CHECKSUMS = frozenset({Ability.CHECKSUM, Ability.CHECKSUM_MODE, Ability.OBJECT_SIZE})

#: Seconds that a Create waits for the probe of a store that answers: a tenth of a second is usual.
CREATE_WAITS = 3.0
#: Seconds from the start for which a completion or a document waits.
COMPLETION_WAITS = 60.0
#: Asked anew after so many seconds, since stores are updated under a running daemon.
ASKED_AGAIN = 24 * 3600.0
#: A refusal elsewhere makes the probe ask anew, but not more often than this.
_SUSPICION_SECONDS = 30.0
_MOST_DOUBLINGS = 16  # of the wait between two rounds


class Said(StrEnum):
    """What the store said to one request of the probe."""

    ACCEPTED = "accepted"
    REFUSED = "refused"  # the value, as a store does that knows the header
    NOT_KNOWN = "not known"
    NOTHING = "nothing"  # trouble; no answer to what was asked


def said(error: S3OperationError) -> Said:
    """What a refusal says of an optional header. What speaks of content, or of another writer, is never inability."""
    if isinstance(error, S3WrongContent | S3Rejected):
        return Said.REFUSED
    if isinstance(error, S3NotAble | S3NotUnderstood) or (isinstance(error, S3Unavailable) and error.code == "400"):
        return Said.NOT_KNOWN
    return Said.NOTHING


Trial = Callable[[], Awaitable[Said]]


async def controlled(*, wrong: Trial | None = None, right: Trial | None = None, without: Trial) -> bool | None:
    """Whether the store knows a header; None: not learnt. ``wrong`` and ``right`` send it with such a value.

    Without a ``wrong`` value only whether the header is accepted is asked; without a ``right`` one the control is the
    request without it.
    """
    with_it = wrong or right
    if with_it is None:
        raise AssertionError("nothing to ask")
    first = await with_it()
    if first is Said.ACCEPTED:
        # Twice: what a condition speaks of may have been missing the first time.
        return wrong is None or (False if await wrong() is Said.ACCEPTED else None)
    if first is Said.NOTHING:
        return None
    if wrong is not None and right is not None:
        first = await right()
        if first is Said.ACCEPTED:
            return True if await wrong() in (Said.REFUSED, Said.NOT_KNOWN) else None
        with_it = right
    if await without() is not Said.ACCEPTED or await with_it() is not first:
        return None
    if first is Said.NOT_KNOWN:
        return False
    return True if first is Said.REFUSED and right is None else None


class Learner:
    """Asks for the abilities that neither a setting nor the address tells, in a task of its own, until it knows them.

    ``ready`` raises while the store does not answer at all; ``ask`` gives None, or raises, for what was not learnt.
    ``now`` is monotonic seconds.
    """

    def __init__(
        self,
        settings: StoreSettings,
        *,
        ready: Callable[[], Awaitable[None]],
        ask: Callable[[Ability], Awaitable[bool | None]],
        policy: RetryPolicy,
        emit: moments.Emit,
        now: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._ready = ready
        self._ask = ask
        self._policy = policy
        self._emit = emit
        self._now = now
        self._began = now()
        self._answers_since: float | None = None
        self._ended_at: float | None = None
        self._reported = False
        self._found: dict[Ability, bool] = {}
        self._todo: dict[Ability, None] = {}  # what the task is to ask, also what was added meanwhile
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    @property
    def asked(self) -> tuple[Ability, ...]:
        """What is asked at all: nothing of Amazon's own, and nothing that is set."""
        checksum, conditions = self._settings.checksum, self._settings.conditional_writes
        if self._settings.is_aws or Choice.AUTO not in (checksum, conditions):
            return ()
        by_choice = {ability: checksum if ability in _OF_CHECKSUMS else conditions for ability in Ability}
        copies = self._settings.part_copy
        fixed = {
            Ability.OBJECT_SIZE: Choice.OFF if checksum is Choice.OFF else Choice.AUTO,
            Ability.PART_COPY: copies,
            Ability.COPY_CHECKSUM: Choice.OFF if Choice.OFF in (checksum, copies) else Choice.AUTO,
        }
        return tuple(ability for ability in Ability if {**by_choice, **fixed}[ability] is Choice.AUTO)

    def current(self) -> Abilities:
        """What is known now. Of what is not, a condition counts as known to the store, everything else as not."""
        settings = self._settings
        sends_checksums = settings.checksum is not Choice.OFF
        return Abilities(
            checksum=self._is(Ability.CHECKSUM, settings.checksum),
            if_none_match=self._is(Ability.IF_NONE_MATCH, settings.conditional_writes, unknown=True),
            if_match=self._is(Ability.IF_MATCH, settings.conditional_writes, unknown=True),
            # No setting says it: where nothing is asked, only Amazon is known to have it.
            object_size=sends_checksums and (settings.is_aws or self._found.get(Ability.OBJECT_SIZE, False)),
            part_copy=settings.part_copy is not Choice.OFF,
            put_if_none_match=self._is(Ability.PUT_IF_NONE_MATCH, settings.conditional_writes, unknown=True),
            put_if_match=self._is(Ability.PUT_IF_MATCH, settings.conditional_writes, unknown=True),
            # Until it is known the header is sent: whoever is refused for it asks again without.
            checksum_mode=sends_checksums and self._is(Ability.CHECKSUM_MODE, settings.checksum, unknown=True),
            copy_checksum=sends_checksums and self._is(Ability.COPY_CHECKSUM, Choice.AUTO),
            copies_without_checksums=self._copies_without_checksums(),
        )

    def _copies_without_checksums(self) -> bool:
        """Whether it was learnt that a copied range proves itself there alone. What is set to ``on`` stays on."""
        settings = self._settings
        if settings.checksum is not Choice.AUTO or self._found.get(Ability.COPY_CHECKSUM, True):
            return False
        return settings.part_copy is Choice.ON or self._found.get(Ability.PART_COPY, False)

    async def for_create(self) -> Abilities:
        """Waits for a probe that is at work, so that few uploads begin without checksums, but not for long."""
        since = self._now() if self._answers_since is None else self._answers_since
        return await self._wait({Ability.CHECKSUM}, until=since + CREATE_WAITS)

    async def for_conditions(self, wanted: Collection[Ability]) -> Abilities:
        """Waits until it is known whether conditions are, at most ``COMPLETION_WAITS`` from the start."""
        return await self._wait(wanted, until=self._began + COMPLETION_WAITS)

    async def for_copies(self) -> Abilities:
        """Waits as long as a completion would, since an upload that begins without checksums stays so."""
        return await self._wait(COPIES, until=self._began + COMPLETION_WAITS)

    def knows(self, wanted: Collection[Ability]) -> bool:
        """Whether all of it is learnt, set or Amazon's."""
        return not self._missing(wanted)

    async def everything(self) -> Abilities:
        """Waits as long as a completion would, for all of it."""
        return await self._wait(self.asked, until=self._began + COMPLETION_WAITS)

    def suspect(self) -> None:
        """A header was refused elsewhere. That teaches nothing; it is a reason to ask."""
        if self._ended_at is None or self._now() - self._ended_at >= _SUSPICION_SECONDS:
            self._start(self.asked)

    async def without_if_refused(
        self, call: Callable[..., Awaitable[dict[str, Any]]], arguments: Mapping[str, Any], plain: Mapping[str, Any]
    ) -> tuple[dict[str, Any], bool]:
        """The answer, and whether it is to the whole request. ``plain`` lacks headers that nothing depends on.

        Refused with them, it is asked once without. That teaches nothing; it makes the probe ask.
        """
        try:
            return await call(**arguments), True
        except S3Unavailable as exc:
            if self._settings.is_aws or said(exc) is not Said.NOT_KNOWN:
                raise
            self.suspect()
            if arguments == plain or self._settings.checksum is Choice.ON:
                raise
        return await call(**plain), False

    async def keep(self) -> None:
        """Never ends: ask anew from time to time."""
        while True:
            await self._policy.rest(ASKED_AGAIN)
            self._start(self.asked)

    async def close(self) -> None:
        """End the task."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _is(self, ability: Ability, choice: Choice, *, unknown: bool = False) -> bool:
        if choice is not Choice.AUTO:
            return choice is Choice.ON
        return self._found.get(ability, unknown) if ability in self.asked else True

    def _missing(self, wanted: Iterable[Ability]) -> tuple[Ability, ...]:
        return tuple(ability for ability in self.asked if ability in wanted and ability not in self._found)

    async def _wait(self, wanted: Collection[Ability], *, until: float) -> Abilities:
        if self._missing(wanted):
            self._start(self._missing(self.asked))
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, until - self._now())):
                    while self._missing(wanted):
                        await self._news.wait()
        return self.current()

    def _start(self, wanted: Iterable[Ability]) -> None:
        if self._task is not None and self._task.done():
            self._task.result()  # a bug in it is raised where it is seen
            self._task = None
        self._todo.update(dict.fromkeys(wanted))
        if self._task is None and self._todo:
            self._task = asyncio.create_task(self._learn(self._todo), name="store-abilities")

    async def _learn(self, todo: dict[Ability, None]) -> None:
        failures = 0
        while todo:
            error: BaseException | None = None
            try:
                await self._ready()
                if self._answers_since is None:
                    self._answers_since = self._now()
                for ability in tuple(todo):
                    try:
                        able = await self._ask(ability)
                    except S3OperationError as exc:
                        error, able = exc, None
                    if able is not None:
                        del todo[ability]
                        self._learnt(ability, able=able)
                self._report(error)
                self._ended_at = self._now()
            except S3OperationError:
                pass  # the store is away; whoever needs it tells so
            if todo:
                failures = min(failures + 1, _MOST_DOUBLINGS)
                try:
                    await self._policy.wait_out(min(self._policy.longest_wait, self._policy.first_wait * 2**failures))
                except Stopped:
                    return

    def _learnt(self, ability: Ability, *, able: bool) -> None:
        before = self._found.get(ability)
        self._found[ability] = able
        self._emit(moments.AbilityLearnt(ability=ability, able=able))
        if before and not able:
            self._emit(moments.AbilityLost(ability=ability))
        self._news.set()
        self._news = asyncio.Event()

    def _report(self, error: BaseException | None) -> None:
        missing = self._missing(self.asked)
        since = self._answers_since
        if missing and not self._reported and since is not None and self._now() - since >= COMPLETION_WAITS:
            self._reported = True
            self._emit(moments.AbilitiesUnknown(abilities=missing, error=error))
