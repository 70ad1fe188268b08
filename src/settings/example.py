"""The text of ``example.env``: every setting with its reason and its default."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path

from pydantic.fields import FieldInfo

#: What only the user knows, with no default to show; a value without which some daemons still do their work.
_TO_FILL_IN = frozenset({"s3_endpoint_url", "s3_access_key_id", "s3_secret_access_key", "redis_url"})


def example_text(fields: Mapping[str, FieldInfo], headings: Mapping[str, str]) -> str:
    """The file's text; the defaults are commented out. ``headings``: by the first setting below each."""
    lines = [
        "# Copy this file to .env and fill in the lines that do not begin with #; a line without a value means the",
        "# default. The others show the defaults: remove the leading # from a line that you change. A copy pins",
        "# nothing: the defaults of a later version apply. Variables of the environment win over this file.",
    ]
    for attribute, info in fields.items():
        if attribute in headings:
            lines += ["", f"# ---- {headings[attribute]} ----"]
        lines += ["", *(f"# {line}" for line in textwrap.wrap(info.description or "", 116))]
        lines.append(f"{attribute.upper()}=" if attribute in _TO_FILL_IN else f"#{_line(attribute, info)}")
    return "\n".join(lines) + "\n"


def written_defaults(fields: Mapping[str, FieldInfo]) -> dict[str, str]:
    """Each setting's name, and its default as it would be written into the file."""
    lines = (_line(attribute, info).partition("=") for attribute, info in fields.items())
    return {name: value for name, _, value in lines}


def _line(attribute: str, info: FieldInfo) -> str:
    # A Redis that is written down is a Redis that somebody named, and then none is embedded.
    value = "" if attribute == "redis_url" else _as_written(info.default)
    return f"{attribute.upper()}={value}"


def _as_written(default: object) -> str:
    if default is None:
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return json.dumps(list(default))
    return f"./{default}" if isinstance(default, Path) else str(default)
