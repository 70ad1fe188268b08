"""The two kinds of telemetry events, and how the outer packages report one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import dataclass_transform


@dataclass_transform(frozen_default=True)
class Moment:
    """An event worth logging or counting. Subclasses become frozen dataclasses."""

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True)(cls)


class DaemonMoment(Moment):
    """An event of the daemon, of a folder, or of a service."""


class StreamMoment(Moment):
    """An event of one stream; its log line also has ``stream_id`` and ``file_path``."""


#: The interface through which the outer packages report events. It never raises or blocks, and is thread-safe.
Emit = Callable[[DaemonMoment], None]
