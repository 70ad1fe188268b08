"""A private Redis and a local S3 server for trials of the daemon: child processes that end with it.

A package of its own because nothing else may depend on it: ``trying_out`` starts the services and turns them into
settings, so the daemon runs as it does with real ones. ``child`` starts and ends a process, and ``tether`` ends it also
when the daemon is killed.
"""

from .child import EmbeddedServiceError
from .redis_server import EmbeddedRedis, embedded_redis
from .s3_server import AWS_CONFIG_NAME, EmbeddedS3, embedded_s3, find_versitygw

__all__ = [
    "AWS_CONFIG_NAME",
    "EmbeddedRedis",
    "EmbeddedS3",
    "EmbeddedServiceError",
    "embedded_redis",
    "embedded_s3",
    "find_versitygw",
]
