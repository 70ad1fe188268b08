"""Checksums as S3 writes them: both ways, combined, and what is refused."""

from __future__ import annotations

import hashlib

import pytest
from awscrt.checksums import crc64nvme
from hypothesis import given
from hypothesis import strategies as st

from src.domain import combine, crc64_from_base64, crc64_of_zeros, crc64_to_base64, is_md5, multipart_etag

CHECK_OF_123456789 = 0xAE8B14860A799888  # the check value of CRC-64/NVME in the catalogue of CRCs


def test_the_check_value_has_the_form_that_s3_writes() -> None:
    assert crc64nvme(b"123456789") == CHECK_OF_123456789
    assert crc64_to_base64(CHECK_OF_123456789) == "rosUhgp5mIg="


@given(st.integers(min_value=0, max_value=2**64 - 1))
def test_a_checksum_survives_being_written_and_read(value: int) -> None:
    assert crc64_from_base64(crc64_to_base64(value)) == value


@pytest.mark.parametrize(
    "text", ["", "rosUhgp5mIg", "rosUhgp5mI==", "AAAA", "A" * 12, "rosUhgp5mIg=\n", "rosU hgp5mIg=", "ä"]
)
def test_what_is_not_eight_bytes_in_base64_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        crc64_from_base64(text)


@pytest.mark.parametrize("value", [-1, 2**64])
def test_what_is_not_64_bits_is_never_written(value: int) -> None:
    with pytest.raises(OverflowError):
        crc64_to_base64(value)


@pytest.mark.parametrize("size", [0, 1, 2**20 - 1, 2**20, 5 * 2**20 + 3])
def test_zeros_need_not_be_there_for_their_checksum(size: int) -> None:
    assert crc64_of_zeros(size) == crc64nvme(bytes(size))


@given(st.lists(st.binary(max_size=64), max_size=8))
def test_the_parts_checksums_combine_to_that_of_the_whole(parts: list[bytes]) -> None:
    assert combine((crc64nvme(part), len(part)) for part in parts) == crc64nvme(b"".join(parts))


def test_a_whole_of_one_large_part_combines_without_reading_it() -> None:
    assert combine([(CHECK_OF_123456789, 5 * 2**30)]) == CHECK_OF_123456789


def test_the_etag_of_parts_is_the_md5_of_their_md5s_and_their_number() -> None:
    first, second = hashlib.md5(b"one"), hashlib.md5(b"two")
    expected = hashlib.md5(first.digest() + second.digest()).hexdigest() + "-2"
    assert multipart_etag([first.hexdigest(), second.hexdigest()]) == expected


@pytest.mark.parametrize(
    ("etag", "can_be"),
    [
        (hashlib.md5(b"one").hexdigest(), True),
        (hashlib.md5(b"one").hexdigest().upper(), False),  # no store that is known writes it so
        (hashlib.md5(b"one").hexdigest() + "-2", False),  # of several parts
        (hashlib.md5(b"one").hexdigest() + "\n", False),
        (hashlib.sha256(b"one").hexdigest(), False),
        ("", False),
    ],
)
def test_only_32_hexadecimal_digits_can_be_a_parts_md5(etag: str, can_be: bool) -> None:
    assert is_md5(etag) is can_be
