"""Benchmarks of the daemon, compared with targets and with ``aws s3 cp`` and ``s5cmd cp``. Linux only.

``make bench``, or ``python -m bench cpu memory`` for some of them. README.md explains each line of the table.
"""

import sys
from importlib.util import find_spec

# Before any module of ours imports one of them. The daemon is measured with its own packages and the tests' servers.
if missing := [name for name in ("aioboto3", "boto3", "moto", "pytest") if find_spec(name) is None]:
    sys.exit(
        f"The packages of the measurements ({', '.join(missing)} and others) are not installed for {sys.executable}. "
        "Please type:\n  scripts/setup --dev\n  .venv/bin/python -m bench"
    )
