"""The faulty proxy knows which operation a request is, and whose turn it is to be harmed."""

from __future__ import annotations

import pytest

from tests.harness.faulty_s3 import OTHER, Request, Rule, drop, request_from


@pytest.mark.parametrize(
    ("method", "target", "operation", "key"),
    [
        ("POST", "/b/k.mp4?uploads", "CreateMultipartUpload", "k.mp4"),
        ("POST", "/b/k.mp4?uploads=", "CreateMultipartUpload", "k.mp4"),
        ("POST", "/b/k.mp4?uploadId=u", "CompleteMultipartUpload", "k.mp4"),
        ("PUT", "/b/k.mp4?uploadId=u&partNumber=2", "UploadPart", "k.mp4"),
        ("GET", "/b/k.mp4?uploadId=u&max-parts=200", "ListParts", "k.mp4"),
        ("DELETE", "/b/k.mp4?uploadId=u", "AbortMultipartUpload", "k.mp4"),
        ("DELETE", "/b/k.mp4", "DeleteObject", "k.mp4"),
        ("PUT", "/b/k.mp4.metadata.json", "PutObject", "k.mp4.metadata.json"),
        ("HEAD", "/b/cam%201/%C3%BC.mp4", "HeadObject", "cam 1/ü.mp4"),
        ("GET", "/b/a%3Fuploads", "GetObject", "a?uploads"),
        ("GET", "/b?uploads&prefix=cam%2Fk.mp4&encoding-type=url", "ListMultipartUploads", "cam/k.mp4"),
        ("GET", "/b?list-type=2&prefix=", "ListObjectsV2", ""),
        ("GET", "/b/?list-type=2", "ListObjectsV2", ""),
        ("GET", "/b", "ListObjects", ""),
        ("HEAD", "/b", "HeadBucket", ""),
        ("PUT", "/b", "CreateBucket", ""),
        ("GET", "/", OTHER, ""),
        ("POST", "/b/k.mp4", OTHER, "k.mp4"),
        ("PATCH", "/b/k.mp4", OTHER, "k.mp4"),
    ],
)
def test_a_request_is_named_by_its_method_path_and_query(method: str, target: str, operation: str, key: str) -> None:
    request = request_from(f"{method} {target} HTTP/1.1\r\nHost: s3\r\n\r\n".encode())
    assert (request.operation, request.key) == (operation, key)
    assert request.bucket == ("" if target == "/" else "b")


@pytest.mark.parametrize(
    ("target", "operation"),
    [("/b/k.mp4?partNumber=1&uploadId=u", "UploadPartCopy"), ("/b/k.mp4", "CopyObject")],
)
def test_a_copy_is_known_by_its_source(target: str, operation: str) -> None:
    assert Request("PUT", target, {"x-amz-copy-source": "b/other"}).operation == operation


def test_what_was_signed_is_passed_on_as_it_came() -> None:
    head = b"GET /b/k%20.mp4?x=a%2Fb HTTP/1.1\r\nHost: 127.0.0.1:1\r\nX-Amz-Date: now\r\nConnection: keep-alive\r\n\r\n"
    assert request_from(head).encoded() == (
        b"GET /b/k%20.mp4?x=a%2Fb HTTP/1.1\r\nhost: 127.0.0.1:1\r\nx-amz-date: now\r\nconnection: close\r\n\r\n"
    )


def test_what_is_no_request_is_refused() -> None:
    with pytest.raises(ValueError):
        request_from(b"hello\r\n\r\n")


def test_a_rule_lets_some_pass_takes_its_number_and_is_over() -> None:
    rule = Rule("HeadObject", drop(), "k", times=2, skip=1)
    head, other = Request("HEAD", "/b/k", {}), Request("HEAD", "/b/other", {})
    assert [rule.takes(each) for each in (other, head, head, other, head, head)] == [
        False,
        False,
        True,
        False,
        True,
        False,
    ]


def test_a_rule_without_a_number_is_never_over() -> None:
    rule = Rule(None, drop(), None, times=None)
    assert all(rule.takes(Request("HEAD", "/b/k", {})) for _ in range(5))
    assert not rule.is_over
