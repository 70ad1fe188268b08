"""Options that several commands have, spelled alike, and the settings as the daemon finds them."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import update_wrapper
from pathlib import Path
from typing import Any, TypeVar

import click

from ..config import Loaded, load_settings

Command = TypeVar("Command", bound=Callable[..., Any])

#: Where settings are, if no file is named: the first that exists. The second is that of the systemd unit.
ENV_FILES = (Path(".env"), Path("/etc/cefmp4/cefmp4.env"))

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON with a schema_version.")
_env_file = click.option(
    "--env-file",
    type=click.Path(path_type=Path),
    help="File with settings. Default: .env in the working directory, or else /etc/cefmp4/cefmp4.env.",
)


def with_settings(command: Command) -> Command:
    """Decorates a command's function: its first argument becomes the settings (``Loaded``); adds ``--env-file``.

    The environment takes precedence over the file, as for the daemon. Invalid settings, and a file that cannot be
    read, end the command with exit code 2.
    """

    def run(*, env_file: Path | None, **others: Any) -> Any:
        return command(find_settings(env_file), **others)

    return _env_file(update_wrapper(run, command))  # type: ignore[return-value]


def find_settings(env_file: Path | None) -> Loaded:
    """The settings from the environment and from ``env_file``, or else from the first of ``ENV_FILES`` that exists.

    Raises ``ConfigurationError``, and ``click.UsageError`` for a named file that does not exist.
    """
    if env_file is not None and not os.path.lexists(env_file):
        raise click.UsageError(f"--env-file {env_file} does not exist.")
    return load_settings(os.environ, env_file or _first_env_file())


def _first_env_file() -> Path | None:
    """A file in a folder that may not be entered counts as one that exists: that it cannot be read is then said."""
    for path in ENV_FILES:
        try:
            path.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            return path
        return path
    return None
