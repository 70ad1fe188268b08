"""The command ``cefmp4``, which is also ``python -m cefmp4``, and ``python -m src`` in the checkout."""

from __future__ import annotations

import sys

from .main import main


def run() -> int:
    """The daemon, or an answer to the command line; the process's exit code."""
    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(run())
