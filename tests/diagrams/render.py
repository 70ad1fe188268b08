"""Draws every diagram of the documents with mermaid in Chromium, and fails when one cannot be drawn.

``python -m tests.diagrams.render [FOLDER]``: into FOLDER go the pictures, one SVG each. Mermaid comes from npm
(``npm ci`` in this folder), Chromium from the system's packages. Diagrams are ``docs/diagrams/*.mmd`` and the fenced
``mermaid`` blocks of all documents.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from html import unescape
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MERMAID = HERE / "node_modules" / "mermaid" / "dist" / "mermaid.min.js"
DEADLINE_SECONDS = 180
#: What a diagram may take at most: a screen of 1920 × 1000 pixels shows it whole, at four fifths of its size or more.
SCREEN = (2400, 1250)

#: ``--no-sandbox``: Chromium's own needs a user other than root; the page is ours and loads nothing but mermaid.
CHROMIUM = [
    *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--allow-file-access-from-files", "--virtual-time-budget=120000"),
]

_FENCE = re.compile(r"^```mermaid\n(.*?)^```", re.MULTILINE | re.DOTALL)
_ANSWER = re.compile(r'<pre id="answer">(.*?)</pre>', re.DOTALL)
_PAGE = """<!doctype html><meta charset="utf-8"><body><pre id="answer"></pre>
<script src="mermaid.min.js"></script><script>
(async () => {
  mermaid.initialize({startOnLoad: false, securityLevel: "strict", fontFamily: "DejaVu Sans, sans-serif"});
  const answer = {};
  for (const [index, text] of %s.entries()) {
    try { answer[index] = {svg: (await mermaid.render("d" + index, text)).svg}; }
    catch (error) { answer[index] = {error: String(error)}; }
  }
  document.body.innerHTML = '<pre id="answer"></pre>';
  document.getElementById("answer").textContent = JSON.stringify(answer);
})();
</script>"""


@dataclass(frozen=True, slots=True)
class Diagram:
    """Where it is written, and its text."""

    name: str
    text: str


def diagrams() -> list[Diagram]:
    """All of them: the files first, then those inside documents."""
    files = sorted((ROOT / "docs" / "diagrams").glob("*.mmd"))
    found = [Diagram(path.stem, path.read_text(encoding="utf-8")) for path in files]
    for document in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        blocks = _FENCE.findall(document.read_text(encoding="utf-8"))
        found += [Diagram(f"{document.stem}-{number}", text) for number, text in enumerate(blocks, 1)]
    return found


def draw(wanted: list[Diagram]) -> list[tuple[Diagram, str | None, str | None]]:
    """Each with its SVG, or with the reason why there is none."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "mermaid.min.js").symlink_to(MERMAID)
        texts = json.dumps([diagram.text for diagram in wanted]).replace("<", "\\u003c")
        (folder / "page.html").write_text(_PAGE % texts, encoding="utf-8")
        command = [*CHROMIUM, f"--user-data-dir={folder}/profile", "--dump-dom", (folder / "page.html").as_uri()]
        code, page, complaints = _run(command)
    answer = _ANSWER.search(page)
    if code or answer is None or not answer[1]:
        raise SystemExit(f"Chromium drew nothing (exit code {code}):\n{complaints[-2000:]}")
    drawn = json.loads(unescape(answer[1]))
    return [
        (diagram, drawn[str(number)].get("svg"), drawn[str(number)].get("error"))
        for number, diagram in enumerate(wanted)
    ]


def _run(command: list[str]) -> tuple[int, str, str]:
    """Exit code, output and complaints. Chromium is many processes: at the deadline all of them end."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            output, complaints = process.communicate(timeout=DEADLINE_SECONDS)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, output, complaints


def fits_a_screen(svg: str) -> bool:
    """At the size in which its text is as large as that of the page."""
    box = re.search(r'viewBox="[-\d.]+ [-\d.]+ ([\d.]+) ([\d.]+)"', svg)
    return box is not None and float(box[1]) <= SCREEN[0] and float(box[2]) <= SCREEN[1]


def main() -> int:
    """0: every diagram was drawn, and fits a screen."""
    if not MERMAID.exists():
        raise SystemExit(f"mermaid is not there; please type: npm ci --prefix {HERE.relative_to(ROOT)}")
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    results = draw(diagrams())
    for diagram, svg, error in results:
        print(f"{diagram.name}: {error or 'drawn'}")
        if folder is not None and svg is not None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{diagram.name}.svg").write_text(svg, encoding="utf-8")
    broken = [diagram.name for diagram, svg, _ in results if svg is None or "Syntax error" in svg]
    large = [diagram.name for diagram, svg, _ in results if svg is not None and not fits_a_screen(svg)]
    if large:
        print(f"larger than a screen of {SCREEN[0]} × {SCREEN[1]}: {', '.join(large)}")
    print(f"{len(results) - len(broken)} of {len(results)} diagrams drawn")
    return 1 if broken or large or not results else 0


if __name__ == "__main__":
    sys.exit(main())
