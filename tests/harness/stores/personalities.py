"""Personalities: what stores and the machines before them do otherwise than S3 in the book, as data.

Each is put before a real store by ``tests/harness/stores/proxy.py``, and each line names where the public can read that
it is so. A limit may be smaller than the real one, where the real one would take gigabytes to reach; it says so then.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

MIB = 1024 * 1024
#: What no request of ours may have: many stores cannot read a body in pieces with a checksum at its end.
_TRAILERS = r"x-amz-trailer|x-amz-sdk-checksum-algorithm"
_CHECKSUM_VALUE = r"x-amz-checksum-(crc|sha).*"
_ANY_CHECKSUM = r"x-amz-checksum-.*"
_SENDING = ("PutObject", "UploadPart")
_LOCKED = "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters"


@dataclass(frozen=True)
class Refusal:
    """Which requests are refused and how. Names of headers are patterns; ``operations`` empty: all.

    A request is refused when one of its headers fits ``header``, none fits ``lacks``, its body is larger than
    ``body_over``, or its part number is larger than ``part_over``. A HEAD is told the status alone. ``page``: a page
    for people instead of S3's XML, as a proxy sends it.
    """

    status: int
    code: str
    message: str = "refused"
    operations: tuple[str, ...] = ()
    header: str = ""
    lacks: str = ""
    body_over: int | None = None
    part_over: int | None = None
    page: bool = False


@dataclass(frozen=True)
class Personality:
    """One kind of store, or of machine before a store. ``behind``: the real store that it stands before.

    ``ignores``: headers that it ignores (a pattern), ``ignores_writing`` at the writing of an object
    only, ``ignores_completing`` at a completion only.
    ``equal_parts``: all parts but the last must have one size. ``keeps_parts``: a part that is stored is never replaced
    by another one. ``lists_replaced``: ListParts tells of the replaced ones, too. ``gone_as``: the code that it
    has for an upload that is gone. ``no_etag``: the answer to a completion has an empty ETag. ``slow_completion``: it
    answers 200 at once, then white space, then the result. ``no_length``: a HEAD is answered without its length.
    ``chunked``: other answers come in pieces, without it, too. With ``idle_seconds`` connections are kept open, as
    HTTP/1.1 has it, and closed after so long without a request; with ``closes_without_body`` after an answer without a
    body, which did not say so.

    ``chunk``: what the daemon is told to send at a time. ``long_parts``: so many more parts has one of the recordings.
    ``settings`` are those that the operator needs; ``advice`` is what the page of stores says about them. ``fault``:
    why recordings do not arrive there yet; ``fault_in_life``: why some of them do not.
    """

    name: str
    what: str
    sources: tuple[str, ...]
    fault: str = ""
    fault_in_life: str = ""
    behind: str = "versitygw"
    refusals: tuple[Refusal, ...] = ()
    ignores: str = ""
    ignores_writing: str = ""
    ignores_completing: str = ""
    equal_parts: bool = False
    keeps_parts: bool = False
    no_etag: bool = False
    gone_as: str = ""
    lists_replaced: bool = False
    slow_completion: bool = False
    no_length: bool = False
    chunked: bool = False
    idle_seconds: float | None = None
    closes_without_body: bool = False
    chunk: int = 5 * MIB
    long_parts: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)
    advice: str = "the defaults"
    note: str = ""

    @property
    def keeps_checksums(self) -> bool:
        """Whether a part is stored with the checksum that was sent with it."""
        patterns = [self.ignores, *(refusal.header for refusal in self.refusals)]
        return not any(re.fullmatch(pattern, "x-amz-checksum-crc64nvme") for pattern in patterns if pattern)

    @property
    def is_exact(self) -> bool:
        """Whether no part can be lost on its way, or in its upload: then none is sent that need not be."""
        return (
            self.idle_seconds is None
            and not self.keeps_parts
            and not any(refusal.body_over for refusal in self.refusals)
        )


PERSONALITIES = (
    Personality(
        "AWS",
        "closes idle connections, and completions are slow",
        (
            "https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html",
            "https://github.com/s3tools/s3cmd/issues/1114",
        ),
        slow_completion=True,
        idle_seconds=0.5,
    ),
    Personality("VersityGW", "unchanged", ("https://github.com/versity/versitygw",)),
    Personality(
        "MinIO",
        "unchanged; a repeated completion finds no upload",
        ("https://github.com/minio/minio/issues/13318", "https://github.com/minio/minio/issues/7632"),
        behind="minio",
    ),
    Personality(
        "Ceph RGW",
        "older releases ignore checksums and conditions on writes, and do not support trailers",
        (
            "https://github.com/ceph/ceph/pull/49986",
            "https://github.com/ceph/s3-tests/issues/583",
            "https://github.com/ceph/s3-tests/pull/682",
            "https://github.com/canonical/vault-k8s-operator/issues/825",
        ),
        refusals=(Refusal(400, "XAmzContentSHA256Mismatch", header=_TRAILERS),),
        ignores=_ANY_CHECKSUM,
        ignores_writing=r"if-(none-)?match|x-amz-mp-object-size",
    ),
    Personality(
        "Ceph RGW 16.2",
        "answers a completion without an ETag, refuses a document's If-Match even if it holds, and has another code "
        "for a missing upload",
        ("https://github.com/ceph/ceph/blob/v16.2.15/src/rgw/rgw_rest_s3.cc",),
        refusals=(Refusal(412, "PreconditionFailed", operations=("PutObject",), header="if-match"),),
        ignores=_ANY_CHECKSUM,
        ignores_completing=r"if-(none-)?match|x-amz-mp-object-size",
        no_etag=True,
        gone_as="NoSuchKey",
        note="all observed on the real store",
    ),
    Personality(
        "Backblaze B2",
        "refuses all checksum headers, including those of a HEAD",
        (
            "https://github.com/vatesfr/xen-orchestra/issues/8358",
            "https://github.com/diced/zipline/issues/746",
            "https://github.com/home-assistant/core/issues/143995",
            "https://www.backblaze.com/docs/cloud-storage-s3-compatible-api",
        ),
        refusals=(
            Refusal(
                400,
                "InvalidArgument",
                "Unsupported header '{header}' received for this API call.",
                header=rf"{_ANY_CHECKSUM}|{_TRAILERS}",
            ),
        ),
    ),
    Personality(
        "Cloudflare R2",
        "requires equal parts, has no condition on a copy's source, and answers a HEAD without a length",
        (
            "https://github.com/apache/opendal/issues/2904",
            "https://github.com/cloudflare/cloudflare-docs/pull/32458",
            "https://github.com/cloudflare/cloudflare-docs/pull/23443",
            "https://github.com/async-aws/aws/issues/2077",
            "https://github.com/amd/gaia/pull/3029",
        ),
        refusals=(
            Refusal(501, "NotImplemented", header=_TRAILERS),
            Refusal(501, "NotImplemented", "Header '{header}' not implemented", header="x-amz-copy-source-if-.*"),
        ),
        equal_parts=True,
        no_length=True,
        settings={"S3_EQUAL_PARTS": "on"},
        advice="`S3_EQUAL_PARTS=auto` recognises its address; `on` behind a domain of your own",
    ),
    Personality(
        "Wasabi",
        "answers IncompleteBody to trailers, and ignores checksums",
        ("https://github.com/boto/boto3/issues/4102",),
        refusals=(Refusal(400, "IncompleteBody", header=_TRAILERS),),
        ignores=_ANY_CHECKSUM,
        note="that it ignores checksums is an assumption from a thread of 2024",
    ),
    Personality(
        "Scaleway",
        "allows 1,000 parts (simulated: 4)",
        (
            "https://github.com/tus/tus-node-server/issues/711",
            "https://github.com/LINBIT/linstor-server/issues/461",
            "https://github.com/argoproj/argo-workflows/issues/10943",
        ),
        refusals=(
            Refusal(
                400,
                "InvalidArgument",
                "Part number must be an integer between 1 and 4, inclusive",
                operations=("UploadPart", "UploadPartCopy"),
                part_over=4,
            ),
        ),
        long_parts=3,
    ),
    Personality(
        "GCS interoperability",
        "answers SignatureDoesNotMatch to checksums of parts, and 412 to that of a completion",
        (
            "https://github.com/qdrant/qdrant/pull/9568",
            "https://github.com/langfuse/langfuse/pull/13280",
        ),
        refusals=(
            Refusal(
                403, "SignatureDoesNotMatch", "Invalid argument.", operations=("UploadPart",), header=_CHECKSUM_VALUE
            ),
            Refusal(
                412,
                "PreconditionFailed",
                "At least one of the pre-conditions you specified did not hold.",
                operations=("CompleteMultipartUpload",),
                header=_CHECKSUM_VALUE,
            ),
        ),
        settings={"S3_CHECKSUM": "none"},
        advice="`S3_CHECKSUM=none`",
    ),
    Personality(
        "Object Lock",
        "requires a checksum or Content-MD5 with every part and object",
        (
            "https://github.com/s3tools/s3cmd/issues/1436",
            "https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html",
        ),
        refusals=(
            Refusal(
                400,
                "InvalidRequest",
                _LOCKED,
                operations=_SENDING,
                lacks=rf"content-md5|{_CHECKSUM_VALUE}",
            ),
        ),
    ),
    Personality(
        "Object Lock at Backblaze B2",
        "requires Content-MD5 and refuses all checksum headers",
        ("https://github.com/zmanda/amanda/issues/275", "https://github.com/diced/zipline/issues/746"),
        refusals=(
            Refusal(
                400,
                "InvalidArgument",
                "Unsupported header '{header}' received for this API call.",
                header=rf"{_ANY_CHECKSUM}|{_TRAILERS}",
            ),
            Refusal(
                400,
                "InvalidRequest",
                _LOCKED,
                operations=_SENDING,
                lacks="content-md5",
            ),
        ),
    ),
    Personality(
        "rclone serve s3",
        "stores parts as they arrive, so that none can be replaced, and ignores their checksums",
        ("https://github.com/rclone/rclone/blob/v1.76.0/cmd/serve/s3/serve_s3.md",),
        ignores=_ANY_CHECKSUM,
        keeps_parts=True,
        note="a recording that was patched during its upload is sent once more, in another upload",
    ),
    Personality(
        "SeaweedFS",
        "lists a replaced part in addition to its successor",
        ("https://github.com/seaweedfs/seaweedfs/blob/master/weed/s3api/filer_multipart.go",),
        lists_replaced=True,
        note="observed on the real store, 4.53",
    ),
    Personality(
        "nginx with a body limit",
        "answers 413 to a part above client_max_body_size (simulated: 6 MiB, with parts of 8 MiB)",
        (
            "https://github.com/uc-cdis/gen3-helm/pull/596",
            "https://github.com/minio/minio/issues/6255",
            "https://nginx.org/en/docs/http/ngx_http_core_module.html#client_max_body_size",
        ),
        behind="minio",
        refusals=(Refusal(413, "", "413 Request Entity Too Large", body_over=6 * MIB, page=True),),
        chunk=8 * MIB,
        advice="raise `client_max_body_size` above the largest part; otherwise the parts become smaller, down to 5 MiB",
    ),
    Personality(
        "balancer that hangs up",
        "closes the connection after an answer without a body, without announcing it",
        ("https://github.com/aio-libs/aiohttp/issues/3507",),
        idle_seconds=30.0,
        closes_without_body=True,
    ),
    Personality(
        "balancer that ends idle connections",
        "closes a connection after half a second without a request",
        ("https://github.com/s3tools/s3cmd/issues/1114", "https://github.com/psf/requests/issues/3458"),
        behind="minio",
        idle_seconds=0.5,
    ),
    Personality(
        "proxy that re-chunks",
        "forwards answers in chunks without their length, also that of a HEAD",
        (
            "https://github.com/UKGovernmentBEIS/inspect_ai/pull/1551",
            "https://github.com/minio/minio/pull/19259",
        ),
        no_length=True,
        chunked=True,
    ),
)


@dataclass(frozen=True)
class Untried:
    """A store that neither was there to be tried nor has a personality here."""

    name: str
    what: str
    sources: tuple[str, ...]
    advice: str = "the defaults"


UNTRIED = (
    Untried(
        "DigitalOcean Spaces",
        "had problems with checksums until 2025",
        ("https://github.com/matrix-org/synapse-s3-storage-provider/issues/126",),
    ),
    Untried(
        "Garage",
        "refuses a part's checksum at completion if it has stored none",
        ("https://github.com/zhaofengli/attic/issues/267",),
        "`S3_CHECKSUM=none` if completions are refused",
    ),
    Untried(
        "Mega S4",
        "requires parts of equal size, numbered without gaps",
        ("https://github.com/PhantomPhoton/S3-Compatible/issues/3",),
        "`S3_EQUAL_PARTS=on`",
    ),
    Untried(
        "OVHcloud",
        "conditional writes, also at completion, since June 2026",
        ("https://github.com/ovh/ovhcloud-docs/pull/28",),
    ),
    Untried(
        "RustFS",
        "removes open uploads 24 hours after they began",
        ("https://github.com/rustfs/rustfs/issues/2282",),
        "raise `RUSTFS_API_STALE_UPLOADS_EXPIRY` above the longest recording",
    ),
    Untried(
        "Silo (continues MinIO)",
        "like MinIO; removes open uploads 24 hours after they began",
        ("https://github.com/pgsty/silo/issues/31",),
        "raise `MINIO_API_STALE_UPLOADS_EXPIRY` above the longest recording",
    ),
    Untried(
        "Storj",
        "copies parts only if enabled",
        ("https://github.com/storj/edge/issues/286", "https://github.com/storj/edge/issues/564"),
        "`S3_PART_COPY=off`",
    ),
)
