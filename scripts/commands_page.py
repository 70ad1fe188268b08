"""The reference of commands, the manual page and the completions, all written from the commands themselves.

``python -m scripts.documents`` writes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from scripts.phases import put_between_marks
from src import __version__
from src.__main__ import COMPLETION
from src.cli.exit_codes import MEANINGS
from src.cli.program import COMMANDS, program

_ROOT = Path(__file__).resolve().parents[1]
COMMANDS_PAGE = _ROOT / "docs" / "reference" / "commands.md"
MANUAL = _ROOT / "deploy" / "man" / "cefmp4.1"
_SHELLS: dict[str, tuple[type[ShellComplete], str]] = {
    "bash": (BashComplete, "cefmp4"),
    "zsh": (ZshComplete, "_cefmp4"),
    "fish": (FishComplete, "cefmp4.fish"),
}
COMPLETIONS = {shell: _ROOT / "deploy" / "completions" / shell / name for shell, (_, name) in _SHELLS.items()}


def commands_page() -> str:
    """The text of ``docs/reference/commands.md``."""
    return put_between_marks(COMMANDS_PAGE, "\n".join(_reference()) + "\n")


def _reference() -> Iterator[str]:
    for name, command in _commands():
        yield f"### cefmp4 {name}\n"
        yield f"{_paragraphs(command)[0]}\n"
        yield from (f"{each}\n" for each in _paragraphs(command)[1:])
        rows = [(_spelled(option), str(option.help)) for option in command.params if isinstance(option, click.Option)]
        yield f"    cefmp4 {name} {' '.join(command.collect_usage_pieces(_context(name, command)))}\n"
        yield "| option | meaning |"
        yield "|---|---|"
        yield from (f"| `{spelled}` | {meaning} |" for spelled, meaning in rows)
        yield "| `--help` | help |\n"
    yield "### Exit codes of the commands\n"
    yield "| code | meaning |"
    yield "|---|---|"
    yield from (f"| {int(code)} | {meaning} |" for code, meaning in MEANINGS.items())


def _commands() -> Iterator[tuple[str, click.Command]]:
    return ((name, entry.load()) for name, entry in COMMANDS.items())


def _context(name: str, command: click.Command) -> click.Context:
    return click.Context(command, info_name=name, parent=click.Context(program, info_name="cefmp4"))


def _paragraphs(command: click.Command) -> list[str]:
    return [" ".join(each.split()) for each in str(command.help).replace("\b", "").split("\n\n")]


def _spelled(option: click.Option) -> str:
    value = "" if option.is_flag else f" {option.make_metavar(_context('', click.Command('')))}"
    return ", ".join((*option.opts, *option.secondary_opts)) + value


def manual() -> str:
    """The manual page, in the language of ``man``."""
    return "\n".join(_manual()) + "\n"


def _manual() -> Iterator[str]:
    yield '.\\" Written from the commands by python -m scripts.documents.'
    yield f'.TH CEFMP4 1 "" "cefmp4 {__version__}" "CefMP4 Stream Processor"'
    yield ".SH NAME"
    yield "cefmp4 \\- upload MP4 recordings to S3 while they are still being written"
    yield ".SH SYNOPSIS"
    yield ".B cefmp4"
    yield "[\\fICOMMAND\\fR [\\fIOPTIONS\\fR]]"
    yield ".SH DESCRIPTION"
    yield from (f"{_roff(each)}\n.PP" for each in _paragraphs(program))
    yield ".SH COMMANDS"
    for name, command in _commands():
        pieces = " ".join(command.collect_usage_pieces(_context(name, command)))
        yield f".SS {_roff(f'cefmp4 {name} {pieces}')}"
        yield from (f"{_roff(each)}\n.PP" for each in _paragraphs(command))
        for option in command.params:
            if isinstance(option, click.Option):
                yield f".TP\n.B {_roff(_spelled(option))}\n{_roff(str(option.help))}"
    yield ".SH EXIT STATUS"
    yield "Of the commands; the daemon's are described above."
    yield from (f".TP\n.B {int(code)}\n{_roff(meaning)}" for code, meaning in MEANINGS.items())
    yield ".SH FILES"
    yield ".TP\n.I .env\nsettings, in the working directory"
    yield ".TP\n.I /etc/cefmp4/cefmp4.env\nsettings of the systemd unit, which commands read if there is no .env"


def _roff(text: str) -> str:
    """A line that begins with a dot or an apostrophe would be a request."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", escaped)


def completion(shell: str) -> str:
    """The file that this shell loads; it asks the command itself."""
    kind, _ = _SHELLS[shell]
    return kind(program, {}, "cefmp4", COMPLETION).source().rstrip() + "\n"
