"""Waiting times before retries after unexpected errors, or after errors without an end of their own."""

from __future__ import annotations

FIRST_SECONDS = 5.0
_LONGEST_SECONDS = 300.0


def longer(seconds: float) -> float:
    """The next pause."""
    return min(2 * seconds, _LONGEST_SECONDS)
