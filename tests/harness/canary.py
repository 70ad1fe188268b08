"""Secrets that can be searched for: every secret of the suite's servers begins with the same word.

No log line, no metric, no page and no output of any test may show it (``tests/conftest.py`` and
``tests/harness/e2e/daemon.py`` look everywhere).
"""

from __future__ import annotations

import secrets

#: Written in two pieces, so that a traceback that quotes this line is no find.
CANARY = "canary" + "-7f1d"


def secret() -> str:
    """A new secret, with characters that addresses and JSON write in other ways."""
    return f"{CANARY}{secrets.token_hex(12)}/+="


def is_told(text: str) -> bool:
    """Whether the text shows a secret of the suite."""
    return CANARY in text
