"""The table of faults: the check that finds each, how bad it is, and what to do. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from ..status import Costly


class Verdict(StrEnum):
    """How bad a line is."""

    OK = "ok"
    UNKNOWN = "unknown"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Fault:
    """``remedy``: what to type or to set."""

    check: str
    verdict: Verdict
    remedy: str


_POLICY = "cefmp4 doctor --policy prints the rights that are needed"
FAULTS: Mapping[str, Fault] = {
    "env-file-open": Fault("settings", Verdict.WARN, "chmod 600 {file}"),
    "port-open": Fault(
        "settings", Verdict.WARN, "set PROM_HOST=127.0.0.1, or allow only the monitoring host in the firewall"
    ),
    "page-open": Fault(
        "settings", Verdict.WARN, "set STATUS_PASSWORD_FILE, or STATUS_PAGE=auto, which serves the page to this machine"
    ),
    "no-ffprobe": Fault("settings", Verdict.WARN, "install ffmpeg, or set FFPROBE_PATH"),
    "two-daemons": Fault("daemon", Verdict.WARN, "stop one of them: kill {pid}"),
    "shared-redis-prefix": Fault("daemon", Verdict.FAIL, "give each daemon a REDIS_KEY_PREFIX of its own"),
    "shared-keys": Fault("daemon", Verdict.WARN, "give each daemon an S3_KEY_PREFIX of its own"),
    "store-away": Fault("store", Verdict.FAIL, "start the store, or correct S3_ENDPOINT_URL"),
    "credentials-refused": Fault("store", Verdict.FAIL, "correct S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY"),
    "bucket-missing": Fault(
        "store", Verdict.WARN, "create the bucket, or correct S3_BUCKET_NAME; the daemon creates it if it may"
    ),
    "clock-off": Fault("store", Verdict.WARN, "synchronise this machine's clock (timedatectl set-ntp true)"),
    "clock-wrong": Fault("store", Verdict.FAIL, "synchronise this machine's clock (timedatectl set-ntp true)"),
    "store-slow": Fault("store", Verdict.WARN, "check the network and the load of the store"),
    "may-not-list": Fault("rights", Verdict.FAIL, _POLICY),
    "may-not-list-uploads": Fault("rights", Verdict.FAIL, _POLICY),
    "may-not-put": Fault("rights", Verdict.FAIL, _POLICY),
    "may-not-get": Fault("rights", Verdict.FAIL, _POLICY),
    "may-not-list-parts": Fault("rights", Verdict.FAIL, _POLICY),
    "may-not-abort": Fault("rights", Verdict.FAIL, _POLICY),
    "rule-aborts": Fault(
        "lifecycle", Verdict.WARN, "let the rule abort uploads after {days} days or more, or exclude the prefix"
    ),
    "rule-deletes": Fault("lifecycle", Verdict.WARN, "remove the expiration, unless recordings may be deleted"),
    "rule-archives": Fault(
        "lifecycle", Verdict.WARN, "exclude *.metadata.json and the prefix, or expect to restore before reading"
    ),
    "store-drops-uploads": Fault("lifecycle", Verdict.WARN, "{remedy}"),
    "no-conditions": Fault(
        "conditions", Verdict.WARN, "let no other program write under this prefix; the key is checked just before"
    ),
    "versions-kept": Fault(
        "versioning", Verdict.WARN, "add NoncurrentVersionExpiration to the lifecycle rules, such as 30 days"
    ),
    "no-checksums": Fault("checksums", Verdict.WARN, "verify with cefmp4 verify --level download"),
    "redis-away": Fault("redis", Verdict.FAIL, "start Redis, or correct REDIS_URL"),
    "redis-refuses": Fault(
        "redis", Verdict.FAIL, "give the Redis user the keys ~{prefix}* and the commands that docs/operations.md lists"
    ),
    "redis-evicts": Fault("redis", Verdict.FAIL, "redis-cli config set maxmemory-policy noeviction"),
    "redis-replica": Fault("redis", Verdict.FAIL, "let REDIS_URL name the primary"),
    "redis-forgets": Fault("redis", Verdict.WARN, "redis-cli config set appendonly yes"),
    "redis-full": Fault("redis", Verdict.WARN, "raise maxmemory, or lower MARKER_MAX"),
    "recordings-failed": Fault(
        "redis", Verdict.WARN, "docs/how-to/failed-recordings.md says what to do for each reason"
    ),
    "folder-missing": Fault("folder", Verdict.FAIL, "mount or create the folder, or correct WATCH_DIR"),
    "no-leases": Fault(
        "folder", Verdict.WARN, "set FINISH_EARLY_SECONDS=off: every recording waits for STREAM_TIMEOUT_SECONDS"
    ),
    "few-watches": Fault(
        "folder", Verdict.FAIL, "sysctl fs.inotify.max_user_watches=524288, or set WATCH_FORCE_POLLING=true"
    ),
    "unmatched-films": Fault("folder", Verdict.WARN, "add the pattern to WATCH_FILTER_GLOBS"),
    "disk-full": Fault("disk", Verdict.FAIL, "free space now: recorders stop, or cut their files"),
    "disk-low": Fault("disk", Verdict.WARN, "free space: cefmp4 verify --safe-to-delete lists what may go"),
    "disk-fills": Fault("disk", Verdict.WARN, "free space: cefmp4 verify --safe-to-delete lists what may go"),
    "quiet-time-short": Fault("recorders", Verdict.WARN, "raise STREAM_TIMEOUT_SECONDS above the recorder's pauses"),
    **{str(kind): Fault("recorders", Verdict.WARN, "{remedy}") for kind in Costly},
}
#: In the order of the output.
CHECKS = tuple(dict.fromkeys(fault.check for fault in FAULTS.values()))
