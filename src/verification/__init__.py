"""Whether the recordings in the bucket are what they should be: ``verify``, at four levels of proof.

It writes nothing, neither to the bucket nor to Redis nor to the disk. ``verdicts`` and ``report`` are pure;
``verification`` asks the store through the protocol ``gathering.Bucket`` and the disk through ``local_files.Files``.
"""

from .choice import Sample
from .local_files import LocalFiles
from .report import Report
from .verdicts import Finding, Level, Verdict
from .verification import Order, Verification

__all__ = [
    "Finding",
    "Level",
    "LocalFiles",
    "Order",
    "Report",
    "Sample",
    "Verdict",
    "Verification",
]
