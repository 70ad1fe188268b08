"""The daemon, with a shorter wait for a completion without an answer. Started as ``python -m bench.soak_daemon``.

Other stores may continue to assemble an object for minutes after the connection broke; the daemon waits 15 minutes
before it gives up on a missing object. VersityGW assembles within seconds, or was killed and never will, so a soak need
not wait as long. Nothing else differs.
"""

from __future__ import annotations

import os
import sys

from src import main
from src.domain import completion

if __name__ == "__main__":
    completion._SHORTEST_ASSEMBLY_SECONDS = float(os.environ.pop("SOAK_ASSEMBLY_SECONDS"))
    sys.exit(main.main())
