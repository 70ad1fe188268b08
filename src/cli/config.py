"""``cefmp4 config``: all settings, their values, and where each comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import click
from pydantic import SecretStr
from rich.text import Text

from ..config import Loaded, Settings, defaults
from ..settings import CREDENTIALS, url_secrets, without_user_info
from ..status import name as safe_to_show
from .options import as_json, with_settings
from .output import console, print_json
from .status_text import Paper, hanging

SCHEMA_VERSION = 1
_DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Row:
    """One setting. ``older_name``: the name in the source, if it is an older one; ``changed``: it has a value there
    that differs from the default."""

    name: str
    value: str
    default: str
    origin: str
    older_name: str | None
    changed: bool


@click.command()
@click.option("--changed", is_flag=True, help="Only settings that differ from their defaults.")
@as_json
@with_settings
def config(loaded: Loaded, changed: bool, as_json: bool) -> None:
    """List all settings, their values, and where each comes from.

    Secrets are never printed, only their length. A running daemon has the settings of its own start.
    """
    found = [row for row in rows(loaded) if row.changed or not changed]
    if as_json:
        print_json(SCHEMA_VERSION, {"settings": [asdict(row) for row in found]})
        return
    if not found:
        click.echo("No setting differs from its default.")
    for line in _lines(found):
        console().print(line, soft_wrap=True)
    for notice in loaded.notices:
        click.echo(notice, err=True)


def _lines(found: Sequence[Row]) -> Iterator[Text]:
    """Setting, origin, value; the default where the value is another. A narrow terminal has the value below."""
    out = console()
    paper = Paper(out.width if out.is_terminal else None, out.options.ascii_only)
    heads = [(row.name, f"{row.origin} ({row.older_name})" if row.older_name else row.origin) for row in found]
    widths = [max((len(head[column]) for head in heads), default=0) for column in (0, 1)]
    for row, (name, origin) in zip(found, heads, strict=True):
        default = f"  (default: {row.default or 'empty'})" if row.changed else ""
        head = f"{name:{widths[0]}}  {origin:{widths[1]}}  "
        if paper.width is not None and len(head) > paper.width // 2:
            yield Text(head.rstrip())
            head = "    "
        yield from hanging(head, safe_to_show(f"{row.value}{default}".lstrip()), paper, "bold" if row.changed else "")


def rows(loaded: Loaded) -> Iterator[Row]:
    """All settings in the order of the reference; no value contains a secret."""
    usual = defaults()
    for attribute in Settings.model_fields:
        name, given = attribute.upper(), loaded.given.get(attribute)
        value = getattr(loaded.settings, attribute)
        origin = loaded.origins.get(given.name, "environment") if given else _from_key_file(loaded, attribute)
        yield Row(
            name,
            _shown(attribute, value, usual[name]) if given else usual[name],
            usual[name],
            origin,
            given.name if given and given.name != name else None,
            given is not None and value != Settings.model_fields[attribute].default,
        )


def _from_key_file(loaded: Loaded, attribute: str) -> str:
    """The credentials may be in files of their own, which are read when they are used."""
    path = getattr(loaded.settings, f"{attribute}_file", None)
    return f"file {path}" if path else _DEFAULT


def _shown(attribute: str, value: object, default: str) -> str:
    """A value as it would be written; of a secret only the length."""
    if isinstance(value, SecretStr):
        return f"set, {len(value.get_secret_value())} characters"
    if attribute in CREDENTIALS:
        return f"set, {len(str(value))} characters"
    text = str(value)
    if "://" in text:
        hidden = [secret for secret in url_secrets(text) if secret]
        return without_user_info(text) + (f" (password set, {len(hidden[-1])} characters)" if hidden else "")
    if isinstance(value, tuple):
        return "[" + ", ".join(f'"{one}"' for one in value) + "]"
    return str(value).lower() if isinstance(value, bool) else text
