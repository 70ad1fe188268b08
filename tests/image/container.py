"""The image as it is run: its own command, user, environment and health check, in a root that cannot be written.

Without Docker: namespaces and mounts by hand (``enter.sh``), as root. The network is the machine's.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.harness import servers
from tests.harness.e2e.daemon import Daemon, eventually

_ENTER = Path(__file__).with_name("enter.sh")
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Image:
    """An image: its root folder, mounted, and what its configuration says."""

    root: Path
    config: Mapping[str, Any]

    @classmethod
    def read(cls, root: Path, inspected: Path) -> Image:
        """From the answer of ``buildah inspect --type image``."""
        return cls(root, json.loads(inspected.read_text())["Docker"]["config"])

    @property
    def environment(self) -> dict[str, str]:
        return dict(entry.split("=", 1) for entry in self.config["Env"])

    @property
    def main_command(self) -> list[str]:
        return [*self.config["Entrypoint"], *self.config["Cmd"]]

    @property
    def health_command(self) -> list[str]:
        kind, *command = self.config["Healthcheck"]["Test"]
        assert kind == "CMD"
        return list(command)

    def entering(self, watched: Path, command: Sequence[str]) -> list[str]:
        """The command line that runs ``command`` in a new container."""
        namespaces = ["unshare", "--mount", "--propagation", "private", "--pid", "--kill-child"]
        user, group = self.config["User"].split(":")
        place = [str(self.root), str(watched), user, group, self.config["WorkingDir"]]
        # Ends with us, also when we are killed.
        tied = [str(shutil.which("setpriv")), "--pdeathsig", "KILL"]
        return [*tied, *namespaces, "sh", str(_ENTER), *place, *command]

    def run(self, watched: Path, *command: str) -> subprocess.CompletedProcess[str]:
        """Run ``command`` in a container of its own until it ends."""
        return subprocess.run(
            self.entering(watched, command),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_SECONDS,
        )


class Container(Daemon):
    """The image's main command on a watched folder. Signals go to its first process, as Docker sends them."""

    def __init__(self, image: Image, home: Path, watched: Path, settings: Mapping[str, str]) -> None:
        port = str(next(servers._free_ports()))
        super().__init__(home, {**settings, "PROM_HOST": "127.0.0.1", "PROM_PORT": port})
        self.image = image
        self.watched = watched

    def signal(self, number: signal.Signals) -> None:
        psutil.Process(self.first_process).send_signal(number)

    @property
    def first_process(self) -> int:
        """The process that is number 1 inside."""
        first = eventually(psutil.Process(self.pid).children, "the container's first process")
        return first[0].pid

    @property
    def program(self) -> psutil.Process:
        """The daemon itself: what the first process started."""
        return psutil.Process(self.first_process).children()[0]

    def health(self, **changes: str) -> int:
        """The exit code of the image's health check inside the container."""
        namespaces = ["nsenter", "--target", str(self.first_process), "--mount", "--pid", "--root", "--wd"]
        user, group = self.image.config["User"].split(":")
        as_user = ["setpriv", "--reuid", user, "--regid", group, "--clear-groups"]
        return subprocess.run(
            [*namespaces, *as_user, *self.image.health_command],
            env=self._environment(changes),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE_SECONDS,
        ).returncode

    def _command(self) -> list[str]:
        return self.image.entering(self.watched, self.image.main_command)

    def _environment(self, changes: Mapping[str, str]) -> dict[str, str]:
        return {**self.image.environment, **self.settings, **changes}

    def _listening_port(self) -> int:
        return int(self.settings["PROM_PORT"])
