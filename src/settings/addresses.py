"""URLs of services: validation, the secrets in them, and the part that may be logged."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote, urlsplit


def http_url(url: str) -> str:
    if not _is_url(url, schemes=("http", "https"), needs_host=True):
        raise ValueError("a URL such as http://localhost:9000")
    return url


def redis_url(url: str) -> str:
    if not _is_url(url, schemes=("redis", "rediss"), needs_host=False) and not _is_socket_url(url):
        raise ValueError(
            "a URL such as redis://localhost:6379/0, rediss://user:password@host:6380/0 or unix:///run/redis.sock"
        )
    return url


def _is_url(url: str, *, schemes: tuple[str, ...], needs_host: bool) -> bool:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    if parts.scheme not in schemes or not url.startswith(f"{parts.scheme}://"):
        return False
    return bool(host or not needs_host) and not any(c in "{}$\\^|<>\"'" or c.isspace() for c in host)


def _is_socket_url(url: str) -> bool:
    try:
        return url.startswith("unix://") and len(urlsplit(url).path) > 1
    except ValueError:
        return False


def without_user_info(url: str) -> str:
    """The URL without user, password and query, safe to log."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def url_secrets(url: str) -> Iterator[str]:
    parts = urlsplit(url)
    queried = (pair.partition("=") for pair in parts.query.split("&"))
    written = [parts.password or "", *(value for name, _, value in queried if "password" in name.lower())]
    for text in written:
        yield text
        yield unquote(text)
