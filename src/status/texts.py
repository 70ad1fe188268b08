"""Numbers, times and names as people read them. Pure. Commands and page use these alone, so that they agree."""

from __future__ import annotations

import math
import re
import unicodedata

#: Characters that would be invisible, break a line, or change the direction of what stands beside them.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
#: Longer names are shortened in their middle: beginning and end tell them apart.
_LONGEST_NAME = 96
_SPARE = 4


def size(count: float) -> str:
    """Bytes in decimal units: 0 B, 24 MB, 2.1 GB."""
    amount, unit = max(0.0, count), 0
    while amount >= 999.5 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1000, unit + 1
    return f"{_number(amount) if unit else int(amount)} {_UNITS[unit]}"


def rate(bytes_per_second: float) -> str:
    """Bits per second: 0 bit/s, 640 kbit/s, 18.2 Mbit/s."""
    bits = max(0.0, bytes_per_second) * 8
    for unit, factor in (("Gbit/s", 1e9), ("Mbit/s", 1e6), ("kbit/s", 1e3)):
        if bits >= factor * 0.9995:
            return f"{_number(bits / factor)} {unit}"
    return f"{bits:.0f} bit/s"


def _number(amount: float) -> str:
    return f"{amount:.1f}".removesuffix(".0") if amount < 99.95 else f"{amount:.0f}"


def span(seconds: float) -> str:
    """A length of time in at most two units: 12 s, 41 min, 3 h 20 min, 4 d 2 h."""
    if not math.isfinite(seconds):
        return "never"
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes and hours < 10 else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours and days < 10 else f"{days} d"


def count(number: int, one: str, many: str | None = None) -> str:
    """1 file, 2 files, 1,200 files."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def name(path: str) -> str:
    """A file's name or path without characters that cannot be seen or that change the text around them.

    They are written as escapes, as in the log; a byte that is not UTF-8 is one, too.
    """
    return _UNSAFE.sub(lambda found: _escaped(found.group()), path)


def shortened(text: str) -> str:
    """A name with its middle left out, if it is very long; combining marks stay with what they belong to."""
    if len(text) <= _LONGEST_NAME + _SPARE:
        return text
    head, tail = text[: _LONGEST_NAME // 2], text[-_LONGEST_NAME // 2 :]
    while tail and unicodedata.combining(tail[0]):
        tail = tail[1:]
    return f"{head}…{tail}"


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # os.fsdecode's form of a byte
        return f"\\x{code - 0xDC00:02x}"
    return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character) or (
        f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    )
