"""The text of ``example.env``: every setting with its description and its default."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path

from pydantic.fields import FieldInfo

#: Settings that only the user knows and that have no default to show; the daemon may work without them.
_TO_FILL_IN = frozenset({"s3_endpoint_url", "s3_access_key_id", "s3_secret_access_key", "redis_url"})


def example_text(fields: Mapping[str, FieldInfo], headings: Mapping[str, str]) -> str:
    """The file's text, with the defaults commented out. ``headings``: by the first setting below each."""
    lines = [
        "# Copy this file to .env and fill in the lines that do not begin with #. An empty value means the default.",
        "# The other lines show the defaults: to change one, remove its leading #. Settings that stay commented out",
        "# follow the defaults of later versions. Environment variables override this file.",
    ]
    for attribute, info in fields.items():
        if attribute in headings:
            lines += ["", f"# ---- {headings[attribute]} ----"]
        lines += ["", *(f"# {line}" for line in textwrap.wrap(info.description or "", 116))]
        lines.append(f"{attribute.upper()}=" if attribute in _TO_FILL_IN else f"#{_line(attribute, info)}")
    return "\n".join(lines) + "\n"


def written_defaults(fields: Mapping[str, FieldInfo]) -> dict[str, str]:
    """Each setting's default by name, as written in the file."""
    lines = (_line(attribute, info).partition("=") for attribute, info in fields.items())
    return {name: value for name, _, value in lines}


def _line(attribute: str, info: FieldInfo) -> str:
    # Empty: a REDIS_URL with a value, even the default one, turns the embedded Redis off.
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
