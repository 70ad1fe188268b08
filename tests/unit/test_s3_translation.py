"""What botocore raises, sorted by what the caller should do; and the rules of the client that need no server."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from src.domain import Answer, Identity, Manifest, Snapshot, StoredPart, crc64_to_base64
from src.exceptions import (
    PartNumberRefused,
    PartTooLarge,
    Permanent,
    S3NotUnderstood,
    S3Rejected,
    S3Unavailable,
    S3WrongContent,
    Transient,
    UploadGone,
)
from src.s3_client import Choice, StoreSettings
from src.s3_client.answers import check_answer, completion_answer, completion_arguments, stored_part
from src.s3_client.errors import error_class, translate
from src.s3_client.part_list import PartList, part_list
from src.s3_client.settings import Abilities, Deadlines, addressing
from tests.harness.fakes.recordings import FakeChunkBody

OPERATION = "upload_part"
SECRET = "wJalrXUtnFEMI/K7MDENG"
EVERYTHING = Abilities(True, True, True, True, True)
NOTHING = Abilities(False, False, False, False, False)
SNAPSHOT = Snapshot(Identity(1, 2), 24, 3, 4)
MANIFEST = Manifest(24, 77, 2, SNAPSHOT)
PARTS = (StoredPart(1, 16, "one", 5), StoredPart(2, 8, "two", None))


def _client_error(code: str, status: int = 400, message: str = "no", call: str = "UploadPart") -> ClientError:
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, call)


# -- errors ------------------------------------------------------------------------------------------------------------


def test_an_upload_that_the_store_does_not_know_is_gone_and_nothing_else_is_said_of_it() -> None:
    gone = translate(_client_error("NoSuchUpload", 404), operation=OPERATION)
    assert type(gone) is UploadGone
    assert not isinstance(gone, Transient | Permanent)
    assert gone.operation == OPERATION


def test_a_head_of_the_bucket_has_no_text_and_only_one_thing_that_it_does_not_find() -> None:
    error = translate(_client_error("404", 404, "Not Found", call="HeadBucket"), operation="head_bucket")
    assert isinstance(error, S3Unavailable) and error.misconfigured
    assert "S3_BUCKET_NAME" in error.hint and "NoSuchBucket" in str(error)


@pytest.mark.parametrize(
    ("code", "status", "setting"),
    [
        ("AccessDenied", 403, "rights"),
        ("AuthorizationHeaderMalformed", 400, "S3_REGION_NAME"),
        ("ExpiredToken", 400, "credentials"),
        ("InvalidAccessKeyId", 403, "S3_ACCESS_KEY_ID"),
        ("InvalidBucketName", 400, "S3_BUCKET_NAME"),
        ("NoSuchBucket", 404, "S3_BUCKET_NAME"),
        ("PermanentRedirect", 301, "S3_REGION_NAME"),
        ("RequestTimeTooSkewed", 403, "clock"),
        ("SignatureDoesNotMatch", 403, "S3_SECRET_ACCESS_KEY"),
        ("403", 403, "S3_SECRET_ACCESS_KEY"),
        ("SomethingNew", 401, "S3_ACCESS_KEY_ID"),
        ("301", 301, "S3_REGION_NAME"),
        ("KMS.DisabledException", 400, "S3_ACCESS_KEY_ID"),
        ("XAdminUserNotFound", 404, "S3_ACCESS_KEY_ID"),
        ("XMinioStorageFull", 507, "free space"),
    ],
)
def test_what_a_changed_setting_can_lift_is_waited_for_and_says_what_to_change(
    code: str, status: int, setting: str
) -> None:
    error = translate(_client_error(code, status), operation=OPERATION)
    assert isinstance(error, S3Unavailable)
    assert error.misconfigured
    assert setting in error.hint


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("SlowDown", 503),
        ("InternalError", 500),
        ("InternalError", 200),  # a completion's error inside a 200
        ("ServiceUnavailable", 503),
        ("RequestTimeout", 400),
        ("OperationAborted", 409),
        ("Throttling", 400),
        ("TooManyRequests", 429),
        ("BadDigest", 400),
        ("IncompleteBody", 400),
        ("XAmzContentChecksumMismatch", 400),
        ("", 0),
        ("408", 408),
        ("SomethingNew", 418),
        ("InvalidArgument", 400),
        ("NotImplemented", 501),
        ("PreconditionFailed", 412),  # of what no part can say
    ],
)
def test_trouble_of_the_store_or_the_line_may_pass(code: str, status: int) -> None:
    error = translate(_client_error(code, status), operation=OPERATION)
    assert isinstance(error, S3Unavailable)
    assert not error.misconfigured
    assert error.hint


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (_client_error("InternalError", 500), "the store's log"),
        (_client_error("SlowDown", 503), "MAX_CONCURRENT_STREAMS"),
        (_client_error("429", 429), "MAX_CONCURRENT_STREAMS"),
        (_client_error("RequestTimeout", 400), "load and disks"),
        (ReadTimeoutError(endpoint_url="http://s3", error="slow"), "load and disks"),
        (ConnectionResetError("reset by peer"), "the store's log"),
        (aiohttp.ClientPayloadError("not completed"), "the store's log"),
    ],
    ids=lambda value: getattr(value, "args", [value])[0],
)
def test_trouble_says_where_to_look(error: Exception, words: str) -> None:
    assert words in translate(error, operation=OPERATION).hint


def test_a_head_that_is_refused_without_a_word_names_the_keys() -> None:
    error = translate(_client_error("400", 400, call="HeadObject"), operation="head_object")
    assert isinstance(error, S3Unavailable)
    assert not error.misconfigured
    assert "S3_SECRET_ACCESS_KEY" in error.hint


def test_trouble_of_this_machine_sends_nobody_to_the_store() -> None:
    assert translate(OSError(28, "No space left on device"), operation=OPERATION).hint == ""


def test_a_bucket_that_is_not_there_is_named_though_a_head_has_no_words() -> None:
    error = translate(_client_error("404", 404, call="HeadBucket"), operation="head_bucket")
    assert isinstance(error, S3Unavailable)
    assert error.misconfigured
    assert "S3_BUCKET_NAME" in error.hint


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("InvalidPart", 400),
        ("EntityTooSmall", 400),
        ("EntityTooLarge", 400),
        ("PreconditionFailed", 412),
        ("NoSuchKey", 404),
        ("KeyTooLongError", 400),
        ("InvalidObjectState", 403),
    ],
)
def test_what_the_store_understood_and_refuses_is_never_repeated(code: str, status: int) -> None:
    error = translate(_client_error(code, status), operation="complete_multipart_upload")
    assert isinstance(error, S3Rejected)
    assert isinstance(error, Permanent)
    assert error.code == code


@pytest.mark.parametrize("status", [302, 307, 404, 405])
def test_a_status_without_a_code_of_s3_is_another_programs_and_may_pass(status: int) -> None:
    for code in ("", str(status)):
        error = translate(_client_error(code, status), operation=OPERATION)
        assert isinstance(error, S3Unavailable)
        assert error.misconfigured
        assert "S3_ENDPOINT_URL" in error.hint


@pytest.mark.parametrize("operation", ["head_object", "list_multipart_uploads", "upload_part_copy"])
def test_where_no_code_is_needed_the_status_is_the_answer(operation: str) -> None:
    for code in ("", "404"):
        error = translate(_client_error(code, 404), operation=operation)
        assert isinstance(error, S3Rejected)
        assert error.code == "404"


def test_a_part_that_is_too_large_or_one_too_many_is_told_from_other_refusals() -> None:
    large = translate(_client_error("413", 413), operation=OPERATION)
    assert isinstance(large, PartTooLarge)
    assert "CHUNK_SIZE_BYTES" in large.hint
    document = translate(_client_error("413", 413), operation="put_object")
    assert isinstance(document, S3Unavailable)
    assert document.misconfigured
    said = "Part number must be an integer between 1 and 1000, inclusive"
    number = translate(_client_error("InvalidArgument", 400, said), operation=OPERATION)
    assert isinstance(number, PartNumberRefused)
    assert number.most == 1000
    assert "S3_MAX_PARTS" in number.hint


def test_a_refused_number_tells_how_many_parts_fit_only_where_a_part_was_sent_or_it_says_so() -> None:
    """A completion has no number of its own: taken for the first part's, the whole file had to fit into one part."""
    for operation in ("complete_multipart_upload", "list_parts"):
        error = translate(_client_error("InvalidPartNumber"), operation=operation)
        assert isinstance(error, S3NotUnderstood)
        assert "S3_MAX_PARTS" in error.hint
    said = "Part number must be an integer between 1 and 1000, inclusive"
    told = translate(_client_error("InvalidArgument", 400, said), operation="complete_multipart_upload")
    assert isinstance(told, PartNumberRefused)
    assert told.most == 1000
    for operation in (OPERATION, "upload_part_copy"):
        assert isinstance(translate(_client_error("InvalidPartNumber"), operation=operation), PartNumberRefused)


def test_a_message_is_short_however_much_the_store_says() -> None:
    assert len(str(translate(_client_error("SlowDown", 503, "x" * 1_000_000), operation=OPERATION))) < 400


@pytest.mark.parametrize("error", [NoCredentialsError(), PartialCredentialsError(provider="env", cred_var="secret")])
def test_missing_credentials_are_waited_for_and_named(error: Exception) -> None:
    translated = translate(error, operation=OPERATION)
    assert isinstance(translated, S3Unavailable)
    assert translated.misconfigured
    assert "S3_ACCESS_KEY_ID" in translated.hint


@pytest.mark.parametrize("kind", [EndpointConnectionError, ConnectTimeoutError])
def test_nobody_listening_is_waited_for_and_the_address_is_named(kind: Any) -> None:
    translated = translate(kind(endpoint_url="http://127.0.0.1:9", error="refused"), operation=OPERATION)
    assert isinstance(translated, S3Unavailable)
    assert "S3_ENDPOINT_URL" in translated.hint
    assert "127.0.0.1:9" in str(translated)


@pytest.mark.parametrize(
    "error",
    [
        ReadTimeoutError(endpoint_url="http://s3", error="slow"),
        HTTPClientError(error="cut"),
        IncompleteReadError(actual_bytes=1, expected_bytes=2),
        ResponseStreamingError(error="cut"),
        ConnectionResetError("reset by peer"),
        OSError(28, "No space left on device"),
        aiohttp.ClientPayloadError("not completed"),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_cut_line_may_be_mended(error: Exception) -> None:
    translated = translate(error, operation=OPERATION)
    assert isinstance(translated, S3Unavailable)
    assert not translated.misconfigured
    assert type(error).__name__ in str(translated)


@pytest.mark.parametrize("code", ["AccessDenied", "SlowDown", "InvalidPart", "NoSuchUpload"])
def test_a_message_names_operation_code_and_what_the_store_said(code: str) -> None:
    text = str(translate(_client_error(code, message="the store's own words"), operation=OPERATION))
    assert text == f"upload_part: {code} the store's own words"


def test_a_message_never_shows_a_header_or_a_secret_of_the_request() -> None:
    error = _client_error("SignatureDoesNotMatch", 403)
    error.response["Error"] |= {"StringToSign": SECRET, "AWSAccessKeyId": SECRET}
    error.response["ResponseMetadata"]["HTTPHeaders"] = {"authorization": SECRET}
    translated = translate(error, operation=OPERATION)
    assert SECRET not in str(translated) + repr(translated) + translated.hint


# -- a completion's answer ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "status", "answer"),
    [
        ("PreconditionFailed", 412, Answer.PRECONDITION_FAILED),
        ("412", 412, Answer.PRECONDITION_FAILED),
        ("NoSuchKey", 404, Answer.PRECONDITION_FAILED),  # If-Match where no object is
        ("ConditionalRequestConflict", 409, Answer.CONFLICT),
        ("409", 409, Answer.CONFLICT),
        ("InvalidPart", 400, Answer.INVALID_PART),
        ("InvalidPartOrder", 400, Answer.INVALID_PART),
        ("InvalidRequest", 400, Answer.WRONG_CONTENT),
    ],
)
def test_a_refused_completion_has_an_answer(code: str, status: int, answer: Answer) -> None:
    refused = translate(_client_error(code, status), operation="complete_multipart_upload")
    assert isinstance(refused, S3Rejected)
    assert completion_answer(refused) is answer


@pytest.mark.parametrize(
    "code", ["BadDigest", "XAmzContentChecksumMismatch", "InvalidDigest", "XAmzContentSHA256Mismatch"]
)
def test_a_checksum_that_differs_is_one_error_whatever_a_store_calls_it(code: str) -> None:
    error = translate(_client_error(code, 400), operation=OPERATION)
    assert isinstance(error, S3WrongContent)
    assert error.code == code


@pytest.mark.parametrize("code", ["EntityTooSmall", "InvalidArgument", "MalformedXML"])
def test_a_completion_that_only_a_bug_can_send_is_raised(code: str) -> None:
    refused = S3Rejected("no", code=code)
    with pytest.raises(S3Rejected) as raised:
        completion_answer(refused)
    assert raised.value is refused


# -- a completion's request --------------------------------------------------------------------------------------------


async def test_a_completion_names_every_part_the_size_the_checksum_and_that_the_key_must_be_free() -> None:
    listed = await part_list(PARTS, checksums=True)
    assert listed.xml.count(b"<PartNumber>") == 2
    assert listed.xml.count(b"<ETag>") == 2
    assert b'<ETag>"one"</ETag><ChecksumCRC64NVME>%b</C' % crc64_to_base64(5).encode() in listed.xml
    assert listed.xml.count(b"<ChecksumCRC64NVME>") == 1
    assert completion_arguments(MANIFEST, listed, EVERYTHING) == {
        "MultipartUpload": listed,
        "ChecksumType": "FULL_OBJECT",
        "ChecksumCRC64NVME": crc64_to_base64(77),
        "MpuObjectSize": 24,
        "IfNoneMatch": "*",
    }


def test_a_completion_that_replaces_is_bound_to_the_object_that_it_replaces() -> None:
    arguments = completion_arguments(Manifest(24, 77, 2, SNAPSHOT, replaces="old"), PartList(b""), EVERYTHING)
    assert arguments["IfMatch"] == '"old"'
    assert "IfNoneMatch" not in arguments


@pytest.mark.parametrize("replaces", [None, "old"])
async def test_a_store_without_abilities_is_sent_nothing_that_it_does_not_know(replaces: str | None) -> None:
    listed = await part_list(PARTS, checksums=False)
    assert b"<ChecksumCRC64NVME>" not in listed.xml
    arguments = completion_arguments(Manifest(24, 77, 2, SNAPSHOT, replaces=replaces), listed, NOTHING)
    assert arguments == {"MultipartUpload": listed}


@pytest.mark.parametrize(
    ("ability", "name"),
    [("checksum", "ChecksumCRC64NVME"), ("if_none_match", "IfNoneMatch"), ("object_size", "MpuObjectSize")],
)
def test_each_ability_decides_on_its_own_field_alone(ability: str, name: str) -> None:
    abilities = Abilities(**{field: field != ability for field in Abilities.__slots__})
    arguments = completion_arguments(MANIFEST, PartList(b""), abilities)
    assert name not in arguments
    assert len(arguments) >= 3


# -- parts -------------------------------------------------------------------------------------------------------------


def test_a_part_is_read_from_an_answer_without_the_quotes_of_its_etag() -> None:
    modified = datetime(2026, 11, 21, tzinfo=UTC)
    entry = {"ETag": '"abc"', "ChecksumCRC64NVME": crc64_to_base64(9), "LastModified": modified}
    assert stored_part(3, 8, entry) == StoredPart(3, 8, "abc", 9, modified)
    assert stored_part(3, 8, {"ETag": "abc"}) == StoredPart(3, 8, "abc", None)


def test_a_store_that_says_that_it_stored_other_bytes_is_sent_the_part_again() -> None:
    body = FakeChunkBody(b"a chunk")
    check_answer(StoredPart(1, 7, "e", body.digest.crc64), body)
    check_answer(StoredPart(1, 7, "e", None), body)
    with pytest.raises(S3Unavailable):
        check_answer(StoredPart(1, 7, "e", body.digest.crc64 ^ 1), body)


# -- settings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "aws"),
    [
        (None, True),
        ("https://s3.eu-central-1.amazonaws.com", True),
        ("https://bucket.s3.cn-north-1.amazonaws.com.cn", True),
        ("http://127.0.0.1:7070", False),
        ("https://account.r2.cloudflarestorage.com", False),
        ("https://amazonaws.com.example.org", False),
    ],
)
def test_amazons_own_s3_is_known_by_its_address(endpoint: str | None, aws: bool) -> None:
    settings = StoreSettings("bucket", endpoint_url=endpoint)
    assert settings.is_aws is aws
    assert addressing(settings) == ("auto" if aws else "path")


def test_an_address_that_only_ends_like_amazons_is_not_amazons() -> None:
    assert not StoreSettings("bucket", endpoint_url="https://not-amazonaws.com").is_aws


@pytest.mark.parametrize("style", ["path", "virtual"])
def test_the_addressing_that_was_set_counts(style: str) -> None:
    assert addressing(StoreSettings("bucket", addressing_style=style)) == style


@pytest.mark.parametrize(
    ("endpoint", "choice", "equal"),
    [
        ("https://account.r2.cloudflarestorage.com", Choice.AUTO, True),
        ("https://account.eu.r2.cloudflarestorage.com", Choice.AUTO, True),
        ("https://account.r2.cloudflarestorage.com", Choice.OFF, False),
        ("https://r2.cloudflarestorage.com.example.org", Choice.AUTO, False),
        (None, Choice.AUTO, False),
        (None, Choice.ON, True),
    ],
)
def test_a_store_that_wants_equal_parts_is_known_by_its_address_or_by_setting(
    endpoint: str | None, choice: Choice, equal: bool
) -> None:
    assert StoreSettings("bucket", endpoint_url=endpoint, equal_parts=choice).wants_equal_parts is equal


@pytest.mark.parametrize(
    ("endpoint", "choice", "signs"),
    [
        (None, Choice.AUTO, False),
        ("https://s3.example.org", Choice.AUTO, False),
        ("http://127.0.0.1:7070", Choice.AUTO, False),
        ("http://localhost:7070", Choice.AUTO, False),
        ("http://[::1]:7070", Choice.AUTO, False),
        ("http://10.0.0.7:9000", Choice.AUTO, True),
        ("http://minio:9000", Choice.AUTO, True),
        ("https://s3.example.org", Choice.ON, True),
        ("http://10.0.0.7:9000", Choice.OFF, False),
    ],
)
def test_payloads_are_signed_over_plain_http_to_other_machines_and_where_it_is_set(
    endpoint: str | None, choice: Choice, signs: bool
) -> None:
    assert StoreSettings("bucket", endpoint_url=endpoint, payload_signing=choice).signs_payloads is signs


# -- deadlines ---------------------------------------------------------------------------------------------------------

MIB = 1024 * 1024


def test_a_deadline_follows_the_size_of_the_body() -> None:
    deadlines = Deadlines()
    assert deadlines.for_body(0, None) == 60.0, "never less than a minute"
    assert deadlines.for_body(10 * MIB, None) == deadlines.call + 160
    assert deadlines.for_body(20 * MIB, None) > deadlines.for_body(10 * MIB, None)


def test_a_deadline_follows_the_speed_that_was_measured() -> None:
    deadlines = Deadlines()
    assert deadlines.for_body(10 * MIB, 100.0 * MIB) == 60.0
    assert deadlines.for_body(1000 * MIB, 100.0 * MIB) == deadlines.call + 100
    assert deadlines.for_body(10 * MIB, 1.0 * MIB) > deadlines.for_body(10 * MIB, 100.0 * MIB)


def test_a_line_that_was_measured_slow_gets_no_less_time_than_one_that_was_not_measured() -> None:
    deadlines = Deadlines()
    assert deadlines.for_body(10 * MIB, 1.0) == deadlines.for_body(10 * MIB, None)


def test_a_part_may_take_ten_times_as_long_as_the_ones_before_it() -> None:
    speed = 5.0 * MIB
    assert Deadlines().for_body(64 * MIB, speed) >= 10 * 64 * MIB / speed


# -- classes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (TimeoutError(), "timeout"),
        (ConnectTimeoutError(endpoint_url="http://s3"), "timeout"),
        (ReadTimeoutError(endpoint_url="http://s3"), "timeout"),
        (_client_error("RequestTimeout", 400), "timeout"),
        (EndpointConnectionError(endpoint_url="http://s3"), "connection"),
        (HTTPClientError(error=OSError("reset")), "connection"),
        (aiohttp.ServerDisconnectedError(), "connection"),
        (ConnectionResetError(), "connection"),
        (_client_error("SlowDown", 503), "throttled"),
        (_client_error("", 429), "throttled"),
        (_client_error("AccessDenied", 403), "denied"),
        (_client_error("ExpiredToken", 400), "denied"),
        (_client_error("403", 403), "denied"),
        (NoCredentialsError(), "denied"),
        (_client_error("NoSuchUpload", 404), "not_found"),
        (_client_error("404", 404), "not_found"),
        (_client_error("404", 404, call="HeadBucket"), "no_bucket"),
        (_client_error("NoSuchBucket", 404), "no_bucket"),
        (_client_error("PreconditionFailed", 412), "conflict"),
        (_client_error("ConditionalRequestConflict", 409), "conflict"),
        (_client_error("InternalError", 500), "server"),
        (_client_error("", 503), "server"),
        (_client_error("InvalidPart", 400), "other"),
        (_client_error("400", 400), "other"),
        (ValueError("no XML"), "other"),
    ],
)
def test_every_error_has_one_of_few_words(error: Exception, word: str) -> None:
    assert error_class(error) == word
