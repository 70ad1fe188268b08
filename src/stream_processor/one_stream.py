"""What all who carry one recording share."""

from __future__ import annotations

from dataclasses import dataclass

from ..domain import StreamTelemetry, World
from ..ownership import Claims
from .ledger import Ledger
from .pacing import Pacing
from .sight import Sight


@dataclass(frozen=True, slots=True)
class OneStream:
    """The world and the claims of all recordings, and what is this stream's own.

    For those who need most of it. Whoever needs two or three things is handed these alone: then his constructor says
    what he cannot touch.
    """

    world: World
    claims: Claims
    ledger: Ledger
    telemetry: StreamTelemetry
    pacing: Pacing
    sight: Sight
