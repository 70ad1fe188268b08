"""One recording, from its first bytes to its object, its document and its marker.

The only room that awaits effects in their order: intent before, fact after. It knows one recording and nothing of the
others; who gets a turn, and which recordings there are, is the dispatcher's and the slots' business.
"""

from .processor import StreamProcessor

__all__ = [
    "StreamProcessor",
]
