"""The daemon, but a completion that had no answer is waited for less long. Started as ``python -m bench.soak_daemon``.

A store of some other make may go on assembling an object for minutes after the connection was cut; the daemon waits
15 before it takes an object that is not there for one that will never come. VersityGW has assembled after seconds, or
was killed and never will, so that a soak in a hurry need not wait as long. Nothing else differs.
"""

from __future__ import annotations

import os
import sys

from src import main
from src.domain import completion

if __name__ == "__main__":
    completion._SHORTEST_ASSEMBLY_SECONDS = float(os.environ.pop("SOAK_ASSEMBLY_SECONDS"))
    sys.exit(main.main())
