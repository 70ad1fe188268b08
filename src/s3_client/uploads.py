"""What this process knows about its uploads: bounded in number, and dropped at their end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from ..domain import StoredObject
from ..exceptions import PartNotTaken, PartNumberRefused, PartTooLarge, S3NotAble, S3Rejected, UploadGone

#: More than are ever open at once; dropped entries are restored by the listing.
_MOST = 10_000
_TOO_SHORT = 4.0  # factor on the patience after a deadline that was too short


class KnownUploads:
    """Whether each upload has checksums, and how much more time than usual its parts need; a whole file counts as an
    upload whose ID is its key.

    ``unanswered``: keys with a request about an upload that got no answer.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._with_checksums: dict[str, bool] = {}
        self._patience: dict[str, float] = {}
        self._own: dict[str, Mapping[str, str]] = {}
        self._completed: dict[str, StoredObject] = {}
        self.unanswered: set[str] = set()

    @contextmanager
    def unless_answered(self, key: str) -> Iterator[None]:
        """Around a request about an upload: without an answer, it may still create an upload."""
        try:
            yield
        except (S3Rejected, S3NotAble, UploadGone, PartNumberRefused, PartTooLarge, PartNotTaken):
            raise
        except BaseException:
            self.unanswered.add(key)
            raise

    def may_hold_more(self, key: str) -> bool:
        """Whether the store may hold unknown uploads at the key."""
        return key in self.unanswered

    def begun_here(self, upload_id: str, metadata: Mapping[str, str]) -> None:
        """This process has created the upload and received its id."""
        self._own[upload_id] = metadata
        while len(self._own) > self._most:
            self._own.pop(next(iter(self._own)))

    def completed(self, upload_id: str, told: StoredObject) -> None:
        """The result of the upload's completion, without the metadata."""
        metadata = self._own.pop(upload_id, None)
        if metadata is not None:
            self._completed[upload_id] = replace(told, metadata=metadata)
        while len(self._completed) > self._most:
            self._completed.pop(next(iter(self._completed)))

    def take_completed(self, upload_id: str) -> StoredObject | None:
        """The object, as the store's answer described it, for an upload of this process. The second call gives None."""
        return self._completed.pop(upload_id, None)

    def begun(self, upload_id: str, *, checksums: bool) -> None:
        """This process or an earlier one has begun the upload with or without checksums."""
        self._with_checksums.pop(upload_id, None)
        self._with_checksums[upload_id] = checksums
        while len(self._with_checksums) > self._most:
            self.ended(next(iter(self._with_checksums)))

    def listed(self, upload_id: str, page: Mapping[str, Any], *, always_said: bool) -> None:
        """The listing of an upload that another process has begun shows whether it has checksums.

        ``always_said``: the store reports this for an upload without parts, too.
        """
        parts = page.get("Parts", [])
        has = page.get("ChecksumAlgorithm") == "CRC64NVME" or any("ChecksumCRC64NVME" in part for part in parts)
        if upload_id not in self._with_checksums and (has or parts or always_said):
            self.begun(upload_id, checksums=has)

    def with_checksums(self, upload_id: str) -> bool | None:
        """None: unknown."""
        return self._with_checksums.get(upload_id)

    def patience(self, upload_id: str) -> float:
        """How many times slower than others its parts may be before they count as hanging."""
        return self._patience.get(upload_id, 1.0)

    def part_took_too_long(self, upload_id: str) -> None:
        """A deadline was too short: extend the next one."""
        patience = self._patience.pop(upload_id, 1.0)
        self._patience[upload_id] = _TOO_SHORT * patience
        while len(self._patience) > self._most:
            self._patience.pop(next(iter(self._patience)))

    def part_stored(self, upload_id: str) -> None:
        """The part was stored in time."""
        self._patience.pop(upload_id, None)

    def ended(self, upload_id: str) -> None:
        """Completed, aborted, or gone."""
        self._with_checksums.pop(upload_id, None)
        self._patience.pop(upload_id, None)
