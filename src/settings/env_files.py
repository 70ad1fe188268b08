"""Reads an env file the way compose does, and reports the lines that cannot be parsed."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

from dotenv.parser import parse_stream
from dotenv.variables import Variable, parse_variables

from .findings import Findings


def filled(values: Mapping[str, str]) -> dict[str, str]:
    """Without empty values, and without the trailing spaces and carriage returns that editors leave."""
    return {name: text.strip() for name, text in values.items() if text.strip()}


def read_env_file(path: Path | None, environ: Mapping[str, str], found: Findings) -> dict[str, str]:
    """The file's values by name; empty if there is no file."""
    if path is None:
        return {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        found.problems.append(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8.")
        return {}
    except OSError as error:
        found.problems.append(f"{path} cannot be read: {error.strerror}.")
        return {}
    return _parse_env_file(path, text, environ, found)


def _parse_env_file(path: Path, text: str, environ: Mapping[str, str], found: Findings) -> dict[str, str]:
    values: dict[str, str] = {}
    for binding in parse_stream(io.StringIO(text)):
        line = binding.original.line + _blank_lines(binding.original.string)
        if binding.error:  # the line itself is not shown: it may hold a secret
            found.problems.append(f"Line {line} of {path} cannot be parsed; it must have the form NAME=value.")
        elif binding.key is not None and binding.value is not None:
            values[binding.key] = _expanded(binding.value, {**values, **environ})
            found.origins[binding.key] = f"{path} line {line}"
    return values


def _blank_lines(text: str) -> int:
    return text[: len(text) - len(text.lstrip())].count("\n")


def _expanded(text: str, known: Mapping[str, str]) -> str:
    """Expand ``${NAME}`` and ``${NAME:-default}`` the way compose does; an unknown name stays as it is."""
    return "".join(
        f"${{{atom.name}}}"
        if isinstance(atom, Variable) and atom.default is None and atom.name not in known
        else atom.resolve(known)
        for atom in parse_variables(text)
    )
