"""What the store can do, as a metric and in the log."""

from __future__ import annotations

from collections.abc import Collection

import structlog
from prometheus_client import CollectorRegistry, Gauge

from ..exceptions import described

_log: structlog.stdlib.BoundLogger = structlog.get_logger(f"{__name__.partition('.')[0]}.s3_client")
_AROUND = "uploads go on without it; S3_CHECKSUM, S3_CONDITIONAL_WRITES and S3_PART_COPY say it for good"


class AbilityMoments:
    """``AbilityObserver``. A series begins when its ability is known; what is set or Amazon's own has none."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._able = Gauge(
            "cefmp4_store_ability", "1: the store can do this; 0: it cannot.", ["ability"], registry=registry
        )

    def ability_learnt(self, *, ability: str, able: bool) -> None:
        self._able.labels(ability).set(able)
        _log.debug("store_ability", ability=ability, able=able)

    def ability_lost(self, *, ability: str) -> None:
        _log.warning("store_ability_lost", ability=ability, hint=_AROUND)

    def abilities_unknown(self, *, abilities: Collection[str], error: BaseException | None) -> None:
        for ability in abilities:
            self._able.labels(ability).set(0)
        told = described(error) if error else {}
        _log.warning("store_abilities_unknown", **{**told, "abilities": sorted(abilities), "hint": _AROUND})
