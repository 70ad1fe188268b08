"""Becomes the program given on the command line, tied to the process that started it.

``python tether.py PARENT_PID PROGRAM [ARGUMENT …]``: when the parent ends, for any reason, the kernel sends the program
SIGTERM. It is a separate script because Python code between fork and exec (``preexec_fn``) can deadlock if the parent
has threads. This works on Linux; elsewhere the program runs untied.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def tie_to(parent_pid: int) -> None:
    """SIGTERM arrives when the parent ends; at once if it has ended already."""
    if not sys.platform.startswith("linux"):
        return
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    # The parent may have ended before this call; then the signal would never be sent.
    if os.getppid() != parent_pid:
        sys.exit(1)


def main() -> None:
    parent_pid, *command = sys.argv[1:]
    tie_to(int(parent_pid))
    os.execvp(command[0], command)  # noqa: S606  (no shell is the point)


if __name__ == "__main__":
    main()
