"""State that all helpers of one recording share."""

from __future__ import annotations

from dataclasses import dataclass

from ..domain import StreamTelemetry, World
from ..ownership import Claims
from .ledger import Ledger
from .pacing import Pacing
from .sight import Sight


@dataclass(frozen=True, slots=True)
class OneStream:
    """The outside world and the claims, which all recordings share, and the state of this stream.

    For classes that need most of it. A class that needs only two or three of these gets them alone, so that its
    constructor shows what it cannot touch.
    """

    world: World
    claims: Claims
    ledger: Ledger
    telemetry: StreamTelemetry
    pacing: Pacing
    sight: Sight
