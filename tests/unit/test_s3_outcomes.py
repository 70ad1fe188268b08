"""Every code that a store is known to give leads to a declared outcome, at every operation."""

from __future__ import annotations

from collections import Counter

import pytest

from src.exceptions import S3NotUnderstood
from src.s3_client.errors import NotUnderstood
from src.s3_client.outcomes import CODES, GO_AROUND, NOT_UNDERSTOOD, OPTIONAL, Outcome, meaning

#: The codes that stores' own sources and documents name, without those of operations that the daemon never asks
#: (policies, tags, versions, websites, S3 Select, administration).
STORES: dict[str, str] = {
    "Amazon S3": """
        AccessDenied AccountProblem AllAccessDisabled AuthorizationHeaderMalformed BadDigest BucketAlreadyExists
        BucketAlreadyOwnedByYou ConditionalRequestConflict CredentialsNotSupported EntityTooLarge EntityTooSmall
        ExpiredToken IncompleteBody InternalError InvalidAccessKeyId InvalidArgument InvalidBucketName
        InvalidBucketState InvalidDigest InvalidLocationConstraint InvalidObjectState InvalidPart InvalidPartOrder
        InvalidPayer InvalidRange InvalidRequest InvalidSecurity InvalidToken InvalidURI KeyTooLongError
        MalformedXML MetadataTooLarge MethodNotAllowed MissingContentLength MissingSecurityHeader NoSuchBucket
        NoSuchKey NoSuchUpload NoSuchLifecycleConfiguration NotImplemented NotSignedUp OperationAborted
        PermanentRedirect PreconditionFailed Redirect RequestTimeTooSkewed RequestTimeout ServiceUnavailable
        SignatureDoesNotMatch SlowDown TemporaryRedirect TokenRefreshRequired XAmzContentSHA256Mismatch
    """,
    "VersityGW": """
        AccessDenied AccessForbidden AuthorizationHeaderMalformed BadDigest BadRequest BucketAlreadyExists
        BucketAlreadyOwnedByYou DirectoryObjectContainsData EntityTooLarge EntityTooSmall ErrDirectoryNotEmpty
        ExistingObjectIsDirectory IncompleteBody InsufficientStorage InternalError InvalidAccessKeyId
        InvalidArgument InvalidBucketName InvalidChunkSizeError InvalidDigest InvalidPart InvalidPartNumber
        InvalidPartOrder InvalidRange InvalidRequest InvalidToken InvalidURI KeyTooLongError MalformedTrailerError
        MalformedXML MaxMessageLengthExceeded MetadataTooLarge MethodNotAllowed MissingContentLength
        MissingRequestBodyError NoSuchBucket NoSuchKey NoSuchUpload NotImplemented ObjectParentIsFile
        PreconditionFailed QuotaExceeded RequestHeaderSectionTooLarge RequestTimeTooSkewed SignatureDoesNotMatch
        SlowDown UnexpectedContent XAdminAccessDenied XAdminUserNotFound XAmzContentSHA256Mismatch
    """,
    "MinIO": """
        AccessDenied AllAccessDisabled AuthorizationHeaderMalformed BadDigest BadRequest BucketAlreadyExists
        BucketAlreadyOwnedByYou ClientDisconnected EntityTooLarge EntityTooSmall ExcessData IncompleteBody
        InternalError InvalidAccessKeyId InvalidArgument InvalidBucketName InvalidDigest InvalidPart
        InvalidPartNumber InvalidPartOrder InvalidRange InvalidRegion InvalidRequest InvalidTokenId KeyTooLongError
        MalformedDate MalformedXML MetadataTooLarge MethodNotAllowed MissingContentLength MissingContentMD5
        MissingFields MissingSecurityHeader NoSuchBucket NoSuchKey NoSuchUpload NotImplemented PreconditionFailed
        RequestTimeTooSkewed RequestTimeout ServerBusy SignatureDoesNotMatch SlowDownRead SlowDownWrite
        UnauthorizedAccess XAmzContentChecksumMismatch XAmzContentSHA256Mismatch XMinioAdminBucketQuotaExceeded
        XMinioAdminNoSuchAccessKey XMinioAdminNoSuchUser XMinioBackendDown XMinioBucketMetadataNotInitialized
        XMinioIAMNotInitialized XMinioInsecureClientRequest XMinioInvalidIAMCredentials XMinioInvalidObjectName
        XMinioInvalidResourceName XMinioObjectExistsAsDirectory XMinioObjectTampered XMinioServerNotInitialized
        XMinioStorageFull
    """,
    "Ceph RGW": """
        AccessDenied BadDigest BucketAlreadyExists EntityTooLarge EntityTooSmall InternalError InvalidAccessKeyId
        InvalidArgument InvalidBucketName InvalidDigest InvalidObjectName InvalidPart InvalidPartOrder InvalidRange
        InvalidRequest MethodNotAllowed MissingContentLength NoSuchBucket NoSuchKey NoSuchUpload NotFound
        NotImplemented PreconditionFailed QuotaExceeded RequestTimeTooSkewed RequestTimeout ServiceUnavailable
        SignatureDoesNotMatch SlowDown UserSuspended XAmzContentSHA256Mismatch
    """,
    "SeaweedFS": """
        AccessDenied AuthorizationHeaderMalformed BadDigest EntityTooLarge EntityTooSmall ExistingObjectIsDirectory
        InternalError InvalidAccessKeyId InvalidArgument InvalidDigest InvalidPart InvalidPartOrder InvalidRange
        InvalidRequest MissingContentLength MissingFields NoSuchBucket NoSuchKey NoSuchUpload NotImplemented
        PreconditionFailed RequestTimeTooSkewed ServiceUnavailable SignatureDoesNotMatch SlowDown
    """,
    "Garage": """
        AccessDenied AuthorizationHeaderMalformed BucketAlreadyExists EntityTooSmall InternalError InvalidDigest
        InvalidPart InvalidPartOrder InvalidRange InvalidRequest InvalidURI MalformedXML NoSuchBucket NoSuchKey
        NoSuchUpload NotImplemented PreconditionFailed ServiceUnavailable
    """,
    "Cloudflare R2": """
        AccessDenied BadDigest BucketConflict EntityTooLarge EntityTooSmall ExpiredRequest IncompleteBody
        InternalError InvalidArgument InvalidBucketName InvalidDigest InvalidPart InvalidRange InvalidRegionName
        InvalidRequest KeyTooLongError MetadataTooLarge NoSuchBucket NoSuchKey NoSuchUpload NotEntitled
        NotImplemented PreconditionFailed ServiceUnavailable SignatureDoesNotMatch TooManyRequests Unauthorized
    """,
    "Backblaze B2": """
        AccessDenied BadDigest IncompleteBody InternalError InvalidAccessKeyId InvalidArgument InvalidPart
        InvalidRequest NoSuchKey NoSuchUpload NotImplemented ServiceUnavailable SignatureDoesNotMatch SlowDown
        UnauthorizedAccess UnsupportedHeader
    """,
    "Google Cloud Storage": """
        AccessDenied AuthenticationRequired BadDigest BucketNameUnavailable EntityTooLarge EntityTooSmall
        InternalError InvalidArgument InvalidPart InvalidSecurity MissingSecurityHeader NoSuchBucket NoSuchKey
        NoSuchUpload NotImplemented PreconditionFailed ServiceUnavailable SignatureDoesNotMatch SlowDown
        UserProjectMissing
    """,
}
OPERATIONS = (*GO_AROUND, *sorted(OPTIONAL))  # every worker of xdist must collect the same order


@pytest.mark.parametrize("store", STORES)
def test_each_code_of_a_store_leads_to_a_declared_outcome(store: str) -> None:
    assert [code for code in STORES[store].split() if code not in CODES] == []


@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_code_that_is_not_known_fails_a_recording(operation: str) -> None:
    """Of what is optional it says that the store cannot, and it is done without."""
    for status in (400, 402, 404, 405, 406, 409, 418, 451, 500, 599):
        found = meaning(operation, "NeverHeardOf", status).outcome
        assert found in (Outcome.UNKNOWN, Outcome.TRANSIENT) or (operation in OPTIONAL and found is Outcome.ANSWER)


#: What stores say to an access key id or a secret that is not theirs, with the status they say it by.
REFUSED_CREDENTIALS = (
    ("InvalidAccessKeyId", 403, ""),
    ("SignatureDoesNotMatch", 403, ""),
    ("XAdminUserNotFound", 404, "No user exists with the provided access key ID."),
    ("InvalidTokenId", 403, ""),
    ("ExpiredToken", 400, ""),
    ("Unauthorized", 401, ""),
    ("UnauthorizedAccess", 401, ""),
    ("InvalidArgument", 400, "Credential access key has length 20, should be 32"),
    ("AccessDenied", 403, "Forbidden: No such key: GK31"),
    ("UserSuspended", 403, ""),
    ("AuthenticationRequired", 401, ""),
    ("", 401, ""),
    ("403", 403, ""),
)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_refused_credentials_are_one_outcome_at_every_operation_in_every_spelling(operation: str) -> None:
    for code, status, text in REFUSED_CREDENTIALS:
        found = meaning(operation, code, status, text)
        assert found.outcome is Outcome.CREDENTIALS, (operation, code)
        assert found.hint


@pytest.mark.parametrize(
    ("code", "text", "outcome"),
    [
        ("InvalidArgument", "Unsupported header 'x-amz-checksum-mode' received for this API call.", Outcome.NOT_ABLE),
        ("InvalidArgument", "Part number must be an integer between 1 and 1000, inclusive", Outcome.PART_NUMBER),
        ("InvalidArgument", '(checksum missing, want "CRC64NVME", got "")', Outcome.NOT_ABLE),
        ("InvalidArgument", "something else", Outcome.UNKNOWN),
        ("InvalidRequest", "Value for x-amz-checksum-crc64nvme header is invalid.", Outcome.NOT_ABLE),
        ("InvalidRequest", "Checksum Type mismatch occurred, expected null, actual crc64nvme", Outcome.NOT_ABLE),
        (
            "InvalidRequest",
            "The x-amz-mp-object-size header 2 does not match what was computed: 1",
            Outcome.WRONG_CONTENT,
        ),
        ("InvalidRequest", "Content-MD5 OR x-amz-checksum- HTTP header is required", Outcome.NOT_ABLE),
        ("InvalidRequest", "something else", Outcome.UNKNOWN),
    ],
)
def test_where_one_code_stands_for_many_things_its_text_decides(code: str, text: str, outcome: Outcome) -> None:
    assert meaning("upload_part", code, 400, text).outcome is outcome


@pytest.mark.parametrize(
    "code", ["BadDigest", "InvalidPart", "EntityTooSmall", "ConditionalRequestConflict", "PreconditionFailed"]
)
def test_what_speaks_of_content_or_of_another_writer_is_never_inability(code: str) -> None:
    for operation in OPERATIONS:
        for status in (400, 409, 412):
            assert meaning(operation, code, status, "x-amz-checksum-crc64nvme").outcome is not Outcome.NOT_ABLE


def test_after_ten_answers_in_a_row_that_nobody_knows_the_setting_that_goes_round_them_is_named() -> None:
    counter, hints = NotUnderstood(), Counter[bool]()
    for _ in range(NOT_UNDERSTOOD):
        error = S3NotUnderstood("head_object: Odd", operation="head_object", hint="look")
        counter.met(error)
        hints["S3_CHECKSUM" in error.hint] += 1
    assert hints == {False: NOT_UNDERSTOOD - 1, True: 1}
    counter.answered("head_object")
    again = S3NotUnderstood("head_object: Odd", operation="head_object", hint="look")
    counter.met(again)
    assert again.hint == "look"


def test_every_operation_that_is_not_done_without_has_a_setting_that_goes_round_it() -> None:
    for around in GO_AROUND.values():
        assert "S3_" in around
