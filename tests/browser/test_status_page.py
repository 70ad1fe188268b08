"""The status page in a real browser: on a phone, a tablet and a desk, light and dark, with and without JavaScript."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from src.status import StatusView, name
from tests.harness import statuses
from tests.harness.browser import browser
from tests.harness.page_site import PageSite, page_site

pytestmark = [pytest.mark.chromium, pytest.mark.slow]

WIDTHS = (360, 768, 1440)
STATES = {
    "usual": statuses.usual,
    "troubled": statuses.troubled,
    "idle": statuses.idle,
    "crowd": statuses.crowd,
    "odd": statuses.odd,
}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as running:
        yield running


@pytest.fixture(scope="module")
def site() -> Iterator[PageSite]:
    with page_site() as served:
        yield served


@contextmanager
def opened(
    chromium: Browser, site: PageSite, *, width: int = 1440, scheme: str = "light", javascript: bool = True
) -> Iterator[Page]:
    """The page in a context of its own. No test ends with an error or a refusal in the browser's console."""
    complaints: list[str] = []
    context = chromium.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
        java_script_enabled=javascript,
    )
    try:
        page = context.new_page()
        page.on("console", lambda said: complaints.append(_text(said)))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(site.address)
        yield page
        assert [each for each in complaints if each] == []
    finally:
        context.close()


def _text(said: ConsoleMessage) -> str:
    return said.text if said.type in ("error", "warning") else ""


def _sideways(page: Page) -> int:
    """By how much the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def _sticks_out(page: Page) -> list[str]:
    """Texts that are wider than their place, or lie outside the window."""
    return list(
        page.evaluate(
            """() => [...document.querySelectorAll("h1,h2,h3,p,dt,dd,th,td,bdi,code,small,time")]
            .filter(each => !each.closest(".unseen, thead") && each.getClientRects().length)
            .filter(each => [...each.getClientRects()].some(box => box.right > innerWidth + 1 || box.left < -1))
            .map(each => each.textContent.slice(0, 60))"""
        )
    )


@pytest.mark.parametrize("what", STATES)
def test_nothing_sticks_out_and_axe_finds_nothing(chromium: Browser, site: PageSite, what: str) -> None:
    """All rules of axe-core, best practices included, on a desk in the light and on a phone in the dark. The long pages
    have the same elements many times: the two are looked at on one of them each."""
    site.show(STATES[what]())
    with opened(chromium, site) as page:
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            assert (width, _sideways(page), _sticks_out(page)) == (width, 0, [])
        if what != "odd":
            assert _found_by_axe(page) == ""
    if what != "crowd":
        with opened(chromium, site, width=360, scheme="dark") as page:
            assert _found_by_axe(page) == ""


def _found_by_axe(page: Page) -> str:
    found = Axe().run(page)
    return str(found.generate_report()) if found.violations_count else ""


@pytest.mark.parametrize("what", STATES)
def test_without_javascript_the_page_says_the_same(chromium: Browser, site: PageSite, what: str) -> None:
    site.show(STATES[what]())
    texts = []
    for javascript in (True, False):
        with opened(chromium, site, width=360, javascript=javascript) as page:
            assert _sideways(page) == 0
            texts.append(page.locator("main").inner_text())
            expect(page.get_by_role("button")).to_have_count(1 if javascript else 0)
    assert texts[0] == texts[1]


def test_every_odd_name_is_shown_so_that_it_can_do_nothing(chromium: Browser, site: PageSite) -> None:
    """Each is a row of its own; what could not be seen, or would turn the text around it, is an escape."""
    view = statuses.odd()
    site.show(view)
    with opened(chromium, site) as page:
        rows = page.locator("tbody tr th bdi").all_text_contents()
        short = {each.name for each in view.recordings if len(each.name) < 90}
        assert short <= set(rows)
        assert len(rows) == min(200, len(view.recordings))
        assert all(name(each) == each for each in rows)
        assert page.locator("script").count() == 1
        assert page.locator("main img, main a, main iframe, main form").count() == 0


def test_on_a_phone_the_bytes_of_a_missing_file_say_where_they_are(chromium: Browser, site: PageSite) -> None:
    site.show(statuses.state([statuses.failed("gone.mp4", 1)]))
    with opened(chromium, site, width=360) as page:
        cell = page.locator("tbody td.stored")
        assert cell.inner_text() == "650 MB"
        assert cell.evaluate("each => getComputedStyle(each, '::before').content") == '"In the store: "'


def test_it_is_live_and_keeps_what_somebody_selected(chromium: Browser, site: PageSite) -> None:
    """A recording that goes on keeps its element; one that is new appears, one that is done goes."""
    before, after = statuses.state([statuses.growing("a.mp4", 1), statuses.growing("b.mp4", 2)]), _later()
    site.show(before)
    with opened(chromium, site) as page:
        row = page.locator("tbody tr", has_text="b.mp4").element_handle()
        page.evaluate("row => getSelection().selectAllChildren(row.querySelector('bdi'))", row)
        site.show(after)
        expect(page.locator("tbody tr", has_text="c.mp4")).to_be_visible(timeout=60_000)
        assert page.locator("tbody tr", has_text="a.mp4").count() == 0
        assert row is not None and row.is_visible() and "99 %" in row.inner_text()
        assert page.evaluate("getSelection().toString()") == "b.mp4"
        assert page.title() == "1 failed · cefmp4"


def _later() -> StatusView:
    size = 9_000_000_000
    return statuses.state(
        [
            statuses.growing("b.mp4", 2, size=size, stored=size - 1000),
            statuses.growing("c.mp4", 3),
            statuses.failed("d.mp4", 4),
        ]
    )


def test_when_the_daemon_is_silent_the_page_says_so_and_since_when(chromium: Browser) -> None:
    with page_site() as site:
        site.show(statuses.usual())
        context = chromium.new_context()
        page = context.new_page()
        page.goto(site.address)
        expect(page.locator("#silent")).to_be_hidden()
        site.is_broken = True
        site.pass_time(10)
        expect(page.get_by_role("alert")).to_contain_text("does not answer", timeout=60_000)
        expect(page.get_by_role("alert")).to_contain_text("12:00:30 UTC")
        site.is_broken = False
        expect(page.locator("#silent")).to_be_hidden(timeout=60_000)
        context.close()


def test_updates_can_be_paused_and_continued(chromium: Browser, site: PageSite) -> None:
    site.show(statuses.usual())
    with opened(chromium, site) as page:
        page.get_by_role("button", name="Pause").click()
        site.show(statuses.crowd(12))
        page.get_by_role("button", name="Continue").focus()
        assert page.locator("tbody tr").count() == 3
        page.keyboard.press("Enter")
        expect(page.locator("tbody tr")).to_have_count(12, timeout=60_000)
        expect(page.get_by_role("button", name="Pause")).to_be_focused()


def test_it_works_below_the_path_of_a_proxy(chromium: Browser, site: PageSite) -> None:
    """All addresses in it are relative."""
    site.show(statuses.usual())
    below = f"{site.address}recorder/cefmp4/"
    context = chromium.new_context()
    page = context.new_page()
    page.route(
        f"{below}**", lambda route: route.fulfill(response=route.fetch(url=_inside(site, route.request.url, below)))
    )
    page.goto(below)
    assert page.evaluate("getComputedStyle(document.querySelector('.figures')).display") == "grid"
    site.show(statuses.crowd(12))
    expect(page.locator("tbody tr")).to_have_count(12, timeout=60_000)
    context.close()


def _inside(site: PageSite, url: str, below: str) -> str:
    return site.address + url.removeprefix(below)
