"""Compares the recordings in a bucket with what is known of them, without changing anything.

What an object must be is read from the document beside it, or from Redis where it remembers the recording; the bucket
alone suffices. A fault is reported only if it is still there after a pause: beside a running daemon an object may be
replaced at any moment, its document a little later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from ..domain import InspectedObject, Marker, origin_of
from ..exceptions import S3OperationError
from ..timeouts import TaskGroup
from .choice import Sample, matches
from .gathering import Bucket, Contents, asked, by_document, by_marker, contents, not_checked
from .local_files import FileRead, LocalFiles
from .report import Report
from .verdicts import (
    Expected,
    Finding,
    Level,
    Verdict,
    archived,
    by_bytes,
    by_checksum,
    by_listing,
    by_what_is_told,
    changed,
)

#: Few enough that a daemon on the same machine and the store have room for their own work.
AT_ONCE = 16
#: Seconds after which a fault is looked at once more.
LOOKS_AGAIN_SECONDS = 2.0
#: After this number of recordings in a row that could not be checked, the rest is not tried.
_GONE_AFTER = 48


@dataclass(frozen=True, slots=True)
class Order:
    """What to verify. ``pattern``: which keys, empty for all. ``safe_to_delete``: read the local files, too."""

    level: Level
    sample: Sample
    prefix: str = ""
    pattern: str = ""
    safe_to_delete: bool = False

    @property
    def reads_files(self) -> bool:
        """Whether local files are compared."""
        return self.level is Level.FILE or self.safe_to_delete


@dataclass(slots=True)
class _Seen:
    """What the store said of one object: its properties, and the checksum that counts at this level."""

    found: InspectedObject | None = None
    crc64: int | None = None


@dataclass(slots=True)
class Verification:
    """One call. ``local`` is None where the folder is not read. ``when_planned`` hears what is about to be done."""

    order: Order
    bucket: Bucket
    markers: Sequence[Marker] = ()
    local: LocalFiles | None = None
    when_planned: Callable[[Report], None] = lambda _: None
    report: Report = field(init=False)
    _contents: Contents = field(init=False, default_factory=Contents)
    _remembered: dict[str, Expected] = field(init=False, default_factory=dict)
    _stored_paths: set[str] = field(init=False, default_factory=set)
    _unanswered: int = field(init=False, default=0)

    async def run(self) -> Report:
        """The result. Raises ``S3OperationError`` if the bucket cannot be listed at all."""
        order = self.order
        self.report = Report(order.level, order.sample)
        self._contents = await contents(self.bucket, order.prefix)
        self._remembered = {
            marker.key: by_marker(marker) for marker in self.markers if marker.key.startswith(order.prefix)
        }
        keys = [key for key in self._keys() if matches(order.pattern, order.prefix, key)]
        chosen = order.sample.of(keys)
        self.report.known, self.report.chosen = len(keys), len(chosen)
        self.report.size = sum(self._contents.objects[key].size for key in chosen if key in self._contents.objects)
        self.when_planned(self.report)
        waiting = iter(chosen)
        async with TaskGroup() as group:
            for _ in range(min(AT_ONCE, len(chosen))):
                group.create_task(self._work(waiting))
        await self._look_at_what_is_safe_again()
        self._count_what_is_only_here()
        return self.report

    def _keys(self) -> set[str]:
        """All that should be there or is there."""
        return self._contents.described | self._remembered.keys() | self._contents.objects.keys()

    async def _work(self, keys: Iterable[str]) -> None:
        for key in keys:
            if self._unanswered >= _GONE_AFTER:
                text = f"not asked: the last {_GONE_AFTER} recordings could not be checked"
                self.report.add(Finding.of(Verdict.NOT_CHECKED, key, text))
                continue
            try:
                await self._verify(key)
            except S3OperationError as exc:
                finding = not_checked(key, exc)
                self._heard(finding)
                self.report.add(finding)

    async def _verify(self, key: str) -> None:
        expected: Expected | Finding | None = self._remembered.get(key)
        if expected is None and key in self._contents.described:
            expected = await by_document(self.bucket, key)
        if expected is None:
            await self._undescribed(key)
            return
        if isinstance(expected, Finding):
            self._heard(expected)
            self.report.add(expected)
            return
        finding, seen = await self._compared(expected, fresh=False)
        if finding.verdict.is_fault:
            finding, seen, expected = await self._once_more(finding, seen, expected)
        self._heard(finding)
        if finding.verdict is Verdict.PROVED and self.local is not None:
            finding = await self._with_files(self.local, expected, seen)
        self.report.add(finding)

    async def _once_more(self, finding: Finding, seen: _Seen, expected: Expected) -> tuple[Finding, _Seen, Expected]:
        """After a pause, against the document as it is then."""
        await asyncio.sleep(LOOKS_AGAIN_SECONDS)
        described = await by_document(self.bucket, expected.key)
        if isinstance(described, Expected):
            self._contents.described.add(expected.key)
            expected = described
        elif described is None and finding.verdict is not Verdict.MISSING:
            return Finding.of(Verdict.NO_DOCUMENT, expected.key, "its metadata document is gone"), seen, expected
        return *await self._compared(expected, fresh=True), expected

    async def _compared(self, expected: Expected, *, fresh: bool) -> tuple[Finding, _Seen]:
        """The verdict at the level of the order, without local files. ``fresh``: after the listing was made."""
        key, level = expected.key, self.order.level
        if level is Level.LISTING and not fresh:
            listed = self._contents.objects.get(key)
            return self._with_document(by_listing(expected, listed)), _Seen()
        found = await asked(lambda: self.bucket.look(key))
        if level is not Level.DOWNLOAD or found is None:
            finding = by_checksum(expected, found)
            if level is Level.LISTING and finding.verdict is Verdict.NO_CHECKSUM:
                finding = Finding(Verdict.PROVED, key)  # size and ETag are those of the upload
            return self._with_document(finding), _Seen(found, found.stored.crc64 if found else None)
        if found.archived is not None:
            return archived(key, found.archived), _Seen(found)
        told = by_what_is_told(expected, found)
        if told is not None and found.stored.size != expected.size:
            return told, _Seen(found)
        crc64 = await asked(lambda: self.bucket.object_crc64(key, found.stored.etag))
        if crc64 is None:
            text = "the store refuses its bytes, or it was replaced meanwhile"
            return Finding.of(Verdict.NOT_CHECKED, key, text), _Seen(found)
        return self._with_document(by_bytes(expected, found, crc64)), _Seen(found, crc64)

    def _with_document(self, finding: Finding) -> Finding:
        """A good object whose document is gone is not described by the bucket alone."""
        if finding.verdict is Verdict.PROVED and finding.key not in self._contents.described:
            return Finding.of(Verdict.NO_DOCUMENT, finding.key, "its metadata document is gone")
        return finding

    async def _undescribed(self, key: str) -> None:
        """An object that neither a document nor Redis describes."""
        if key not in self._contents.objects or self.order.level is Level.LISTING:
            self.report.others += 1
            return
        found = await asked(lambda: self.bucket.look(key))
        if found is None or origin_of(found.stored.metadata) is None:
            self.report.others += 1
            return
        text = "a recording without a document: it was completed just now, or its document is lost"
        self.report.add(Finding.of(Verdict.NOT_CHECKED, key, text, remedy="repeat the command in a few minutes"))

    async def _with_files(self, local: LocalFiles, expected: Expected, seen: _Seen) -> Finding:
        """The verdict on the local files of a recording whose object is proved; notes those that may be deleted."""
        good = Finding(Verdict.PROVED, expected.key)
        paths, bad = local.of(expected), None
        is_here = False
        for path in paths:
            read = await local.read(path)
            if read is None:
                continue
            if (read.snapshot.size, read.crc64) == (expected.size, seen.crc64):
                is_here = True
                self._stored_paths.add(path)
                if self.order.safe_to_delete and read.at_rest and await local.is_unchanged(read):
                    self.report.safe.append(path)
            elif _is_of(read, expected) and read.at_rest:
                self._stored_paths.add(path)
                bad = changed(expected, path, read.snapshot.size)
        if bad is None and not is_here:
            self.report.without_file += 1
        return bad or good

    async def _look_at_what_is_safe_again(self) -> None:
        """The first file may have been read hours ago. The list has each file once, whatever the number of its
        objects."""
        if self.local is not None:
            paths = dict.fromkeys(self.report.safe)
            self.report.safe = [path for path in paths if await self.local.is_as_it_was_read(path)]

    def _heard(self, finding: Finding) -> None:
        self._unanswered = self._unanswered + 1 if finding.verdict is Verdict.NOT_CHECKED else 0

    def _count_what_is_only_here(self) -> None:
        if self.local is not None and self.order.sample.is_all and not self.order.pattern:
            self.report.unstored = len(set(self.local.paths) - self._stored_paths)


def _is_of(read: FileRead, expected: Expected) -> bool:
    """Whether the object was made from this very file; without a birth time that is not known."""
    return read.snapshot.identity == expected.identity and expected.identity.birth_ns != 0
