"""Checks settings that name files with secrets: the access key and its secret, and the password of the status page."""

from __future__ import annotations

import os
from pathlib import Path

from .complaints import shown
from .findings import Findings, Given


def check_key_pair(found: Findings) -> None:
    """Report an incomplete pair now; the store would refuse it much later, with a less helpful message."""
    names = ("s3_access_key_id", "s3_secret_access_key")
    there = {name: [each for each in (name, f"{name}_file") if each in found.given] for name in names}
    for given in there.values():
        if len(given) == 2:
            found.problems.append(f"{given[0].upper()} and {given[1].upper()} are both set; keep one of them.")
        elif given and given[0].endswith("_file"):
            _check_secret_file(found.given[given[0]], found)
    missing = [name for name in names if not there[name]]
    if len(missing) == 1:
        (present,) = (given[0] for name, given in there.items() if name not in missing)
        found.problems.append(f"{present.upper()} is set, but {missing[0].upper()} is not; set both or neither.")


def check_password_file(found: Findings) -> None:
    """Report a password file that cannot be read, or has no single line."""
    if "status_password_file" in found.given:
        _check_secret_file(found.given["status_password_file"], found)


def _check_secret_file(given: Given, found: Findings) -> None:
    """A missing file may appear later, but at the start it is more likely a mistake."""
    try:
        text = Path(given.text).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not text"
        if _may_be_the_secret_itself(given.text):
            found.problems.append(
                f"{given.name} is set, but does not name a readable file: {reason}. It takes a path{_belongs(given)}."
            )
        else:
            found.problems.append(f"{given.name} is {shown(given.text)}, but that file cannot be read: {reason}.")
        return
    if not text or not text.isprintable():
        found.problems.append(
            f"{given.name} is {shown(given.text)}, but that file does not contain exactly one line of text."
        )


def _belongs(given: Given) -> str:
    """A password has no setting of its own: it would be in the environment of every child process."""
    if given.name == "STATUS_PASSWORD_FILE":
        return ""
    return f"; the value itself belongs in {given.name.removesuffix('_FILE')}"


def _may_be_the_secret_itself(text: str) -> bool:
    """A secret may contain slashes, but does not begin with an existing folder."""
    folder = os.path.dirname(text)
    return not text.startswith("/") or folder == "/" or not os.path.isdir(folder)
