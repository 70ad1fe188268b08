"""Who may look at the status page."""

from __future__ import annotations

import base64

import pytest

from src.page.access import Listening, Mode, is_loopback, is_same, is_served, may_be_asked_as, password_in


@pytest.mark.parametrize(
    ("mode", "host", "published_on", "has_password", "served"),
    [
        (Mode.AUTO, "127.0.0.1", None, False, True),
        (Mode.AUTO, "::1", None, False, True),
        (Mode.AUTO, "localhost", None, False, True),
        (Mode.AUTO, "0.0.0.0", None, False, False),
        (Mode.AUTO, "::", None, False, False),
        (Mode.AUTO, "192.0.2.7", None, False, False),
        (Mode.AUTO, "recorder.example.com", None, False, False),
        (Mode.AUTO, "0.0.0.0", None, True, True),
        # In a container the address that counts is the one on which the port is published.
        (Mode.AUTO, "0.0.0.0", "127.0.0.1", False, True),
        (Mode.AUTO, "0.0.0.0", "0.0.0.0", False, False),
        (Mode.AUTO, "127.0.0.1", "0.0.0.0", False, False),
        (Mode.OPEN, "0.0.0.0", None, False, True),
        (Mode.OFF, "127.0.0.1", None, True, False),
    ],
)
def test_the_page_is_served_where_only_this_machine_can_connect_or_with_a_password(
    mode: Mode, host: str, published_on: str | None, has_password: bool, served: bool
) -> None:
    assert is_served(mode, Listening(host, published_on), has_password=has_password) is served


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "localhost.", "a.localhost", "127.0.0.1", "127.9.8.7", "[::1]"]
)
def test_loopback_has_several_names(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "notlocalhost", "localhost.example.com", "128.0.0.1", "0.0.0.0", "127.0.0.1.example.com"]
)
def test_what_only_looks_like_loopback_is_not(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "localhost:8000", "LocalHost:8000", "127.0.0.1:8000", "[::1]:8000", "[::1]", "192.0.2.7:8000"),
        *("[2001:db8::7]:8000", "recorder.example.com", "RECORDER.example.com:443", "recorder.example.com."),
    ],
)
def test_addresses_loopback_and_the_names_of_the_setting_may_be_asked(host: str) -> None:
    assert may_be_asked_as([host], ["Recorder.Example.com"])


@pytest.mark.parametrize(
    "hosts",
    [
        *([], ["localhost", "localhost"], [""], ["evil.example"], ["evil.example:8000"], ["recorder.example.com.evil"]),
        *(
            ["localhost:8000@evil.example"],
            ["localhost:evil"],
            ["[::1"],
            ["[evil]"],
            ["::1"],
            ["localhost:"],
            [":8000"],
        ),
        *(["localhost:123456"], ["127.0.0.1.evil.example"], ["recorder.example.com/"], ["locaLhost\u0130"], ["0x7f.1"]),
    ],
)
def test_any_other_host_is_refused(hosts: list[str]) -> None:
    """Such as a name that somebody else lets point to this machine."""
    assert not may_be_asked_as(hosts, ["recorder.example.com"])


def _basic(text: bytes) -> str:
    return "Basic " + base64.b64encode(text).decode()


def test_the_password_is_found_whatever_the_user() -> None:
    assert password_in(_basic(b"anybody:pass:word")) == "pass:word"
    assert password_in(_basic(":ü".encode())) == "ü"
    assert password_in(_basic(b"x:y").replace("Basic", "bASIC")) == "y"


@pytest.mark.parametrize(
    "header",
    [None, "", "Basic", "Basic !!!", "Basic eA", "Bearer eDp5", _basic(b"no colon"), _basic(b"a:\xff"), "Basic é"],
)
def test_a_header_without_a_password_has_none(header: str | None) -> None:
    assert password_in(header) is None


def test_only_the_very_password_is_the_same() -> None:
    assert is_same("geheim", "geheim") and is_same("", "") and is_same("ü\udcff", "ü\udcff")
    assert not any(is_same(other, "geheim") for other in ("", "gehei", "geheim ", "Geheim", "geheimgeheim"))
