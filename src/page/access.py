"""Who may look at the page: whether it is served at all, which Host headers it answers, and the password. Pure.

The page shows file names, so without a password it is for this machine alone. A web site can make the browser of its
visitor ask an address of this machine under a name of its own (DNS rebinding); such a request carries that name
in its Host header, and is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address


class Mode(StrEnum):
    """``AUTO``: served where only this machine can connect, or where there is a password."""

    AUTO = "auto"
    OPEN = "open"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the port is: the daemon's own address, and the one on which a container's port is published, if known."""

    host: str
    published_on: str | None = None

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect."""
        return is_loopback(self.published_on or self.host)


def is_served(mode: Mode, listening: Listening, *, has_password: bool) -> bool:
    return mode is Mode.OPEN or (mode is Mode.AUTO and (has_password or listening.is_local))


def is_loopback(host: str) -> bool:
    """``localhost``, a name below it, or an address of the loopback network."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def may_be_asked_as(hosts: Sequence[str], names: Sequence[str]) -> bool:
    """Whether a request with these Host headers is answered; ``names`` beside loopback's are allowed, and any address.

    An address cannot be rebound: a browser that sends one connects to it.
    """
    if len(hosts) != 1:
        return False
    name = _name_of(hosts[0])
    if is_loopback(name) or _is_address(name):
        return True
    return name in {each.rstrip(".").lower() for each in names}


def _name_of(host: str) -> str:
    """Without the port; an IPv6 address without its brackets."""
    if host.startswith("["):
        address, end, port = host[1:].partition("]")
        return address.lower() if end and (not port or _is_port(port)) and ":" in address else ""
    name, colon, port = host.partition(":")
    return name.rstrip(".").lower() if not colon or _is_port(f":{port}") else ""


def _is_port(text: str) -> bool:
    return text.startswith(":") and text[1:].isascii() and text[1:].isdigit() and len(text) <= len(":65535")


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def password_in(authorization: str | None) -> str | None:
    """The password of a Basic ``Authorization`` header, whatever the user; None without one."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user_and_password = base64.b64decode(encoded.strip(), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
    _, colon, password = user_and_password.partition(":")
    return password if colon else None


def is_same(given: str, expected: str) -> bool:
    """Compares in constant time; the digests hide the length."""
    one, other = (hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest() for text in (given, expected))
    return hmac.compare_digest(one, other)
