"""The program ``cefmp4``: its commands, ``--help`` and ``--version``, and what a failed command prints.

To add a command, write a module beside this one with a ``click`` command, and add a row to ``COMMANDS``. A command
returns an ``ExitCode`` and raises ``NotChecked`` or ``ConfigurationError``; neither is ever shown as a traceback. Use
the options in ``options``, so that all commands spell them alike. Modules of commands are imported when they are used.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from .. import __version__
from ..exceptions import ConfigurationError, StreamProcessorError
from .exit_codes import INTERRUPTED, MEANINGS, ExitCode, NotChecked

#: Runs the daemon and returns its exit code.
Daemon = Callable[[], int]


@dataclass(frozen=True, slots=True)
class Entry:
    """A command in the list: its short description, and a function that imports it."""

    summary: str
    load: Callable[[], click.Command]


def _config() -> click.Command:
    from .config import config

    return config


def _doctor() -> click.Command:
    from .doctor import doctor

    return doctor


def _verify() -> click.Command:
    from .verify import verify

    return verify


def _status() -> click.Command:
    from .status import status

    return status


def _wait() -> click.Command:
    from .wait import wait

    return wait


def _retry() -> click.Command:
    from .failed import retry

    return retry


def _give_up() -> click.Command:
    from .failed import give_up

    return give_up


def _run() -> click.Command:
    return _run_command


#: All commands, in the order of ``--help``.
COMMANDS: Mapping[str, Entry] = {
    "run": Entry("Run the daemon, like cefmp4 without a command.", _run),
    "status": Entry("Show what is being recorded, what is at risk, what failed and what to do.", _status),
    "wait": Entry("Wait until everything recorded so far is safe in S3.", _wait),
    "retry": Entry("Try a failed recording again.", _retry),
    "give-up": Entry("Give up a failed recording.", _give_up),
    "config": Entry("List all settings, their values, and where each comes from.", _config),
    "doctor": Entry("Find what would hurt later, and print the least rights that are needed.", _doctor),
    "verify": Entry("Compare the recordings in the bucket with what is known of them.", _verify),
}


class _Program(click.Group):
    """Imports a command when it is used: the help of all of them needs none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return COMMANDS[cmd_name].load() if cmd_name in COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])
        with formatter.section("Exit codes of the commands"):
            formatter.write_dl([(str(int(code)), meaning) for code, meaning in MEANINGS.items()])


@click.group(cls=_Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="cefmp4", message="%(prog)s %(version)s")
def program() -> None:
    """Upload MP4 recordings to S3 while they are still being written; the object is the closed file, byte for byte.

    Without a command the daemon runs. Its exit codes: 0 after a stop by SIGTERM or Ctrl-C, 1 when it cannot continue,
    2 for invalid settings or options, 70 when its event loop hung.

    Settings come from the environment and from .env in the working directory; docs/configuration.md lists them all, and
    example.env is a file to copy.
    """


@click.command("run")
@click.pass_obj
def _run_command(daemon: Daemon) -> int:
    """Run the daemon, like cefmp4 without a command.

    It runs until it is stopped by SIGTERM or Ctrl-C.
    """
    return daemon()


def answer(arguments: Sequence[str], daemon: Daemon, completion: str | None = None) -> int:
    """Run one command and return the exit code of the process.

    ``arguments``: the command line without the program's name; ``daemon`` is called for the command ``run``;
    ``completion`` is the environment variable of the shells' completion.
    """
    _never_fail_to_print()
    try:
        os.getcwd()
    except OSError:
        return _say(["The working directory no longer exists.", "Change to another one, and type the command again."])
    try:
        done = program.main(list(arguments), _name(), standalone_mode=False, obj=daemon, complete_var=completion)
        sys.stdout.flush()
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except ConfigurationError as exc:
        return _say(["cefmp4 cannot use these settings:", *(f"  - {problem}" for problem in exc.problems)])
    except NotChecked as exc:
        return _say([exc.sentence, exc.hint], ExitCode.NOT_CHECKED)
    except StreamProcessorError as exc:
        return _say([f"{type(exc).__name__}: no answer.", exc.hint], ExitCode.NOT_CHECKED)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        sys.stdout = None  # the reader has enough ("| head"); nothing is flushed at the end
        return ExitCode.GOOD
    except OSError as exc:  # such as a full disk below "> file"
        sys.stdout = None
        return _say([f"The answer could not be made or written: {exc.strerror or exc}."], ExitCode.NOT_CHECKED)
    return int(done or ExitCode.GOOD)


def _say(lines: Sequence[str], code: ExitCode = ExitCode.USAGE) -> int:
    print("\n".join(line for line in lines if line), file=sys.stderr)
    return code


def _name() -> str:
    """As typed: ``cefmp4``, or ``python -m src`` in a checkout."""
    package = str(__package__).partition(".")[0]
    return package if os.path.basename(sys.argv[0]) == package else f"python -m {package}"


def _never_fail_to_print() -> None:
    """A terminal without UTF-8 shows escapes instead of a traceback. A closed output (``>&-``) counts as discarded."""
    sys.stdout = sys.stdout or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the end
    sys.stderr = sys.stderr or sys.stdout
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
