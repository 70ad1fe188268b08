"""What people type that cannot be meant: shell syntax, patterns that match nothing, addresses that hold something else.

Every function looks at the text of one value and returns the end of a sentence, "… is set, but ⟨this⟩": what is wrong
and what to type instead; None where nothing is. Pure: neither the disk nor the environment is asked. Where a value may
hold a secret, what is returned holds nothing of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from urllib.parse import parse_qsl, urlsplit

#: Quotation marks that a shell would take away, and those that a word processor makes of them.
_QUOTES = {'"': '"', "'": "'", "\u201c": "\u201d", "\u201e": "\u201c", "\u2018": "\u2019", "\u00ab": "\u00bb"}
_ANY_QUOTE = "\"'\u201c\u201d\u201e\u2018\u2019\u00ab\u00bb"
_REMARK = re.compile(r"\s#")
_VARIABLE = re.compile(r"\$\{?[A-Za-z_]\w*\}?|\$\(|`")
_WILDCARD = re.compile(r"[*?\[]")
#: One of two alternatives at least, as shells write them.
_BRACES = re.compile(r"[@+]?(?:\{([^{}]*,[^{}]*)\}|\(([^()]*\|[^()]*)\))")
_SPECIAL = "@ as %40, # as %23, / as %2F, ? as %3F, : as %3A"


def shell_syntax(name: str, text: str, *, secret: bool = False) -> str | None:
    """What only a shell or a compose file would have replaced or taken away. ``secret``: nothing of it is returned, and
    a dollar is a dollar."""
    instead = "the value" if secret else None
    if re.match(rf"(export\s+)?{re.escape(name)}\s*=", text):
        return f"it begins with the name once more: write {instead or _quoted(text.partition('=')[2].strip())} alone"
    if text[0] in _QUOTES and text.endswith(_QUOTES[text[0]]) and len(text) > 1:
        return f"the quotation marks are part of the value here: write {instead or _quoted(text[1:-1])} without them"
    if text[0] in _QUOTES or text[-1] in _QUOTES.values():
        return "it has a quotation mark at one end: write it without quotation marks"
    if remark := _REMARK.search(text):
        before = instead or _quoted(text[: remark.start()])
        return f"a remark on the same line is part of the value here: write {before} alone, and the remark above it"
    if re.fullmatch(r"<[^<>]*>", text):
        return "it is a placeholder: write your own value, without the angle brackets"
    if not secret and (variable := _VARIABLE.search(text)):
        return f"nothing replaces {variable.group()} here: write the value itself"
    return None


def path_syntax(text: str) -> str | None:
    """What is no path of Linux, whatever the disk holds; a folder that really has such a name is written as ./name."""
    if re.match(r"~[\w.-]*(/|$)", text):
        return "only a shell replaces the ~ at its beginning: write the whole path, which begins with /"
    if re.match(r"[A-Za-z]:[\\/]", text) or text.startswith("\\\\"):
        return "it is a path of Windows: write the path that it has here, which begins with /"
    if re.search(r"%\w+%", text):
        return "it holds a variable of Windows: write the path itself"
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text):
        return "it is an address: write a path, such as /srv/recordings"
    if "\\ " in text:
        return "the backslash before a blank is part of it here: write the blank alone"
    if re.match(r"(\w[\w.-]*@)?[A-Za-z0-9][\w.-]*:/", text):
        return "it is a share's address: mount the share, and write where"
    if re.search(r"\w[:;,]/", text):
        return "it names several: there is one folder for a daemon, and the folders inside it are watched too"
    return None


def redis_address(url: str) -> str | None:
    """An address of Redis that says something else than was meant; nothing of it is returned."""
    if "://" not in url:
        return "an address begins with its scheme: write redis://host:6379/0, or redis://:password@host:6379/0"
    scheme, authority, rest = _parts(url)
    if scheme not in ("redis", "rediss", "unix"):
        return None
    if slip := _misplaced(authority, rest):
        return slip
    user_info, at, _ = authority.rpartition("@")
    if at and ":" not in user_info:
        return (
            "what stands before the @ is a user name without a password: a password begins with a colon, "
            "redis://:password@host:6379/0"
        )
    if not at and not _has_port(authority):
        return "its port is no number; a password stands between a colon and an @: redis://:password@host:6379/0"
    path = rest.partition("?")[0]
    if scheme != "unix" and not re.fullmatch(r"/?|/\d+/?", path):
        return "what follows the host is the number of a database: write redis://host:6379/0"
    return _redis_options(scheme, rest.partition("?")[2])


_YES_OR_NO = r"(?i:true|false|yes|no|[01])"
#: What may follow the question mark, and what each takes; anything else would end the start much later.
_REDIS_OPTIONS = {
    **dict.fromkeys(("db", "max_connections", "health_check_interval", "socket_read_size", "ssl_min_version"), r"\d+"),
    **dict.fromkeys(("socket_timeout", "socket_connect_timeout", "timeout"), r"\d+(\.\d+)?"),
    **dict.fromkeys(("socket_keepalive", "retry_on_timeout", "decode_responses", "ssl_check_hostname"), _YES_OR_NO),
    **dict.fromkeys(("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_password"), r".+"),
    **dict.fromkeys(("username", "password", "client_name", "lib_name", "lib_version", "ssl_ciphers"), r".+"),
    "ssl_cert_reqs": r"none|optional|required",
    "protocol": r"[23]",
}
_SOME_OPTIONS = "redis://host:6379/0 alone, or such as rediss://host:6380/0?ssl_ca_certs=/etc/ssl/own-ca.pem"


def _redis_options(scheme: str, query: str) -> str | None:
    """The names of options are no secret, but what stands in their place may be one."""
    for name, value in parse_qsl(query):
        if name not in _REDIS_OPTIONS or not re.fullmatch(_REDIS_OPTIONS[name], value, re.ASCII):
            return f"an option behind its question mark is unknown or has no such value: write {_SOME_OPTIONS}"
        if name.startswith("ssl_") and scheme != "rediss":
            return "an option behind its question mark is one of TLS: begin the address with rediss://"
    return None


def store_address(url: str, bucket: str) -> str | None:
    """An address of a store that says something else than was meant; nothing of it is returned."""
    scheme, authority, rest = _parts(url)
    if re.match(r"s3a?$|s3n$", scheme) or url.startswith("arn:"):
        return "this is the address of the store, and the bucket's name belongs into S3_BUCKET_NAME; empty: Amazon S3"
    if scheme not in ("http", "https"):
        return None
    if slip := _misplaced(authority, rest):
        return slip
    if "@" in authority:
        return "keys do not belong into it: write them into S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY"
    if "?" in rest:
        return "an address ends before the question mark"
    if bucket and (rest.strip("/").rpartition("/")[2] == bucket or authority.startswith(f"{bucket}.")):
        return "the bucket is in it: write the address without it, S3_BUCKET_NAME names the bucket"
    return None


def bucket_name(text: str) -> str | None:
    """The name of a bucket inside something longer."""
    found = re.match(r"(?:s3a?://|arn:aws[\w-]*:s3:::)([\w.-]+)/?(.*)", text) or re.match(r"([\w.-]+)/(.*)", text)
    if found is None:
        return None
    prefix = f", and S3_KEY_PREFIX={found[2].rstrip('/')}/" if found[2].strip("/") else ""
    return f"it is more than the name: write {found[1]}{prefix}"


def patterns(text: str, *, of_recordings: bool) -> str | None:
    """A list of patterns that is no list, or has one that no name can match. ``of_recordings``: patterns of names that
    are taken; else of names of files and folders that are left out."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if isinstance(found, dict | bool | int | float) or text == "null":
        return 'it is no list of patterns in JSON: write ["*.mp4"]'
    if found == [] and not of_recordings:
        return None
    if not isinstance(found, list) or not found or not all(isinstance(one, str) and one.strip() for one in found):
        pieces = found if isinstance(found, str) else text
        return f"it is no list of patterns in JSON: write {_listed(_mended(_pieces(pieces), of_recordings))}"
    negated = [one for one in found if one.startswith("!")]
    if negated:
        return f"{_written(negated[0])} leaves nothing out: write what is to be left out into WATCH_EXCLUDE_GLOBS"
    wrong = [one for one in found if list(_mended([one], of_recordings)) != [one]]
    if wrong:
        return f"{_written(wrong[0])} matches nothing: write {_listed(_mended(found, of_recordings))}"
    return None


def leaves_out_all(taken: Iterable[str], left_out: Iterable[str]) -> bool:
    """Whether no name is left that a pattern of ``taken`` matches: each is left out, as far as patterns alone tell."""
    left_out = list(left_out)
    return all(any(_covers(one, pattern) for one in left_out) for pattern in taken)


def _covers(wider: str, pattern: str) -> bool:
    if wider == pattern or re.fullmatch(r"(\*\*/)*\*+", wider):
        return True
    # The text of a pattern stands for its names only where each wildcard in it meets a star.
    comparable = not re.search(r"[/?\[\]]", wider) and not re.search(r"[/\[]", pattern)
    return comparable and fnmatchcase(pattern, wider)


def _pieces(text: str) -> list[str]:
    """The patterns in something that is no list."""
    found = re.findall(rf"(?:[^\s,;|{{}}\[\]{_ANY_QUOTE}]|\{{[^{{}}]*\}})+", text)
    return found or ["*.mp4"]


def _mended(found: Iterable[str], of_recordings: bool) -> Iterator[str]:
    for pattern in found:
        for one in _unfolded(pattern.strip(" \t" + _ANY_QUOTE)):
            yield _right(one, of_recordings)


def _unfolded(pattern: str) -> Iterator[str]:
    """Each alternative by itself."""
    braces = _BRACES.search(pattern)
    if braces:
        for alternative in re.split(r"[,|]", braces[1] or braces[2]):
            yield from _unfolded(pattern[: braces.start()] + alternative.strip() + pattern[braces.end() :])
        return
    several = re.split(r"\s*[,;|]\s*|(?<=\.\w\w\w)\s+(?=\*\.)", pattern)
    yield from several if len(several) > 1 and all(_WILDCARD.search(one) for one in several) else [pattern]


def _right(pattern: str, of_recordings: bool) -> str:
    """The pattern that was meant; the pattern itself where it can match."""
    if re.match(r"\^|.*(\\\.|\$$)", pattern):  # a regular expression
        pattern = pattern.removeprefix("^").removesuffix("$").replace("\\.", ".").replace(".*", "*").replace("(?i)", "")
    pattern = pattern.replace("\\", "/")
    if pattern.startswith("/") or (of_recordings and re.match(r"~|\$|[A-Za-z]:/", pattern)):
        pattern = pattern.rstrip("/").rpartition("/")[2] or pattern
    pattern = re.sub(r"^(\.\.?/)+", "", pattern)
    if pattern.endswith("/"):
        return f"{pattern}*" if of_recordings else pattern.rstrip("/")
    if of_recordings and not _WILDCARD.search(pattern) and re.fullmatch(r"\.?\w+", pattern):
        return f"*.{pattern.removeprefix('.')}"
    return pattern


def _parts(url: str) -> tuple[str, str, str]:
    """Scheme, what is before the path, and the rest with its first character."""
    scheme, _, after = url.partition("://")
    end = re.search(r"[/?#]", after)
    cut = end.start() if end else len(after)
    return scheme.lower(), after[:cut], after[cut:]


def _misplaced(authority: str, rest: str) -> str | None:
    """A password or key that holds a character with a meaning of its own, so that the address ends inside of it."""
    if "@" in rest or "#" in rest or ("@" in authority and authority.count("@") > 1):
        return f"a password in an address has some characters written otherwise: write {_SPECIAL}"
    return None


def _has_port(authority: str) -> bool:
    """Whether what follows the host's colon is one, or there is none."""
    try:
        return urlsplit(f"//{authority}").port is not None or True
    except ValueError:
        return False


def _written(pattern: str) -> str:
    return json.dumps(pattern, ensure_ascii=False)


def _listed(found: Iterable[str]) -> str:
    return json.dumps(list(dict.fromkeys(found)), ensure_ascii=False)


def _quoted(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."
