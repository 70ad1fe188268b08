"""The least rights that the settings need, as an IAM policy with the real bucket and prefix. Pure.

Each action is there because a request of the daemon needs it; there is none to delete an object.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..domain import Right

#: What users see without each action.
WITHOUT: Mapping[Right, str] = {
    Right.LIST: "a free key is answered with 403, and every new recording waits",
    Right.LIST_UPLOADS: "open uploads are not found again, and a recording whose object is replaced never ends",
    Right.PUT: "nothing is uploaded",
    Right.GET: "no object or document can be read, and every new recording waits",
    Right.LIST_PARTS: "no upload is completed",
    Right.ABORT: "abandoned uploads stay, and are paid for",
}
#: Actions that are asked for and not needed: what is lost without each.
OPTIONAL: Mapping[str, str] = {
    "s3:CreateBucket": "the bucket has to exist",
    "s3:GetLifecycleConfiguration": "rules that abort uploads too soon are not reported",
    "s3:GetBucketVersioning": "doctor does not know whether old versions are kept",
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
