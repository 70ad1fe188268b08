"""Which S3 operations the product asks for in a session of tests, and whether the least rights cover each of them.

Two witnesses: every proxy notes each request before it does anything else with it, and VersityGW writes an access log.
The product is recognised by its user agent, so that what tests ask for themselves does not count. ``conftest`` fails a
session, or a worker's share of one, that asked for anything beside. MinIO and moto have no such log: of requests that
reach them without a proxy nothing is known here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from src.doctor import OPTIONAL, policy
from src.domain import Right

_PRODUCT = "cefmp4/"
#: S3's operations, and the actions that each needs, as Amazon's service authorization reference has them.
ACTIONS: Mapping[str, frozenset[str]] = {
    "AbortMultipartUpload": frozenset({Right.ABORT}),
    "CompleteMultipartUpload": frozenset({Right.PUT}),
    "CreateBucket": frozenset({"s3:CreateBucket"}),
    "CreateMultipartUpload": frozenset({Right.PUT}),
    "GetBucketLifecycleConfiguration": frozenset({"s3:GetLifecycleConfiguration"}),
    "GetBucketVersioning": frozenset({"s3:GetBucketVersioning"}),
    "GetObject": frozenset({Right.GET}),
    "HeadBucket": frozenset({Right.LIST}),
    "HeadObject": frozenset({Right.GET}),
    "ListMultipartUploads": frozenset({Right.LIST_UPLOADS}),
    "ListObjectsV2": frozenset({Right.LIST}),
    "ListParts": frozenset({Right.LIST_PARTS}),
    "PutObject": frozenset({Right.PUT}),
    "UploadPart": frozenset({Right.PUT}),
    "UploadPartCopy": frozenset({Right.PUT, Right.GET}),
}
#: Headers that need an action of their own.
_HEADERS = {
    "x-amz-acl": "s3:PutObjectAcl",
    "x-amz-bypass-governance-retention": "s3:BypassGovernanceRetention",
    "x-amz-grant-full-control": "s3:PutObjectAcl",
    "x-amz-grant-read": "s3:PutObjectAcl",
    "x-amz-object-lock-legal-hold": "s3:PutObjectLegalHold",
    "x-amz-object-lock-mode": "s3:PutObjectRetention",
    "x-amz-tagging": "s3:PutObjectTagging",
}
#: Method, whether a key is named, the parameters that must be there, those that may be there beside them, whether it
#: names a source: the operation. What fits no row is unknown: a parameter such as ``versionId`` needs another action.
_FORMS = (
    ("POST", True, {"uploads"}, set[str](), False, "CreateMultipartUpload"),
    ("POST", True, {"uploadId"}, set[str](), False, "CompleteMultipartUpload"),
    ("PUT", True, {"partNumber", "uploadId"}, set[str](), True, "UploadPartCopy"),
    ("PUT", True, {"partNumber", "uploadId"}, set[str](), False, "UploadPart"),
    ("PUT", True, set[str](), set[str](), False, "PutObject"),
    ("GET", True, {"uploadId"}, {"max-parts", "part-number-marker"}, False, "ListParts"),
    ("GET", True, set[str](), set[str](), False, "GetObject"),
    ("HEAD", True, set[str](), {"partNumber"}, False, "HeadObject"),
    ("DELETE", True, {"uploadId"}, set[str](), False, "AbortMultipartUpload"),
    ("HEAD", False, set[str](), set[str](), False, "HeadBucket"),
    ("PUT", False, set[str](), set[str](), False, "CreateBucket"),
    ("GET", False, {"lifecycle"}, set[str](), False, "GetBucketLifecycleConfiguration"),
    ("GET", False, {"versioning"}, set[str](), False, "GetBucketVersioning"),
    (
        *("GET", False, {"uploads"}),
        {"prefix", "max-uploads", "key-marker", "upload-id-marker", "encoding-type", "delimiter"},
        *(False, "ListMultipartUploads"),
    ),
    (
        *("GET", False, {"list-type"}),
        {"prefix", "max-keys", "continuation-token", "start-after", "encoding-type", "delimiter", "fetch-owner"},
        *(False, "ListObjectsV2"),
    ),
)
_LOGGED = re.compile(r"\S+ \S+ \[[^\]]*\] \S+ \S+ \S+ s3_(\w+) ")
_seen: dict[str, str] = {}
_logs: list[Path] = []
_is_watching = False


def begin() -> None:
    """From now on stores write access logs."""
    global _is_watching
    _is_watching = True


def access_log(folder: Path) -> list[str]:
    """The options that make VersityGW write its access log; none outside of a session of tests."""
    if not _is_watching:
        return []
    path = folder / "access.log"
    if path not in _logs:
        _logs.append(path)
    return ["--access-log", str(path)]


def note(method: str, target: str, headers: Mapping[str, str]) -> None:
    """A request that a proxy met; names of headers are in lower case."""
    if not headers.get("user-agent", "").startswith(_PRODUCT):
        return
    where = os.environ.get("PYTEST_CURRENT_TEST", "")
    for asked in (operation(method, target, headers), *(f"{name} in a header" for name in headers if name in _HEADERS)):
        _seen.setdefault(asked, where)


def operation(method: str, target: str, headers: Mapping[str, str]) -> str:
    """S3's name for the request; for one that is not known here, its method and parameters."""
    parts = urlsplit(target)
    is_path_style = re.match(r"(127\.|\[?::1|localhost\b)", headers.get("host", "127.0.0.1")) is not None
    inside = parts.path.lstrip("/")
    has_key = bool(inside.partition("/")[2] if is_path_style else inside)
    named = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)} - {"x-id"}
    for form, of_key, needed, allowed, has_source, name in _FORMS:
        fits = (form, of_key, has_source) == (method, has_key, "x-amz-copy-source" in headers)
        if fits and needed <= named <= needed | allowed:
            return name
    return f"{method} {'key' if has_key else 'bucket'}?{'&'.join(sorted(named))}"


def seen() -> Mapping[str, str]:
    """What was asked for so far, each with the test, or the log, that saw it first."""
    for path in _logs:
        if path.exists():
            _read(path)
    return dict(_seen)


def _read(path: Path) -> None:
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            found = _LOGGED.match(line)
            if found and f" - {_PRODUCT}" in line:
                _seen.setdefault(found[1], str(path))


def needed(asked: str) -> frozenset[str]:
    """The actions that it needs; itself, if it is not known."""
    header = asked.removesuffix(" in a header")
    return ACTIONS.get(asked) or frozenset({_HEADERS.get(header, asked)})


def granted() -> frozenset[str]:
    """The actions of the policy, and those that the product does without if it must."""
    statements = policy("bucket", "")["Statement"]
    assert isinstance(statements, list)
    return frozenset({action for one in statements for action in one["Action"]} | OPTIONAL.keys())


def beside_the_policy(asked: Iterable[str] | None = None) -> dict[str, frozenset[str]]:
    """What was asked for although ``policy`` does not grant it: the actions that are missing."""
    every = seen() if asked is None else asked
    missing = {one: needed(one) - granted() for one in every}
    return {one: actions for one, actions in sorted(missing.items()) if actions}
