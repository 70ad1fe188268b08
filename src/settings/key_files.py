"""The pair of keys, each of which may be written down or lie in a file."""

from __future__ import annotations

import os
from pathlib import Path

from .complaints import shown
from .findings import Findings, Given


def check_key_pair(found: Findings) -> None:
    """Half a pair of keys would be refused by the store much later, and in other words."""
    names = ("s3_access_key_id", "s3_secret_access_key")
    there = {name: [each for each in (name, f"{name}_file") if each in found.given] for name in names}
    for given in there.values():
        if len(given) == 2:
            found.problems.append(f"{given[0].upper()} and {given[1].upper()} are both set; keep one of them.")
        elif given and given[0].endswith("_file"):
            _check_key_file(found.given[given[0]], found)
    missing = [name for name in names if not there[name]]
    if len(missing) == 1:
        (present,) = (given[0] for name, given in there.items() if name not in missing)
        found.problems.append(f"{present.upper()} is set, but {missing[0].upper()} is not; set both or neither.")


def _check_key_file(given: Given, found: Findings) -> None:
    """A file that is not there yet may come; at the start it more likely is a slip."""
    try:
        text = Path(given.text).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is no text"
        if _may_be_the_secret_itself(given.text):
            found.problems.append(
                f"{given.name} is set, but names no file that can be read: {reason}. It takes a path; the value itself "
                f"belongs into {given.name.removesuffix('_FILE')}."
            )
        else:
            found.problems.append(f"{given.name} is {shown(given.text)}, but that file cannot be read: {reason}.")
        return
    if not text or not text.isprintable():
        found.problems.append(f"{given.name} is {shown(given.text)}, but that file does not hold one line of text.")


def _may_be_the_secret_itself(text: str) -> bool:
    """A secret may hold slashes, but its beginning names no folder that is there."""
    folder = os.path.dirname(text)
    return not text.startswith("/") or folder == "/" or not os.path.isdir(folder)
