"""How commands print: JSON with a schema version, and tables that fit the terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

import click
from rich.console import Console

#: Width of tables where there is no terminal: no line is shortened for a file or a pipe.
_WIDE = 400


def print_json(version: int, body: Mapping[str, object]) -> None:
    """One JSON object; ``schema_version`` comes first. Only ASCII, so that every terminal and pipe can show it."""
    click.echo(json.dumps({"schema_version": version, **body}, indent=2))


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # ``program`` ends quietly; rich would exit with code 1


def console() -> Console:
    """Standard output. Without a terminal there are no colours, and lines are as long as they need to be."""
    is_terminal = sys.stdout.isatty()
    return _Console(width=None if is_terminal else _WIDE, highlight=False, markup=False, emoji=False)
