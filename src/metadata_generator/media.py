"""The properties of the media, from two sources: ffprobe's answer, and the boxes of the file (``film``).

Counting samples gives the duration; ffprobe knows codecs and colours. If both report the same property and disagree,
neither is trusted: the field is null, and a remark says why. ffprobe's answer is untrusted text: values that are not
plain and plausible are omitted. Pure; nothing here raises.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace

from ..containers import Film, Track, close_to
from ..domain import MediaStream, Probe

STREAMS_LIMIT = 64  # a document must not contain the thousands of streams that a file may claim to have

_LONGEST_SECONDS = 100 * 366 * 86_400
_HIGHEST_FRAME_RATE = 1000.0  # a higher one is a clock's tick, not a rate
#: The last sample of a track is often counted differently.
_SAME_DURATION = 0.1
#: Codecs work in blocks, and some headers give the size in whole blocks.
_BLOCK = 16
#: What ffprobe and ISO 639-2 write for unspecified values.
_UNKNOWN_WORDS = frozenset({"unknown", "unspecified", "reserved", "und", "N/A"})
_UNKNOWN_KIND = "unknown"
#: ffprobe's codec, of type "data", for a stream that it does not recognise. That may be sound, too, such as the AAC in
#: M2TS: the program table does not name it, and an ffprobe without decoders cannot guess.
_NOT_RECOGNISED = "bin_data"

_Item = Mapping[str, object]


def read_answer(body: bytes, film: Film | None = None) -> Probe:
    """ffprobe's JSON, compared with the boxes. ``film`` is None if the boxes are not readable."""
    try:
        answer = json.loads(body.decode("utf-8", "replace"), parse_constant=lambda name: None)
    except (ValueError, RecursionError):
        return Probe(error="ffprobe's answer cannot be read")
    if not isinstance(answer, dict):
        return Probe(error="ffprobe's answer cannot be read")
    listed = answer.get("streams")
    items: list[_Item] = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    items = items[:STREAMS_LIMIT]
    remarks = list(film.remarks) if film else []
    streams = tuple(_stream(item, _track_of(item, film), remarks) for item in items)
    duration, problem = _duration(answer.get("format"), items, film)
    if problem and film is not None and problem not in remarks:
        remarks.append(problem)
    return Probe(duration, streams, None if duration is not None else problem, tuple(remarks))


# --- How long -----------------------------------------------------------------------------------------------------


def _duration(container: object, items: list[_Item], film: Film | None) -> tuple[float | None, str]:
    """Seconds from the first visible sample to the last, or None and the reason."""
    if film is None:
        return _told_duration(container)
    if film.seconds is None:
        return None, film.remarks[0] if film.remarks else "the file's boxes tell no duration"
    if film.is_approximate:
        return _confirmed_duration(container, film.seconds)
    # With several recordings ffprobe follows the first; it also follows a clock wherever it jumps, and a truncated
    # fragment to its nominal end.
    counts_the_same = film.runs == 1 and not film.is_irregular
    if counts_the_same and (contradiction := _contradicted(items, film)):
        return None, contradiction
    return round(film.seconds, 6), ""


def _told_duration(container: object) -> tuple[float | None, str]:
    """ffprobe's own value, for media whose clock begins at 0; otherwise the meaning of the value is unknown."""
    if not isinstance(container, dict):
        return None, "ffprobe found no duration"
    told, starts = _seconds(container.get("duration")), _seconds(container.get("start_time"))
    if told is None:
        return None, "ffprobe found no duration"
    if starts is not None and starts > _SAME_DURATION:
        return None, f"the film's clock begins at {starts:.3f} s, and nothing else tells its length"
    return told, ""


def _confirmed_duration(container: object, seconds: float) -> tuple[float | None, str]:
    """ffprobe's own value, which does not contain the start offset here, if the file's clock confirms it."""
    told = _seconds(container.get("duration")) if isinstance(container, dict) else None
    if told is None:
        return None, "ffprobe found no duration"
    if not close_to(told, seconds):
        return None, f"the file's clock runs for {seconds:.3f} s, ffprobe says {told:.3f} s"
    return told, ""


def _contradicted(items: list[_Item], film: Film) -> str:
    """The contradiction if ffprobe reports another length of the longest track, in all of the ways in which it may
    count it."""
    for item in items:
        track, told = _track_of(item, film), _seconds(item.get("duration"))
        if track is None or track.seconds is None or not told or track.kind not in ("video", "audio"):
            continue
        if track.is_of_unknown_length:  # ffprobe then repeats the placeholder for it
            continue
        ways = (track.seconds, track.starts + track.seconds, track.media_seconds, track.ends, track.ends - track.starts)
        if not any(way is not None and close_to(told, way) for way in ways):
            return f"track {track.number}: its samples last {track.seconds:.3f} s, ffprobe says {told:.3f} s"
    return ""


def _track_of(item: _Item, film: Film | None) -> Track | None:
    """By the track number, which ffprobe writes in hexadecimal."""
    number = item.get("id")
    if film is None or not isinstance(number, str) or not re.fullmatch(r"0x[0-9a-f]{1,8}", number):
        return None
    return film.tracks.get(int(number, 16))


# --- A stream -----------------------------------------------------------------------------------------------------


def _stream(item: _Item, track: Track | None, remarks: list[str]) -> MediaStream:
    """``item`` contains only what ``ffprobe`` was asked for."""
    kind, codec = _word(item.get("codec_type")) or _UNKNOWN_KIND, _word(item.get("codec_name"))
    if codec == _NOT_RECOGNISED:
        kind, codec = kind if track is not None else _UNKNOWN_KIND, None
    stream = MediaStream(
        kind=kind,
        codec=codec,
        width=_count(item.get("width")),
        height=_count(item.get("height")),
        frame_rate=_rate(item.get("avg_frame_rate")),
        sample_rate_hz=_count(item.get("sample_rate")),
        channels=_count(item.get("channels")),
        attached_picture=_member(item, "disposition", "attached_pic") == 1,
        language=_known(_member(item, "tags", "language")),
    )
    if stream.kind != "video":
        return replace(stream, frame_rate=None)
    stream = replace(
        stream,
        sample_aspect_ratio=_aspect(item.get("sample_aspect_ratio")),
        color_transfer=_known(item.get("color_transfer")),
        color_primaries=_known(item.get("color_primaries")),
        color_space=_known(item.get("color_space")),
        rotation_degrees=_rotation(item.get("side_data_list")),
    )
    if stream.attached_picture:
        return _with_display_size(replace(stream, frame_rate=None))
    if track is not None:
        stream = _against(stream, track, remarks)
    return _with_display_size(stream)


def _against(stream: MediaStream, track: Track, remarks: list[str]) -> MediaStream:
    """The stream without values that its boxes contradict; the frame rate is counted."""
    rate = track.frame_rate
    stream = replace(stream, frame_rate=round(rate, 6) if rate is not None and rate <= _HIGHEST_FRAME_RATE else None)
    if track.is_mirrored:
        stream = replace(stream, rotation_degrees=None)
    elif track.rotation_degrees is not None and track.rotation_degrees != stream.rotation_degrees:
        turned = f"{track.rotation_degrees} or {stream.rotation_degrees}"
        remarks.append(f"track {track.number} is turned by {turned} degrees")
        stream = replace(stream, rotation_degrees=None)
    pairs = ((stream.width, track.width), (stream.height, track.height))
    if any(one and other and abs(one - other) >= _BLOCK for one, other in pairs):
        headed, told = f"{track.width}x{track.height}", f"{stream.width}x{stream.height}"
        remarks.append(f"track {track.number} has {headed} or {told} pixels")
        stream = replace(stream, width=None, height=None)
    return stream


def _with_display_size(stream: MediaStream) -> MediaStream:
    """Width and height on a screen with square pixels, rotated as the recorder requested."""
    if stream.width is None or stream.height is None or stream.rotation_degrees is None:
        return stream
    wide, high = (int(number) for number in (stream.sample_aspect_ratio or "1:1").split(":"))
    size = (max(1, round(stream.width * wide / high)), stream.height)
    if stream.rotation_degrees % 180 == 90:
        size = (size[1], size[0])
    return replace(stream, display_width=size[0], display_height=size[1])


# --- Single values ------------------------------------------------------------------------------------------------


def _member(item: _Item, group: str, name: str) -> object:
    members = item.get(group)
    return members.get(name) if isinstance(members, dict) else None


def _word(value: object) -> str | None:
    return value if isinstance(value, str) and re.fullmatch(r"[\w.-]{1,64}", value, re.ASCII) else None


def _known(value: object) -> str | None:
    word = _word(value)
    return None if word in _UNKNOWN_WORDS else word


def _count(value: object) -> int | None:
    """A number from 1 to 2^31-1, also as text; ffprobe writes 0 for unknown values."""
    if isinstance(value, str) and re.fullmatch(r"\d{1,10}", value, re.ASCII):
        value = int(value)
    possible = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31
    return value if possible and isinstance(value, int) else None


def _rate(value: object) -> float | None:
    """A fraction such as "30000/1001"; None for "0/0" and for a clock's tick ("90000/1")."""
    if not isinstance(value, str) or not re.fullmatch(r"\d{1,10}/\d{1,10}", value, re.ASCII):
        return None
    above, below = (int(number) for number in value.split("/"))
    return above / below if above and below and above / below <= _HIGHEST_FRAME_RATE else None


def _aspect(value: object) -> str | None:
    """ "4:3"; ffprobe writes "0:1" for unknown values."""
    if not isinstance(value, str) or not re.fullmatch(r"[1-9]\d{0,9}:[1-9]\d{0,9}", value, re.ASCII):
        return None
    return value


def _rotation(items: object) -> int | None:
    """Degrees clockwise; ffprobe counts counter-clockwise, and omits the value for an upright picture."""
    for item in items if isinstance(items, list) else ():
        turned = item.get("rotation") if isinstance(item, dict) else None
        if isinstance(turned, int | float) and not isinstance(turned, bool) and abs(turned) <= 360:
            return round(-turned) % 360
    return 0


def _seconds(value: object) -> float | None:
    if not isinstance(value, str) or not re.fullmatch(r"\d{1,12}(\.\d{1,12})?", value, re.ASCII):
        return None
    seconds = float(value)
    return seconds if seconds <= _LONGEST_SECONDS else None
