"""The commands for operators: ``cefmp4 <command>``, or ``python -m src <command>`` in the checkout.

A room beside ``main``, which is the daemon: it reads the settings, builds what a command needs, and prints. The daemon
never imports it. ``program`` lists the commands and says how to add one; ``exit_codes`` says what a command returns.
"""

from .program import answer

__all__ = [
    "answer",
]
