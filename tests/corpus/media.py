"""Media that hurt: good films with one thing wrong, and what calls itself a film and is none.

Everything is made here from the three small recordings in ``test_data``, by surgery on their bytes, a few by ffmpeg;
nothing is downloaded and nothing kept. The same item is the same bytes at every run (those of ffmpeg aside).
"""

from __future__ import annotations

import io
import random
import struct
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial

from tests.harness.servers import ROOT, find_tool

ORDINARY = (ROOT / "test_data" / "sample.mp4").read_bytes()
FASTSTART = (ROOT / "test_data" / "sample_faststart.mp4").read_bytes()
FRAGMENTED = (ROOT / "test_data" / "sample_fragmented.mp4").read_bytes()
#: In a file beside the item, and in no answer about it.
CANARY = "canary7f3a"

_CONTAINERS = frozenset(
    {b"moov", b"trak", b"mdia", b"minf", b"dinf", b"stbl", b"udta", b"edts", b"moof", b"traf", b"mvex"}
)
_MOST = 2**32 - 1
_TABLE = (b"moov", b"trak", b"mdia", b"minf", b"stbl")


@dataclass(frozen=True, slots=True)
class Media:
    """A file. ``whole``: whether its boxes end where it does and one of them is an index. ``described``: whether
    ffprobe tells its duration; None where that may differ between versions of ffprobe."""

    what: str
    make: Callable[[], bytes]
    whole: bool = False
    described: bool | None = None

    def __str__(self) -> str:
        return self.what


# --- Surgery ----------------------------------------------------------------------------------------------------------


def box(kind: bytes, content: bytes = b"", *, size: int | None = None) -> bytes:
    """``size``: what the box says of itself, whatever it holds."""
    return struct.pack(">I4s", len(content) + 8 if size is None else size, kind) + content


def large_box(kind: bytes, content: bytes, *, size: int | None = None) -> bytes:
    """A box with its size in 64 bits."""
    return struct.pack(">I4sQ", 1, kind, len(content) + 16 if size is None else size) + content


def children(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    offset = 0
    while offset < len(data):
        size, kind = struct.unpack_from(">I4s", data, offset)
        yield kind, data[offset + 8 : offset + size]
        offset += size


def boundaries(data: bytes, *, inside: bool, offset: int = 0) -> Iterator[int]:
    """Where boxes end; ``inside``: also those within others."""
    for kind, content in children(data):
        if inside and kind in _CONTAINERS:
            yield from boundaries(content, inside=True, offset=offset + 8)
        offset += 8 + len(content)
        yield offset


def edited(data: bytes, path: tuple[bytes, ...], change: Callable[[bytes], bytes]) -> bytes:
    """Every box at ``path`` replaced by what ``change`` makes of its content; those around it fit again."""
    out = b""
    for kind, content in children(data):
        if kind != path[0]:
            out += box(kind, content)
        elif len(path) == 1:
            out += change(content)
        else:
            out += box(kind, edited(content, path[1:], change))
    return out


def _with(kind: bytes, content: bytes, path: tuple[bytes, ...], film: bytes = ORDINARY) -> bytes:
    """The film with another content in every box ``kind`` at ``path``."""
    return edited(film, (*path, kind), lambda _: box(kind, content))


def _stamped(kind: bytes, offset: int, value: bytes, path: tuple[bytes, ...], film: bytes = ORDINARY) -> bytes:
    """The film with ``value`` at ``offset`` in the content of every box ``kind`` at ``path``."""
    return edited(film, (*path, kind), lambda old: box(kind, old[:offset] + value + old[offset + len(value) :]))


def _sized(kind: bytes, size: int, path: tuple[bytes, ...] = (), film: bytes = ORDINARY) -> bytes:
    """The film with boxes ``kind`` that say they have ``size`` bytes."""
    return edited(film, (*path, kind), lambda content: box(kind, content, size=size))


def _beginning(film: bytes, end: int) -> bytes:
    return film[:end]


def _in_moov(extra: bytes, film: bytes = ORDINARY) -> bytes:
    return edited(film, (b"moov",), lambda content: box(b"moov", content + extra))


def _without(*kinds: bytes) -> bytes:
    return b"".join(box(kind, content) for kind, content in children(ORDINARY) if kind not in kinds)


def _in_order(*kinds: bytes) -> bytes:
    """Boxes of the ordinary film in another order, some twice."""
    found = dict(children(ORDINARY))
    return b"".join(box(kind, found[kind]) for kind in kinds)


def _nested(kind: bytes, depth: int) -> bytes:
    inner = b""
    for _ in range(depth):
        inner = box(kind, inner)
    return inner


def _index() -> bytes:
    return dict(children(ORDINARY))[b"moov"]


def _tracks(count: int) -> bytes:
    """The picture's track again and again."""
    track = next(box(kind, content) for kind, content in children(_index()) if kind == b"trak")
    return _in_moov(track * (count - 2))


def _entry(kind: bytes, content: bytes) -> bytes:
    return _with(b"stsd", struct.pack(">II", 0, 1) + box(kind, content), _TABLE)


def _table(kind: bytes, *numbers: int) -> bytes:
    """A table that has these numbers and nothing else, version 0."""
    return _with(kind, struct.pack(f">I{len(numbers)}I", 0, *numbers), _TABLE)


def _tag(name: bytes, value: bytes) -> bytes:
    """A tag of QuickTime, and the same as one of iTunes."""
    quicktime = box(name, struct.pack(">HH", len(value) & 0xFFFF, 0) + value)
    item = box(name, box(b"data", struct.pack(">II", 1, 0) + value))
    handler = box(b"hdlr", bytes(8) + b"mdirappl" + bytes(9))
    return _in_moov(box(b"udta", quicktime + box(b"meta", bytes(4) + handler + box(b"ilst", item))))


def _bomb() -> bytes:
    """A compressed index that claims four gigabytes and is four megabytes of nothing."""
    packed = struct.pack(">I", _MOST) + zlib.compress(bytes(4 << 20), 9)
    index = box(b"cmov", box(b"dcom", b"zlib") + box(b"cmvd", packed))
    return edited(ORDINARY, (b"moov",), lambda _: box(b"moov", index))


def _encrypted(*, count: int) -> bytes:
    """A picture that claims to be encrypted, with a table of ``count`` vectors."""
    scheme = box(b"schm", bytes(4) + b"cenc" + struct.pack(">I", 0x10000))
    keys = box(b"tenc", bytes(6) + b"\1\x08" + bytes(16))
    protected = box(b"sinf", box(b"frma", b"avc1") + scheme + box(b"schi", keys))
    film = edited(
        FRAGMENTED,
        (b"moov", *_TABLE[1:], b"stsd"),
        lambda old: box(b"stsd", old[:8] + box(b"encv", old[16:] + protected)),
    )
    vectors = box(b"senc", struct.pack(">II", 2, count) + bytes(64))
    offsets = box(b"saiz", struct.pack(">IBI", 0, 8, count)) + box(b"saio", struct.pack(">III", 0, 1, _MOST))
    return edited(film, (b"moof", b"traf"), lambda old: box(b"traf", old + vectors + offsets))


def _elsewhere(target: bytes) -> bytes:
    """The media of each track "in another file": by URL, and by an alias with a path."""
    path = target + b"\0" * (1 + len(target) % 2)
    alias = bytes(150) + struct.pack(">HH", 2, len(path)) + path + struct.pack(">hH", -1, 0)
    entries = box(b"url ", bytes(4) + target + b"\0") + box(b"alis", bytes(4) + alias)
    return _with(b"dref", struct.pack(">II", 0, 2) + entries, (*_TABLE[:-1], b"dinf"))


# --- Other kinds of files ---------------------------------------------------------------------------------------------


@cache
def _converted(muxer: str, *options: str) -> bytes:
    """The ordinary film as ffmpeg writes it in another format."""
    command = [str(find_tool("ffmpeg")), "-nostdin", "-v", "error", "-i", str(ROOT / "test_data" / "sample.mp4")]
    return subprocess.run(
        [*command, "-fflags", "+bitexact", *options, "-f", muxer, "-"], check=True, capture_output=True
    ).stdout


def _zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo("film.mp4"), ORDINARY)
    return file.getvalue()


def _tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        entry = tarfile.TarInfo("film.mp4")
        entry.size = len(ORDINARY)
        archive.addfile(entry, io.BytesIO(ORDINARY))
    return file.getvalue()


def playlists(target: str) -> dict[str, bytes]:
    """Texts that make a player that is not careful open ``target``."""
    hls = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:9\n#EXT-X-MEDIA-SEQUENCE:0\n"
    end = "#EXT-X-ENDLIST\n"
    port = target.rpartition(":")[2].strip("/")
    mpd = '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>'
    texts = {
        "HLS": f"{hls}#EXTINF:9,\n{target}\n{end}",
        "HLS with variants": f"{hls}#EXT-X-STREAM-INF:BANDWIDTH=1\n{target}\n",
        "HLS with a map": f'{hls}#EXT-X-MAP:URI="{target}"\n#EXTINF:9,\nx.ts\n{end}',
        "HLS with a key": f'{hls}#EXT-X-KEY:METHOD=AES-128,URI="{target}"\n#EXTINF:9,\nx.ts\n{end}',
        "HLS with crypto": f"{hls}#EXTINF:9,\ncrypto:{target}\n{end}",
        "HLS with a chain of protocols": f"{hls}#EXTINF:9,\nconcat:{target}|subfile,,start,0,end,64,,:{target}\n{end}",
        "HLS with lines of Windows": f"{hls}#EXTINF:9,\n{target}\n{end}".replace("\n", "\r\n"),
        "concat": f"ffconcat version 1.0\nfile '{target}'\n",
        "concat with options": f"ffconcat version 1.0\nfile '{target}'\noption safe 0\nduration 9\n",
        "concat with a stream": f"ffconcat version 1.0\nstream\nexact_stream_id 1\nfile '{target}'\n",
        "SDP": f"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nm=video {port} RTP/AVP 96\r\n",
        "DASH": f"{mpd}<BaseURL>{target}</BaseURL></Period></MPD>",
        "DASH with a template": f'{mpd}<AdaptationSet mimeType="video/mp4"><SegmentTemplate initialization="{target}" '
        f'media="{target}" duration="9"/><Representation id="1" bandwidth="1"/></AdaptationSet></Period></MPD>',
        "XML with an entity": f'<?xml version="1.0"?><!DOCTYPE MPD [<!ENTITY x SYSTEM "{target}">]><MPD>&x;</MPD>',
        "reference of QuickTime": f"RTSPtext{target}\r\n",
        "SVG": f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{target}" width="9" height="9"/></svg>',
        "playlist of Windows": f'<ASX version="3.0"><Entry><Ref href="{target}"/></Entry></ASX>',
    }
    bodies = {what: text.encode() for what, text in texts.items()}
    head = box(b"ftyp", b"isom" + bytes(4))
    return bodies | {
        "HLS behind a head": head + bodies["HLS"],
        "HLS inside a box": head + box(b"free", bodies["HLS"]),
        "HLS in UTF-16": texts["HLS"].encode("utf-16"),
        "HLS behind a mark": b"\xef\xbb\xbf" + bodies["HLS"],
        "tracks in another file": _elsewhere(target.encode()),
        "reference to another film": head
        + box(
            b"moov",
            box(
                b"rmra",
                box(b"rmda", box(b"rdrf", bytes(4) + b"url " + struct.pack(">I", len(target)) + target.encode())),
            ),
        ),
    }


# --- The tables -------------------------------------------------------------------------------------------------------


def _cuts() -> Iterator[Media]:
    """At each end of an outermost box, a byte before it and a byte behind it; and at each end inside the index."""
    for name, film in (("ordinary", ORDINARY), ("fragmented", FRAGMENTED), ("faststart", FASTSTART)):
        ends = set(boundaries(film, inside=False)) - {len(film)}
        index_ends = film.index(b"moov") - 4 + int.from_bytes(film[film.index(b"moov") - 4 :][:4], "big")
        for end in sorted(ends | {len(film)}):
            for cut in (end - 1, end, end + 1):
                if cut < len(film):
                    # A fragmented film that is cut between two fragments may be a recording under way.
                    yield Media(
                        f"{name}, cut at {cut}",
                        partial(_beginning, film, cut),
                        whole=cut in ends and cut >= index_ends and name != "fragmented",
                    )
    inner = set(boundaries(FASTSTART, inside=True)) - set(boundaries(FASTSTART, inside=False))
    for cut in sorted(inner):
        yield Media(f"cut inside the index at {cut}", partial(_beginning, FASTSTART, cut))


def _sizes() -> Iterator[Media]:
    says = {
        "nothing": 0,
        "64 bits and gives none": 1,
        "less than its head": 7,
        "its head alone": 8,
        "a byte more": 2564,
        "four gigabytes": _MOST,
    }
    for what, size in says.items():
        # "Its head alone": what it holds counts as boxes beside it, and they end where the file does.
        yield Media(f"an index that says {what}", partial(_sized, b"moov", size), whole=size == 8)
        yield Media(f"media that say {what}", partial(_sized, b"mdat", size))
        yield Media(f"a track that says {what}", partial(_sized, b"trak", size, (b"moov",)), whole=size == 8)
        yield Media(f"a table that says {what}", partial(_sized, b"stsz", size, _TABLE), whole=True)
    for what, number in {"its own": None, "too few": 15, "none": 0, "half of all": 2**63, "all": 2**64 - 1}.items():
        yield Media(
            f"media in 64 bits that say {what}",
            partial(edited, ORDINARY, (b"mdat",), partial(large_box, b"mdat", size=number)),
            whole=number is None,
        )


def _built(what: str, make: Callable[[], bytes], *, whole: bool = True, described: bool | None = None) -> Media:
    return Media(what, make, whole=whole, described=described)


_HEADER = (b"moov",)
_TRACK = (b"moov", b"trak")
_MEDIA = (b"moov", b"trak", b"mdia")

STRUCTURE = (
    _built("without its head", lambda: _without(b"ftyp"), described=True),
    _built("without its index", lambda: _without(b"moov"), whole=False, described=False),
    _built("without its media", lambda: _without(b"mdat"), described=False),
    _built("nothing but its head", lambda: _in_order(b"ftyp"), whole=False, described=False),
    _built("nothing but its index", lambda: _in_order(b"moov")),
    _built("nothing but an empty index", lambda: box(b"moov"), described=False),
    _built("two heads", lambda: _in_order(b"ftyp", b"ftyp", b"mdat", b"moov")),
    _built("two indexes", lambda: _in_order(b"ftyp", b"free", b"mdat", b"moov", b"moov")),
    _built("the media twice", lambda: _in_order(b"ftyp", b"free", b"mdat", b"mdat", b"moov"), described=True),
    _built("the index before its head", lambda: _in_order(b"moov", b"ftyp", b"mdat")),
    _built("two films", lambda: ORDINARY + FASTSTART),
    _built("ten thousand empty boxes", lambda: _in_order(b"ftyp") + box(b"free") * 10_000 + _in_order(b"moov")),
    _built("a box of an unknown kind", lambda: ORDINARY + box(b"zzzz", bytes(99)), described=True),
    _built("a box without a kind", lambda: ORDINARY + box(bytes(4), bytes(9)), whole=False),
    _built("a box with a kind of controls", lambda: ORDINARY + box(b"\n\r\x1b[", b"31m"), whole=False),
    _built("a byte behind its end", lambda: ORDINARY + b"\0", whole=False),
    _built("a zero tail", lambda: ORDINARY + bytes(65_536), whole=False),
    _built("a text behind its end", lambda: ORDINARY + b"#EXTM3U\n", whole=False),
    _built("indexes ten thousand deep", lambda: _in_order(b"ftyp") + _nested(b"moov", 10_000)),
    _built("notes five thousand deep", lambda: _in_moov(_nested(b"udta", 5_000))),
    _built("a thousand tracks", lambda: _tracks(1_000)),
    _built("five thousand tracks", lambda: _tracks(5_000)),
    _built("an index that is a bomb", _bomb, described=False),
)

TABLES = (
    _built("four thousand million samples", lambda: _table(b"stsz", 0, _MOST)),
    _built("four thousand million samples of one size", lambda: _table(b"stsz", 1, _MOST)),
    _built("samples as large as can be", lambda: _table(b"stsz", _MOST, 50)),
    _built("no samples", lambda: _table(b"stsz", 0, 0)),
    _built("four thousand million chunks", lambda: _table(b"stco", _MOST, 48)),
    _built("chunks behind the end", lambda: _table(b"stco", 1, _MOST)),
    _built("chunks in themselves", lambda: _table(b"stco", 3, 0, 0, 0)),
    _built(
        "chunks in 64 bits",
        lambda: edited(ORDINARY, (*_TABLE, b"stco"), lambda _: box(b"co64", struct.pack(">IIQ", 0, 1, 2**64 - 1))),
    ),
    _built("four thousand million runs", lambda: _table(b"stsc", _MOST, 1, 1, 1)),
    _built("runs in the wrong order", lambda: _table(b"stsc", 2, 9, 1, 1, 1, 1, 1)),
    _built("runs of all samples", lambda: _table(b"stsc", 1, 1, _MOST, _MOST)),
    _built("no frames a second", lambda: _table(b"stts", 1, 50, 0)),
    _built("a frame in an age", lambda: _table(b"stts", 1, _MOST, _MOST)),
    _built("frames backwards", lambda: _table(b"stts", 1, 50, 0x8000_0001)),
    _built("four thousand million times", lambda: _table(b"stts", _MOST, 1, 1)),
    _built("four thousand million shifts", lambda: _table(b"ctts", _MOST, 1, 1)),
    _built("four thousand million key frames", lambda: _table(b"stss", _MOST, 1)),
    _built("no time scale", lambda: _stamped(b"mvhd", 12, bytes(4), _HEADER)),
    _built("no time scale in a track", lambda: _stamped(b"mdhd", 12, bytes(4), _MEDIA)),
    _built("a negative time scale", lambda: _stamped(b"mdhd", 12, b"\xff" * 4, _MEDIA)),
    _built("a duration without end", lambda: _stamped(b"mvhd", 16, b"\xff" * 4, _HEADER)),
    _built("a track without end", lambda: _stamped(b"mdhd", 16, b"\xff" * 4, _MEDIA)),
    _built(
        "a negative duration in 64 bits",
        lambda: _with(b"mvhd", b"\1" + bytes(19) + b"\0\0\3\xe8" + b"\xff" * 8 + bytes(80), _HEADER),
    ),
    _built("no duration at all", lambda: _stamped(b"mvhd", 16, bytes(4), _HEADER)),
    _built("an unknown version", lambda: _stamped(b"mvhd", 0, b"\x99", _HEADER)),
    _built("an edit list without end", lambda: _with(b"elst", struct.pack(">III", 0, _MOST, 1), (*_TRACK, b"edts"))),
    _built(
        "an edit before the beginning",
        lambda: _with(b"elst", struct.pack(">IIIiI", 0, 1, 2000, -(2**31), 0x10000), (*_TRACK, b"edts")),
    ),
    _built(
        "ten thousand edits",
        lambda: _with(
            b"elst", struct.pack(">II", 0, 10_000) + struct.pack(">IiI", 1, 0, 0x10000) * 10_000, (*_TRACK, b"edts")
        ),
    ),
    _built(
        "an edit that stands still", lambda: _with(b"elst", struct.pack(">IIIiI", 0, 1, 2000, 0, 0), (*_TRACK, b"edts"))
    ),
    _built("a picture without size", lambda: _stamped(b"stsd", 8 + 8 + 24, bytes(4), _TABLE)),
    _built("a picture as large as can be", lambda: _stamped(b"stsd", 8 + 8 + 24, b"\xff" * 4, _TABLE)),
    _built("sound of 65,535 channels", lambda: _entry(b"mp4a", bytes(16) + b"\xff\xff\0\x10" + bytes(4) + b"\xff" * 4)),
    _built("no description of samples", lambda: _table(b"stsd", 0)),
    _built("four thousand million descriptions", lambda: _table(b"stsd", _MOST)),
    _built("an unknown codec", lambda: _entry(b"zzzz", bytes(78))),
    _built("a codec of controls", lambda: _entry(b"\n\x1b[m", bytes(78))),
    _built(
        "a codec's settings cut off", lambda: _entry(b"avc1", bytes(78) + box(b"avcC", b"\1\x64\0\x1f\xff\xe1\xff\xff"))
    ),
    _built("an unknown kind of track", lambda: _stamped(b"hdlr", 8, b"zzzz", _MEDIA)),
    _built("a kind of track that is data", lambda: _stamped(b"hdlr", 8, b"meta", _MEDIA)),
    _built("encrypted", lambda: _encrypted(count=25)),
    _built("encrypted with four thousand million vectors", lambda: _encrypted(count=_MOST)),
    _built(
        "a key system of four gigabytes", lambda: _in_moov(box(b"pssh", b"\1" + bytes(19) + struct.pack(">I", _MOST)))
    ),
    _built(
        "fragments of four thousand million samples",
        lambda: _with(b"trun", struct.pack(">II", 0x301, _MOST) + bytes(12), (b"moof", b"traf"), FRAGMENTED),
    ),
    _built(
        "fragments of a track that is not there",
        lambda: _stamped(b"tfhd", 4, b"\0\0\x99\x99", (b"moof", b"traf"), FRAGMENTED),
    ),
    _built(
        "fragments at the end of time",
        lambda: _with(b"tfdt", b"\1\0\0\0" + b"\x7f" + b"\xff" * 7, (b"moof", b"traf"), FRAGMENTED),
    ),
    _built("fragments that are elsewhere", lambda: _stamped(b"tfhd", 0, b"\0\0\0\1", (b"moof", b"traf"), FRAGMENTED)),
    _built(
        "an index of fragments that points anywhere",
        lambda: FRAGMENTED + box(b"sidx", bytes(20) + b"\xff" * 200),
        whole=False,
    ),
)

TAGS = (
    _built("a title of four megabytes", lambda: _tag(b"\xa9nam", b"x" * (4 << 20)), described=True),
    _built("a title that is no UTF-8", lambda: _tag(b"\xa9nam", b"caf\xe9 \xff\xfe\xed\xa0\x80"), described=True),
    _built("a title of controls", lambda: _tag(b"\xa9nam", bytes(range(1, 32)) + b"\x1b[2J"), described=True),
    _built("a title that is JSON", lambda: _tag(b"\xa9nam", b'"}]}, {"format": {"duration": "1"}}'), described=True),
    _built("a title with NUL", lambda: _tag(b"\xa9nam", b"a\0b"), described=True),
    _built(
        "a thousand titles",
        lambda: _in_moov(box(b"udta", box(b"\xa9nam", struct.pack(">HH", 9, 0) + b"x" * 9) * 1_000)),
    ),
    _built("a cover that is a film", lambda: _tag(b"covr", ORDINARY)),
    _built("a cover that is cut off", lambda: _tag(b"covr", b"\x89PNG\r\n\x1a\n" + b"\xff" * 9)),
    _built("an extension of four gigabytes", lambda: _in_moov(box(b"uuid", bytes(16), size=_MOST)), whole=False),
    _built(
        "a name of a track that is no UTF-8",
        lambda: edited(ORDINARY, (*_MEDIA, b"hdlr"), lambda old: box(b"hdlr", old[:24] + b"\xff\xfe\x1b" * 99)),
    ),
    _built(
        "chapters without names", lambda: _in_moov(box(b"udta", box(b"chpl", b"\1" + bytes(7) + b"\xff" + bytes(40))))
    ),
)

OTHER_KINDS = (
    Media("nothing", bytes, described=False),
    Media("one byte", lambda: b"\0", described=False),
    Media("all zeros", lambda: bytes(65_536), described=False),
    Media("all ones", lambda: b"\xff" * 65_536, described=False),
    Media("random bytes", lambda: random.Random(1).randbytes(65_536), described=False),
    Media("random bytes behind a head", lambda: _in_order(b"ftyp") + random.Random(2).randbytes(65_536)),
    Media("a film with every tenth byte wrong", lambda: bytes(b ^ (n % 10 == 9) for n, b in enumerate(ORDINARY))),
    Media("a film backwards", lambda: ORDINARY[::-1], described=False),
    Media("a film as hexadecimal text", lambda: ORDINARY.hex().encode(), described=False),
    Media("text", lambda: "Grüße\n".encode() * 99, described=False),
    Media("UTF-16 text", lambda: ("Grüße\n" * 99).encode("utf-16"), described=False),
    Media("HTML", lambda: b"<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>", described=False),
    Media("JSON", lambda: b'{"streams": [], "format": {"duration": "99.0"}}', described=False),
    Media("ffmpeg's own metadata", lambda: b";FFMETADATA1\ntitle=x\n[CHAPTER]\nSTART=0\nEND=9\n", described=False),
    Media("subtitles", lambda: b"1\n00:00:00,000 --> 00:00:09,000\nHello\n", described=False),
    Media("a program for the shell", lambda: b"#!/bin/sh\nexit 0\n", described=False),
    Media("a program", lambda: b"\x7fELF\2\1\1" + bytes(999), described=False),
    Media("PDF", lambda: b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", described=False),
    Media("zip", _zipped),
    Media("tar", _tarred),
    Media("gzip", lambda: zlib.compress(ORDINARY, wbits=31), described=False),
    Media("Matroska", lambda: _converted("matroska", "-c", "copy"), described=False),
    Media("transport stream", lambda: _converted("mpegts", "-c", "copy"), described=True),
    Media("AVI", lambda: _converted("avi", "-c:v", "mpeg4", "-c:a", "copy"), described=False),
    Media("WAV", lambda: _converted("wav", "-vn", "-c:a", "pcm_s16le"), described=False),
    Media("FLV", lambda: _converted("flv", "-c", "copy"), described=False),
    Media("PNG", lambda: _converted("image2pipe", "-frames:v", "1", "-c:v", "png"), described=False),
    Media("JPEG", lambda: _converted("image2pipe", "-frames:v", "1", "-c:v", "mjpeg"), described=False),
    Media("GIF", lambda: _converted("gif", "-frames:v", "3"), described=False),
    Media("raw pictures", lambda: _converted("rawvideo", "-frames:v", "2"), described=False),
    Media(
        "sound alone in MP4",
        lambda: _converted("mp4", "-vn", "-c", "copy", "-movflags", "+empty_moov"),
        whole=True,
        described=True,
    ),
    Media(
        "QuickTime",
        lambda: _converted("mov", "-c", "copy", "-movflags", "+empty_moov+frag_keyframe"),
        whole=True,
        described=True,
    ),
)

MEDIA: tuple[Media, ...] = (*_cuts(), *_sizes(), *STRUCTURE, *TABLES, *TAGS, *OTHER_KINDS)
