"""What would hurt later, concluded from facts alone. Pure.

A function for each check names the faults that the facts show, which ``faults`` lists; where there are none, the check
has one good line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..domain import FolderFacts, RedisFacts, Right, StoreFacts
from ..status import StatusView, span
from .faults import CHECKS, FAULTS, Verdict
from .policy import WITHOUT

_DAY = 86_400.0
#: Days within which uploads must not be aborted, since an outage may last.
ENOUGH_DAYS = 7
#: Seconds that the store's clock may differ. Signatures expire after 15 minutes.
CLOCK_WARNS, CLOCK_FAILS = 60.0, 600.0
SLOW_SECONDS = 1.5
#: A disk is full, or low, below these shares and bytes; a small disk has its own share.
FULL_SHARE, LOW_SHARE, LOW_BYTES = 0.01, 0.02, 5 * 1024**3
SMALL_DISK, LOW_SHARE_OF_SMALL = 64 * 1024**3, 0.05
_REDIS_SHARE = 0.8
#: A disk that is full within a day, at the rate of now, is worth a word.
_FULL_SOON_SECONDS = _DAY
#: Of this many completed recordings, this share may change after their end before the quiet time counts as short.
_ENOUGH_RECORDINGS, _CHANGED_SHARE = 20, 0.1


_RIGHTS: Mapping[Right, str] = {
    Right.LIST: "may-not-list",
    Right.LIST_UPLOADS: "may-not-list-uploads",
    Right.PUT: "may-not-put",
    Right.GET: "may-not-get",
    Right.LIST_PARTS: "may-not-list-parts",
    Right.ABORT: "may-not-abort",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the output. ``fault`` is its name in ``FAULTS``; empty: there is none."""

    check: str
    verdict: Verdict
    text: str
    remedy: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class SettingsFacts:
    """What ``doctor`` needs of the settings and of this process. ``open_files``: files with secrets that other users
    may read. ``is_port_open``: other machines can connect to the port at ``host``; ``page`` is ``STATUS_PAGE``."""

    bucket: str = ""
    prefix: str = ""
    redis_prefix: str = ""
    store: str = "Amazon S3"
    sources: str = "environment"
    open_files: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    is_port_open: bool = False
    page: str = "auto"
    has_password: bool = False
    ffprobe: str | None = None
    quiet_seconds: float = 30.0
    finish_early: bool = True


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A daemon that runs on this machine, as far as it lets this user know. ``keys``: bucket and prefix; ``redis``: its
    address and its prefix. ``is_here``: it watches the folder of these settings."""

    pid: int
    folder: str
    keys: str
    redis: str
    is_here: bool


@dataclass(slots=True)
class Facts:
    """Everything that is judged. A part that is None was not gathered in time. ``status``: what the daemon of these
    settings says; None also if there is none. ``keys`` and ``redis`` of the settings are as in ``Neighbour``."""

    settings: SettingsFacts = field(default_factory=SettingsFacts)
    store: StoreFacts | None = None
    redis: RedisFacts | None = None
    folder: FolderFacts | None = None
    status: StatusView | None = None
    neighbours: Sequence[Neighbour] | None = None
    keys: str = ""
    redis_place: str = ""


def findings(facts: Facts) -> list[Line]:
    """The lines in the order of ``CHECKS``: the faults of each check, or one line that nothing was found."""
    found = [line for check in _ALL for line in check(facts)]
    return sorted(found, key=lambda line: CHECKS.index(line.check))


def exit_code(lines: list[Line], *, strict: bool) -> int:
    """1 for a FAIL, with ``strict`` also for a WARN or what is unknown; 3 if store or Redis could not be asked."""
    named = {line.fault for line in lines}
    if named & {"store-away", "redis-away"}:
        return 3
    bad = {Verdict.FAIL, Verdict.WARN, Verdict.UNKNOWN} if strict else {Verdict.FAIL}
    return 1 if any(line.verdict in bad for line in lines) else 0


def _fault(name: str, text: str, **values: object) -> Line:
    fault = FAULTS[name]
    return Line(fault.check, fault.verdict, text, fault.remedy.format(**values), name)


def _settings(facts: Facts) -> Iterator[Line]:
    known = facts.settings
    lines = [
        _fault("env-file-open", f"other users may read the secrets in {file}", file=file) for file in known.open_files
    ]
    if known.is_port_open and known.page == "open" and not known.has_password:
        text = f"metrics and the status page, with the names of all recordings, are open to the network ({known.host})"
        lines.append(_fault("page-open", f"{text}, without a password"))
    elif known.is_port_open:
        text = f"metrics are open to the network (PROM_HOST={known.host}), without a login"
        if known.has_password and known.page != "off":
            text += "; the page asks for its password"
        lines.append(_fault("port-open", text))
    if known.ffprobe is None:
        lines.append(_fault("no-ffprobe", "ffprobe is missing: documents have no duration and no streams"))
    yield from lines or [Line("settings", Verdict.OK, f"{known.sources}; ffprobe {known.ffprobe}")]


def _store(facts: Facts) -> Iterator[Line]:
    found = facts.store
    if found is None:
        yield Line("store", Verdict.UNKNOWN, "no answer in time")
        return
    where = f"{facts.settings.store}, bucket {facts.settings.bucket}"
    if found.error:
        name = "credentials-refused" if found.answers else "store-away"
        if "does not exist" in found.error:
            name = "bucket-missing"
        line = _fault(name, f"{where}: {found.error}")
        hint = "" if name == "bucket-missing" else found.hint
        yield Line(line.check, line.verdict, line.text, hint or line.remedy, name)
        return
    lines = []
    ahead = found.clock_ahead or 0.0
    if abs(ahead) > CLOCK_WARNS:
        name = "clock-wrong" if abs(ahead) > CLOCK_FAILS else "clock-off"
        side = "behind" if ahead > 0 else "ahead of"
        lines.append(_fault(name, f"this machine's clock is {abs(ahead):,.0f} s {side} the store's; signatures expire"))
    if found.seconds is not None and found.seconds > SLOW_SECONDS:
        lines.append(_fault("store-slow", f"{where}: a small request took {found.seconds:.1f} s"))
    clock = "" if found.clock_ahead is None else f", clock {round(ahead):+d} s"
    yield from lines or [Line("store", Verdict.OK, f"{where}, {(found.seconds or 0) * 1000:.0f} ms{clock}")]


def _daemon(facts: Facts) -> Iterator[Line]:
    found = facts.neighbours
    if found is None:
        yield Line("daemon", Verdict.UNKNOWN, "no answer in time")
        return
    here = [each for each in found if each.is_here]
    lines = []
    if len(here) > 1:
        pids = ", ".join(str(each.pid) for each in here)
        text = f"{len(here)} daemons watch this folder (processes {pids}): each uploads every recording"
        lines.append(_fault("two-daemons", text, pid=max(each.pid for each in here)))
    for each in found:
        if each.is_here:
            continue
        if each.redis == facts.redis_place:
            text = f"the daemon of {each.folder} has the same place in Redis: each takes the other's files for missing"
            lines.append(_fault("shared-redis-prefix", text))
        if each.keys == facts.keys:
            text = f"the daemon of {each.folder} has the same bucket and prefix: recordings of one name get ~2, ~3"
            lines.append(_fault("shared-keys", text))
    yield from lines or [Line("daemon", Verdict.OK, _running(facts, here))]


def _running(facts: Facts, here: Sequence[Neighbour]) -> str:
    if facts.status is not None and facts.status.daemon is not None:
        daemon = facts.status.daemon
        return f"cefmp4 {daemon.version}, process {daemon.pid}, up {span(daemon.up_seconds)}"
    return f"process {here[0].pid}" if here else "none of this user watches this folder"


def _rights(facts: Facts) -> Iterator[Line]:
    found = facts.store
    if found is None or not found.rights:
        yield Line("rights", Verdict.UNKNOWN, "the store could not be asked")
        return
    refused = [right for right in Right if found.rights.get(right) is False]
    open_ = [right for right in Right if found.rights.get(right) is None]
    for right in refused:
        yield _fault(_RIGHTS[right], f"{right} is missing: {WITHOUT[right]}")
    if not refused and not open_:
        yield Line("rights", Verdict.OK, "all that are needed")
    elif open_ and Right.PUT not in refused:
        yield Line("rights", Verdict.UNKNOWN, f"could not be tried: {', '.join(open_)}")


def _lifecycle(facts: Facts) -> Iterator[Line]:
    found = facts.store
    if found is None or found.error:
        yield Line("lifecycle", Verdict.UNKNOWN, "the store could not be asked")
        return
    longest = facts.redis.longest_seconds / _DAY if facts.redis else 0.0
    least = max(ENOUGH_DAYS, int(longest * 2) + 1)
    lines = [*_dropped(facts, found)]
    for rule in found.rules or ():
        named = f'rule "{rule.name}"' if rule.name else "a rule"
        if rule.aborts_after is not None and rule.aborts_after < least:
            seen = f"; the longest recording here took {longest * 24:.0f} h" if longest > 0.5 else ""
            text = f"{named} aborts unfinished uploads after {rule.aborts_after} days{seen}"
            lines.append(_fault("rule-aborts", text, days=least))
        if rule.deletes_after is not None:
            lines.append(_fault("rule-deletes", f"{named} deletes recordings after {rule.deletes_after} days"))
        if rule.archives_after is not None:
            text = f"{named} moves recordings and documents to {rule.archive} after {rule.archives_after} days"
            lines.append(_fault("rule-archives", text))
    if found.rules is None:
        yield Line("lifecycle", Verdict.UNKNOWN, "no right to read the rules (s3:GetLifecycleConfiguration)")
    elif not lines:
        yield Line("lifecycle", Verdict.OK, "no rule aborts uploads too soon, deletes or archives recordings")
    yield from lines


def _dropped(facts: Facts, found: StoreFacts) -> Iterator[Line]:
    """Stores that drop unfinished uploads without a rule."""
    if "minio" in found.product.lower():
        remedy = "start MinIO with MINIO_API_STALE_UPLOADS_EXPIRY above the longest recording, such as 168h"
        yield _fault("store-drops-uploads", "MinIO drops unfinished uploads after 24 hours by default", remedy=remedy)
    elif ".r2.cloudflarestorage.com" in facts.settings.store:
        remedy = "set a lifecycle rule of R2 with more days, if recordings or outages may be longer"
        yield _fault("store-drops-uploads", "Cloudflare R2 drops unfinished uploads after 7 days", remedy=remedy)


def _features(facts: Facts) -> Iterator[Line]:
    found = facts.store
    if found is None or found.if_match is None or found.if_none_match is None or found.checksum is None:
        yield Line("conditions", Verdict.UNKNOWN, "not determined")
        yield Line("checksums", Verdict.UNKNOWN, "not determined")
        return
    held = {"If-None-Match": found.if_none_match, "If-Match": found.if_match}
    lost = [name for name, holds in held.items() if not holds]
    if lost:
        yield _fault("no-conditions", f"the store ignores or refuses {' and '.join(lost)}")
    else:
        yield Line("conditions", Verdict.OK, "If-None-Match and If-Match hold")
    if found.checksum:
        yield Line("checksums", Verdict.OK, "the store verifies CRC64NVME")
    else:
        yield _fault("no-checksums", "the store keeps no CRC64NVME: ETags, or a download, prove an object instead")


def _versioning(facts: Facts) -> Iterator[Line]:
    found = facts.store
    if found is None or found.error:
        yield Line("versioning", Verdict.UNKNOWN, "the store could not be asked")
    elif found.versioning is None:
        yield Line("versioning", Verdict.UNKNOWN, "no right to read it (s3:GetBucketVersioning)")
    elif found.versioning != "Enabled":
        yield Line("versioning", Verdict.OK, f"{found.versioning.lower()}: what is replaced or deleted is gone")
    elif found.rules is not None and not any(rule.removes_versions for rule in found.rules):
        text = "on, and no rule removes old versions: what is replaced or deleted stays, and is paid for"
        yield _fault("versions-kept", text)
    else:
        yield Line("versioning", Verdict.OK, "on: what is replaced or deleted stays as an old version")


def _redis(facts: Facts) -> Iterator[Line]:
    found = facts.redis
    if found is None:
        yield Line("redis", Verdict.UNKNOWN, "no answer in time")
        return
    if found.error:
        line = _fault("redis-away", found.error)
        yield Line(line.check, line.verdict, line.text, found.hint or line.remedy, line.fault)
        return
    lines = []
    told = found.configuration
    policy = told.get("maxmemory-policy", "noeviction")
    if found.is_replica:
        lines.append(_fault("redis-replica", "it is a replica, which is read-only"))
    elif found.refused:
        prefix = facts.settings.redis_prefix
        lines.append(_fault("redis-refuses", f"checkpoints cannot be written: {found.refused}", prefix=prefix))
    if policy != "noeviction":
        lines.append(_fault("redis-evicts", f"maxmemory-policy is {policy}: checkpoints may vanish"))
    if told.get("appendonly") == "no" and told.get("save") == "":
        lines.append(_fault("redis-forgets", "persistence is off: a restart of Redis loses all checkpoints"))
    if found.limit and found.used > _REDIS_SHARE * found.limit:
        lines.append(_fault("redis-full", f"{found.used / found.limit:.0%} of its memory limit is used"))
    if found.failed:
        lines.append(_fault("recordings-failed", f"{found.failed:,} recordings have failed and need a decision"))
    persistence = "" if told else "; its configuration may not be read"
    yield from lines or [Line("redis", Verdict.OK, f"{found.remembered:,} completed recordings{persistence}")]


def _folder(facts: Facts) -> Iterator[Line]:
    found = facts.folder
    if found is None:
        yield Line("folder", Verdict.UNKNOWN, "no answer in time")
        return
    if found.error:
        yield _fault("folder-missing", found.error)
        return
    lines = []
    if facts.settings.finish_early and not found.has_leases:
        text = f"{found.file_system}: writers on other machines cannot be seen, so no recording is finished early"
        lines.append(_fault("no-leases", text))
    if found.watches is not None and found.watches < min(found.folders, 20_000):
        text = f"only {found.watches:,} of {found.folders:,} folders can be watched (fs.inotify.max_user_watches)"
        lines.append(_fault("few-watches", text))
    for example, pattern in found.unmatched:
        lines.append(_fault("unmatched-films", f"{example} is not uploaded: WATCH_FILTER_GLOBS has no {pattern}"))
    birth = "birth times" if found.has_birth_times else "no birth times"
    text = f"{found.file_system}, {birth}; {found.recordings:,} recordings, folders: {found.folders:,}"
    yield from lines or [Line("folder", Verdict.OK, text)]


def _disk(facts: Facts) -> Iterator[Line]:
    found = facts.folder
    if found is None or found.error or not found.total:
        yield Line("disk", Verdict.UNKNOWN, "the folder could not be examined")
        return
    share = found.free / found.total
    room = f"{found.free / 1024**3:.1f} GiB of {found.total / 1024**3:.1f} GiB are free"
    full_in = facts.status.disk.full_in_seconds if facts.status else None
    least = LOW_SHARE_OF_SMALL * found.total if found.total < SMALL_DISK else max(LOW_BYTES, LOW_SHARE * found.total)
    if share < FULL_SHARE:
        yield _fault("disk-full", room)
    elif found.free < least:
        yield _fault("disk-low", room)
    elif full_in is not None and full_in < _FULL_SOON_SECONDS:
        yield _fault("disk-fills", f"full in {span(full_in)} at the present rate; {room}")
    else:
        yield Line("disk", Verdict.OK, room)


def _recorders(facts: Facts) -> Iterator[Line]:
    lines = [*_changed_afterwards(facts), *_advised(facts)]
    if lines:
        yield from lines
    elif facts.redis is None or facts.redis.error:
        yield Line("recorders", Verdict.UNKNOWN, "Redis could not be asked")
    else:
        daemon = facts.status.daemon if facts.status else None
        known = f"nothing costly in {span(daemon.up_seconds)}" if daemon else "no daemon here to ask for more"
        yield Line("recorders", Verdict.OK, f"recordings rarely change after their end; {known}")


def _changed_afterwards(facts: Facts) -> Iterator[Line]:
    found = facts.redis
    if found is None or found.error:
        return
    if found.remembered >= _ENOUGH_RECORDINGS and found.sent_again > _CHANGED_SHARE * found.remembered:
        text = (
            f"{found.sent_again:,} of {found.remembered:,} recordings changed after they counted as finished "
            f"(STREAM_TIMEOUT_SECONDS={facts.settings.quiet_seconds:g})"
        )
        yield _fault("quiet-time-short", text)


def _advised(facts: Facts) -> Iterator[Line]:
    """What the running daemon knows since its start."""
    if facts.status is None or facts.status.daemon is None:
        return
    since = span(facts.status.daemon.up_seconds)
    for each in facts.status.advice:
        if each.kind in FAULTS:  # of a daemon of a later version it may be another
            yield _fault(each.kind, f"{each.recordings}: {each.text} in {since}", remedy=each.hint)


_ALL: tuple[Callable[[Facts], Iterator[Line]], ...] = (
    *(_settings, _daemon, _store, _rights, _lifecycle, _features, _versioning, _redis, _folder, _disk, _recorders),
)
