"""How Sphinx makes a site of the documents. ``.ci/site`` builds it; the documents stay plain Markdown for GitHub.

The pages are those that ``docs/index.md`` and the other lists of pages link to, in that order. A page that no list has
is an error, as is every link that leads nowhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
#: Where ``.ci/site`` has put the drawn diagrams.
PICTURES = Path(os.environ["SITE_DIAGRAMS"])
#: Pages that are lists of pages: their links become the sidebar.
LISTS = ("docs/index", "docs/decisions/README", "docs/phases/README")
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)#\s]+)\)")
_PAGE = re.compile(r"\]\(([^)#\s:]+)\.md\)")

project = "CefMP4 Stream Processor"
author = "the maintainers"
extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = ["*.md", "docs/*.md", "docs/**/*.md", "bench/README.md", "test_data/README.md"]
exclude_patterns = [
    ".*",
    "data",
    "dist",
    "node_modules",
    "local_watch_dir",
    "src",
    "tests",
    "scripts",
    "deploy",
    ".github",
]
html_theme = "furo"
html_title = project
html_static_path: list[str] = []
html_copy_source = False
html_show_sphinx = False
html_last_updated_fmt = None
myst_heading_anchors = 4
myst_fence_as_directive = {"mermaid"}
nitpicky = True


class Mermaid(SphinxDirective):
    """A diagram, as ``.ci/diagrams`` has drawn it."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        seen = self.env.temp_data.setdefault("diagrams", [])
        seen.append(None)
        return [drawn(f"{Path(self.env.docname).name}-{len(seen)}")]


def drawn(name: str) -> nodes.raw:
    """Raises ``OSError`` for a diagram that was not drawn."""
    svg = (PICTURES / f"{name}.svg").read_text(encoding="utf-8")
    style = "background:white;overflow-x:auto;padding:0.5em;margin:1em 0"
    return nodes.raw("", f'<div style="{style}" role="img" aria-label="{escape(name)}">{svg}</div>', format="html")


class Drawn(SphinxDirective):
    """``docs/diagrams/NAME.mmd``, as it was drawn."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        return [drawn(self.arguments[0])]


def read(_: Sphinx, docname: str, source: list[str]) -> None:
    """Adapt what GitHub understands and Sphinx does not."""
    text = _LINK.sub(lambda link: _without_folder(link, docname), source[0])
    if docname in LISTS:
        text += "\n" + "\n".join(sidebar(text))
    if docname == "docs/diagrams/README":
        text += "\n" + "\n".join(pictures())
    source[0] = text


def _without_folder(link: re.Match[str], docname: str) -> str:
    """A folder has no page: its name stays, or its README."""
    there = (ROOT / docname).parent / link[2]
    if not there.is_dir():
        return link[0]
    return f"[{link[1]}]({link[2].rstrip('/')}/README.md)" if (there / "README.md").exists() else f"`{link[1]}`"


def sidebar(text: str) -> Iterator[str]:
    """One hidden table of contents for each section that links to pages; a page is where it is named first."""
    known: set[str] = set()
    for section in re.split(r"^## ", text, flags=re.MULTILINE):
        pages = [page for page in dict.fromkeys(_PAGE.findall(section)) if page not in known]
        known.update(pages)
        if pages:
            heading = section.partition("\n")[0].strip("# ")
            yield "\n".join(["```{toctree}", ":hidden:", f":caption: {heading}", "", *pages, "```", ""])


def pictures() -> Iterator[str]:
    for path in sorted((ROOT / "docs" / "diagrams").glob("*.mmd")):
        yield f"## {path.stem}\n\n```{{drawn}} {path.stem}\n```\n"


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("mermaid", Mermaid)
    app.add_directive("drawn", Drawn)
    app.connect("source-read", read)
    return {"parallel_read_safe": True}
