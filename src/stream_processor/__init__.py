"""One recording, from its first bytes to its object, its document and its marker.

The only room that awaits effects in their order: intent before, fact after. It knows one recording and nothing of the
others; who gets a turn, and which recordings there are, is the dispatcher's and the slots' business.

``processor`` has the way of a recording, and ``next_step`` its decisions. ``sight`` knows what was seen of the file and
when it is quiet; ``pacing`` waits. ``upload`` sends parts and ``completion`` ends an upload at the store; ``proving``
and ``describing`` make a finished recording of it: what is to happen when a recording is complete belongs there.
``ledger`` is its record. ``anew``, ``replaced``, ``cleanup`` and ``source_missing`` are for what goes another way.
"""

from .processor import StreamProcessor

__all__ = [
    "StreamProcessor",
]
