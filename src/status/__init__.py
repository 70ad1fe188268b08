"""The one read model: what is being recorded, at risk, failed, and what to do about it.

``view_of`` makes a ``StatusView`` from ``Facts``; commands, the page and JSON all show that view, with the words of
``texts``. ``Gathering`` gathers the facts of a running daemon, and ``Chronicle`` remembers what was heard of streams;
``RecorderNotes`` and ``advice`` say what recorders cost.
Everything here is pure; ``main`` connects it.
"""

from .advice import REMEDIES, SHORTER_FILES, Advice, Costly, Remedy, advice_on
from .chronicle import Chronicle
from .conclusions import view_of
from .facts import Again, DaemonFacts, DoneFacts, Facts, RecorderFacts, RecordingFacts, ServiceFacts
from .gathering import Gathering, recording_facts
from .recorders import RecorderNotes
from .schema import as_json, status_from_json, status_json, status_schema
from .texts import count, name, rate, shortened, size, span
from .view import (
    FILE_MISSING,
    SCHEMA_VERSION,
    Action,
    DaemonView,
    Disk,
    DoneView,
    Failure,
    Finished,
    RecordingView,
    ServiceView,
    State,
    StatusView,
    Tone,
    Totals,
    UnreadableView,
)

__all__ = [
    "FILE_MISSING",
    "REMEDIES",
    "SCHEMA_VERSION",
    "SHORTER_FILES",
    "Action",
    "Advice",
    "Again",
    "Chronicle",
    "Costly",
    "DaemonFacts",
    "DaemonView",
    "Disk",
    "DoneFacts",
    "DoneView",
    "Facts",
    "Failure",
    "Finished",
    "Gathering",
    "RecorderFacts",
    "RecorderNotes",
    "RecordingFacts",
    "RecordingView",
    "Remedy",
    "ServiceFacts",
    "ServiceView",
    "State",
    "StatusView",
    "Tone",
    "Totals",
    "UnreadableView",
    "advice_on",
    "as_json",
    "count",
    "name",
    "rate",
    "recording_facts",
    "shortened",
    "size",
    "span",
    "status_from_json",
    "status_json",
    "status_schema",
    "view_of",
]
