"""What would hurt later: facts in, findings out. Pure.

``findings`` judges the facts that ``s3_client``, ``redis_client`` and ``watcher`` have gathered (``domain.checkup``) by
the table ``FAULTS``. ``policy`` has the least rights that the settings need.
"""

from .findings import CHECKS, FAULTS, Facts, Line, SettingsFacts, Verdict, exit_code, findings
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
