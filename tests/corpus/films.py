"""Odd films: what recorders, phones and editors really write, each with what is true of it.

Every film is made here, but for those that GStreamer made: ffmpeg encodes four seconds once (a test picture of 25
frames a second, and a tone), muxes them in many ways without encoding again, and surgery on the boxes does what ffmpeg
cannot. The right values follow from how a film was made, never from asking a program about the result.
"""

from __future__ import annotations

import struct
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

from tests.corpus.media import box, children, edited
from tests.harness.servers import find_tool

SECONDS = 4.0
WIDTH, HEIGHT = 64, 48
#: An encoder's delay and the last, half-filled block of sound are no error.
TOLERANCE = 0.1

_MEDIA = (b"moov", b"trak", b"mdia")
_TABLE = (*_MEDIA, b"minf", b"stbl")
_ALL = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Film:
    """``seconds``: how long it is; None: nobody can tell. ``streams``: fields that the description must have, in the
    order of the streams. ``remark``: part of a remark that must be there; "" where there must be none."""

    what: str
    make: Callable[[], bytes]
    seconds: float | None = SECONDS
    streams: tuple[dict[str, object], ...] = field(default_factory=tuple)
    remark: str = ""

    def __str__(self) -> str:
        return self.what


# --- ffmpeg ---------------------------------------------------------------------------------------------------------


def _ffmpeg(*arguments: str, suffix: str = ".mp4") -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, f"x{suffix}")
        command = [str(find_tool("ffmpeg")), "-v", "error", "-nostdin", "-y", *arguments, str(target)]
        subprocess.run(command, check=True, timeout=120, stdin=subprocess.DEVNULL)
        return target.read_bytes()


_folder = tempfile.TemporaryDirectory(prefix="films-")


@cache
def _base(rate: str = "25", seconds: str = "4", *encoding: str) -> str:
    """A file with picture and sound, encoded once."""
    body = _ffmpeg(
        *("-f", "lavfi", "-i", f"testsrc2=size={WIDTH}x{HEIGHT}:rate={rate}:duration={seconds}"),
        *("-f", "lavfi", "-i", f"sine=frequency=440:sample_rate=48000:duration={seconds}"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", "25", *encoding, "-c:a", "aac", "-b:a", "32k"),
        suffix=".mkv",
    )
    path = Path(_folder.name, f"{len(list(Path(_folder.name).iterdir()))}.mkv")
    path.write_bytes(body)
    return str(path)


def _muxed(*options: str, streams: str = "0:v", base: str | None = None, suffix: str = ".mp4") -> bytes:
    return _ffmpeg("-i", base or _base(), "-map", streams, "-c", "copy", *options, suffix=suffix)


@cache
def _plain() -> bytes:
    return _muxed()


@cache
def _both() -> bytes:
    return _muxed(streams="0")


@cache
def _faststart() -> bytes:
    return _muxed("-movflags", "+faststart")


@cache
def _fragmented() -> bytes:
    """Four fragments of a second."""
    return _muxed("-movflags", "+empty_moov+frag_keyframe+default_base_moof")


def _segment(number: int, *options: str) -> bytes:
    """The second of two segments of two seconds, on the clock of the whole."""
    with tempfile.TemporaryDirectory() as folder:
        _ffmpeg_segments(folder, options)
        return Path(folder, f"{number}.mp4").read_bytes()


def _ffmpeg_segments(folder: str, options: tuple[str, ...]) -> None:
    command = [str(find_tool("ffmpeg")), "-v", "error", "-nostdin", "-i", _base(), "-map", "0", "-c", "copy", *options]
    command += ["-f", "segment", "-segment_time", "2", "-segment_format", "mp4", str(Path(folder, "%d.mp4"))]
    subprocess.run(command, check=True, timeout=120, stdin=subprocess.DEVNULL)


def _delayed_sound() -> bytes:
    """The tone begins a second after the picture, and ends a second after it."""
    base = _base()
    return _ffmpeg("-i", base, "-itsoffset", "1", "-i", base, "-map", "0:v", "-map", "1:a", "-c", "copy")


def _with_cover(codec: str, *, sound: bool = False) -> bytes:
    cover = ("-f", "lavfi", "-i", "testsrc2=size=96x96:rate=1:duration=1")
    maps = ("-map", "0:a" if sound else "0:v", "-map", "1:v", "-c", "copy")
    index = "0" if sound else "1"
    chosen = (f"-c:v:{index}", codec, f"-frames:v:{index}", "1", f"-disposition:v:{index}", "attached_pic")
    return _ffmpeg("-i", _base(), *cover, *maps, *chosen)


def _subtitles() -> bytes:
    """A text that is shown until a hundred seconds after the start."""
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder, "x.srt")
        text.write_text("1\n00:00:01,000 --> 00:01:40,000\nHello\n")
        return _ffmpeg(
            *("-i", _base(), "-i", str(text), "-map", "0:v", "-map", "1", "-c", "copy", "-c:s", "mov_text"),
        )


# --- Surgery --------------------------------------------------------------------------------------------------------


def _stamped(film: bytes, path: tuple[bytes, ...], offset: int, value: bytes) -> bytes:
    """The film with ``value`` at ``offset`` in the content of every box at ``path``. Offsets of samples stay right
    where the index is behind the media, or nothing changes its size."""
    return edited(film, path, lambda old: box(path[-1], old[:offset] + value + old[offset + len(value) :]))


def _replaced(film: bytes, path: tuple[bytes, ...], content: bytes) -> bytes:
    return edited(film, path, lambda _: box(path[-1], content))


def _u32(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


def _edits(*entries: tuple[int, int]) -> bytes:
    return _with_edits(_plain(), *entries)


def _with_edits(film: bytes, *entries: tuple[int, int]) -> bytes:
    """The film with this edit list in each track: duration in milliseconds (its movie's clock), begin in ticks."""
    body = _u32(0, len(entries)) + b"".join(struct.pack(">Iii", length, at, 1 << 16) for length, at in entries)
    return _replaced(film, (b"moov", b"trak", b"edts", b"elst"), body)


def _scale() -> int:
    """Ticks a second of the plain film's picture."""
    body = dict(children(dict(children(dict(children(dict(children(_plain()))[b"moov"]))[b"trak"]))[b"mdia"]))[b"mdhd"]
    return int(struct.unpack_from(">I", body, 12)[0])


def _turned(degrees: int, film: bytes | None = None) -> bytes:
    """As a phone held in another way writes it: the matrix in the track's header."""
    cosine, sine = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    one = 1 << 16
    matrix = struct.pack(">9i", cosine * one, sine * one, 0, -sine * one, cosine * one, 0, 0, 0, 1 << 30)
    return _stamped(film or _plain(), (b"moov", b"trak", b"tkhd"), 40, matrix)


def _mirrored() -> bytes:
    one = 1 << 16
    matrix = struct.pack(">9i", -one, 0, 0, 0, one, 0, 0, 0, 1 << 30)
    return _stamped(_plain(), (b"moov", b"trak", b"tkhd"), 40, matrix)


def _in_sample_entry(extra: bytes, film: bytes | None = None) -> bytes:
    """The plain film with one more box behind those of its picture's sample entry, in place of one of the same kind."""

    def change(stsd: bytes) -> bytes:
        head, entry = stsd[:8], stsd[8:]
        fixed, inner = entry[8:86], entry[86:]
        kept = b"".join(box(kind, body) for kind, body in children(inner) if kind not in (b"pasp", extra[4:8]))
        return box(b"stsd", head + box(entry[4:8], fixed + kept + extra))

    return edited(film or _plain(), (*_TABLE, b"stsd"), change)


def _wide_pixels(across: int, down: int) -> bytes:
    return _in_sample_entry(box(b"pasp", _u32(across, down)))


def _coloured(primaries: int, transfer: int, matrix: int) -> bytes:
    return _in_sample_entry(box(b"colr", b"nclx" + struct.pack(">HHHB", primaries, transfer, matrix, 0)))


def _said_in_every_header(film: bytes, *, version: int = 0) -> bytes:
    """All-ones durations in the headers of movie, track and media, and in the edit list."""
    film = _stamped(film, (b"moov", b"mvhd"), 16, _u32(_ALL))
    film = _stamped(film, (b"moov", b"trak", b"tkhd"), 20, _u32(_ALL))
    film = _with_edits(film, (_ALL, 0))
    return _unknown_in_media(film, version=version)


def _unknown_in_media(film: bytes, *, version: int = 0) -> bytes:
    if version == 0:
        return _stamped(film, (*_MEDIA, b"mdhd"), 16, _u32(_ALL))

    def longer(old: bytes) -> bytes:
        scale, language = old[12:16], old[20:24]
        return box(b"mdhd", b"\1\0\0\0" + bytes(16) + scale + b"\xff" * 8 + language)

    return edited(film, (*_MEDIA, b"mdhd"), longer)


def _no_headers_duration(film: bytes) -> bytes:
    film = _stamped(film, (b"moov", b"mvhd"), 16, _u32(0))
    return _stamped(film, (*_MEDIA, b"mdhd"), 16, _u32(0))


def _times(*runs: tuple[int, int]) -> bytes:
    """The plain film with other durations of its samples: (samples, ticks) after each other; its header fits."""
    ticks = sum(count * delta for count, delta in runs)
    body = _u32(0, len(runs)) + b"".join(_u32(count, delta) for count, delta in runs)
    film = _replaced(_plain(), (*_TABLE, b"stts"), body)
    film = _stamped(film, (*_MEDIA, b"mdhd"), 16, _u32(ticks))
    return _with_edits(film, (0, 0))  # "as long as there is media"


def _decoded_at(shift: Callable[[int, int], int]) -> bytes:
    """The fragmented film with other decode times: ``shift`` gets the number of the fragment and its time."""
    number = -1

    def change(old: bytes) -> bytes:
        nonlocal number
        number += 1
        (time,) = struct.unpack_from(">Q", old, 4)
        return box(b"tfdt", old[:4] + struct.pack(">Q", shift(number, time)))

    return edited(_fragmented(), (b"moof", b"traf", b"tfdt"), change)


def _cut_fragments(whole: int, extra: int) -> bytes:
    """As many whole fragments, and ``extra`` bytes of what follows them."""
    offset = seen = 0
    film = _fragmented()
    for kind, content in children(film):
        if kind == b"mdat":
            seen += 1
        offset += 8 + len(content)
        if seen == whole and kind == b"mdat":
            return film[: offset + extra]
    raise AssertionError(whole)


def _head_only() -> bytes:
    return b"".join(box(kind, content) for kind, content in children(_fragmented()) if kind in (b"ftyp", b"moov"))


def _to_the_end() -> bytes:
    """Its media come last and say "to the end of the file", as a live writer's do."""
    return b"".join(box(kind, content, size=0 if kind == b"mdat" else None) for kind, content in children(_faststart()))


def _second_index() -> bytes:
    """The index once more in the middle, as some recorders repeat it for players that come late."""
    film, out, seen = _fragmented(), b"", 0
    index = dict(children(film))[b"moov"]
    for kind, content in children(film):
        if kind == b"moof" and (seen := seen + 1) == 3:
            out += box(b"moov", index)
        out += box(kind, content)
    return out


def _without_samples() -> bytes:
    """An index that claims four seconds and has no sample."""
    film = _plain()
    for name in (b"stts", b"stsc", b"stco"):
        film = _replaced(film, (*_TABLE, name), _u32(0, 0))
    return _replaced(film, (*_TABLE, b"stsz"), _u32(0, 0, 0))


# --- The films ------------------------------------------------------------------------------------------------------

_PICTURE: dict[str, object] = {"kind": "video", "frame_rate": 25.0, "width": WIDTH, "height": HEIGHT}
_UPRIGHT = {**_PICTURE, "rotation_degrees": 0, "display_width": WIDTH, "display_height": HEIGHT}
_COVER: dict[str, object] = {"attached_picture": True, "frame_rate": None, "width": 96}
_FRAGMENTS = ("-movflags", "+empty_moov+frag_keyframe")
_MOVIE_MS = 1000

CLOCKS = (
    Film("an ordinary film", _plain, streams=(_UPRIGHT,)),
    Film("picture and sound", _both, streams=({**_UPRIGHT}, {"kind": "audio", "frame_rate": None, "channels": 1})),
    Film("fragments from an hour on", lambda: _muxed(*_FRAGMENTS, "-output_ts_offset", "3600"), streams=(_UPRIGHT,)),
    Film("fragments from a day on", lambda: _decoded_at(lambda _, at: at + 86_400 * 12_800), streams=(_UPRIGHT,)),
    Film("fragments behind 2^32 ticks", lambda: _decoded_at(lambda _, at: at + 2**32), streams=(_UPRIGHT,)),
    Film(
        "a gap of an hour between two fragments",
        lambda: _decoded_at(lambda n, at: at + (n > 1) * 3600 * 12_800),
        remark="jumps",
    ),
    Film(
        "a clock that begins anew in the middle",
        lambda: _decoded_at(lambda n, at: at if n < 2 else at - 2 * 12_800),
        remark="jumps",
    ),
    Film("a clock that stands", lambda: _decoded_at(lambda _, at: 0), streams=(_UPRIGHT,), remark="jumps"),
    Film("ordinary, from ten seconds on", lambda: _muxed("-output_ts_offset", "10"), streams=(_UPRIGHT,)),
    Film("ordinary, from an hour on", lambda: _muxed("-output_ts_offset", "3600"), streams=(_UPRIGHT,)),
    Film("sound from seven seconds on", lambda: _muxed("-output_ts_offset", "7", streams="0:a")),
    Film("sound that begins a second late", _delayed_sound, seconds=5.0),
    Film("the first segment of a clock that goes on", partial(_segment, 0), seconds=2.0),
    Film("the second segment of a clock that goes on", partial(_segment, 1), seconds=2.0),
    Film(
        "a fragmented segment of a clock that goes on",
        partial(_segment, 1, "-segment_format_options", "movflags=empty_moov+frag_keyframe"),
        seconds=2.0,
        streams=(_UPRIGHT, {"kind": "audio"}),
    ),
    Film("samples in the index and in fragments", lambda: _muxed("-movflags", "+frag_keyframe"), streams=(_UPRIGHT,)),
    Film("one fragment of the whole", lambda: _muxed("-movflags", "+empty_moov"), streams=(_UPRIGHT,)),
    Film("a fragment for each frame", lambda: _muxed("-movflags", "+empty_moov+frag_every_frame"), streams=(_UPRIGHT,)),
    Film("two fragmented recordings in one file", lambda: _fragmented() * 2, seconds=8.0, remark="2 recordings"),
    Film("an index that comes again in the middle", _second_index, remark="2 recordings"),
    Film("two ordinary recordings in one file", lambda: _plain() * 2, seconds=None, remark="2 recordings"),
    Film("offsets in 64 bits", lambda: _muxed("-movflags", "+faststart+write_colr"), streams=(_UPRIGHT,)),
)

UNKNOWN = (
    Film(
        "a movie of unknown length", lambda: _stamped(_plain(), (b"moov", b"mvhd"), 16, _u32(_ALL)), streams=(_UPRIGHT,)
    ),
    Film("a track of unknown length", lambda: _stamped(_plain(), (b"moov", b"trak", b"tkhd"), 20, _u32(_ALL))),
    Film("media of unknown length", lambda: _unknown_in_media(_plain()), streams=(_UPRIGHT,)),
    Film("media of unknown length in 64 bits", lambda: _unknown_in_media(_plain(), version=1), streams=(_UPRIGHT,)),
    Film("nothing of known length", lambda: _said_in_every_header(_plain()), streams=(_UPRIGHT,)),
    Film("nothing of known length, with sound", lambda: _said_in_every_header(_both())),
    Film("headers that say 0", lambda: _no_headers_duration(_plain()), streams=(_UPRIGHT,)),
    Film("a movie that claims a day", lambda: _stamped(_plain(), (b"moov", b"mvhd"), 16, _u32(86_400_000))),
    Film("fragments of a movie of unknown length", lambda: _said_in_every_header(_fragmented()), streams=(_UPRIGHT,)),
    Film(
        "media that claim a hundred seconds",
        lambda: _stamped(_plain(), (*_MEDIA, b"mdhd"), 16, _u32(100 * _scale())),
        seconds=None,
        streams=({"frame_rate": None},),
        remark="header says",
    ),
    Film(
        "samples that claim twice as long as their header",
        lambda: _replaced(_plain(), (*_TABLE, b"stts"), _u32(0, 1, 100, _scale() * 2 // 25)),
        seconds=None,
        remark="header says",
    ),
    Film("a clock without ticks", lambda: _stamped(_plain(), (*_MEDIA, b"mdhd"), 12, _u32(0)), seconds=None),
    Film(
        "fragments whose samples last for hours",
        lambda: edited(
            _fragmented(),
            (b"moof", b"traf", b"trun"),
            lambda old: box(b"trun", _u32(0x100, 25) + _u32(*[2**31 - 1] * 25)),
        ),
        seconds=None,
    ),
)

ENDS = (
    Film(
        "nothing but the head of fragments", _head_only, seconds=None, streams=({"frame_rate": None, "width": WIDTH},)
    ),
    Film("an index without a sample", _without_samples, seconds=None, streams=({"frame_rate": None},)),
    Film("an ordinary film without its index", lambda: _plain()[: _plain().rindex(b"moov") - 4], seconds=None),
    Film(
        "a film with its index first, cut in the middle",
        lambda: _faststart()[: len(_faststart()) // 2],
        seconds=None,
        remark="ends",
    ),
    Film("fragments, cut in the fourth", lambda: _cut_fragments(3, 400), seconds=3.0, remark="middle of a box"),
    Film("fragments, cut behind the third", lambda: _cut_fragments(3, 0), seconds=3.0, streams=(_UPRIGHT,)),
    Film("fragments, cut in a header", lambda: _cut_fragments(2, 5), seconds=2.0, remark="middle of a box"),
    Film("media to the end of the file", _to_the_end, streams=(_UPRIGHT,)),
    Film("five bytes too many", lambda: _plain() + b"\0\0\0\0\0", streams=(_UPRIGHT,), remark="middle of a box"),
    Film("free space behind it", lambda: _plain() + box(b"free", bytes(999)), streams=(_UPRIGHT,)),
)

EDITS = (
    Film("an edit of two seconds", lambda: _edits((2 * _MOVIE_MS, _scale())), seconds=2.0),
    Film("an edit that is longer than its media", lambda: _edits((9 * _MOVIE_MS, _scale())), seconds=3.0),
    Film("an edit of no length", lambda: _edits((0, 0)), streams=(_UPRIGHT,)),
    Film("two edits", lambda: _edits((_MOVIE_MS, 0), (_MOVIE_MS, 3 * _scale())), seconds=2.0),
    Film("a wait before its edit", lambda: _edits((5 * _MOVIE_MS, -1), (3 * _MOVIE_MS, 0)), seconds=3.0),
    Film("a track of time codes", lambda: _muxed("-timecode", "01:00:00:00"), streams=(_UPRIGHT, {"kind": "data"})),
    Film("a text that outlasts the film", _subtitles, streams=(_UPRIGHT, {"kind": "subtitle"})),
)

PICTURES = (
    Film("a cover in PNG", lambda: _with_cover("png"), streams=(_UPRIGHT, _COVER)),
    Film("a cover in JPEG", lambda: _with_cover("mjpeg"), streams=(_UPRIGHT, _COVER)),
    Film("sound with a cover", lambda: _with_cover("mjpeg", sound=True), streams=({"kind": "audio"}, _COVER)),
    Film(
        "a film of JPEG pictures",
        lambda: _ffmpeg("-i", _base(), "-an", "-c:v", "mjpeg"),
        streams=({**_PICTURE, "attached_picture": False},),
    ),
    Film(
        "one frame that is shown for a while",
        lambda: _ffmpeg("-i", _base("0.25", "4"), "-map", "0:v", "-c", "copy"),
        streams=({"frame_rate": None, "attached_picture": False},),
    ),
)


def _at(rate: str, seconds: str = "4") -> bytes:
    return _muxed(base=_base(rate, seconds))


RATES = (
    Film("NTSC", lambda: _at("30000/1001"), streams=({"frame_rate": 30_000 / 1001},)),
    Film("cinema on video", lambda: _at("24000/1001"), streams=({"frame_rate": 24_000 / 1001},)),
    Film("twice NTSC", lambda: _at("60000/1001"), streams=({"frame_rate": 60_000 / 1001},)),
    Film("slow motion", lambda: _at("240"), streams=({"frame_rate": 240.0},)),
    Film("a time lapse", lambda: _at("1/10", "100"), seconds=100.0, streams=({"frame_rate": 0.1},)),
    Film(
        "frames that come as they like",
        lambda: _times((50, _scale() // 25), (50, _scale() // 5)),
        seconds=12.0,
        streams=({"frame_rate": 100 / 12},),
    ),
    Film(
        "a last frame whose length is a guess",
        lambda: _times((99, _scale() // 25), (1, 2 * _scale())),
        seconds=99 / 25 + 2,
        streams=({"frame_rate": 25.0},),
    ),
    Film("frames of one tick", lambda: _times((100, 1)), seconds=100 / 12_800, streams=({"frame_rate": None},)),
)

SHOWN = (
    Film(
        "turned to the right",
        lambda: _turned(90),
        streams=({**_PICTURE, "rotation_degrees": 90, "display_width": HEIGHT, "display_height": WIDTH},),
    ),
    Film("upside down", lambda: _turned(180), streams=({**_UPRIGHT, "rotation_degrees": 180},)),
    Film(
        "turned to the left",
        lambda: _turned(270),
        streams=({**_PICTURE, "rotation_degrees": 270, "display_width": HEIGHT, "display_height": WIDTH},),
    ),
    Film("fragments, turned", lambda: _turned(90, _fragmented()), streams=({**_PICTURE, "rotation_degrees": 90},)),
    Film("mirrored", _mirrored, streams=({**_PICTURE, "rotation_degrees": None, "display_width": None},)),
    Film(
        "pixels of 4:3",
        lambda: _wide_pixels(4, 3),
        streams=({**_PICTURE, "sample_aspect_ratio": "4:3", "display_width": 85, "display_height": 48},),
    ),
    Film(
        "pixels of 64:45",
        lambda: _wide_pixels(64, 45),
        streams=({**_PICTURE, "sample_aspect_ratio": "64:45", "display_width": 91},),
    ),
    Film(
        "narrow pixels",
        lambda: _wide_pixels(10, 11),
        streams=({**_PICTURE, "sample_aspect_ratio": "10:11", "display_width": 58},),
    ),
    Film(
        "wide pixels, turned",
        lambda: _turned(90, _wide_pixels(2, 1)),
        streams=({**_PICTURE, "sample_aspect_ratio": "2:1", "display_width": 48, "display_height": 128},),
    ),
    Film(
        "PQ",
        lambda: _coloured(9, 16, 9),
        streams=({**_UPRIGHT, "color_transfer": "smpte2084", "color_primaries": "bt2020", "color_space": "bt2020nc"},),
    ),
    Film("HLG", lambda: _coloured(9, 18, 9), streams=({**_UPRIGHT, "color_transfer": "arib-std-b67"},)),
    Film(
        "BT.709", lambda: _coloured(1, 1, 1), streams=({**_UPRIGHT, "color_transfer": "bt709", "color_space": "bt709"},)
    ),
    Film(
        "colours that nobody named",
        lambda: _coloured(2, 2, 2),
        streams=({**_UPRIGHT, "color_transfer": None, "color_primaries": None, "color_space": None},),
    ),
)

LANGUAGES = (
    Film(
        "German sound",
        lambda: _muxed("-metadata:s:a:0", "language=deu", streams="0"),
        streams=({"language": None}, {"language": "deu"}),
    ),
    Film(
        "two languages",
        lambda: _muxed(
            "-map", "0:a", "-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=fra", streams="0"
        ),
        streams=({"language": None}, {"language": "eng"}, {"language": "fra"}),
    ),
    Film(
        "a language that nobody named",
        lambda: _muxed("-metadata:s:a:0", "language=und", streams="0"),
        streams=({"language": None}, {"language": None}),
    ),
)

#: Made by ``gstreamer/make`` and kept, so that the tests need no GStreamer.
GSTREAMER = tuple(
    Film(f"by GStreamer, {path.stem}", path.read_bytes, streams=(_UPRIGHT,))
    for path in sorted(Path(__file__).with_name("gstreamer").glob("*.mp4"))
)

FILMS: tuple[Film, ...] = (*GSTREAMER, *CLOCKS, *UNKNOWN, *ENDS, *EDITS, *PICTURES, *RATES, *SHOWN, *LANGUAGES)
