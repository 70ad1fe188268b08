"""The program ``cefmp4``, which is also ``python -m cefmp4``, and ``python -m src`` in the checkout.

Without a command it is the daemon, which imports nothing of what only the commands need.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

#: Set by a shell that asks how a command line may go on, which is not in the arguments.
COMPLETION = "_CEFMP4_COMPLETE"


def run() -> int:
    """The daemon, or a command; the process's exit code."""
    arguments = sys.argv[1:]
    if arguments in ([], ["run"]) and COMPLETION not in os.environ:
        return _daemon()
    if find_spec("click") is None or find_spec("rich") is None:
        return _not_installed()
    from .cli import answer

    return answer(arguments, _daemon, COMPLETION)


def _daemon() -> int:
    from .main import main

    return main()


def _not_installed() -> int:
    print(
        f"The packages of this program are not installed for {sys.executable}. In the checkout, please type:\n"
        "  scripts/setup\n  .venv/bin/python -m src --help",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(run())
