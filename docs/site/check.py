"""Checks the built site: every link and picture is there, nothing is fetched from elsewhere, the search knows words.

``python docs/site/check.py FOLDER``; exit code 1 and a list when something is wrong.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

#: Stems of words that a reader would type, as the index of the search has them.
WORDS = ("upgrad", "ob", "risk", "minio", "disk")


class Page(HTMLParser):
    """Its links, its anchors, and what a browser fetches for it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            elif value and (name == "src" or (tag == "link" and name == "href")):
                self.fetched.append(value)
            elif value and name == "href":
                self.links.append(value)


def _is_elsewhere(address: str) -> bool:
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme not in ("", "data")


def problems(site: Path) -> list[str]:
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    found = [] if len(pages) > 30 else [f"only {len(pages)} pages"]
    for path, page in pages.items():
        name = path.relative_to(site)
        found += [f"{name}: fetches {one}" for one in page.fetched if _is_elsewhere(one)]
        for link in [*page.links, *page.fetched]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            there = there / "index.html" if there.is_dir() else there
            if not there.exists():
                found.append(f"{name}: no {link}")
            elif parts.fragment and there in pages and unquote(parts.fragment) not in pages[there].anchors:
                found.append(f"{name}: no anchor {link}")
    index = site / "searchindex.js"
    words = index.read_text(encoding="utf-8") if index.exists() else ""
    return found + [f"the search does not know {word}" for word in WORDS if not re.search(rf'[{{,]"?{word}"?:', words)]


if __name__ == "__main__":
    wrong = problems(Path(sys.argv[1]).resolve())
    print("\n".join(wrong) or "every link of the site leads somewhere")
    sys.exit(1 if wrong else 0)
