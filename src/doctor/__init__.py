"""What would hurt later: facts in, findings out. Pure.

``judgement`` judges the facts that ``s3_client``, ``redis_client`` and ``watcher`` gather (``domain.checkup``), and
what the running daemon says (``status``), by the table ``faults``. ``policy`` has the least rights that the settings
need.
"""

from .faults import CHECKS, FAULTS, Verdict
from .judgement import Facts, Line, Neighbour, SettingsFacts, exit_code, findings
from .policy import OPTIONAL, WITHOUT, policy

__all__ = [
    "CHECKS",
    "FAULTS",
    "OPTIONAL",
    "WITHOUT",
    "Facts",
    "Line",
    "Neighbour",
    "SettingsFacts",
    "Verdict",
    "exit_code",
    "findings",
    "policy",
]
