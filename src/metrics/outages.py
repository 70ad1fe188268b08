"""Detects outages of a service from failed attempts and answered requests.

An operation that works after it had failed ends the outage of its service; so does any answer while no operation waits
for a retry (a completion is sent once, and so is a readiness check). The results are moments of their own:
``OutageBegan``, ``OutageEnded``, and the log lines ``ServiceAway``, ``AnswerNotUnderstood`` and ``ServiceBack``.
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
    """An outage of a service since its first failure. ``said``: it was logged."""

    began: float
    last: float
    failures: int = 0
    said: bool = False


class Outages:
    """The current outages. ``tell`` receives a moment and returns whether it was logged; ``now`` returns monotonic
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
                # The first operation that works again ends the outage; the others were waiting to retry.
                self._end(self._gave_up(operation))
            case moments.OperationGivenUp(operation=operation):
                self._gave_up(operation)

    def expire(self, now: float) -> None:
        """End the outages of services that no caller uses any longer."""
        for service in list(self._away):
            if self._is_forgotten(service, now):
                self._forget(service)

    def _failed(self, moment: moments.OperationFailed) -> None:
        now, error = self._now(), moment.error
        kind = operation_type(moment.operation, error)
        service = kind.partition("_")[0]
        # A permanent or an unknown refusal is not an outage: the service is available.
        answers = isinstance(error, S3NotUnderstood | S3NotAble)
        outage = None if answers or isinstance(error, Permanent) else self._in_outage(service, now)
        # Once per operation, at its first failure, and only if it will be repeated: then its success ends the outage.
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
            del self._away[service]  # a failure now is a new outage, which begins at once
        begins = service not in self._away
        outage = self._away.setdefault(service, _Outage(began=now, last=now))
        outage.last = now
        outage.failures += 1
        if begins:
            self._tell(moments.OutageBegan(service, self._wall_clock()))
        return outage

    def _gave_up(self, operation: str) -> str:
        """The operation, which was waiting, has given up. Returns its service."""
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
