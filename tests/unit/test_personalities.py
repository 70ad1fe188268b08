"""The table of personalities is whole, and the proxy that acts by it refuses and drops what it says."""

from __future__ import annotations

import re

import pytest

from tests.harness.faulty_s3 import Request
from tests.harness.servers import S3Server
from tests.harness.stores.personalities import PERSONALITIES, UNTRIED, Personality, Refusal
from tests.harness.stores.proxy import _in_pieces, _signed_anew, _why_refused, refusal_answer

PART = Request("PUT", "/b/k.mp4?partNumber=5&uploadId=u", {"x-amz-checksum-crc64nvme": "x", "content-length": "9"})


@pytest.mark.parametrize("each", [*PERSONALITIES, *UNTRIED], ids=lambda each: each.name)
def test_every_line_names_where_it_is_public(each: Personality) -> None:
    assert each.sources
    assert [source for source in each.sources if not re.fullmatch(r"https://[\w.-]+/[\w./#-]*", source)] == []


def test_no_store_has_two_lines() -> None:
    names = [each.name for each in (*PERSONALITIES, *UNTRIED)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("refusal", "why"),
    [
        (Refusal(400, "A", header="x-amz-checksum-.*"), "x-amz-checksum-crc64nvme"),
        (Refusal(400, "A", header="x-amz-trailer"), None),
        (Refusal(400, "A", header="x-amz-checksum-.*", operations=("PutObject",)), None),
        (Refusal(400, "A", lacks="content-md5"), ""),
        (Refusal(400, "A", lacks="content-md5|x-amz-checksum-.*"), None),
        (Refusal(413, "", body_over=8), ""),
        (Refusal(413, "", body_over=9), None),
        (Refusal(400, "A", part_over=4), ""),
        (Refusal(400, "A", part_over=5), None),
    ],
)
def test_a_request_is_refused_for_what_the_line_says(refusal: Refusal, why: str | None) -> None:
    assert _why_refused(PART, refusal, 9) == why


def test_a_head_is_told_the_status_alone() -> None:
    refusal = Refusal(400, "InvalidArgument", "no")
    assert b"InvalidArgument" in refusal_answer(PART, refusal)
    answer = refusal_answer(Request("HEAD", "/b/k.mp4", {}), refusal)
    assert answer.startswith(b"HTTP/1.1 400 ") and answer.endswith(b"\r\n\r\n")


def test_an_answer_in_pieces_has_the_same_bytes_and_no_length() -> None:
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    assert _in_pieces(whole) == (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
    )
    without = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"
    assert _in_pieces(without) == without


def test_a_signature_made_anew_is_that_of_the_signers_own_example(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Amazon's "GET Object" of "Signature Calculations for the Authorization Header"."""
    server = S3Server(
        "example",
        lambda _: [],
        tmp_path_factory.mktemp("none"),
        access_key="AKIAIOSFODNN7EXAMPLE",
        secret_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    )
    nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    request = Request(
        "GET",
        "/test.txt",
        {
            "authorization": "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
            "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature=0",
            "host": "examplebucket.s3.amazonaws.com",
            "range": "bytes=0-9",
            "x-amz-content-sha256": nothing,
            "x-amz-date": "20130524T000000Z",
        },
    )
    signed = _signed_anew(request, server).headers["authorization"]
    assert signed.endswith("Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")
