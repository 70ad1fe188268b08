"""The status as lines of text that fit a terminal of any width."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from ..status import FILE_MISSING, RecordingView, ServiceView, State, StatusView, Tone, count, rate, size, span

_STYLES = {
    State.FAILED: "bold red",
    State.WAITING: "yellow",
    State.RECORDING: "green",
    State.SEALING: "cyan",
    State.DESCRIBING: "cyan",
}
_TONES = {Tone.GOOD: "bold green", Tone.WAITING: "bold yellow", Tone.BAD: "bold red"}
_SERVICES = {"s3": "store", "redis": "redis", "watched_folder": "folder"}
_GAP = 2
_NARROWEST_NAME = 12
#: Without a terminal a longer name moves the rest of its line, so that one name does not widen all lines.
_WIDEST_PADDING = 60
_BAR = 10
#: From this width on there is room for a progress bar and for the size and the end of a recording.
_WIDE, _MEDIUM = 100, 72


@dataclass(frozen=True, slots=True)
class Paper:
    """What is written on: its width in cells, None: any; whether it can show more than ASCII."""

    width: int | None
    ascii_only: bool = False

    @property
    def dot(self) -> str:
        return " - " if self.ascii_only else " · "


def lines(view: StatusView, paper: Paper) -> Iterator[Text]:
    """The whole status; failures come before the table."""
    yield from _fold(paper, [_daemon(view), *map(_service, view.services), *_disk(view)])
    if view.daemon is not None:
        yield from _fold(paper, list(_totals(view)))
    yield from _wrapped(paper, f"{view.verdict} {view.because}".rstrip(), _TONES[view.tone])
    for unreadable in view.unreadable:
        yield from hanging("- ", f"{unreadable.key} cannot be read: {unreadable.reason}. It is unchanged.", paper)
    for each in view.recordings:
        if each.failure is not None:
            yield Text()
            yield from _failure(each, paper)
    if view.recordings:
        yield Text()
        yield from table(view.recordings, paper, known=view.daemon is not None)
    yield from _rest(view, paper)


def table(recordings: Sequence[RecordingView], paper: Paper, *, known: bool = True) -> Iterator[Text]:
    """One line a recording. ``known``: whether sizes on disk are known, and so what is at risk."""
    columns = [column for column in _columns(paper) if known or column.title not in ("AT RISK", "ENDS IN S3")]
    cells = [[column.of(each, paper) for column in columns] for each in recordings]
    widths = [
        max(cell_len(column.title), *(cell_len(row[number]) for row in cells)) for number, column in enumerate(columns)
    ]
    if paper.width is not None:
        widths[0] = min(widths[0], max(_NARROWEST_NAME, paper.width - sum(widths[1:]) - _GAP * (len(widths) - 1)))
    else:
        widths[0] = min(widths[0], _WIDEST_PADDING)
    yield _row([column.title for column in columns], columns, widths, paper, "bold")
    for each, row in zip(recordings, cells, strict=True):
        yield _row(row, columns, widths, paper, _STYLES[each.state] if each.state is State.FAILED else "")


def details(each: RecordingView, paper: Paper) -> Iterator[Text]:
    """Everything about one recording."""
    told = [
        ("recording", each.name),
        ("state", str(each.state)),
        ("id", each.id or "none yet"),
        ("key", each.key or "none yet"),
        ("began", each.started_at.strftime("%Y-%m-%d %H:%M:%S UTC") if each.started_at else "unknown"),
        ("size", f"{size(each.size)} ({each.size:,} bytes)" if each.size_is_known else "unknown"),
        (
            "in S3",
            f"{_percent(each) + ', ' if each.size_is_known else ''}{size(each.in_s3)} in {count(each.parts, 'part')}",
        ),
        ("at risk", _risk(each)),
        ("ends in S3", _ends(each)),
        ("retrying", each.trouble or "nothing"),
    ]
    widest = max(len(title) for title, _ in told)
    for title, text in told:
        yield from hanging(f"{title:{widest}}  ", text, paper)
    if each.failure is not None:
        yield Text()
        yield from _failure(each, paper)


# -- above the table ---------------------------------------------------------------------------------------------------


def _daemon(view: StatusView) -> str:
    if view.daemon is None:
        return "cefmp4: no daemon answers; this is what Redis says"
    return f"cefmp4 {view.daemon.version}, up {span(view.daemon.up_seconds)}"


def _service(each: ServiceView) -> str:
    word = _SERVICES.get(each.name, each.name)
    since = f" since {each.since.strftime('%H:%M:%S UTC')}" if each.since else ""
    return f"{word} ok" if each.ok else f"{word} AWAY{since} ({each.reason})"


def _disk(view: StatusView) -> Iterator[str]:
    if view.disk.full_in_seconds is not None:
        yield f"disk full in {span(view.disk.full_in_seconds)}"
    elif view.disk.free is not None:
        yield f"disk {size(view.disk.free)} free"


def _totals(view: StatusView) -> Iterator[str]:
    totals = view.totals
    yield f"at risk {size(totals.at_risk_bytes)}, {span(totals.at_risk_seconds)}, oldest {span(totals.oldest_seconds)}"
    yield f"in {rate(totals.ingest)}, out {rate(totals.sent)}"
    if totals.backlog_bytes and totals.catch_up_seconds is None:
        yield "does not catch up"
    else:
        yield f"caught up in {span(totals.catch_up_seconds or 0.0)}"


def _failure(each: RecordingView, paper: Paper) -> Iterator[Text]:
    assert each.failure is not None
    left = f"; {size(each.at_risk_bytes)} are only on this disk" if each.at_risk_bytes else ""
    yield from hanging(f"{each.short_id}  ", f"{each.name} failed: {each.failure.text}{left}", paper, "bold red")
    indent = " " * (len(each.short_id or "") + 2)
    for action in each.failure.actions:
        yield from hanging(indent, f"- {action.what}{':' if action.command else '.'}", paper)
        if action.command:
            yield Text(f"{indent}    {action.command}", "bold")  # never broken, so that it can be copied


def _rest(view: StatusView, paper: Paper) -> Iterator[Text]:
    told = []
    if view.totals.waiting:
        told.append(f"{count(view.totals.waiting, 'file')} waiting")
    if view.totals.to_look_up:
        told.append(f"{count(view.totals.to_look_up, 'file')} to look up")
    if view.finished is not None:
        done = view.finished.last_day
        told.append(f"{done:,} finished in 24 h, all proved" if done else "none finished in 24 h")
    if told:
        yield Text()
        yield from _fold(paper, told)


# -- the table ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    of: Callable[[RecordingView, Paper], str]
    right: bool = True


def _columns(paper: Paper) -> list[_Column]:
    wide = paper.width is None or paper.width >= _MEDIUM
    return [
        _Column("RECORDING", lambda each, _: each.name, right=False),
        _Column("STATE", lambda each, _: _state(each), right=False),
        *([_Column("SIZE", lambda each, _: size(each.size) if each.size_is_known else "-")] if wide else []),
        _Column("IN S3", _in_s3),
        _Column("AT RISK", lambda each, _: _risk(each)),
        *([_Column("ENDS IN S3", lambda each, _: _ends(each))] if wide else []),
    ]


def _row(cells: Sequence[str], columns: Sequence[_Column], widths: Sequence[int], paper: Paper, style: str) -> Text:
    padded = []
    for text, column, width in zip(cells, columns, widths, strict=True):
        fitted = text if paper.width is None else shorten(text, width, paper)
        space = " " * (width - cell_len(fitted))
        padded.append(space + fitted if column.right else fitted + space)
    return Text((" " * _GAP).join(padded).rstrip(), style)


def shorten(text: str, width: int, paper: Paper) -> str:
    """The text in ``width`` cells; the middle is left out, because both ends of a path tell most."""
    if cell_len(text) <= width:
        return text
    dots = "..." if paper.ascii_only else "…"
    room = max(0, width - len(dots))
    tail = _last_cells(text, room - room // 3)
    return _first_cells(text, room - cell_len(tail)) + dots + tail if room else dots[:width]


def _first_cells(text: str, width: int) -> str:
    head = text[:width]
    while cell_len(head) > width:
        head = head[:-1]
    return head


def _last_cells(text: str, width: int) -> str:
    tail = text[-width:] if width else ""
    while cell_len(tail) > width:
        tail = tail[1:]
    return tail


def _state(each: RecordingView) -> str:
    return FILE_MISSING if each.trouble == FILE_MISSING else str(each.state)


def _in_s3(each: RecordingView, paper: Paper) -> str:
    if not each.size_is_known:
        return size(each.in_s3)  # a share of something unknown
    if paper.width is None or paper.width < _WIDE:
        return _percent(each)
    full, empty = ("#", "-") if paper.ascii_only else ("█", "░")
    done = (each.percent or 0) * _BAR // 100
    return f"{full * done}{empty * (_BAR - done)} {_percent(each):>5}"


def _percent(each: RecordingView) -> str:
    return f"{each.percent} %"


def _risk(each: RecordingView) -> str:
    if not each.size_is_known:
        return "unknown"
    if not each.at_risk_bytes:
        return "-"
    if each.state is State.FAILED and not each.oldest_seconds:
        return size(each.at_risk_bytes)  # nothing is known of its age
    return span(each.oldest_seconds)


def _ends(each: RecordingView) -> str:
    return "-" if each.ends_in_s3_seconds is None else span(each.ends_in_s3_seconds)


# -- folding -----------------------------------------------------------------------------------------------------------


def _fold(paper: Paper, parts: Sequence[str]) -> Iterator[Text]:
    """The parts beside each other, on as few lines as the width allows."""
    line = ""
    for part in parts:
        longer = f"{line}{paper.dot}{part}" if line else part
        if line and paper.width is not None and cell_len(longer) > paper.width:
            yield from _wrapped(paper, line, "")
            line = part
        else:
            line = longer
    yield from _wrapped(paper, line, "")


def hanging(head: str, text: str, paper: Paper, style: str = "") -> Iterator[Text]:
    """The text after ``head``; its other lines are indented by as much."""
    width = None if paper.width is None else max(_NARROWEST_NAME, paper.width - cell_len(head))
    for number, line in enumerate(_broken(text, width)):
        yield Text((head if number == 0 else " " * cell_len(head)) + line, style)


def _wrapped(paper: Paper, text: str, style: str) -> Iterator[Text]:
    for line in _broken(text, paper.width):
        yield Text(line, style)


def _broken(text: str, width: int | None) -> Iterator[str]:
    """Lines of at most ``width`` cells, broken at spaces, and inside of words that are longer."""
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if width is None or cell_len(longer) <= width:
            line = longer
            continue
        if line:
            yield line
        line = word
        while cell_len(line) > width:
            head = _first_cells(line, width) or line[0]
            yield head
            line = line[len(head) :]
    yield line
