"""Matroska, WebM, transport streams and QuickTime files with one thing wrong, and films that name other files.

Made by ffmpeg from the two seconds of ``test_data/sample.mp4`` and then cut by hand; nothing is kept.
"""

from __future__ import annotations

import random
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from tests.corpus.media import ORDINARY, box, children, playlists
from tests.harness.servers import ROOT, find_tool

SECONDS = 2.0

EBML, DOC_TYPE, SEGMENT, VOID = 0x1A45DFA3, 0x4282, 0x18538067, 0xEC
INFO, SCALE, DURATION, NEXT_FILE, PREVIOUS_FILE, NEXT_ID = 0x1549A966, 0x2AD7B1, 0x4489, 0x3E83BB, 0x3C83AB, 0x3EB923
TRACKS, CLUSTER, TIMESTAMP, SIMPLE_BLOCK = 0x1654AE6B, 0x1F43B675, 0xE7, 0xA3
TAGS, TAG, SIMPLE_TAG, TAG_NAME, TAG_TEXT = 0x1254C367, 0x7373, 0x67C8, 0x45A3, 0x4487
ATTACHMENTS, ATTACHED, FILE_NAME, FILE_TYPE, FILE_DATA, FILE_UID = 0x1941A469, 0x61A7, 0x466E, 0x4660, 0x465C, 0x46AE
_MASTERS = frozenset((EBML, SEGMENT, INFO, CLUSTER))
UNKNOWN = b"\x01" + b"\xff" * 7


@dataclass(frozen=True, slots=True)
class Broken:
    """A file. ``whole``: whether its structure proves its end; None: that depends on ffmpeg. ``seconds``: what may be
    said of its duration."""

    what: str
    make: Callable[[], bytes]
    whole: bool | None = False
    seconds: float = SECONDS

    def __str__(self) -> str:
        return self.what


# --- Good films -------------------------------------------------------------------------------------------------------


@cache
def film(ending: str, *options: str) -> bytes:
    """The film as ffmpeg writes it into a file, where it can come back to its beginning."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / f"film.{ending}"
        command = [str(find_tool("ffmpeg")), "-nostdin", "-v", "error", "-i", str(ROOT / "test_data" / "sample.mp4")]
        subprocess.run([*command, "-fflags", "+bitexact", *(options or ("-c", "copy")), str(made)], check=True)
        return made.read_bytes()


def mkv() -> bytes:
    """In four clusters."""
    return film("mkv", "-c", "copy", "-cluster_time_limit", "500")


def live_mkv() -> bytes:
    return film("mkv", "-c", "copy", "-live", "1", "-cluster_time_limit", "500")


def webm() -> bytes:
    return film("webm", "-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libopus", "-ac", "2")


def ts() -> bytes:
    return film("ts")


def m2ts() -> bytes:
    return film("m2ts")


def mov() -> bytes:
    return film("mov")


# --- Elements ---------------------------------------------------------------------------------------------------------


def made(kind: int, content: bytes = b"", *, size: bytes | None = None) -> bytes:
    """An element; ``size``: what it says of itself, encoded."""
    told = (len(content) | 1 << 56).to_bytes(8, "big") if size is None else size
    return kind.to_bytes((kind.bit_length() + 7) // 8, "big") + told + content


def sized(number: int) -> bytes:
    return (number | 1 << 56).to_bytes(8, "big")


def elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Those that follow each other, of known sizes."""
    offset = 0
    while offset < len(data):
        width = 9 - data[offset].bit_length()
        kind = int.from_bytes(data[offset : offset + width], "big")
        offset += width
        length = 9 - data[offset].bit_length()
        size = int.from_bytes(data[offset : offset + length], "big") ^ 1 << 7 * length
        offset += length
        yield kind, data[offset : offset + size]
        offset += size


def changed(kind: int, change: Callable[[bytes], bytes], data: bytes | None = None) -> bytes:
    """The film with what ``change`` makes of the content in place of each such element; those around it fit again."""
    out = b""
    for found, content in elements(mkv() if data is None else data):
        if found == kind:
            out += change(content)
        else:
            out += made(found, changed(kind, change, content) if found in _MASTERS else content)
    return out


def _with(kind: int, content: bytes) -> bytes:
    return changed(kind, lambda _: made(kind, content))


def _sized(kind: int, size: bytes) -> bytes:
    return changed(kind, lambda content: made(kind, content, size=size))


def _in_segment(extra: bytes) -> bytes:
    return changed(SEGMENT, lambda content: made(SEGMENT, content + extra))


def _in_info(extra: bytes) -> bytes:
    return changed(INFO, lambda content: made(INFO, content + extra))


def _without(kind: int) -> bytes:
    return changed(kind, lambda _: b"")


def _before_tracks(extra: bytes) -> bytes:
    return changed(TRACKS, lambda content: extra + made(TRACKS, content))


def _every_hundredth_wrong() -> bytes:
    return bytes(byte ^ (number % 100 == 99) for number, byte in enumerate(mkv()))


def _twice(content: bytes) -> bytes:
    return made(CLUSTER, made(CLUSTER, content))


def _hole(data: bytes, begin: float, end: float) -> bytes:
    """Zeros from one share of the file to another."""
    first, last = int(len(data) * begin), int(len(data) * end)
    return data[:first] + bytes(last - first) + data[last:]


# --- Packets ----------------------------------------------------------------------------------------------------------


def packets(data: bytes, size: int = 188) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def _each_packet(change: Callable[[int, bytes], bytes]) -> bytes:
    return b"".join(change(number, packet) for number, packet in enumerate(packets(ts())))


def _clock(number: int, packet: bytes, change: Callable[[int], int]) -> bytes:
    """Another clock reference, where there is one; in seconds of 27,000,000 ticks."""
    if not packet[3] & 0x20 or packet[4] < 7 or not packet[5] & 0x10:
        return packet
    coded = int.from_bytes(packet[6:12], "big")
    ticks = change((coded >> 15) * 300 + (coded & 0x1FF)) % ((1 << 33) * 300)
    return packet[:6] + (ticks // 300 << 15 | 0x7E00 | ticks % 300).to_bytes(6, "big") + packet[12:]


def _clocks(change: Callable[[int, int], int]) -> bytes:
    """``change`` gets the number of the packet and its ticks."""
    return _each_packet(lambda number, packet: _clock(number, packet, lambda ticks: change(number, ticks)))


def _without_clock(number: int, packet: bytes) -> bytes:
    has = packet[3] & 0x20 and packet[4] >= 7 and packet[5] & 0x10
    return packet[:5] + bytes([packet[5] & ~0x10]) + packet[6:] if has else packet


def _without_sync(number: int, packet: bytes) -> bytes:
    return packet if number % 5 else b"x" + packet[1:]


def _without_programs(number: int, packet: bytes) -> bytes:
    return packet if packet[1] & 0x1F or packet[2] else b""


def _text_in_packets(text: bytes) -> bytes:
    """A text whose every 188th byte is the sync byte."""
    return b"".join(b"G" + text[at : at + 187].ljust(187, b"\n") for at in range(0, max(len(text), 1000), 187))


# --- The table --------------------------------------------------------------------------------------------------------


def _cut(make: Callable[[], bytes], share: float, off: int = 0) -> Callable[[], bytes]:
    return lambda: make()[: int(len(make()) * share) + off]


def _matroska() -> Iterator[Broken]:
    for share in (0.002, 0.02, 0.1, 0.5, 0.9):
        yield Broken(f"Matroska, cut at {share:.1%}", _cut(mkv, share))
    yield Broken("Matroska without its last byte", lambda: mkv()[:-1])
    yield Broken("Matroska and a byte more", lambda: mkv() + b"\0")
    yield Broken("a live Matroska, cut", _cut(live_mkv, 0.7))
    yield Broken("WebM, cut", _cut(webm, 0.7))
    sizes = {"0": sized(0), "1": sized(1), "unknown": UNKNOWN, "2^55": sized(2**55), "a byte too many": None}
    for what, size in sizes.items():
        told = size or sized(len(mkv()))
        for name, kind in (("segment", SEGMENT), ("cluster", CLUSTER), ("header", EBML), ("info", INFO)):
            yield Broken(f"a {name} that says {what}", partial(_sized, kind, told))
    values = {"NaN": float("nan"), "infinite": float("inf"), "negative": -1.0, "0": 0.0, "huge": 1e300}
    for what, value in values.items():
        yield Broken(f"a duration that is {what}", partial(_with, DURATION, struct.pack(">d", value)), whole=True)
    yield Broken("a duration ten times too long", partial(_with, DURATION, struct.pack(">d", 20_000.0)), whole=True)
    yield Broken("a duration of three bytes", partial(_with, DURATION, b"abc"), whole=True)
    yield Broken("a duration of nothing", partial(_with, DURATION, b""), whole=True)
    yield Broken("no ticks in a second", partial(_with, SCALE, b"\0"), whole=True)
    yield Broken("ticks of years", partial(_with, SCALE, b"\xff" * 8), whole=True)
    yield Broken("a tick of nine bytes", partial(_with, SCALE, bytes(9)), whole=True)
    yield Broken("clusters at the end of time", partial(_with, TIMESTAMP, b"\xff" * 8), whole=True)
    yield Broken("clusters all at 0", partial(_with, TIMESTAMP, b"\0"), whole=True)
    yield Broken("clusters without a time", partial(_without, TIMESTAMP), whole=True)
    yield Broken("blocks of one byte", partial(_with, SIMPLE_BLOCK, b"\x81"), whole=True)
    yield Broken("blocks of nothing", partial(_with, SIMPLE_BLOCK, b""), whole=True)
    yield Broken("blocks of a track that is not there", partial(_with, SIMPLE_BLOCK, b"\x9f\0\0\0x"), whole=True)
    yield Broken("no tracks", partial(_without, TRACKS))
    yield Broken("no media", partial(_without, CLUSTER))
    yield Broken("no header", lambda: mkv()[mkv().index(SEGMENT.to_bytes(4, "big")) :])
    yield Broken("another kind of document", partial(_with, DOC_TYPE, b"secret"), whole=True)
    yield Broken("a name that is no text", partial(_with, DOC_TYPE, b"\xff" * 900), whole=True)
    yield Broken("ten thousand empty elements", lambda: _in_segment(made(VOID) * 10_000), whole=True)
    yield Broken("a segment within the segment", lambda: _in_segment(made(SEGMENT, made(CLUSTER))))
    yield Broken("clusters within each other", lambda: changed(CLUSTER, _twice), whole=True)
    yield Broken("two films, one behind the other", lambda: mkv() + mkv())
    yield Broken("zeros at its end", lambda: _hole(mkv(), 0.6, 1.0))
    yield Broken("zeros in its middle", lambda: _hole(mkv(), 0.4, 0.5))
    yield Broken("a Matroska of ones", lambda: mkv()[:4] + b"\xff" * 5_000)
    yield Broken("a Matroska of random bytes", lambda: mkv()[:60] + random.Random(3).randbytes(5_000))
    yield Broken("every hundredth byte wrong", _every_hundredth_wrong, whole=None)


def _streams() -> Iterator[Broken]:
    yield Broken("a transport stream, cut in a packet", _cut(ts, 0.5, 77), seconds=SECONDS / 2)
    yield Broken("M2TS, cut in a packet", _cut(m2ts, 0.5, 77), seconds=SECONDS / 2)
    yield Broken("a packet without its first byte", lambda: ts()[:1880] + ts()[1881:])
    yield Broken("a byte more between two packets", lambda: ts()[:1880] + b"x" + ts()[1880:])
    yield Broken("packets of 204 bytes", lambda: b"".join(packet + bytes(16) for packet in packets(ts())))
    yield Broken("no sync byte in each fifth packet", lambda: _each_packet(_without_sync))
    yield Broken("a clock that jumps a minute", lambda: _clocks(lambda n, ticks: ticks + 1_620_000_000 * (n > 60)))
    yield Broken("a clock that jumps back", lambda: _clocks(lambda n, ticks: ticks - 27_000_000 * (n > 60)))
    yield Broken("a clock that stands still", lambda: _clocks(lambda n, ticks: 27_000_000))
    yield Broken("a clock that runs ten times as fast", lambda: _clocks(lambda n, ticks: ticks * 10))
    yield Broken("a clock that starts again", lambda: _clocks(lambda n, ticks: ticks - 27_000_000 * 2))
    yield Broken("no clock", lambda: _each_packet(_without_clock))
    yield Broken("fields of 255 bytes", lambda: _each_packet(lambda n, p: p[:3] + b"\x30\xff" + p[5:]))
    yield Broken("packets of nothing alone", lambda: b"\x47\x1f\xff\x10".ljust(188, b"\xff") * 300)
    yield Broken("scrambled packets", lambda: _each_packet(lambda n, p: p[:3] + bytes([p[3] | 0xC0]) + p[4:]))
    yield Broken("packets in another order", lambda: b"".join(packets(ts())[::-1]))
    yield Broken("two streams, one behind the other", lambda: ts() + ts(), seconds=2 * SECONDS)
    yield Broken("no table of programs", lambda: _each_packet(_without_programs))
    yield Broken("a stream of sync bytes", lambda: b"\x47" * 5_000)


def _quicktime() -> Iterator[Broken]:
    boxes = dict(children(ORDINARY))
    bare = box(b"wide") + box(b"mdat", boxes[b"mdat"]) + box(b"moov", boxes[b"moov"])
    yield Broken("QuickTime without a type", lambda: bare, whole=True)
    yield Broken("QuickTime without a type and an index", lambda: bare[: len(bare) // 2])
    yield Broken("QuickTime, cut", _cut(mov, 0.8))


BROKEN: tuple[Broken, ...] = (*_matroska(), *_streams(), *_quicktime())


def with_references(target: str) -> dict[str, bytes]:
    """Films and texts of these formats that name another file."""
    name = target.encode()
    link = made(NEXT_FILE, name) + made(PREVIOUS_FILE, name) + made(NEXT_ID, b"\1" * 16)
    tag = made(TAG, made(SIMPLE_TAG, made(TAG_NAME, b"URL") + made(TAG_TEXT, name)))
    texts = playlists(target)
    attached = made(
        ATTACHED,
        made(FILE_NAME, name)
        + made(FILE_TYPE, b"application/vnd.apple.mpegurl")
        + made(FILE_DATA, texts["HLS"])
        + made(FILE_UID, b"\1"),
    )
    header = made(EBML, made(DOC_TYPE, b"matroska"))
    return {
        "Matroska that is continued in another file": _in_info(link),
        "Matroska with a playlist attached": _before_tracks(made(ATTACHMENTS, attached)),
        "Matroska with an address in its tags": _in_segment(made(TAGS, tag)),
        "HLS behind the head of a Matroska": header + texts["HLS"],
        "HLS inside a Matroska": header + made(SEGMENT, made(VOID, texts["HLS"])),
        "concat behind the head of a Matroska": header + texts["concat"],
        "HLS in packets": _text_in_packets(texts["HLS"]),
        "concat in packets": _text_in_packets(texts["concat"]),
        "SDP in packets": _text_in_packets(texts["SDP"]),
        "HLS behind a transport stream": ts() + texts["HLS"],
    }
