"""``cefmp4 verify`` on real stores: each way in which an object can be wrong has its line and its exit code."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from src.cli import answer
from src.verification import gathering, verification
from tests.harness import servers
from tests.harness.e2e.stage import Stage, set_stage
from tests.harness.stores.real import REAL, Lack
from tests.harness.unhurried import judge_no_machine

STORES = [
    pytest.param(name, marks=(getattr(pytest.mark, REAL[name].marker or ""),) if REAL[name].marker else ())
    for name in REAL
]
GOOD = ("intact.mp4", "cam 1/ünï.mp4")
FAULTS = ("flipped.mp4", "shorter.mp4", "missing.mp4", "stranger.mp4", "undescribed.mp4")
SIZE = 300_000


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    def verdicts(self) -> dict[str, str]:
        """By key; of the JSON."""
        return {one["key"]: one["verdict"] for one in json.loads(self.out)["findings"]}


class Operator:
    """Types commands with the settings of a stage."""

    def __init__(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
    ) -> None:
        self.capture = capfdbinary
        self._patch = monkeypatch
        self.set(**stage.daemon.settings)

    def set(self, **settings: str) -> None:
        for name, value in settings.items():
            self._patch.setenv(name, value)

    def types(self, *words: str) -> Answer:
        self.capture.readouterr()
        code = answer(words, lambda: pytest.fail("this would be the daemon"))
        out, err = self.capture.readouterr()
        return Answer(code, out.decode("utf-8", "surrogateescape"), err.decode())


@pytest.fixture(params=STORES)
def uploaded(request: pytest.FixtureRequest, tmp_path: Path, guarded_redis_server: str) -> Iterator[Stage]:
    """A bucket with recordings that a daemon uploaded, whole and proved; the daemon has stopped."""
    with set_stage(tmp_path, request.getfixturevalue(request.param), guarded_redis_server) as stage:
        for name in (*GOOD, *FAULTS):
            path = stage.folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(secrets.token_bytes(SIZE))
        stage.daemon.start()
        for name in (*GOOD, *FAULTS):
            stage.wait_until_done(stage.folder / name)
        stage.daemon.stop()
        yield stage


@pytest.fixture
def operator(uploaded: Stage, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Operator:
    monkeypatch.setattr(verification, "LOOKS_AGAIN_SECONDS", 0.05)
    monkeypatch.setattr(gathering, "PAUSES", (0.05,))
    monkeypatch.chdir(uploaded.home)
    return Operator(uploaded, monkeypatch, capfdbinary)


def _put(stage: Stage, key: str, body: bytes, **more: object) -> None:
    """Over the object, with the checksum of these bytes where the store keeps one."""
    algorithm = {} if Lack.CHECKSUM in REAL[stage.store.name].lacks else {"ChecksumAlgorithm": "CRC64NVME"}
    stage.bucket.client.put_object(Bucket=stage.bucket.name, Key=key, Body=body, **algorithm, **more)


def _flipped(body: bytes) -> bytes:
    return body[:1000] + bytes([body[1000] ^ 1]) + body[1001:]


def _do_harm(stage: Stage) -> None:
    bucket = stage.bucket
    ours = {key: bucket.metadata(key) for key in FAULTS}
    _put(stage, "flipped.mp4", _flipped(bucket.get("flipped.mp4")), Metadata=ours["flipped.mp4"])
    _put(stage, "shorter.mp4", bucket.get("shorter.mp4")[:-1], Metadata=ours["shorter.mp4"])
    bucket.client.delete_object(Bucket=bucket.name, Key="missing.mp4")
    _put(stage, "stranger.mp4", b"another program's")
    bucket.client.delete_object(Bucket=bucket.name, Key="undescribed.mp4.metadata.json")
    _put(stage, "not ours.mp4", b"of nobody")


def test_each_fault_has_its_line_and_its_exit_code_at_every_level(uploaded: Stage, operator: Operator) -> None:
    has_checksums = Lack.CHECKSUM not in REAL[uploaded.store.name].lacks
    good = operator.types("verify", "--json")
    assert good.code == (0 if has_checksums else 3), good
    assert set(good.verdicts().values()) == (set() if has_checksums else {"no checksum"})
    assert operator.types("verify", "--level", "download", "--without-redis").code == 0

    _do_harm(uploaded)
    sure = {"missing.mp4": "missing", "shorter.mp4": "shorter", "undescribed.mp4": "no document"}
    listed = operator.types("verify", "--level", "listing", "--json")
    assert listed.code == 1
    # A size that differs is looked at once more, and then shows whose the object is.
    assert listed.verdicts() == {**sure, "flipped.mp4": "unclear", "stranger.mp4": "stranger"}

    unknown = {} if has_checksums else dict.fromkeys(GOOD, "no checksum")
    wrong = {**sure, "flipped.mp4": "differs", "stranger.mp4": "stranger"}
    if not has_checksums:
        wrong["undescribed.mp4"] = "no checksum"
    told = operator.types("verify", "--json")
    assert (told.code, told.verdicts()) == (1, {**wrong, **unknown})
    alone = operator.types("verify", "--json", "--without-redis")
    assert (alone.code, alone.verdicts()) == (1, {**wrong, **unknown, "undescribed.mp4": "not checked"})
    fetched = operator.types("verify", "--json", "--level", "download")
    assert (fetched.code, fetched.verdicts()) == (1, {**wrong, "undescribed.mp4": "no document"})
    assert "level download: downloads 8 recordings, 1.4 MiB" in fetched.err

    shown = operator.types("verify", "*.mp4")
    assert "missing      missing.mp4: there is no object; its document describes 293.0 KiB\n" in shown.out
    assert "             → if the file still exists, touch FILE uploads it again" in shown.out
    for key, code in {
        "missing.mp4": 1,
        "shorter.mp4": 1,
        "flipped.mp4": 1,
        "stranger.mp4": 1,
        "no such.mp4": 3,
    }.items():
        assert operator.types("verify", key).code == code, key
    assert operator.types("verify", "intact.mp4").code == (0 if has_checksums else 3)


@pytest.mark.parametrize("uploaded", [STORES[0]], indirect=True)
def test_what_may_be_deleted_is_what_this_call_proved(uploaded: Stage, operator: Operator) -> None:
    folder, bucket = uploaded.folder, uploaded.bucket
    everything = operator.types("verify", "--safe-to-delete")
    assert (everything.code, everything.out.splitlines()) == (0, sorted(str(folder / n) for n in (*GOOD, *FAULTS)))

    _do_harm(uploaded)
    (folder / "cam 1/ünï.mp4").rename(folder / "renamed.mp4")  # the same file under another name
    growing = (folder / "intact.mp4").open("ab")
    (folder / "new.mp4").write_bytes(b"not uploaded")
    told = operator.types("verify", "--safe-to-delete")
    assert (told.code, told.out) == (1, f"{folder}/renamed.mp4\n"), "nothing else is on the standard output"
    assert "missing.mp4: there is no object" in told.err
    growing.write(b"more")
    growing.close()
    changed = operator.types("verify", "intact.mp4", "--level", "file")
    assert changed.code == 1
    assert (
        "changed      intact.mp4 (intact.mp4): the file has 293.0 KiB, which are not those of the object" in changed.out
    )

    # A bit that flips on the store's disk: the store still tells the checksum of what it once had.
    path = bucket.folder / "cam 1/ünï.mp4"
    path.write_bytes(_flipped(path.read_bytes()))
    at_its_word = operator.types("verify", "cam 1/*", "--safe-to-delete")
    assert (at_its_word.code, at_its_word.out) == (0, f"{folder}/renamed.mp4\n")
    read = operator.types("verify", "cam 1/*", "--safe-to-delete", "--level", "download")
    assert (read.code, read.out) == (1, "")
    assert "although the store reports the recording's checksum" in read.err

    odd = folder / "line\nbreak.mp4"
    shutil.copy2(folder / "renamed.mp4", folder / "cam 1/ünï.mp4")
    os.link(folder / "renamed.mp4", odd)
    lined = operator.types("verify", "cam 1/*", "--safe-to-delete")
    assert lined.out.splitlines() == sorted([f"{folder}/renamed.mp4", f"{folder}/cam 1/ünï.mp4"])
    assert "left out, because its name has a line break" in lined.err
    nulls = operator.types("verify", "cam 1/*", "--safe-to-delete", "-0")
    assert set(nulls.out.split("\0")) == {f"{folder}/renamed.mp4", f"{folder}/cam 1/ünï.mp4", str(odd), ""}


@pytest.mark.parametrize("uploaded", [STORES[-1]], indirect=True)
def test_an_object_in_an_archive_is_not_proved_by_a_download(uploaded: Stage, operator: Operator) -> None:
    bucket = uploaded.bucket
    for key in ("intact.mp4", "flipped.mp4.metadata.json"):
        metadata = bucket.metadata(key)
        _put(uploaded, key, bucket.get(key), Metadata=metadata, StorageClass="GLACIER")
    told = operator.types("verify", "--level", "download", "--json", "--without-redis")
    assert (told.code, told.verdicts()) == (3, {"intact.mp4": "unreadable", "flipped.mp4": "unreadable"})
    shown = operator.types("verify", "--level", "download", "--without-redis").out
    assert "intact.mp4: it is in class GLACIER, which cannot be read" in shown
    assert "flipped.mp4: its document is in an archive and cannot be read" in shown


@pytest.mark.parametrize("uploaded", [STORES[0]], indirect=True)
def test_samples_are_reproducible_and_wrong_usage_is_refused(uploaded: Stage, operator: Operator) -> None:
    one = operator.types("verify", "--sample", "3", "--json")
    body = json.loads(one.out)
    assert (one.code, body["chosen"], body["recordings"]) == (0, 3, 7)
    assert f"--sample 3 --seed {body['seed']}" in one.err
    _do_harm(uploaded)
    seeds = {
        seed: operator.types("verify", "--sample", "50%", "--seed", str(seed), "--json").verdicts() for seed in (1, 2)
    }
    assert seeds[1] == operator.types("verify", "--sample", "50%", "--seed", "1", "--json").verdicts()
    assert seeds[1] != seeds[2]
    for words, said in {
        ("--sample", "half"): "'half' is not a share such as 5%",
        ("--safe-to-delete", "--level", "checksum"): "use --level file or download",
        ("-0",): "--null is for --safe-to-delete",
        ("--level", "deep"): "is not one of",
    }.items():
        refused = operator.types("verify", *words)
        assert (refused.code, refused.out) == (2, "")
        assert said in refused.err, refused.err

    operator.set(REDIS_URL="redis://127.0.0.1:1/0")
    told = operator.types("verify", "intact.mp4")
    assert told.code == 0
    assert "because Redis does not answer" in told.out
    operator.set(WATCH_DIR=str(uploaded.home / "nowhere"))
    assert operator.types("verify", "--level", "file").code == 3
    operator.set(S3_ENDPOINT_URL="http://127.0.0.1:1")
    away = operator.types("verify")
    assert (away.code, away.out) == (3, "")
    assert away.err.startswith("The bucket cannot be listed: ")
    assert uploaded.store.secret_key not in away.err + told.out + told.err


@pytest.mark.parametrize("uploaded", [STORES[0]], indirect=True)
def test_every_command_of_the_page_before_you_trust_it_is_typed(
    uploaded: Stage, operator: Operator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In the order of the page, beside a running daemon; all is well, so each ends with 0."""
    page = (Path(__file__).resolve().parents[2] / "docs/how-to/before-you-trust-it.md").read_text(encoding="utf-8")
    typed = [line for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
    assert len(typed) >= 8
    with servers.start_redis(tmp_path / "redis", persistent=True) as persistent:
        judge_no_machine(monkeypatch)
        monkeypatch.setattr("src.cli.doctor._SECONDS", 100.0)
        operator.set(REDIS_URL=persistent.url)
        uploaded.daemon.start(REDIS_URL=persistent.url)  # what it finished is recognised by the bucket
        uploaded.daemon.wait_until_ready()
        told = {line: operator.types(*line.split()[1:]) for line in typed}
        assert {line: one.code for line, one in told.items() if one.code} == {}, told
        paths = told["cefmp4 verify --safe-to-delete"].out.splitlines()
        assert paths == sorted(str(uploaded.folder / name) for name in (*GOOD, *FAULTS))
