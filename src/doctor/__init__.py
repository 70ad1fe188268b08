"""What would hurt later: facts in, findings out. Pure.

``judgement`` judges the facts that ``s3_client``, ``redis_client`` and ``watcher`` gather (``domain.checkup``), by the
table ``FAULTS``. ``policy`` has the least rights that the settings need.
"""

from .judgement import CHECKS, FAULTS, Facts, Line, SettingsFacts, Verdict, exit_code, findings
from .policy import WITHOUT, policy

__all__ = [
    "CHECKS",
    "FAULTS",
    "WITHOUT",
    "Facts",
    "Line",
    "SettingsFacts",
    "Verdict",
    "exit_code",
    "findings",
    "policy",
]
