"""Captures the README's sample outputs from a real run: ``python -m scripts.samples``, two minutes.

The test that types the README's commands does it (``tests/e2e/test_readme.py``), so that what is written is what it
compares later. Ports are shown as the daemon's usual ones; ids, times and sizes are the run's own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """The exit code of the tests that captured the samples."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "0",
        "--no-cov",
        "tests/e2e/test_readme.py",
        "-k",
        "first_recording or told",
    ]
    environment = {**os.environ, "WRITE_README_SAMPLES": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode  # noqa: S603  (our own)


if __name__ == "__main__":
    sys.exit(main())
