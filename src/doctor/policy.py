"""The least rights that the settings need, as an IAM policy with the real bucket and prefix. Pure.

Each action is there because a request of the daemon needs it; there is none to delete an object.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..domain import Right

#: What happens without each action.
WITHOUT: Mapping[Right, str] = {
    Right.LIST: "a free key is answered with 403, and the daemon waits",
    Right.LIST_UPLOADS: "after a loss of Redis, recordings are uploaded from the beginning",
    Right.PUT: "nothing is uploaded",
    Right.GET: "no object can be compared, and no document read",
    Right.LIST_PARTS: "no upload is completed",
    Right.ABORT: "abandoned uploads stay",
}
_OF_BUCKET = (Right.LIST, Right.LIST_UPLOADS)
_OF_OBJECTS = (Right.PUT, Right.GET, Right.ABORT, Right.LIST_PARTS)


def policy(bucket: str, prefix: str, partition: str = "aws") -> dict[str, object]:
    """The policy. ``partition`` is that of the ARNs: "aws", or "aws-cn" for Amazon's regions in China."""
    arn = f"arn:{partition}:s3:::{bucket}"
    listing: dict[str, object] = {
        "Sid": "Bucket",
        "Effect": "Allow",
        "Action": [str(right) for right in _OF_BUCKET],
        "Resource": arn,
    }
    return {
        "Version": "2012-10-17",
        "Statement": [
            listing,
            {
                "Sid": "Recordings",
                "Effect": "Allow",
                "Action": [str(right) for right in _OF_OBJECTS],
                "Resource": f"{arn}/{_literal(prefix)}*",
            },
        ],
    }


def _literal(prefix: str) -> str:
    """Characters that IAM would take for a pattern or a variable, written so that they stand for themselves."""
    escaped = {"*": "${*}", "?": "${?}", "$": "${$}"}
    return "".join(escaped.get(character, character) for character in prefix)
