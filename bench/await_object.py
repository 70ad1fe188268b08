"""Prints the monotonic time at which an object becomes readable; started by the bench at the store's end of the wire.

``python -m bench.await_object ENDPOINT BUCKET KEY SECONDS``. Prints ``waiting`` first, when it is ready.
"""

from __future__ import annotations

import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

_EVERY_SECONDS = 0.02


def main(endpoint: str, bucket: str, key: str, seconds: float) -> int:
    """Exit code 1 if the object is not readable within the time."""
    client = boto3.client("s3", endpoint_url=endpoint, config=Config(s3={"addressing_style": "path"}))
    until = time.monotonic() + seconds
    told = False
    while time.monotonic() < until:
        try:
            client.head_object(Bucket=bucket, Key=key)
        except (ClientError, BotoCoreError):
            if not told:
                print("waiting", flush=True)
                told = True
            time.sleep(_EVERY_SECONDS)
            continue
        print(time.monotonic(), flush=True)
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])))
