"""``cefmp4 doctor``: each fault, made in the real service, is named with its remedy, and without it nothing is said."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape

import pytest
import redis

from src.cli import answer
from src.cli import doctor as command
from src.doctor import FAULTS, WITHOUT, Verdict
from src.domain import Identity, Marker, PartSchedule, Right, Snapshot
from src.redis_client.format import encode_marker
from src.settings import without_user_info
from src.status import Costly, view_of
from tests.harness import canary, servers, statuses
from tests.harness.doors import Desk, doors_of
from tests.harness.e2e.bucket import PROBE, Bucket
from tests.harness.faulty_s3 import Exchange, Fault, FaultyS3, delay, edited, error_xml, http_answer, says, status
from tests.harness.unhurried import judge_no_machine
from tests.unit.test_advice import CASES

ROOT = Path(__file__).resolve().parents[2]
DENIED = status(403, "AccessDenied")
BEGAN = datetime(2026, 11, 1, tzinfo=UTC)


@dataclass
class World:
    """A healthy set-up, and how a test makes it ill. ``prefix``: words before the command, such as ``unshare``."""

    home: Path
    store: servers.S3Server
    bucket: Bucket
    redis: Any
    environment: dict[str, str]
    request: pytest.FixtureRequest
    stack: ExitStack
    arguments: list[str] = field(default_factory=list)
    prefix: list[str] = field(default_factory=list)
    judges_speed: bool = False
    seconds: float = 100.0

    @property
    def folder(self) -> Path:
        return Path(self.environment["WATCH_DIR"])

    def set(self, **settings: str) -> None:
        self.environment |= settings

    def on(self, store: str) -> None:
        """Another store, with an empty bucket."""
        self.store = self.request.getfixturevalue(store)
        self.bucket = Bucket(self.store, self.bucket.name)
        self.bucket.client.create_bucket(Bucket=self.bucket.name)
        self.set(S3_ENDPOINT_URL=self.store.endpoint, S3_SECRET_ACCESS_KEY=self.store.secret_key)

    def proxy(self) -> FaultyS3:
        proxy = self.stack.enter_context(FaultyS3(self.store.port))
        self.set(S3_ENDPOINT_URL=proxy.url)
        return proxy

    def types(self, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
        """Exit code and output of ``doctor``, in this process or, after a prefix, in one of its own."""
        return self.answers(patch, capture, "doctor", *words)

    def answers(self, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
        """The same for any command."""
        asked = [words[0], *self.arguments, *words[1:]]
        if self.prefix:
            typed = [*self.prefix, sys.executable, "-m", "src", *asked]
            environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **self.environment}
            done = subprocess.run(
                typed, env=environment, cwd=self.home, capture_output=True, text=True, timeout=120, check=False
            )
            return done.returncode, done.stdout + done.stderr
        with patch.context() as inside:
            for name, value in self.environment.items():
                inside.setenv(name, value)
            inside.chdir(self.home)
            judge_no_machine(inside, speed=self.judges_speed)
            inside.setattr(command, "_SECONDS", self.seconds)
            capture.readouterr()
            code = answer(asked, lambda: pytest.fail("this would be the daemon"))
            told = capture.readouterr()
            return code, told.out + told.err


@pytest.fixture(scope="module")
def persistent_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.RedisServer]:
    """With a password that nobody may ever tell."""
    with servers.start_redis(tmp_path_factory.mktemp("redis"), persistent=True, password=canary.secret()) as server:
        yield server


@pytest.fixture
def world(
    request: pytest.FixtureRequest, tmp_path: Path, versitygw: servers.S3Server, persistent_redis: servers.RedisServer
) -> Iterator[World]:
    folder = tmp_path / "recordings"
    folder.mkdir()
    bucket = Bucket(versitygw, f"doctor-{secrets.token_hex(6)}")
    bucket.client.create_bucket(Bucket=bucket.name)
    environment = {
        "WATCH_DIR": str(folder),
        "S3_ENDPOINT_URL": versitygw.endpoint,
        "S3_ACCESS_KEY_ID": versitygw.access_key,
        "S3_SECRET_ACCESS_KEY": versitygw.secret_key,
        "S3_BUCKET_NAME": bucket.name,
        "S3_KEY_PREFIX": "cam/",
        "REDIS_URL": persistent_redis.url,
        "REDIS_KEY_PREFIX": f"{bucket.name}:",
    }
    with ExitStack() as stack:
        client = stack.enter_context(redis.Redis.from_url(persistent_redis.url))
        yield World(tmp_path, versitygw, bucket, client, environment, request, stack)


# -- the faults --------------------------------------------------------------------------------------------------------


def _open_env_file(world: World) -> None:
    path = world.home / "cefmp4.env"
    path.write_text(f"S3_SECRET_ACCESS_KEY={world.environment.pop('S3_SECRET_ACCESS_KEY')}\n")
    path.chmod(0o644)
    world.arguments += ["--env-file", str(path)]


def _clock(seconds: float) -> Callable[[World], None]:
    def seed(world: World) -> None:
        told = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
        by = f"Date: {told}".encode()
        world.proxy().on("ListObjectsV2", edited(rb"(?i)\bdate: [^\r]+", by, name="another clock"), times=None)

    return seed


def _slowly(world: World) -> None:
    world.judges_speed = True
    world.proxy().on("ListObjectsV2", delay(1.6))


def _refuse(*operations: str) -> Callable[[World], None]:
    def seed(world: World) -> None:
        proxy = world.proxy()
        for operation in operations:
            proxy.on(operation, DENIED, times=None)

    return seed


def _rule(**action: Any) -> Callable[[World], None]:
    def seed(world: World) -> None:
        world.on("moto")
        rules = [
            {"ID": "elsewhere", "Status": "Enabled", "Filter": {"Prefix": "other/"}, "Expiration": {"Days": 1}},
            {"ID": "off", "Status": "Disabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 2}},
            {"ID": "cleanup", "Status": "Enabled", "Filter": {"Prefix": "cam"}, **action},
        ]
        world.bucket.client.put_bucket_lifecycle_configuration(
            Bucket=world.bucket.name, LifecycleConfiguration={"Rules": rules}
        )

    return seed


def _versions(world: World) -> None:
    world.on("moto")
    world.bucket.client.put_bucket_versioning(Bucket=world.bucket.name, VersioningConfiguration={"Status": "Enabled"})


def _redis_with(*commands: tuple[Any, ...], back: tuple[tuple[Any, ...], ...] = ()) -> Callable[[World], None]:
    def seed(world: World) -> None:
        for command_ in commands:
            world.redis.execute_command(*(str(word).replace("{prefix}", world.bucket.name) for word in command_))
        for command_ in back:
            world.stack.callback(world.redis.execute_command, *command_)

    return seed


def _without_scripts(world: World) -> None:
    secret = canary.secret()
    world.redis.acl_setuser(
        "reader", enabled=True, passwords=[f"+{secret}"], keys=["*"], categories=["+@all", "-@scripting"]
    )
    world.stack.callback(world.redis.acl_deluser, "reader")
    url = world.environment["REDIS_URL"]
    world.set(REDIS_URL=f"redis://reader:{quote(secret, safe='')}@{url.rpartition('@')[2]}")


def _nearly_full_redis(world: World) -> None:
    used = world.redis.info("memory")["used_memory"]
    world.redis.config_set("maxmemory", int(used * 1.1))
    world.stack.callback(world.redis.config_set, "maxmemory", 0)


def _changed_afterwards(world: World) -> None:
    for number in range(40):
        identity = Identity(number + 1, 5)
        marker = Marker(
            stream_id=f"{number:032x}",
            path=f"{number}.mp4",
            bucket=world.bucket.name,
            key=f"cam/{number}.mp4",
            snapshot=Snapshot(identity, 10, 1, 1),
            crc64=1,
            etag="e",
            schedule=PartSchedule(5 * 1024 * 1024),
            started_at=BEGAN,
            completed_at=BEGAN + timedelta(hours=1),
            replacements=number % 2,
        )
        world.redis.hset(
            f"{world.bucket.name}:streams:markers", f"{identity.inode}:{identity.birth_ns}", encode_marker(marker)
        )


def _in_a_namespace(script: str) -> Callable[[World], None]:
    """As root of a user namespace: there a mount and a limit change nothing outside."""

    def seed(world: World) -> None:
        tried = subprocess.run(["unshare", "-Urm", "true"], capture_output=True, check=False)
        if tried.returncode:
            pytest.skip("left out: user namespaces are not allowed here (unshare -Urm)")
        world.prefix = ["unshare", "-Urm", "sh", "-ec", f'{script}; exec "$@"', str(world.folder)]

    return seed


def _daemons(*changes: dict[str, Any]) -> Callable[[World], None]:
    """Daemons of this machine; the first has the settings of the world, the others differ by ``changes``."""

    def seed(world: World) -> None:
        given = world.environment
        first = Desk(
            world.folder,
            given["REDIS_KEY_PREFIX"],
            f"{given['S3_BUCKET_NAME']}/{given['S3_KEY_PREFIX']}",
            without_user_info(given["REDIS_URL"]),
        )
        desks = []
        for number, change in enumerate(changes):
            (other := world.home / f"other{number}").mkdir()
            change = {name: other if value == "other" else value for name, value in change.items()}
            desks.append(replace(first, **change))
        world.stack.enter_context(doors_of(desks))

    return seed


def _advises(kind: Costly) -> Callable[[World], None]:
    return _daemons({"view": view_of(statuses.facts([], recorders=[CASES[kind][0]]))})


_FILL = 'mount -t tmpfs -o size=4m none "$0"; head -c {bytes} /dev/zero 2>/dev/null > "$0/filler" || :'
SEEDS: dict[str, Callable[[World], None]] = {
    "env-file-open": _open_env_file,
    "port-open": lambda world: world.set(PROM_HOST="0.0.0.0"),
    "page-open": lambda world: world.set(STATUS_PAGE="open", PROM_HOST="0.0.0.0"),
    "two-daemons": _daemons({}, {"group": "another"}),
    "shared-redis-prefix": _daemons({}, {"folder": "other", "keys": "another"}),
    "shared-keys": _daemons({}, {"folder": "other", "redis": "another"}),
    "no-ffprobe": lambda world: world.set(FFPROBE_PATH="/nowhere/ffprobe"),
    "store-away": lambda world: world.set(S3_ENDPOINT_URL="http://127.0.0.1:1"),
    "credentials-refused": lambda world: world.set(S3_SECRET_ACCESS_KEY=canary.secret()),
    "bucket-missing": lambda world: world.set(S3_BUCKET_NAME="no-such-bucket"),
    "clock-off": _clock(-120),
    "clock-wrong": _clock(3600),
    "store-slow": _slowly,
    "may-not-list": _refuse("ListObjectsV2", "HeadBucket"),
    "may-not-list-uploads": _refuse("ListMultipartUploads"),
    "may-not-put": _refuse("CreateMultipartUpload", "UploadPart", "PutObject"),
    "may-not-get": _refuse("GetObject", "HeadObject"),
    "may-not-list-parts": _refuse("ListParts"),
    "may-not-abort": _refuse("AbortMultipartUpload"),
    "rule-aborts": _rule(AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1}),
    "rule-deletes": _rule(Expiration={"Days": 30}),
    "rule-archives": _rule(Transitions=[{"Days": 10, "StorageClass": "GLACIER"}]),
    "store-drops-uploads": lambda world: world.on("minio"),
    "versions-kept": _versions,
    "no-conditions": lambda world: world.on("moto"),
    "no-checksums": lambda world: world.on("moto"),
    "redis-away": lambda world: world.set(REDIS_URL="redis://127.0.0.1:1/0"),
    "redis-refuses": _without_scripts,
    "redis-evicts": _redis_with(
        ("CONFIG", "SET", "maxmemory-policy", "allkeys-lru"),
        back=(("CONFIG", "SET", "maxmemory-policy", "noeviction"),),
    ),
    "redis-replica": _redis_with(("REPLICAOF", "127.0.0.1", "1"), back=(("REPLICAOF", "NO", "ONE"),)),
    "redis-forgets": _redis_with(("CONFIG", "SET", "appendonly", "no"), back=(("CONFIG", "SET", "appendonly", "yes"),)),
    "redis-full": _nearly_full_redis,
    "recordings-failed": _redis_with(("SADD", "{prefix}:streams:failed", "f" * 32)),
    "folder-missing": lambda world: world.set(WATCH_DIR=str(world.home / "nowhere")),
    "no-leases": _in_a_namespace('mount -t ramfs none "$0"'),
    "few-watches": _in_a_namespace(
        'for n in 1 2 3 4 5 6 7 8; do mkdir "$0/$n"; done; echo 5 > /proc/sys/user/max_inotify_watches'
    ),
    "unmatched-films": lambda world: (world.folder / "show.mkv").touch(),
    "disk-full": _in_a_namespace(_FILL.format(bytes=8 * 1024**2)),
    "disk-low": _in_a_namespace(_FILL.format(bytes=4 * 1024**2 - 100 * 1024)),
    "disk-fills": _daemons({"view": statuses.state([statuses.growing("a.mp4")], disk_full=3600.0)}),
    "quiet-time-short": _changed_afterwards,
    **{str(kind): _advises(kind) for kind in Costly},
}
#: What each store tells of itself when all is well: the daemon does without, and says how.
EXPECTED = {
    "versitygw": set[str](),
    "minio": {"store-drops-uploads"},
    "moto": {"no-conditions", "no-checksums"},
}


def _named(out: str) -> dict[str, dict[str, str]]:
    """The lines with a fault, by its name."""
    return {line["fault"]: line for line in json.loads(out)["lines"] if line["fault"]}


def test_there_are_at_least_twenty_five_faults_and_each_is_seeded() -> None:
    assert SEEDS.keys() == FAULTS.keys()
    assert len(SEEDS) >= 25


@pytest.mark.parametrize(
    "store", [pytest.param(n, marks=[getattr(pytest.mark, n)] if n != "moto" else []) for n in EXPECTED]
)
def test_a_healthy_set_up_has_no_failure_and_only_the_lines_that_its_store_is_known_for(
    store: str, world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if store != "versitygw":
        world.on(store)
    code, out = world.types(monkeypatch, capfd, "--json")
    lines = json.loads(out)["lines"]
    assert (code, set(_named(out))) == (0, EXPECTED[store]), out
    assert [line for line in lines if line["verdict"] in ("fail", "unknown")] == []
    assert world.bucket.objects() == [f"cam/{PROBE}"], "only the probe's object is left"
    assert world.bucket.uploads_at(f"cam/{PROBE}") == []
    assert not world.redis.keys(f"{world.bucket.name}:*"), "nothing is written to Redis"
    strict, text = world.types(monkeypatch, capfd, "--strict")
    assert strict == (1 if EXPECTED[store] else 0)
    assert text.endswith(
        f"no failures, {len(EXPECTED[store]) or 'no'} warning{'' if len(EXPECTED[store]) == 1 else 's'}\n"
    )


@pytest.mark.parametrize("fault", SEEDS)
def test_each_fault_is_named_with_its_remedy(
    fault: str, world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if fault == "store-drops-uploads":
        servers.find_tool("minio")
    SEEDS[fault](world)
    code, out = world.types(monkeypatch, capfd, "--json")
    named = _named(out)
    assert fault in named, out
    expected = EXPECTED[world.store.name] | {fault} | ({"store-slow"} if world.prefix else set())
    assert named.keys() - expected == set(), "nothing else is wrong"
    line = named[fault]
    assert (line["check"], line["verdict"].upper()) == (FAULTS[fault].check, FAULTS[fault].verdict)
    assert line["remedy"]
    is_away = fault in ("store-away", "redis-away")
    assert code == (3 if is_away else int(FAULTS[fault].verdict is Verdict.FAIL))
    assert not canary.is_told(out)


def _echo() -> Fault:
    """A store that refuses, and repeats in its message all that it was sent: headers, and a presigned address."""

    async def happen(exchange: Exchange) -> None:
        await exchange.body()
        sent = " ".join(f"{name}: {value}" for name, value in exchange.request.headers.items())
        signed = f"https://store.example/k?X-Amz-Security-Token={canary.secret()}&X-Amz-Signature={canary.CANARY}"
        text = f"{sent}; see {signed} and http://anna:{canary.secret()}@store.example/"
        body = error_xml("AccessDenied").replace(b"injected", escape(text).encode())
        await exchange.answer(http_answer(403, b"" if exchange.request.method == "HEAD" else body, {}))

    return Fault("an echo", happen)


def _repeats_what_it_was_sent(world: World) -> None:
    """To a client whose keys, with a session token, are not in the settings."""
    world.environment.pop("S3_ACCESS_KEY_ID")
    world.environment.pop("S3_SECRET_ACCESS_KEY")
    world.set(AWS_ACCESS_KEY_ID="AKIA", AWS_SECRET_ACCESS_KEY=canary.secret(), AWS_SESSION_TOKEN=canary.secret())
    world.proxy().on(None, _echo(), times=None)


def _repeats_what_it_knows(world: World) -> None:
    """The secret of the settings, in every message."""
    text = (
        b"<Message>your secret " + escape(world.environment["S3_SECRET_ACCESS_KEY"]).encode() + b" is wrong</Message>"
    )
    body = error_xml("InvalidRequest").replace(b"<Message>injected</Message>", text)
    world.proxy().on(None, says(body, status=400, name="another echo"), times=None)


#: What may tell a secret beside the faults: everything with secrets in it.
ECHOES: dict[str, Callable[[World], None]] = {
    "a store that repeats what it was sent": _repeats_what_it_was_sent,
    "a store that repeats what it knows": _repeats_what_it_knows,
    "an address with a password": lambda world: world.set(
        S3_ENDPOINT_URL=world.store.endpoint.replace("://", f"://anna:{quote(canary.secret(), safe='')}@")
    ),
    "an address that is signed": lambda world: world.set(
        S3_ENDPOINT_URL=f"{world.store.endpoint}/?X-Amz-Signature={quote(canary.secret(), safe='')}"
    ),
    "a Redis that knows no such password": lambda world: world.set(
        REDIS_URL=world.environment["REDIS_URL"].replace("@", f"{canary.CANARY}@")
    ),
}
#: Every output of every command that says anything of store, Redis, folder or settings.
OF_DOCTOR = (("doctor",),)  # its JSON is looked through with the fault's remedy
OF_OTHERS = (
    *(("doctor", "--json"), ("doctor", "--policy"), ("verify",), ("verify", "--json"), ("verify", "--safe-to-delete")),
    *(("status",), ("status", "--json"), ("config",), ("config", "--json")),
    *(("wait", "--timeout", "1s"), ("retry", "--all"), ("give-up", "abcd")),
)
#: What else the commands meet: the other checks are of doctor alone.
MET_BY_ALL = ("settings", "daemon", "store", "rights", "redis", "folder")
#: Their faults are in the folder of another process's namespace, which the other commands cannot see.
_ALONE = ("no-leases", "few-watches", "disk-full", "disk-low")


@pytest.mark.parametrize("fault", [*(name for name in SEEDS if name not in _ALONE), *ECHOES])
def test_no_output_of_any_command_tells_a_secret(
    fault: str, world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if fault == "store-drops-uploads":
        servers.find_tool("minio")
    path = world.home / "password"
    path.write_text(canary.secret())
    path.chmod(0o600)
    world.set(STATUS_PASSWORD_FILE=str(path))
    world.bucket.client.put_object(Bucket=world.bucket.name, Key="cam/a.mp4", Body=b"film")
    ({**SEEDS, **ECHOES})[fault](world)
    monkeypatch.setattr("src.verification.gathering.PAUSES", (0.01,))
    monkeypatch.setattr("src.verification.verification.LOOKS_AGAIN_SECONDS", 0.01)
    met_by_all = fault in ECHOES or FAULTS[fault].check in MET_BY_ALL
    for words in (*OF_DOCTOR, *(OF_OTHERS if met_by_all else ())):
        code, out = world.answers(monkeypatch, capfd, *words)
        assert not canary.is_told(out), f"{words}: {out}"
        assert "Traceback" not in out, f"{words}: {out}"
        assert code in (0, 1, 2, 3), f"{words}: {out}"


def test_the_password_of_the_page_is_a_secret_that_others_may_not_read(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = world.home / "password"
    path.write_text(f"{canary.secret()}\n")
    world.set(STATUS_PASSWORD_FILE=str(path))
    for mode, faults in ((0o640, set()), (0o644, {"env-file-open"})):
        path.chmod(mode)
        code, out = world.types(monkeypatch, capfd, "--json")
        assert (code, set(_named(out))) == (0, faults)
    assert _named(out)["env-file-open"]["remedy"] == f"chmod 600 {path}"


def test_the_text_says_the_fault_and_then_what_to_do(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    _refuse("ListMultipartUploads")(world)
    code, out = world.types(monkeypatch, capfd)
    said = f"s3:ListBucketMultipartUploads is missing: {WITHOUT[Right.LIST_UPLOADS]}"
    assert code == 1
    assert f"rights      FAIL    {said}\n                    → cefmp4 doctor --policy prints" in out
    assert out.endswith("1 failure, no warnings\n")


def test_the_least_redis_user_of_the_documents_is_healthy(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if "ACL SETUSER cefmp4" in line)
    secret = canary.secret()
    words = line.split()[3:]
    words = [word.replace(">secret", f">{secret}").replace("~cam7:", f"~{world.bucket.name}:") for word in words]
    world.redis.execute_command("ACL", "SETUSER", "least", *words)
    world.stack.callback(world.redis.acl_deluser, "least")
    world.set(REDIS_URL=f"redis://least:{quote(secret, safe='')}@{world.environment['REDIS_URL'].rpartition('@')[2]}")
    code, out = world.types(monkeypatch, capfd, "--json")
    assert (code, _named(out)) == (0, {})
    (line_,) = (one for one in json.loads(out)["lines"] if one["check"] == "redis")
    assert line_["text"].endswith("its configuration may not be read")


def test_the_policy_has_the_real_bucket_and_prefix_and_asks_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    world.set(S3_ENDPOINT_URL="http://127.0.0.1:1", REDIS_URL="redis://127.0.0.1:1/0", S3_KEY_PREFIX="cam/?/")
    code, out = world.types(monkeypatch, capfd, "--policy")
    assert code == 0
    bucket, recordings = json.loads(out)["Statement"]
    assert bucket["Resource"] == f"arn:aws:s3:::{world.bucket.name}"
    assert recordings["Resource"] == f"arn:aws:s3:::{world.bucket.name}/cam/${{?}}/*"
    asked = {*bucket["Action"], *recordings["Action"]}
    assert "s3:DeleteObject" not in asked
    assert len(asked) == 6


def test_what_is_not_answered_in_time_is_not_determined(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    world.seconds = 5.0
    world.proxy().on("ListObjectsV2", delay(60), times=None)
    code, out = world.types(monkeypatch, capfd, "--json")
    lines = {line["check"]: line for line in json.loads(out)["lines"]}
    assert (code, lines["store"]["verdict"], lines["redis"]["verdict"]) == (0, "unknown", "ok")
    assert world.types(monkeypatch, capfd, "--strict")[0] == 1
