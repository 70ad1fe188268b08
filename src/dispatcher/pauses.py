"""How long to wait before something is tried again whose error nobody foresaw, or that has no end of its own."""

from __future__ import annotations

FIRST_SECONDS = 5.0
_LONGEST_SECONDS = 300.0


def longer(seconds: float) -> float:
    """The pause after this one."""
    return min(2 * seconds, _LONGEST_SECONDS)
