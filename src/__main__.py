"""The command ``cefmp4``, which is also ``python -m cefmp4``. It knows ``--help`` and ``--version``."""

from __future__ import annotations

import argparse
import sys

from . import __version__
from .main import main

_DESCRIPTION = """\
Uploads MP4 recordings to S3 while they are still being written; the object is the closed file, byte for byte.

Settings come from the environment and from .env in the working directory. Exit codes: 0 after a stop by SIGTERM or
Ctrl-C, 1 when the daemon cannot go on, 2 for settings that cannot be used."""


def run() -> int:
    """Read the command line, then be the daemon; the process's exit code."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="cefmp4", description=_DESCRIPTION, formatter_class=form)
    parser.add_argument("--version", action="version", version=f"cefmp4 {__version__}")
    parser.parse_args()
    return main()


if __name__ == "__main__":
    sys.exit(run())
