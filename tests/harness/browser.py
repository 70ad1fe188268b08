"""Debian's Chromium, driven by Playwright; its own browsers are never downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

from tests.harness.servers import find_tool

#: ``--no-sandbox``: Chromium's own needs a user other than root; it opens nothing but our pages.
_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser without a window, for several tests. Raises ``ToolMissing``."""
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=find_tool("chromium"), args=_ARGUMENTS)
        try:
            yield running
        finally:
            running.close()
