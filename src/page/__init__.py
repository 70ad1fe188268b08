"""The status page: what it says, how it looks, and who may look at it.

``LiveStatus`` is what a running daemon shows; ``StatusPage`` serves it, for everybody from one rendering. The page only
shows: nothing here changes anything.
"""

from .access import Listening, Mode, is_served
from .live import LiveStatus
from .status_page import NOT_SERVED, RENDERING_KEPT_SECONDS, SWITCHED_OFF, Look, Route, Rules, StatusPage, no_page
from .throughput import Sample
from .wording import shown

__all__ = [
    "NOT_SERVED",
    "RENDERING_KEPT_SECONDS",
    "SWITCHED_OFF",
    "Listening",
    "LiveStatus",
    "Look",
    "Mode",
    "Route",
    "Rules",
    "Sample",
    "StatusPage",
    "is_served",
    "no_page",
    "shown",
]
