"""Adapters: a method for each moment builds it and emits it, for the rooms that do not emit by themselves yet."""

from __future__ import annotations

from collections.abc import Collection

from ..domain import moments
from ..retry import ANSWERS, ErrorClass
from .emitter import Emitter


class DaemonMethods:
    """What retries, the store and Redis tell."""

    emit: moments.Emit

    def record_set_aside(self, *, key: str, reason: str) -> None:
        self.emit(moments.RecordSetAside(key, reason))

    def redis_may_lose(self, *, reason: str) -> None:
        self.emit(moments.RedisMayLose(reason))

    def redis_forgot(self, *, records: int) -> None:
        self.emit(moments.RedisForgot(records))

    def ability_learnt(self, *, ability: str, able: bool) -> None:
        self.emit(moments.AbilityLearnt(ability, able))

    def ability_lost(self, *, ability: str) -> None:
        self.emit(moments.AbilityLost(ability))

    def abilities_unknown(self, *, abilities: Collection[str], error: BaseException | None) -> None:
        self.emit(moments.AbilitiesUnknown(abilities, error))

    def request_ended(self, *, service: str, operation: str, seconds: float, error_class: ErrorClass | None) -> None:
        answered = error_class is None or error_class in ANSWERS
        self.emit(moments.RequestEnded(service, operation, seconds, error_class, answered))

    def operation_failed(self, *, operation: str, error: BaseException, attempt: int, wait_seconds: float) -> None:
        self.emit(moments.OperationFailed(operation, error, attempt, wait_seconds))

    def operation_recovered(self, *, operation: str, failures: int, seconds: float) -> None:
        self.emit(moments.OperationRecovered(operation, failures, seconds))

    def operation_given_up(self, *, operation: str) -> None:
        self.emit(moments.OperationGivenUp(operation))


class Metrics(DaemonMethods, Emitter):
    pass
