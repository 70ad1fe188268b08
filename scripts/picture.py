"""Draws ``docs/pictures/demo.svg``: the terminal of one real run of ``scripts/demo``, as it was printed.

``python -m scripts.picture``, in the checkout. Nothing is drawn when the run fails.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "pictures" / "demo.svg"
COMMAND = "scripts/demo"
TITLE = "A run of scripts/demo: recorded and uploaded bytes, then two equal checksums"
COLUMNS = 138
#: A viewer may draw several plain spaces as one.
NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"
LINE_HEIGHT, CHARACTER_WIDTH, MARGIN, BAR = 19, 7.83, 20, 34

_SVG = """<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" \
role="img">
<title>{title}</title>
<rect width="{width}" height="{height}" rx="8" fill="#1b1f27"/>
<g fill="#5b6270"><circle cx="20" cy="17" r="6"/><circle cx="40" cy="17" r="6"/><circle cx="60" cy="17" r="6"/></g>
<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="13" \
fill="#d7dce5">
{lines}
</g>
</svg>
"""


def main() -> int:
    """Run the demonstration and draw what it printed; its exit code."""
    command = [str(ROOT / COMMAND), *sys.argv[1:]]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, check=False)  # noqa: S603  (our own)
    print(done.stdout, end="")
    if done.returncode == 0:
        PICTURE.parent.mkdir(exist_ok=True)
        printed = [f"$ {COMMAND}", *done.stdout.splitlines()]
        PICTURE.write_text(drawn(printed, TITLE, COLUMNS), encoding="utf-8")
    return done.returncode


def drawn(printed: list[str], title: str, columns: int) -> str:
    """The SVG of a terminal with these lines; what is longer than it is wide goes on below."""
    lines = [part for line in printed for part in textwrap.wrap(line, columns, replace_whitespace=False) or [""]]
    rows = [_row(number, line) for number, line in enumerate(lines)]
    height = BAR + len(lines) * LINE_HEIGHT + MARGIN
    width = round(columns * CHARACTER_WIDTH + 2 * MARGIN)
    return _SVG.format(width=width, height=height, title=escape(title), lines="\n".join(rows))


def _row(number: int, line: str) -> str:
    colour = ' fill="#8fd19e"' if line.startswith(("$ ", "They are equal")) else ""
    y = BAR + (number + 1) * LINE_HEIGHT - 5
    return f'<text x="{MARGIN}" y="{y}"{colour}>{escape(line, quote=False).replace(" ", NO_BREAK_SPACE)}</text>'


if __name__ == "__main__":
    sys.exit(main())
