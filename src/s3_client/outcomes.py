"""The answers of stores to requests that did not succeed, as one table: code or status, and what to do.

Stores use different codes for the same thing. The codes are those of Amazon S3 ("Error responses"), VersityGW
(``s3err``), MinIO (``api-errors.go``), Ceph RGW (``rgw_common.cc``), SeaweedFS (``s3api_errors.go``), Garage
(``api/s3/error.rs``), Cloudflare R2 ("Error codes"), Backblaze B2, Google Cloud Storage (XML API) and Alibaba OSS. A
code that is not listed is ``UNKNOWN``: it may be temporary, so the request is repeated, and the log quotes it. The
message text decides only if a store uses one code for several things.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """What the caller has to do."""

    # the expected information, such as: no such key, or another writer was faster; the caller decides
    ANSWER = "answer"
    REFUSED = "refused"  # never accepted as it is
    GONE = "gone"  # the upload does not exist
    WRONG_CONTENT = "wrong content"  # the store received other bytes than were sent: read and send them again
    NOT_ABLE = "not able"  # the store does not support an optional feature
    PART_NUMBER = "part number"  # the store allows fewer parts than this number
    TOO_LARGE = "too large"  # a server allows only smaller bodies
    CREDENTIALS = "credentials"  # read the credentials again, and wait
    SETTING = "setting"  # wait until a setting, a permission or the store is changed
    TRANSIENT = "transient"  # wait and repeat
    THROTTLED = "throttled"  # wait and repeat
    TIMEOUT = "timeout"  # wait and repeat
    UNKNOWN = "unknown"  # wait and repeat


KEY_ID = "check S3_ACCESS_KEY_ID"
SECRET = "check S3_SECRET_ACCESS_KEY"  # noqa: S105 - a hint
BOTH = "check S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY and S3_BUCKET_NAME, and the key's rights on the bucket"
TOKEN = "supply new credentials"  # noqa: S105 - a hint
RIGHTS = "give these credentials the rights listed in docs/operations.md on this bucket"
REGION = "set S3_REGION_NAME to the bucket's region"
BUCKET = "create the bucket, or check S3_BUCKET_NAME"
CLOCK = "correct this machine's clock"
ROOM = "free space in the store, or raise the quota of the bucket or account"
ACCOUNT = "the account or bucket is disabled or not entitled; contact the operator of the store"
SMALLER = "lower CHUNK_SIZE_BYTES, or allow larger request bodies in the proxy (nginx: client_max_body_size)"
FEWER = "set S3_MAX_PARTS to the number of parts that the store allows"
BROKEN = "check the store's log, and any proxy between the daemon and the store"
SILENT = "check the store's load and disks, and the network or firewall between the daemon and the store"
SLOWER = "the store limits the request rate: raise the limit, or lower MAX_CONCURRENT_STREAMS or PARTS_IN_FLIGHT"
NOT_A_STORE = "another server answers instead of the store; check S3_ENDPOINT_URL and any proxy in between"
ENDPOINT = "set S3_REGION_NAME and S3_ENDPOINT_URL to the bucket's own"


@dataclass(frozen=True, slots=True)
class Meaning:
    """The meaning of an answer, and a hint about what to change."""

    outcome: Outcome
    hint: str = ""


def _all(codes: str, outcome: Outcome, hint: str = "") -> dict[str, Meaning]:
    return dict.fromkeys(codes.split(), Meaning(outcome, hint))


CODES: Mapping[str, Meaning] = {
    # -- credentials and permissions --------------------------------------------------------------------------
    **_all(
        "InvalidAccessKeyId InvalidAccessKey InvalidClientTokenId UnrecognizedClientException NotSignedUp"
        " XAdminUserNotFound XMinioAdminNoSuchUser XMinioAdminNoSuchAccessKey XMinioAdminInvalidAccessKey"
        " XMinioAdminNoAccessKey NoSuchAccessKey NoSuchUser UserNotFound UserSuspended",
        Outcome.CREDENTIALS,
        KEY_ID,
    ),
    **_all("SignatureDoesNotMatch XMinioAdminInvalidSecretKey XMinioAdminNoSecretKey", Outcome.CREDENTIALS, SECRET),
    **_all(
        "ExpiredToken ExpiredTokenException InvalidToken InvalidTokenId TokenRefreshRequired SecurityTokenExpired"
        " InvalidSecurityToken ExpiredRequest RequestExpired XMinioInvalidIAMCredentials",
        Outcome.CREDENTIALS,
        TOKEN,
    ),
    **_all(
        "Unauthorized UnauthorizedAccess AuthenticationRequired AuthenticationFailed CredentialsNotSupported"
        " InvalidSecurity MissingSecurityHeader MissingSecurityElement MissingAuthenticationToken Forbidden",
        Outcome.CREDENTIALS,
        BOTH,
    ),
    **_all("AccessDenied AccessForbidden XAdminAccessDenied XMinioInsecureClientRequest", Outcome.CREDENTIALS, RIGHTS),
    # -- settings and the store -------------------------------------------------------------------------------
    **_all("AllAccessDisabled AccountProblem NotEntitled InvalidPayer UserProjectMissing", Outcome.SETTING, ACCOUNT),
    **_all("AuthorizationHeaderMalformed InvalidRegion InvalidRegionName 301", Outcome.SETTING, REGION),
    **_all("PermanentRedirect TemporaryRedirect Redirect WebsiteRedirect", Outcome.SETTING, ENDPOINT),
    **_all("InvalidBucketName", Outcome.SETTING, "check S3_BUCKET_NAME"),
    **_all("NoSuchBucket", Outcome.SETTING, BUCKET),
    **_all("RequestTimeTooSkewed MalformedDate", Outcome.SETTING, CLOCK),
    **_all(
        "QuotaExceeded InsufficientStorage XMinioStorageFull XMinioAdminBucketQuotaExceeded StorageFull"
        " StorageQuotaExceeded",
        Outcome.SETTING,
        ROOM,
    ),
    # -- corrupted content ------------------------------------------------------------------------------------
    # Amazon and VersityGW the first, MinIO the second, Garage the third; the last where the signature covers the body.
    **_all("BadDigest XAmzContentChecksumMismatch InvalidDigest XAmzContentSHA256Mismatch", Outcome.WRONG_CONTENT),
    # -- answers to the request -------------------------------------------------------------------------------
    **_all("NoSuchUpload", Outcome.GONE),
    **_all(
        "NoSuchKey NotFound PreconditionFailed ConditionalRequestConflict ConditionNotMet NotModified"
        " BucketAlreadyExists BucketAlreadyOwnedByYou BucketConflict BucketNameUnavailable NoSuchVersion"
        " NoSuchLifecycleConfiguration NoSuchBucketLifecycle",
        Outcome.ANSWER,
    ),
    **_all("InvalidPart InvalidPartOrder InvalidRange", Outcome.ANSWER),
    **_all("EntityTooSmall", Outcome.ANSWER, "raise CHUNK_SIZE_BYTES to the store's minimum part size"),
    **_all(
        "KeyTooLongError XMinioInvalidObjectName XMinioInvalidResourceName XMinioInvalidResource XMinioInvalidUTF"
        " InvalidObjectName InvalidURI MetadataTooLarge RequestHeaderSectionTooLarge",
        Outcome.REFUSED,
        "the store does not accept the recording's path as a key; rename the recording",
    ),
    **_all(
        "XMinioObjectExistsAsDirectory ExistingObjectIsDirectory ObjectParentIsFile DirectoryObjectContainsData"
        " ErrDirectoryNotEmpty",
        Outcome.REFUSED,
        "an object and a folder in the store have the same name; rename the recording",
    ),
    **_all("EntityTooLarge", Outcome.TOO_LARGE, SMALLER),
    **_all("MaxMessageLengthExceeded RequestEntityTooLarge PayloadTooLarge", Outcome.TOO_LARGE, SMALLER),
    **_all("InvalidPartNumber", Outcome.PART_NUMBER, FEWER),
    **_all("InvalidObjectState", Outcome.REFUSED),
    # -- ambiguous codes: unknown unless the text or the operation decides --------------------------------------
    **_all(
        "BadRequest InvalidArgument InvalidRequest InvalidLocationConstraint MalformedXML MethodNotAllowed"
        " AuthorizationQueryParametersError AuthorizationParametersError MissingFields MissingHeaders"
        " MissingRequiredParameter ExcessData MaxVersionsExceeded XAdminInvalidArgument VersioningNotConfigured",
        Outcome.UNKNOWN,
        BROKEN,
    ),
    **_all(
        "NoSuchObjectLockConfiguration ObjectLockConfigurationNotFoundError",
        Outcome.SETTING,
        "check the bucket's Object Lock settings",
    ),
    # -- features that some stores lack -----------------------------------------------------------------------
    **_all(
        "NotImplemented XNotImplemented NotSupported UnsupportedOperation UnsupportedHeader UnsupportedArgument"
        " MissingContentLength MissingContentMD5 LengthRequired",
        Outcome.NOT_ABLE,
    ),
    # -- temporary failures -----------------------------------------------------------------------------------
    **_all(
        "SlowDown SlowDownRead SlowDownWrite Throttling ThrottlingException TooManyRequests ServerBusy"
        " RequestLimitExceeded BandwidthLimitExceeded TooManyRequestsException",
        Outcome.THROTTLED,
        SLOWER,
    ),
    **_all("RequestTimeout RequestTimedOut ClientDisconnected", Outcome.TIMEOUT, SILENT),
    **_all(
        "InternalError InternalServerError ServiceUnavailable IncompleteBody OperationAborted BadGateway GatewayTimeout"
        " ObjectSerializationConflict MissingRequestBodyError UnexpectedContent InvalidChunkSizeError"
        " MalformedTrailerError Busy TryAgain RestoreAlreadyInProgress InvalidBucketState"
        " XMinioBackendDown XMinioServerNotInitialized XMinioIAMNotInitialized XMinioBucketMetadataNotInitialized"
        " XMinioEncryptionError XMinioObjectTampered XMinioInvalidDecompressedSize XMinioHealMissingBucket",
        Outcome.TRANSIENT,
        BROKEN,
    ),
}

_NAMES_A_HEADER = r"x-amz-(checksum|sdk|mp)|if-(none-)?match|content-md5|unsupported header"
#: For codes with several meanings: code, pattern of the message text, and meaning. The first match counts.
TEXTS: tuple[tuple[str, re.Pattern[str], Meaning], ...] = tuple(
    (code, re.compile(pattern, re.IGNORECASE), meaning)
    for code, pattern, meaning in (
        # Cloudflare R2, for an access key ID of the wrong length.
        ("InvalidArgument", r"access key", Meaning(Outcome.CREDENTIALS, KEY_ID)),
        # Scaleway: "Part number must be an integer between 1 and 1000, inclusive".
        ("InvalidArgument", r"part ?number", Meaning(Outcome.PART_NUMBER, FEWER)),
        # Backblaze B2: "Unsupported header 'x-amz-checksum-mode' received for this API call".
        ("InvalidArgument", _NAMES_A_HEADER, Meaning(Outcome.NOT_ABLE)),
        # MinIO, for a part without a checksum in an upload with checksums: 'checksum missing, want "CRC64NVME"'.
        ("InvalidArgument", r"checksum missing", Meaning(Outcome.NOT_ABLE)),
        # Amazon, for a part with a checksum in an upload without checksums.
        ("InvalidRequest", r"checksum type mismatch", Meaning(Outcome.NOT_ABLE)),
        # A message about a different checksum or size names its header too: in that case the header works.
        ("InvalidRequest", r"(does not|did not|doesn't) match|mismatch", Meaning(Outcome.WRONG_CONTENT)),
        ("InvalidRequest", _NAMES_A_HEADER, Meaning(Outcome.NOT_ABLE)),
        ("InvalidRequest", r"access key|credential", Meaning(Outcome.CREDENTIALS, BOTH)),
    )
)

#: For codes whose meaning depends on the operation.
OPERATIONS: Mapping[tuple[str, str], Meaning] = {
    # The whole recording is too large for this store, not a request body.
    ("complete_multipart_upload", "EntityTooLarge"): Meaning(
        Outcome.REFUSED, "the store does not accept objects of this size"
    ),
    # Ceph RGW 16.2, for an upload that was completed or aborted. For a part's copy it may mean the source.
    ("list_parts", "NoSuchKey"): Meaning(Outcome.GONE),
    ("upload_part", "NoSuchKey"): Meaning(Outcome.GONE),
    # The size or the parts differ from those in the request.
    ("complete_multipart_upload", "InvalidRequest"): Meaning(Outcome.ANSWER),
}
#: Operations whose callers can interpret an ``ANSWER``; for any other operation it counts as unknown.
_ANSWERED = frozenset({"complete_multipart_upload", "get_object", "head_object", "put_object"})

#: Answers without a code: a HEAD has no body, and other servers than stores send none.
STATUSES: Mapping[int, Meaning] = {
    400: Meaning(Outcome.CREDENTIALS, BOTH),  # for a HEAD, for example an expired token
    401: Meaning(Outcome.CREDENTIALS, BOTH),
    403: Meaning(Outcome.CREDENTIALS, BOTH),
    408: Meaning(Outcome.TIMEOUT, SILENT),
    409: Meaning(Outcome.ANSWER),
    411: Meaning(Outcome.NOT_ABLE),
    412: Meaning(Outcome.ANSWER),
    413: Meaning(Outcome.TOO_LARGE, SMALLER),
    429: Meaning(Outcome.THROTTLED, SLOWER),
    501: Meaning(Outcome.NOT_ABLE),
    507: Meaning(Outcome.SETTING, ROOM),
}

#: Optional operations: any unknown refusal means that the store does not support them.
OPTIONAL = frozenset(
    {
        "abort_multipart_upload",
        "create_bucket",
        "get_bucket_lifecycle_configuration",
        "list_multipart_uploads",
        "upload_part_copy",
    }
)
#: A HEAD has no body with a code.
_HEADS = frozenset({"head_bucket", "head_object"})

#: The setting that avoids an unknown answer, by operation.
GO_AROUND: Mapping[str, str] = {
    "create_multipart_upload": "S3_CHECKSUM=none sends no checksum header",
    "upload_part": "S3_CHECKSUM=none sends no checksum header; S3_MAX_PARTS and S3_EQUAL_PARTS change the parts",
    "upload_part_copy": "S3_PART_COPY=off uploads parts instead of copying them",
    "complete_multipart_upload": "S3_CONDITIONAL_WRITES=off and S3_CHECKSUM=none send no optional header",
    "put_object": "S3_CONDITIONAL_WRITES=off and S3_CHECKSUM=none send no optional header",
    "get_object": "S3_CHECKSUM=none sends no optional header",
    "head_object": "S3_CHECKSUM=none sends no optional header",
    "head_bucket": "check S3_ENDPOINT_URL, S3_ADDRESSING_STYLE and S3_REGION_NAME",
    "list_parts": "check S3_ENDPOINT_URL, S3_ADDRESSING_STYLE and S3_REGION_NAME",
    "list_objects_v2": "check S3_ENDPOINT_URL, S3_ADDRESSING_STYLE and S3_REGION_NAME",
}
#: Consecutive unknown answers of one operation after which the log names that setting.
NOT_UNDERSTOOD = 10


def most_parts(text: str) -> int | None:
    """The store's part limit, if its refusal of a part number contains it ("between 1 and 1000")."""
    found = re.search(r"between 1 and (\d+(?:[,.]\d{3})*)", text)
    return int(re.sub(r"\D", "", found[1])) or None if found else None


def meaning(operation: str, code: str, status: int, text: str = "") -> Meaning:
    """The meaning of an answer to ``operation`` (botocore's name). ``code`` may be empty or the status, as for a
    HEAD."""
    found = _found(operation, code, status, text)
    if found.outcome in (Outcome.UNKNOWN, Outcome.TOO_LARGE) and operation in OPTIONAL:
        return Meaning(Outcome.ANSWER)
    if found.outcome is Outcome.ANSWER and operation not in _ANSWERED | OPTIONAL:
        return Meaning(Outcome.UNKNOWN, BROKEN)
    return found


# The most specific first: the text, since one code may mean several things; the code for this operation; the code. What
# follows is for codes that are not listed:
#
# - a redirect is never followed, whatever the code: the operator names the right endpoint
# - 401 and 403 are about credentials in every store, however its code is spelt
# - the status decides if there is no code. If there is one, 400 and 409 are left out: stores use these two for many
#   different things and only the code says which, so an unknown 400 stays unknown, and an unknown 409 may pass
def _found(operation: str, code: str, status: int, text: str) -> Meaning:
    for named, pattern, said in TEXTS:
        if named == code and pattern.search(text):
            return said
    if found := OPERATIONS.get((operation, code)) or CODES.get(code):
        return found
    if code.startswith("KMS."):
        return Meaning(Outcome.SETTING, "check the bucket's encryption key, and that S3_ACCESS_KEY_ID may use it")
    if 300 <= status < 400:
        return Meaning(Outcome.SETTING, ENDPOINT)
    if status in (401, 403):
        return STATUSES[status]
    if code in ("", str(status)):
        return _of_status(operation, status)
    if status in STATUSES and status not in (400, 409):
        return STATUSES[status]
    return Meaning(Outcome.UNKNOWN if 400 <= status < 500 and status != 409 else Outcome.TRANSIENT, BROKEN)


def _of_status(operation: str, status: int) -> Meaning:
    """Without a code only the answer to a HEAD, or to an optional operation, is certain to be from the store."""
    if status == 404 and operation == "head_bucket":
        return CODES["NoSuchBucket"]
    if status == 404 and operation == "head_object":
        return Meaning(Outcome.ANSWER)
    if status == 400 and operation not in _HEADS:
        return Meaning(Outcome.UNKNOWN, BROKEN)
    if found := STATUSES.get(status):
        return found
    if 400 <= status < 500:
        return Meaning(Outcome.ANSWER) if operation in OPTIONAL else Meaning(Outcome.SETTING, NOT_A_STORE)
    return Meaning(Outcome.TRANSIENT, BROKEN)
