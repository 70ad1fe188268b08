"""One request to S3 or Redis: its result, and its retries.

A separate package because both clients use it and it knows neither: the daemon has one retry policy, and the results of
requests to both services are reported in the same terms.
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
