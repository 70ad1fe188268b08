"""Makes HTML of what is shown, and knows the files that belong to it.

All values are escaped by Jinja; nothing is inserted as markup but the fragment into the page around it. Links are
relative, so that the page works below any path of a proxy.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePosixPath

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from .shown import Shown

_KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_PACKED_LEVEL = 5


@dataclass(frozen=True, slots=True)
class Body:
    """A response's content, as it is and packed."""

    content_type: str
    plain: bytes
    packed: bytes

    @classmethod
    def of(cls, text: str, content_type: str) -> Body:
        plain = text.encode()
        return cls(content_type, plain, gzip.compress(plain, _PACKED_LEVEL, mtime=0))


class Drawer:
    """Draws pages. ``assets`` are the other files, by names that change with their content, so that browsers may keep
    them."""

    def __init__(self) -> None:
        texts = {each.name: each.read_text(encoding="utf-8") for each in files(__package__).joinpath("files").iterdir()}
        templates = {name: text for name, text in texts.items() if name.endswith(".html")}
        named = {name: _with_hash(name, texts[name]) for name in texts if name not in templates}
        self.assets: Mapping[str, Body] = {
            named[name]: Body.of(texts[name], _KINDS[PurePosixPath(name).suffix]) for name in named
        }
        environment = Environment(
            loader=DictLoader(templates), autoescape=True, undefined=StrictUndefined, trim_blocks=True, cache_size=8
        )
        environment.globals["files"] = named
        self._fragment = environment.get_template("fragment.html")
        self._page = environment.get_template("page.html")

    def fragment(self, shown: Shown) -> str:
        """What changes: all that is seen."""
        return self._fragment.render(shown=shown)

    def page(self, shown: Shown, fragment: str) -> str:
        """The document around it."""
        return self._page.render(shown=shown, fragment=Markup(fragment))  # noqa: S704 - the other template escaped it


def _with_hash(name: str, text: str) -> str:
    path = PurePosixPath(name)
    return f"{path.stem}.{hashlib.sha256(text.encode()).hexdigest()[:12]}{path.suffix}"
