"""Carries one recording, from its first bytes to its object, its metadata document and its marker.

The only package that performs effects in order: intent before, fact after. It knows one recording and no others; which
recordings exist is decided by ``dispatcher``, and whose turn it is by ``slots``.

``processor`` runs the steps of a recording, and ``next_step`` decides which. ``sight`` observes the file and when it is
quiet; ``pacing`` waits. ``upload`` sends parts and ``completion`` completes an upload in the store; ``proving`` and
``describing`` turn it into a completed recording: add work on complete recordings to ``describing``. ``ledger`` holds
its checkpoint. ``anew``, ``replaced``, ``cleanup`` and ``source_missing`` handle the exceptional cases.
"""

from .processor import StreamProcessor

__all__ = [
    "StreamProcessor",
]
