"""One request to S3 or Redis, how it ended, and its repetitions.

A room of its own because both edges use it and it knows neither: the policy is one for the whole daemon, and what a
request was like is reported in the same few words for both services.
"""

from .policy import RetryPolicy, until_it_works
from .request_outcome import ANSWERS, ErrorClass, observed

__all__ = [
    "ANSWERS",
    "ErrorClass",
    "RetryPolicy",
    "observed",
    "until_it_works",
]
