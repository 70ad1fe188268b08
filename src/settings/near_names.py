"""Misspelt names of settings, and other programs' names for the same thing. All other names are ignored."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from difflib import SequenceMatcher

from .complaints import shown_name
from .older_names import OLD_NAMES

#: What other programs call the same, and what it is called here.
_SYNONYMS = {
    **dict.fromkeys(("WATCH_DIRECTORY", "WATCH_FOLDER", "WATCH_PATH"), "WATCH_DIR"),
    "S3_SECRET": "S3_SECRET_ACCESS_KEY",
    "S3_URL": "S3_ENDPOINT_URL",
}
#: The same of what belongs to REDIS_HOST; without that they are another program's.
_SYNONYMS_OF_REDIS_HOST = {
    **dict.fromkeys(("REDIS_PASS", "REDIS_PWD", "REDIS_PASSWD"), "REDIS_PASSWORD"),
    "REDIS_USER": "REDIS_USERNAME",
    "REDIS_DATABASE": "REDIS_DB",
}
#: Names so common that what resembles them in everybody's environment is not meant for us.
_COMMON_NAMES = frozenset({"APP_ENV", "LOG_LEVEL", "PYTHON_LOG_LEVEL"})
_UNITS = ("_SECONDS", "_BYTES")


def misspelt(in_file: Mapping[str, str], in_environment: Mapping[str, str], ours: Collection[str]) -> list[str]:
    """An error message for each name that is similar to one of ``ours``, the settings' names, or means the same."""
    names = {*ours, *OLD_NAMES}
    has_redis_host = in_file.get("REDIS_HOST") or in_environment.get("REDIS_HOST")
    synonyms = {**_SYNONYMS, **(_SYNONYMS_OF_REDIS_HOST if has_redis_host else {})}
    elsewhere = in_environment.keys() - in_file.keys()
    return [*_complaints(in_file, names, synonyms), *_complaints(elsewhere, names, synonyms, but=_COMMON_NAMES)]


def _complaints(
    written: Iterable[str], names: Collection[str], synonyms: Mapping[str, str], but: Collection[str] = ()
) -> list[str]:
    found = []
    for name in sorted(written):
        if name in names:
            continue
        if meant := synonyms.get(name):
            found.append(f"{name} is not a setting; did you mean {meant}?")
        elif (ours := _nearest(name, names)) is not None and ours not in but:
            found.append(f"{shown_name(name)} is not a setting; did you mean {OLD_NAMES.get(ours, ours)}?")
    return found


def _nearest(name: str, names: Collection[str]) -> str | None:
    written = name.upper().replace("-", "_").replace(".", "_")
    likeness = {ours: _likeness(written, ours) for ours in names}
    best = max(likeness, key=lambda ours: likeness[ours])
    return best if likeness[best] > 0 else None


def _likeness(written: str, ours: str) -> float:
    """How alike two names are, 0 to 1; 0 unless one can be a slip for the other.

    The first word tells whose a name is (``AWS_ACCESS_KEY_ID`` is not ours), so that it must nearly agree. Then
    a slip is a letter or two, a word left out, or another unit.
    """
    if written.replace("_", "") == ours.replace("_", ""):
        return 1.0
    their_words, our_words = written.split("_"), ours.split("_")
    if SequenceMatcher(None, their_words[0], our_words[0]).ratio() < 0.7:
        return 0.0
    ratio = SequenceMatcher(None, written, ours).ratio()
    if ratio >= 0.88:
        return ratio
    left_out = any(their_words == our_words[:i] + our_words[i + 1 :] for i in range(1, len(our_words)))
    if left_out and len(their_words) > 1 and ratio >= 0.7:
        return ratio
    other_unit = ours.endswith(_UNITS) and their_words[:-1] == our_words[:-1]
    return max(ratio, 0.1) if other_unit else 0.0
