"""The events about recorders; ``moments`` offers them with all others."""

from __future__ import annotations

from .moment_kinds import DaemonMoment
from .structure import Structure


class MediaSeen(DaemonMoment):
    """How a growing recording is laid out; ``fragment_seconds``: the average of its fragments, 0 without any. Again
    when it has twice as many fragments. No log line."""

    file_path: str
    structure: Structure
    fragment_seconds: float


class RecorderAdvice(DaemonMoment):
    """A recorder writes in a way that costs something: once a day for each ``advice`` and ``recordings`` (a pattern).

    ``bytes_sent_again`` since the start; ``seconds_at_risk``: recording time that exists only here at any moment.
    """

    advice: str
    recordings: str
    reason: str
    bytes_sent_again: int
    seconds_at_risk: float
    hint: str
