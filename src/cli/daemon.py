"""Finds the daemon of these settings, and reads its status."""

from __future__ import annotations

import asyncio
import os
import pwd
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from .. import PROGRAM
from ..config import Loaded
from ..domain import Unfinished
from ..door import Door, DoorError, Refused, find_doors, knock
from ..exceptions import RedisOperationError
from ..logging_config import Redactor
from ..settings import without_user_info
from ..status import Facts, StatusView, name, recording_facts, status_from_json, view_of
from .exit_codes import NotChecked


def reach(loaded: Loaded) -> Door:
    """The daemon of these settings. Where they name no folder, a daemon that is alone on this machine is meant.

    Raises ``NotChecked``.
    """
    settings = loaded.settings
    folder = str(settings.watch_dir.absolute())
    try:
        return knock(folder, settings.redis_key_prefix)
    except DoorError as error:
        trouble = error
    if "watch_dir" not in loaded.given and not isinstance(trouble, Refused):
        doors = list(find_doors())
        if len(doors) == 1:
            return doors[0]
        if doors:
            listed = "; ".join(f"WATCH_DIR={name(each.folder)} REDIS_KEY_PREFIX={name(each.group)}" for each in doors)
            raise NotChecked("Several daemons run on this machine.", f"Name one of them in the environment: {listed}")
    if isinstance(trouble, Refused):
        who = _user(trouble.uid)
        raise NotChecked(
            f"The daemon of {name(folder)} belongs to {who}, and answers only that user and root.",
            f"Type the command as that user, or with sudo (now: {_user(os.geteuid())}).",
        )
    raise NotChecked(
        f"No daemon answers for {name(folder)}.",
        "Is it running on this machine, in the same container, and with the same WATCH_DIR and REDIS_KEY_PREFIX?",
    )


def ask(door: Door, method: str, path: str, body: dict[str, object] | None = None, **more: float) -> Any:
    """The JSON of an answer. Raises ``NotChecked``."""
    try:
        status, told = door.ask(method, path, body, **more)
    except DoorError:
        raise NotChecked("The daemon has stopped answering.", "See its log.") from None
    if status != 200:
        raise NotChecked(f"The daemon did not understand the question ({status}); it is version {door.version}.")
    return told


def status_of(door: Door) -> StatusView:
    """What the daemon says. Raises ``NotChecked``."""
    try:
        return status_from_json(ask(door, "GET", "/v1/status"))
    except ValueError:
        raise NotChecked(f"The daemon's answer was not understood; it is version {door.version}.") from None


def status_in_redis(loaded: Loaded) -> StatusView:
    """What Redis says without a daemon. Reads only. Raises ``NotChecked``."""
    settings = loaded.settings
    reading = _read(settings.redis_url, settings.redis_key_prefix, settings.s3_bucket_name)
    try:
        found, unreadable = asyncio.run(reading)
    except RedisOperationError as exc:
        where = without_user_info(settings.redis_url)
        raise NotChecked(f"Redis at {where} could not be asked either.", exc.hint) from None
    hidden = Redactor(settings.secrets())
    recordings = [recording_facts(each) for each in found]
    told = [replace(each, failure=each.failure and hidden.text(each.failure)) for each in recordings]
    return view_of(Facts(at=datetime.now(UTC), recordings=told, unreadable=unreadable, program=PROGRAM))


async def _read(url: str, group: str, bucket: str) -> tuple[list[Unfinished], Mapping[str, str]]:
    from ..redis_client import read_unfinished

    records, unreadable = await read_unfinished(url, key_prefix=group, bucket=bucket)
    sizes = ((record, sum(part.size for part in record.parts.values())) for record in records)
    return [Unfinished(record.path, None, record, len(record.parts), size) for record, size in sizes], unreadable


def introduced(door: Door) -> str:
    """The daemon that is asked to act, in one line."""
    group = f", group {name(door.group)}" if door.group else ""
    return f"cefmp4 {door.version} on {name(door.folder)}{group} (process {door.peer.pid}, {_user(door.peer.uid)})"


def _user(uid: int | None) -> str:
    if uid is None:
        return "another user"
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"
