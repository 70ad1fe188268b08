"""Names that hurt: what a file system allows and people, cameras and attackers give their files.

Paths are bytes relative to the watched folder. All of them can lie in one folder at once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from unicodedata import normalize

from src.domain import METADATA_SUFFIX
from src.domain.object_keys import LAST_SEGMENT_LIMIT

LONGEST = 255  # bytes of a name on every file system of Linux
_MP4 = b".mp4"


@dataclass(frozen=True, slots=True)
class Odd:
    """A path, and what is odd about it. ``plain``: its key is its own text."""

    what: str
    path: bytes
    plain: bool = False

    def __str__(self) -> str:
        return self.what


def _as_long_as(count: int, unit: bytes = b"n", *, end: bytes = _MP4) -> bytes:
    """A name of ``count`` bytes: whole units, filled up with x, and the end."""
    units = unit * ((count - len(end)) // len(unit))
    return units.ljust(count - len(end), b"x") + end


_CONTROLS = [*range(1, 0x20), 0x7F]
_TOO_LONG = _as_long_as(LAST_SEGMENT_LIMIT + 1, b"c")
_CUT_FORM = b"c" * (LAST_SEGMENT_LIMIT - 22) + b"%~" + hashlib.sha256(_TOO_LONG).hexdigest()[:16].encode() + _MP4

_PLAIN = {
    "two words": b"two words.mp4",
    "leading space": b" leading.mp4",
    "a space before the extension": b"trailing .mp4",
    "nothing but a space": b" .mp4",
    "nothing but the extension": b".mp4",
    "two dots": b"..mp4",
    "three dots": b"...mp4",
    "dots before the extension": b"dots....mp4",
    "hidden": b".hidden.mp4",
    "the extension twice": b"a.mp4.mp4",
    "an option": b"-rf.mp4",
    "a long option": b"--help.mp4",
    "ffprobe's input option": b"-i.mp4",
    "nothing but a dash": b"-.mp4",
    "a tilde": b"~.mp4",
    "our own next key": b"taken~2.mp4",
    "whose next key is taken": b"taken.mp4",
    "our own key after that": b"taken~3.mp4",
    "our own next key of a next key": b"taken~2~2.mp4",
    "a document's name inside": b"x.metadata.json.mp4",
    "nothing but a document's name": b".metadata.json.mp4",
    "beside a document's name": b"described.mp4",
    "the probe's key": b".cefmp4-probe.mp4",
    "an upload folder's name": b".sgwtmp.mp4",
    "single quote": b"it's.mp4",
    "double quote": b'say "hi".mp4',
    "backslash": b"back\\slash.mp4",
    "backslash escape": b"back\\x0aslash\\n.mp4",
    "the log's form of a byte": b"\\xff.mp4",
    "parent folder in Windows' way": b"..\\..\\etc\\passwd.mp4",
    "star": b"*.mp4",
    "question mark": b"what?.mp4",
    "character class": b"[a-z].mp4",
    "braces": b"{a,b}.mp4",
    "command substitution": b"$(touch pwned).mp4",
    "backticks": b"`id`.mp4",
    "variable": b"$HOME.mp4",
    "semicolon": b"a;reboot;.mp4",
    "pipe": b"a|cat.mp4",
    "ampersand": b"a&b.mp4",
    "entity": b"&amp;&lt;.mp4",
    "XML": b"<Key>x<.mp4",
    "CDATA's end": b"]]>.mp4",
    "redirection": b"a>b<c.mp4",
    "exclamation mark": b"!!.mp4",
    "at sign": b"@list.mp4",
    "plus": b"a+b.mp4",
    "plus where a space is": b"a b.mp4",
    "hash": b"a#fragment.mp4",
    "query": b"a?versionId=null&uploads.mp4",
    "comma and equals": b"a,b=c.mp4",
    "colon": b"10:30:00.mp4",
    "drive letter": b"C:.mp4",
    "a device of Windows": b"CON.mp4",
    "another device of Windows": b"NUL.mp4",
    "a port of Windows": b"com1.mp4",
    "case twin, small": b"twin.mp4",
    "case twin, capital": b"Twin.mp4",
    "protocol file": b"file:x.mp4",
    "protocol concat": b"concat:plain.mp4|twin.mp4",
    "protocol http": b"http:x.mp4",
    "protocol pipe": b"pipe:0.mp4",
    "protocol subfile": b"subfile,,start,0,end,9,,:plain.mp4",
    "protocol data": b"data:text,x.mp4",
    "JSON": b'{"event": "daemon_stopped", "level": "critical"}.mp4',
    "a log field": b"level=critical event=daemon_stopped.mp4",
    "an assignment of a secret": b"password=hunter2-hunter2.mp4",
    "format string": b"{0.__class__}{stream_id}.mp4",
    "number": b"0.mp4",
    "NFC": normalize("NFC", "zwilling é.mp4").encode(),
    "NFD": normalize("NFD", "zwilling é.mp4").encode(),
    "compatibility form": "ﬁlm ①.mp4".encode(),
    "other scripts": "录像 запись تسجيل.mp4".encode(),
    "emoji": "🎥👩\u200d🚀.mp4".encode(),
    "zero width": "zero\u200bwidth\u2060.mp4".encode(),
    "byte order mark": "\ufeffbom.mp4".encode(),
    "turned reading direction": "film\u202e4pm.mp4".encode(),
    "line separators": "line\u2028and\u2029paragraph.mp4".encode(),
    "no-break space": "no\u00a0break.mp4".encode(),
    "soft hyphen": "soft\u00adhyphen.mp4".encode(),
    "a slash that is none": "a\u2215b\uff0fc.mp4".encode(),
    "dots that are none": "\uff0e\uff0e\u2024.mp4".encode(),
    "replacement character": "\ufffd.mp4".encode(),
    "private use": "\ue000\U0010fffd.mp4".encode(),
    "stacked accents": ("z" + "\u0301" * 40 + ".mp4").encode(),
    "as long as fits beside a document": _as_long_as(LAST_SEGMENT_LIMIT),
}

_CHANGED = {
    "percent": b"100%.mp4",
    "only a percent": b"%.mp4",
    "escape of a dot": b"%2e.mp4",
    "escapes of two dots and a slash": b"%2e%2e%2fetc.mp4",
    "escape of a slash": b"a%2Fb.mp4",
    "escape of two slashes": b"a%2F%2Fb.mp4",
    "escape of NUL": b"nul%00.mp4",
    "escape of an escape": b"%252F.mp4",
    "printf": b"%s%n%d.mp4",
    "a sequence of pictures": b"frame%03d.mp4",
    "our own form of a cut": b"cut%~0123456789abcdef.mp4",
    "the cut form of another": _CUT_FORM,
    "newline": b"new\nline.mp4",
    "a line of the log": b'x\n{"event": "daemon_stopped"}\n.mp4',
    "carriage return": b"carriage\rreturn.mp4",
    "both": b"both\r\n.mp4",
    "tab": b"tab\t.mp4",
    "terminal colour": b"\x1b[31mred\x1b[0m.mp4",
    "terminal title": b"\x1b]0;owned\x07.mp4",
    "clear screen": b"\x1b[2J\x1bc.mp4",
    "eight-bit control": "\u009b31m.mp4".encode(),
    "next line": "next\u0085line.mp4".encode(),
    "every control byte": bytes(_CONTROLS) + _MP4,
    "latin-1": b"caf\xe9.mp4",
    "lone continuation": b"\x80.mp4",
    "half a character": b"half \xe2\x82.mp4",
    "overlong slash": b"a\xc0\xafb.mp4",
    "overlong NUL": b"a\xc0\x80b.mp4",
    "surrogate bytes": b"\xed\xa0\x80.mp4",
    "surrogate pair": b"\xed\xa0\xbd\xed\xb8\x80.mp4",
    "beyond Unicode": b"\xf4\x90\x80\x80.mp4",
    "bytes that never are": b"\xfe\xff.mp4",
    "every byte that is no UTF-8": bytes(range(0x80, 0x100)) + _MP4,
    "UTF-16": "ab".encode("utf-16-le").replace(b"\0", b"\x01") + _MP4,
    "no character": "\ufffe\uffff.mp4".encode(),
    "one byte too long beside a document": _TOO_LONG,
    "no room for a document": _as_long_as(LONGEST - len(METADATA_SUFFIX) + 10),
    "as long as can be": _as_long_as(LONGEST),
    "as long, of two bytes each": _as_long_as(LONGEST, "ü".encode()),
    "as long, of four bytes each": _as_long_as(LONGEST, "🎥".encode()),
    "as long, of controls": _as_long_as(LONGEST, b"\x01"),
    "as long, no UTF-8": _as_long_as(LONGEST, b"\xff"),
    "as long, of percents": _as_long_as(LONGEST, b"%"),
    "as long, the last byte differs": _as_long_as(LONGEST, end=b"1.mp4"),
    "as long, the other last byte": _as_long_as(LONGEST, end=b"2.mp4"),
}

_PLAIN_FOLDERS = {
    "a folder with a recording's name": b"folder.mp4/inside.mp4",
    "a folder of spaces": b"   /inside.mp4",
    "a folder of three dots": b".../inside.mp4",
    "a folder that is an option": b"-x/--help.mp4",
    "a protocol": b"http:/localhost:1/x.mp4",
    "a user and a password": b"ftp:/user:pass@host/x.mp4",
    "many folders": b"d/" * 40 + b"inside.mp4",
}

_FOLDERS = {
    "a folder with a document's name": b"described.mp4.metadata.json/inside.mp4",
    "a folder with the probe's key": b".cefmp4-probe/inside.mp4",
    "a folder that the store keeps for itself": b".sgwtmp/inside.mp4",
    "a folder that is no UTF-8": b"b\xff\xfe/inside.mp4",
    "a folder that ends a line": b"cam\n1/inside\n.mp4",
    "a folder that is percent": b"%/%2F.mp4",
    "more than a key holds": b"/".join([b"deep" * 50] * 6) + b"/inside.mp4",
    "more than a key holds, twin": b"/".join([b"deep" * 50] * 6) + b"/inside2.mp4",
    "more than a key holds, longest names": b"/".join([b"\xfe" * 250] * 5) + b"/" + _as_long_as(LONGEST),
}

#: At least a hundred recordings.
RECORDINGS: tuple[Odd, ...] = (
    *(Odd(what, path, plain=True) for what, path in (_PLAIN | _PLAIN_FOLDERS).items()),
    *(Odd(what, path) for what, path in (_CHANGED | _FOLDERS).items()),
    *(Odd(f"control byte {byte:#04x}", b"control %c.mp4" % byte) for byte in (1, 8, 11, 12, 14, 0x1A, 0x1C, 0x7F)),
)

#: Names that ``*.mp4`` does not match, however near they come.
NO_RECORDINGS: tuple[Odd, ...] = tuple(
    Odd(what, path)
    for what, path in {
        "a document": b"twin.mp4.metadata.json",
        "a space behind": b"behind.mp4 ",
        "a newline behind": b"behind.mp4\n",
        "a dot behind": b"behind.mp4.",
        "a temporary name": b"behind.mp4.tmp",
        "capitals": b"behind.MP4",
        "no dot": b"mp4",
        "a byte behind": b"behind.mp4\xff",
    }.items()
)
