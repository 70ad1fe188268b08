"""When a service is away: heard from the attempts that fail and the requests that are answered.

An operation that works after it had failed ends the outage of its service; so does any answer while no operation waits
for its next attempt (a completion is sent once, a look at readiness too). What comes of that is told as moments of its
own: ``OutageBegan``, ``OutageEnded``, and the lines ``ServiceAway``, ``AnswerNotUnderstood`` and ``ServiceBack``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from ..domain import moments
from ..exceptions import Permanent, S3NotAble, S3NotUnderstood
from .trouble import FORGOTTEN_SECONDS, operation_type


@dataclass(slots=True)
class _Outage:
    """A service is away since its first failure. ``said``: the log has a line of it."""

    began: float
    last: float
    failures: int = 0
    said: bool = False


class Outages:
    """Which services are away. ``tell`` takes a moment and says whether it became a line; ``now`` gives monotonic
    seconds, ``wall_clock`` Unix time."""

    def __init__(
        self,
        tell: Callable[[moments.DaemonMoment], bool],
        *,
        now: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self._tell = tell
        self._now = now
        self._wall_clock = wall_clock
        self._away: dict[str, _Outage] = {}
        self._waiting: Counter[str] = Counter()

    def hear(self, moment: moments.Moment) -> None:
        match moment:
            case moments.RequestEnded(service=service, answered=True) if not self._waiting[service]:
                self._end(service)
            case moments.OperationFailed():
                self._failed(moment)
            case moments.OperationRecovered(operation=operation):
                # The first operation that works again ends the outage; the others were waiting for their turn.
                self._end(self._gave_up(operation))
            case moments.OperationGivenUp(operation=operation):
                self._gave_up(operation)

    def expire(self, now: float) -> None:
        """End the outages of services that nobody asks any more."""
        for service in list(self._away):
            if self._is_forgotten(service, now):
                self._forget(service)

    def _failed(self, moment: moments.OperationFailed) -> None:
        now, error = self._now(), moment.error
        kind = operation_type(moment.operation, error)
        service = kind.partition("_")[0]
        # A refusal for good, or one that nobody understands, is no outage: the service is there.
        answers = isinstance(error, S3NotUnderstood | S3NotAble)
        outage = None if answers or isinstance(error, Permanent) else self._in_outage(service, now)
        if moment.attempt == 1 and moment.wait_seconds:
            self._waiting[service] += 1
        if answers:
            self._tell(moments.AnswerNotUnderstood(kind, moment.attempt, moment.wait_seconds, error))
            return
        away = None if outage is None else now - outage.began
        said = self._tell(moments.ServiceAway(service, kind, moment.attempt, away, moment.wait_seconds, error))
        if outage is not None and said:
            outage.said = True

    def _in_outage(self, service: str, now: float) -> _Outage:
        if self._is_forgotten(service, now):
            del self._away[service]  # what fails now is another outage, which begins at once
        begins = service not in self._away
        outage = self._away.setdefault(service, _Outage(began=now, last=now))
        outage.last = now
        outage.failures += 1
        if begins:
            self._tell(moments.OutageBegan(service, self._wall_clock()))
        return outage

    def _gave_up(self, operation: str) -> str:
        """The operation, which waited, does so no longer. Its service."""
        service = operation_type(operation).partition("_")[0]
        self._waiting[service] = max(0, self._waiting[service] - 1)
        return service

    def _end(self, service: str) -> None:
        outage = self._away.pop(service, None)
        if outage is None:
            return
        self._tell(moments.OutageEnded(service))
        if outage.said:
            self._tell(moments.ServiceBack(service, outage.failures, self._now() - outage.began))

    def _is_forgotten(self, service: str, now: float) -> bool:
        outage = self._away.get(service)
        return outage is not None and not self._waiting[service] and now - outage.last > FORGOTTEN_SECONDS

    def _forget(self, service: str) -> None:
        del self._away[service]
        self._tell(moments.OutageEnded(service))
