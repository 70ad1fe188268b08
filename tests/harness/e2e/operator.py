"""The operator: types a command with a daemon's settings, and reads the answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from tests.harness import canary
from tests.harness.e2e.daemon import ROOT, Daemon


@dataclass(frozen=True)
class Typed:
    """The answer to a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def type_command(daemon: Daemon, *words: str, within: float = 120, **changes: str) -> Typed:
    """``cefmp4 <words>`` with the daemon's settings. Whatever happens, there is no traceback and no secret."""
    settings = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **daemon.settings, **changes}
    done = subprocess.run(
        [sys.executable, "-m", "src", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=within,
        cwd=daemon.home,
        env=settings,
    )
    said = done.stdout + done.stderr
    assert "Traceback" not in said, said
    assert not canary.is_told(said), f"a secret is in the answer to {words}"
    return Typed(done.returncode, done.stdout, done.stderr)
