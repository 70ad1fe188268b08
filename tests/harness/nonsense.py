"""Malformed HTTP requests, as many kinds as there are ideas, for a server that must take no notice."""

from __future__ import annotations

import json
import random

_BODIES: tuple[bytes, ...] = (
    b"",
    b"{",
    b"[]",
    b"null",
    b'{"ids": 5}',
    b'{"ids": [5]}',
    b'{"ids": ["x"], "apply": "yes"}',
    b'{"ids": null}',
    b'"ids"',
    b"\xff\xfe",
    b"[" * 30_000,
    json.dumps({"ids": ["x"] * 1001}).encode(),
    b"x" * (65 * 1024),
)


def malformed(number: int) -> bytes:
    """Every kind of nonsense in turn, with random bytes of its own."""
    chance = random.Random(number)
    noise = chance.randbytes(chance.randrange(1, 2000))
    body = _BODIES[number % len(_BODIES)]
    path = chance.choice([b"/v1/retry", b"/v1/give-up"])
    kinds = (
        noise,
        b"GET /" + noise.replace(b"\n", b"") + b" HTTP/1.1\r\n\r\n",
        b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body,
        b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + noise,
        b"GET /v1/retry HTTP/1.1\r\nHost: x\r\n\r\n",
        b"DELETE /v1/status HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/waiting?scan=one HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
    )
    return kinds[number % len(kinds)]
