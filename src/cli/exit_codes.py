"""Exit codes of all commands, and the errors that lead to them."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit code of a command. A command returns one; None means ``GOOD``."""

    GOOD = 0
    #: The answer is bad news: a recording failed, a limit was reached, a check found a problem.
    FINDING = 1
    #: Wrong usage, or settings with which nothing can be asked.
    USAGE = 2
    #: The question has no answer: the daemon, the store, Redis or the folder cannot be asked.
    NOT_CHECKED = 3


#: The meaning of each exit code, for ``--help`` and the reference.
MEANINGS = {
    ExitCode.GOOD: "good",
    ExitCode.FINDING: "a finding: the output says which",
    ExitCode.USAGE: "wrong usage or settings",
    ExitCode.NOT_CHECKED: "not checked: the daemon, the store, Redis or the folder could not be asked",
}
#: After Ctrl-C, as of other programs.
INTERRUPTED = 130


class NotChecked(Exception):
    """The question has no answer. ``sentence`` says who could not be asked and why; ``hint`` what to do.

    Neither may contain a secret: use ``settings.without_user_info`` for URLs.
    """

    def __init__(self, sentence: str, hint: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.hint = hint
