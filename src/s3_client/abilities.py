"""Determines which optional features a store supports, in a way that a single odd answer cannot distort.

Only requests at the probe's key count. A header counts as not supported if a request with it is refused, without it
accepted, and with it refused again; as supported if a wrong value is refused, a correct one (or none) accepted, and the
wrong one refused again; as ignored if a wrong value is accepted twice. Everything else does not count: an outage, an
upload that vanished, two different answers. The trial is then repeated later, and no caller waits longer than stated.
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
from ..timeouts import timeout
from .settings import Abilities, Choice, StoreSettings


class Ability(StrEnum):
    """In the order of the trials: first the ones that new recordings wait for."""

    CHECKSUM = "checksum"
    CHECKSUM_MODE = "checksum_mode"
    IF_NONE_MATCH = "if_none_match"
    IF_MATCH = "if_match"
    PUT_IF_NONE_MATCH = "put_if_none_match"
    PUT_IF_MATCH = "put_if_match"
    OBJECT_SIZE = "object_size"
    PART_COPY = "part_copy"
    COPY_CHECKSUM = "copy_checksum"


#: Completions and writes of documents wait for these.
CONDITIONS = frozenset({Ability.IF_NONE_MATCH, Ability.IF_MATCH})
PUT_CONDITIONS = frozenset({Ability.PUT_IF_NONE_MATCH, Ability.PUT_IF_MATCH})
#: Uploads that copy parts of another object wait for these.
COPIES = frozenset({Ability.PART_COPY, Ability.COPY_CHECKSUM})
_OF_CHECKSUMS = frozenset({Ability.CHECKSUM, Ability.CHECKSUM_MODE, Ability.OBJECT_SIZE})

#: Maximum wait in seconds of a Create for the probe of an available store; usually a tenth of a second suffices.
CREATE_WAITS = 3.0
#: Seconds after the start for which a completion or a document waits.
COMPLETION_WAITS = 60.0
#: Interval for repeating the trials in seconds, since stores are updated while the daemon runs.
ASKED_AGAIN = 24 * 3600.0
#: Minimum interval between trials that are caused by a refusal elsewhere.
_SUSPICION_SECONDS = 30.0
_MOST_DOUBLINGS = 16  # of the pause between two rounds


class Said(StrEnum):
    """The store's answer to one request of the probe."""

    ACCEPTED = "accepted"
    REFUSED = "refused"  # the value, as by a store that supports the header
    NOT_KNOWN = "not known"
    NOTHING = "nothing"  # an outage, or no usable answer


def said(error: S3OperationError) -> Said:
    """What a refusal says about an optional header. A refusal about content or another writer is never a lack of
    support."""
    if isinstance(error, S3WrongContent | S3Rejected):
        return Said.REFUSED
    if isinstance(error, S3NotAble | S3NotUnderstood) or (isinstance(error, S3Unavailable) and error.code == "400"):
        return Said.NOT_KNOWN
    return Said.NOTHING


Trial = Callable[[], Awaitable[Said]]


async def controlled(*, wrong: Trial | None = None, right: Trial | None = None, without: Trial) -> bool | None:
    """Whether the store supports a header; None: not determined. ``wrong`` and ``right`` send it with such a value.

    Without a ``wrong`` value only acceptance of the header is tested; without a ``right`` one the control is the
    request without it.
    """
    with_it = wrong or right
    if with_it is None:
        raise AssertionError("nothing to ask")
    first = await with_it()
    if first is Said.ACCEPTED:
        # Twice: the object of the condition may have been missing the first time.
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
    """Determines the features that are fixed neither by a setting nor by the address, in a task of its own.

    ``ready`` raises during an outage of the store; ``ask`` returns None, or raises, if there is no result. ``now`` is
    in monotonic seconds.
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
        self._todo: dict[Ability, None] = {}  # the trials to do, including those added meanwhile
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        #: The features to be tested: none of Amazon's, and none that is set.
        self.asked = self._to_be_asked()
        self._current = self._known()

    def _to_be_asked(self) -> tuple[Ability, ...]:
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
        """The current knowledge. An unknown condition counts as supported, any other unknown feature as not."""
        return self._current

    def _known(self) -> Abilities:
        settings = self._settings
        sends_checksums = settings.checksum is not Choice.OFF
        return Abilities(
            checksum=self._is(Ability.CHECKSUM, settings.checksum),
            if_none_match=self._is(Ability.IF_NONE_MATCH, settings.conditional_writes, unknown=True),
            if_match=self._is(Ability.IF_MATCH, settings.conditional_writes, unknown=True),
            # No setting controls it: without trials only Amazon is known to support it.
            object_size=sends_checksums and (settings.is_aws or self._found.get(Ability.OBJECT_SIZE, False)),
            part_copy=settings.part_copy is not Choice.OFF,
            put_if_none_match=self._is(Ability.PUT_IF_NONE_MATCH, settings.conditional_writes, unknown=True),
            put_if_match=self._is(Ability.PUT_IF_MATCH, settings.conditional_writes, unknown=True),
            # The header is sent until the result is known: a refused request is repeated without it.
            checksum_mode=sends_checksums and self._is(Ability.CHECKSUM_MODE, settings.checksum, unknown=True),
            copy_checksum=sends_checksums and self._is(Ability.COPY_CHECKSUM, Choice.AUTO),
            copies_without_checksums=self._copies_without_checksums(),
        )

    def _copies_without_checksums(self) -> bool:
        """Whether copied ranges were found to be verifiable only without checksums. A setting of ``on`` is not
        overridden."""
        settings = self._settings
        if settings.checksum is not Choice.AUTO or self._found.get(Ability.COPY_CHECKSUM, True):
            return False
        return settings.part_copy is Choice.ON or self._found.get(Ability.PART_COPY, False)

    async def for_create(self) -> Abilities:
        """Waits briefly for a running probe, so that few uploads begin without checksums."""
        since = self._now() if self._answers_since is None else self._answers_since
        return await self._wait({Ability.CHECKSUM}, until=since + CREATE_WAITS)

    async def for_conditions(self, wanted: Collection[Ability]) -> Abilities:
        """Waits until support for conditions is known, at most ``COMPLETION_WAITS`` after the start."""
        return await self._wait(wanted, until=self._began + COMPLETION_WAITS)

    async def for_copies(self) -> Abilities:
        """Waits as long as a completion would, since an upload that begins without checksums stays that way."""
        return await self._wait(COPIES, until=self._began + COMPLETION_WAITS)

    def knows(self, wanted: Collection[Ability]) -> bool:
        """Whether all of them are determined, set, or Amazon's."""
        return not self._missing(wanted)

    async def everything(self) -> Abilities:
        """Waits for all of them, as long as a completion would."""
        return await self._wait(self.asked, until=self._began + COMPLETION_WAITS)

    def refuses_a_second_put(self) -> bool:
        """Whether PutObject itself was seen to refuse If-None-Match on an existing key, or is Amazon's, and checksums
        are verified. Never by a setting alone."""
        abilities = self.current()
        seen = self._settings.is_aws or self._found.get(Ability.PUT_IF_NONE_MATCH, False)
        return seen and abilities.put_if_none_match and abilities.checksum

    def suspect(self) -> None:
        """A header was refused elsewhere. This proves nothing, but the trial is repeated."""
        if self._ended_at is None or self._now() - self._ended_at >= _SUSPICION_SECONDS:
            self._start(self.asked)

    async def without_if_refused(
        self, call: Callable[..., Awaitable[dict[str, Any]]], arguments: Mapping[str, Any], plain: Mapping[str, Any]
    ) -> tuple[dict[str, Any], bool]:
        """The answer, and whether it is to the whole request. ``plain`` lacks headers that nothing depends on.

        A request that is refused with them is sent once without. This proves nothing, but makes the probe repeat its
        trial.
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
        """Runs until cancelled: repeats the trials from time to time."""
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
                async with timeout(max(0.0, until - self._now())):
                    while self._missing(wanted):
                        await self._news.wait()
        return self.current()

    def _start(self, wanted: Iterable[Ability]) -> None:
        if self._task is not None and self._task.done():
            self._task.result()  # a bug in it is raised here
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
                pass  # an outage of the store is reported by its users
            if todo:
                failures = min(failures + 1, _MOST_DOUBLINGS)
                try:
                    await self._policy.wait_out(min(self._policy.longest_wait, self._policy.first_wait * 2**failures))
                except Stopped:
                    return

    def _learnt(self, ability: Ability, *, able: bool) -> None:
        before = self._found.get(ability)
        self._found[ability] = able
        self._current = self._known()
        self._emit(moments.AbilityLearnt(ability=ability, able=able))
        if before and not able:
            self._emit(moments.AbilityLost(ability=ability))
        # Wakes the current waiters; those that need other features wait for the next event.
        self._news.set()
        self._news = asyncio.Event()

    def _report(self, error: BaseException | None) -> None:
        missing = self._missing(self.asked)
        since = self._answers_since
        if missing and not self._reported and since is not None and self._now() - since >= COMPLETION_WAITS:
            self._reported = True
            self._emit(moments.AbilitiesUnknown(abilities=missing, error=error))
