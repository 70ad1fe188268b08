"""Common typing mistakes in values: shell syntax, patterns that match nothing, URLs with misplaced components.

Each function checks one value and returns the end of a sentence, "… is set, but ⟨this⟩": what is wrong and what to
type instead; None if the value is fine. Pure: no access to the disk or the environment. If a value may contain a
secret, the returned text quotes nothing from it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from urllib.parse import parse_qsl, urlsplit

#: Quotation marks that a shell would remove, and the typographic ones that word processors put in their place.
_QUOTES = {'"': '"', "'": "'", "\u201c": "\u201d", "\u201e": "\u201c", "\u2018": "\u2019", "\u00ab": "\u00bb"}
_ANY_QUOTE = "\"'\u201c\u201d\u201e\u2018\u2019\u00ab\u00bb"
_REMARK = re.compile(r"\s#")
_VARIABLE = re.compile(r"\$\{?[A-Za-z_]\w*\}?|\$\(|`")
_WILDCARD = re.compile(r"[*?\[]")
#: Alternatives in shell notation, at least two.
_BRACES = re.compile(r"[@+]?(?:\{([^{}]*,[^{}]*)\}|\(([^()]*\|[^()]*)\))")
_SPECIAL = "@ as %40, # as %23, / as %2F, ? as %3F, : as %3A"


def shell_syntax(name: str, text: str, *, secret: bool = False) -> str | None:
    """Syntax that only a shell or a compose file would expand or remove. ``secret``: quote nothing from the value, and
    accept dollar signs."""
    instead = "the value" if secret else None
    if re.match(rf"(export\s+)?{re.escape(name)}\s*=", text):
        return f"it repeats the setting's name: write {instead or _quoted(text.partition('=')[2].strip())} alone"
    if text[0] in _QUOTES and text.endswith(_QUOTES[text[0]]) and len(text) > 1:
        return f"quotation marks become part of the value: write {instead or _quoted(text[1:-1])} without them"
    if text[0] in _QUOTES or text[-1] in _QUOTES.values():
        return "it has a quotation mark at one end only: remove it"
    if remark := _REMARK.search(text):
        before = instead or _quoted(text[: remark.start()])
        return f"the comment becomes part of the value: write {before} alone, and the comment on a line of its own"
    if re.fullmatch(r"<[^<>]*>", text):
        return "it is a placeholder: write your own value, without the angle brackets"
    if not secret and (variable := _VARIABLE.search(text)):
        return f"{variable.group()} is not expanded: write the value itself"
    return None


def path_syntax(text: str) -> str | None:
    """Text that is not a Linux path, whatever is on disk; a folder that really has such a name is written ./name."""
    if re.match(r"~[\w.-]*(/|$)", text):
        return "~ is not expanded: write the absolute path, which begins with /"
    if re.match(r"[A-Za-z]:[\\/]", text) or text.startswith("\\\\"):
        return "it is a Windows path: write the path on this machine, which begins with /"
    if re.search(r"%\w+%", text):
        return "it contains a Windows variable: write the path itself"
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text):
        return "it is a URL: write a path, such as /srv/recordings"
    if "\\ " in text:
        return "the backslash before a space becomes part of the path: write the space alone"
    if re.match(r"(\w[\w.-]*@)?[A-Za-z0-9][\w.-]*:/", text):
        return "it is the address of a network share: mount the share and write its mount point"
    if re.search(r"\w[:;,]/", text):
        return "it names several folders: a daemon watches one folder, including its subfolders"
    return None


def redis_address(url: str) -> str | None:
    """A Redis URL that does not mean what was intended; the result quotes nothing from it."""
    if "://" not in url:
        return "a URL begins with its scheme: write redis://host:6379/0, or redis://:password@host:6379/0"
    scheme, authority, rest = _parts(url)
    if scheme not in ("redis", "rediss", "unix"):
        return None
    if slip := _misplaced(authority, rest):
        return slip
    user_info, at, _ = authority.rpartition("@")
    if at and ":" not in user_info:
        return (
            "the part before the @ is a user name without a password: a password begins with a colon, "
            "redis://:password@host:6379/0"
        )
    if not at and not _has_port(authority):
        return "its port is not a number; a password goes between a colon and an @: redis://:password@host:6379/0"
    path = rest.partition("?")[0]
    if scheme != "unix" and not re.fullmatch(r"/?|/\d+/?", path):
        return "only a database number may follow the host: write redis://host:6379/0"
    return _redis_options(scheme, rest.partition("?")[2])


_YES_OR_NO = r"(?i:true|false|yes|no|[01])"
#: Options allowed after the question mark, and the values of each; any other would fail much later in the start.
_REDIS_OPTIONS = {
    **dict.fromkeys(("db", "max_connections", "health_check_interval", "socket_read_size", "ssl_min_version"), r"\d+"),
    **dict.fromkeys(("socket_timeout", "socket_connect_timeout", "timeout"), r"\d+(\.\d+)?"),
    **dict.fromkeys(("socket_keepalive", "retry_on_timeout", "decode_responses", "ssl_check_hostname"), _YES_OR_NO),
    **dict.fromkeys(("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_password"), r".+"),
    **dict.fromkeys(("username", "password", "client_name", "lib_name", "lib_version", "ssl_ciphers"), r".+"),
    "ssl_cert_reqs": r"none|optional|required",
    "protocol": r"[23]",
}
_SOME_OPTIONS = "redis://host:6379/0 alone, or for example rediss://host:6380/0?ssl_ca_certs=/etc/ssl/own-ca.pem"


def _redis_options(scheme: str, query: str) -> str | None:
    """Option names are not secret, but text in their place may be, so it is not quoted."""
    for name, value in parse_qsl(query):
        if name not in _REDIS_OPTIONS or not re.fullmatch(_REDIS_OPTIONS[name], value, re.ASCII):
            return f"an option after the question mark is unknown or has an invalid value: write {_SOME_OPTIONS}"
        if name.startswith("ssl_") and scheme != "rediss":
            return "an option after the question mark is for TLS: begin the URL with rediss://"
    return None


def store_address(url: str, bucket: str) -> str | None:
    """A store URL that does not mean what was intended; the result quotes nothing from it."""
    scheme, authority, rest = _parts(url)
    if re.match(r"s3a?$|s3n$", scheme) or url.startswith("arn:"):
        return "it must be the URL of the store, or empty for Amazon S3; the bucket name belongs in S3_BUCKET_NAME"
    if scheme not in ("http", "https"):
        return None
    if slip := _misplaced(authority, rest):
        return slip
    if "@" in authority:
        return "it contains credentials: write them into S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY"
    if "?" in rest:
        return "it contains a query string: remove the question mark and everything after it"
    if bucket and (rest.strip("/").rpartition("/")[2] == bucket or authority.startswith(f"{bucket}.")):
        return "it contains the bucket name: write the URL without it; the bucket name belongs in S3_BUCKET_NAME"
    return None


def bucket_name(text: str) -> str | None:
    """A bucket name inside a longer text, such as an ARN."""
    found = re.match(r"(?:s3a?://|arn:aws[\w-]*:s3:::)([\w.-]+)/?(.*)", text) or re.match(r"([\w.-]+)/(.*)", text)
    if found is None:
        return None
    prefix = f", and S3_KEY_PREFIX={found[2].rstrip('/')}/" if found[2].strip("/") else ""
    return f"it is more than a bucket name: write {found[1]}{prefix}"


def patterns(text: str, *, of_recordings: bool) -> str | None:
    """A value that is not a list of patterns, or a pattern that no name can match. ``of_recordings``: the patterns
    select recordings; otherwise they exclude files and folders."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if isinstance(found, dict | bool | int | float) or text == "null":
        return 'it is not a JSON list of patterns: write ["*.mp4"]'
    if found == [] and not of_recordings:
        return None
    if not isinstance(found, list) or not found or not all(isinstance(one, str) and one.strip() for one in found):
        pieces = found if isinstance(found, str) else text
        return f"it is not a JSON list of patterns: write {_listed(_mended(_pieces(pieces), of_recordings))}"
    negated = [one for one in found if one.startswith("!")]
    if negated:
        return (
            f"{_written(negated[0])} does not exclude anything: write the patterns to exclude into WATCH_EXCLUDE_GLOBS"
        )
    wrong = [one for one in found if list(_mended([one], of_recordings)) != [one]]
    if wrong:
        return f"{_written(wrong[0])} matches nothing: write {_listed(_mended(found, of_recordings))}"
    return None


def leaves_out_all(taken: Iterable[str], left_out: Iterable[str]) -> bool:
    """Whether ``left_out`` excludes every name that ``taken`` matches, as far as the patterns alone show."""
    left_out = list(left_out)
    return all(any(_covers(one, pattern) for one in left_out) for pattern in taken)


def _covers(wider: str, pattern: str) -> bool:
    if wider == pattern or re.fullmatch(r"(\*\*/)*\*+", wider):
        return True
    # The pattern's text can stand for the names it matches only if each of its wildcards meets a star.
    comparable = not re.search(r"[/?\[\]]", wider) and not re.search(r"[/\[]", pattern)
    return comparable and fnmatchcase(pattern, wider)


def _pieces(text: str) -> list[str]:
    """The patterns in a text that is not a list."""
    found = re.findall(rf"(?:[^\s,;|{{}}\[\]{_ANY_QUOTE}]|\{{[^{{}}]*\}})+", text)
    return found or ["*.mp4"]


def _mended(found: Iterable[str], of_recordings: bool) -> Iterator[str]:
    for pattern in found:
        for one in _unfolded(pattern.strip(" \t" + _ANY_QUOTE)):
            yield _right(one, of_recordings)


def _unfolded(pattern: str) -> Iterator[str]:
    """One pattern for each alternative."""
    braces = _BRACES.search(pattern)
    if braces:
        for alternative in re.split(r"[,|]", braces[1] or braces[2]):
            yield from _unfolded(pattern[: braces.start()] + alternative.strip() + pattern[braces.end() :])
        return
    several = re.split(r"\s*[,;|]\s*|(?<=\.\w\w\w)\s+(?=\*\.)", pattern)
    yield from several if len(several) > 1 and all(_WILDCARD.search(one) for one in several) else [pattern]


def _right(pattern: str, of_recordings: bool) -> str:
    """The pattern that was intended; the pattern itself if it can match."""
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
    """Scheme, authority, and the rest including its first character."""
    scheme, _, after = url.partition("://")
    end = re.search(r"[/?#]", after)
    cut = end.start() if end else len(after)
    return scheme.lower(), after[:cut], after[cut:]


def _misplaced(authority: str, rest: str) -> str | None:
    """An unencoded special character in a password or key, which ends the authority in the middle of it."""
    if "@" in rest or "#" in rest or ("@" in authority and authority.count("@") > 1):
        return f"special characters in a password must be percent-encoded: write {_SPECIAL}"
    return None


def _has_port(authority: str) -> bool:
    """Whether the port is valid or absent."""
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
