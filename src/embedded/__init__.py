"""A private Redis and a local S3 server for trials of the daemon: processes of their own that end with it."""

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
