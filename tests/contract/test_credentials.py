"""Keys that the store refuses are asked for again: a rotated file, a profile that comes late, and never a restart."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from src.domain import PROBE_KEY
from src.exceptions import S3Unavailable
from src.retry import RetryPolicy
from src.s3_client import KeySettings, S3Client, credentials
from src.s3_client.credentials import RenewableCredentials
from tests.contract.test_object_store import settings_of
from tests.harness.asked_again import open_asked_again
from tests.harness.fakes.telemetry import FakeTelemetry
from tests.harness.faulty_s3 import FaultyS3, status
from tests.harness.servers import S3Server
from tests.harness.waiting import until

pytestmark = [pytest.mark.versitygw, pytest.mark.timeout(60)]
SECONDS = 30.0


@pytest.fixture(autouse=True)
def _asked_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "_SHORTEST_LIFE_SECONDS", 0.0)


@asynccontextmanager
async def _client(server: S3Server, keys: KeySettings, secrets: list[str] | None = None) -> AsyncIterator[S3Client]:
    settings = replace(settings_of(server), keys=keys)
    heard = secrets.append if secrets is not None else lambda _: None
    policy = RetryPolicy(0.05, 0.2)
    async with (
        asyncio.timeout(SECONDS),
        open_asked_again(settings, policy=policy, emit=FakeTelemetry().emit, on_secret=heard) as client,
    ):
        yield client


async def _is_refused(client: S3Client) -> str:
    with pytest.raises(S3Unavailable) as refused:
        await client.ping()
    assert refused.value.misconfigured
    return refused.value.hint


async def test_a_secret_that_is_replaced_in_its_file_is_used_from_then_on(versitygw: S3Server, tmp_path: Path) -> None:
    file, heard = tmp_path / "secret", list[str]()
    file.write_text("the old one\n")
    keys = KeySettings(versitygw.access_key, secret_access_key_file=file)
    async with _client(versitygw, keys, heard) as client:
        await _is_refused(client)
        waiting = asyncio.create_task(client.abilities())
        await asyncio.sleep(0.2)
        assert not waiting.done()
        file.write_text(f"{versitygw.secret_key}\n")
        await waiting
        await client.ping()
    assert set(heard) == {"the old one", versitygw.secret_key}


@pytest.mark.parametrize("content", [None, "", "\n", "\udcff"], ids=["no file", "empty", "blank", "no text"])
async def test_a_file_that_is_just_being_replaced_is_as_if_there_were_no_keys(
    versitygw: S3Server, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content.encode("utf-8", "surrogateescape"))
    async with _client(versitygw, KeySettings(versitygw.access_key, secret_access_key_file=file)) as client:
        with pytest.raises(S3Unavailable, match="no S3 credentials"):
            await client.ping()
        file.write_text(versitygw.secret_key)
        await client.abilities()


async def test_both_halves_may_come_from_files(versitygw: S3Server, tmp_path: Path) -> None:
    key, secret = tmp_path / "key", tmp_path / "secret"
    key.write_text(f"{versitygw.access_key}\n")
    secret.write_text(f"  {versitygw.secret_key}\r\n")
    keys = KeySettings(access_key_id_file=key, secret_access_key_file=secret)
    async with _client(versitygw, keys) as client:
        await client.abilities()


async def test_a_profile_that_comes_after_the_start_needs_no_restart(
    versitygw: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = tmp_path / "credentials"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(profile))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    async with _client(versitygw, KeySettings()) as client:
        assert "role" in await _is_refused(client)
        profile.write_text(_profile(versitygw.access_key, "an old secret"))
        await _is_refused(client)
        profile.write_text(_profile(versitygw.access_key, versitygw.secret_key))
        await client.abilities()


@pytest.fixture
def no_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine on which nothing gives credentials; the test says what does."""
    for name in os.environ:
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    return monkeypatch


class _GivesRoles(BaseHTTPRequestHandler):
    """What a container's agent, and a machine of Amazon's, answer when they are asked for a role's keys."""

    def do_PUT(self) -> None:
        self._answer("a session token of the metadata service", {"X-aws-ec2-metadata-token-ttl-seconds": "21600"})

    def do_GET(self) -> None:
        expires = (datetime.now(UTC) + timedelta(hours=6)).strftime("%Y-%m-%dT%H:%M:%SZ")
        keys = {"AccessKeyId": "key-of-a-role", "SecretAccessKey": "s", "Token": "t", "Expiration": expires}
        if self.path == "/latest/meta-data/iam/security-credentials/":
            self._answer("recorder")
        else:
            self._answer(json.dumps({"Code": "Success", **keys}), {"Content-Type": "application/json"})

    def _answer(self, text: str, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(200)
        for name, value in {**(headers or {}), "Content-Length": str(len(text))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Not into the tests' output."""


@pytest.fixture
def giver_of_roles() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _GivesRoles) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("who", ["container", "machine"])
async def test_the_role_of_a_container_or_machine_is_used(
    who: str, giver_of_roles: str, no_keys: pytest.MonkeyPatch
) -> None:
    if who == "container":
        no_keys.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{giver_of_roles}/role")
    else:
        no_keys.delenv("AWS_EC2_METADATA_DISABLED")
        no_keys.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", giver_of_roles)
    frozen = await RenewableCredentials(KeySettings()).get_frozen_credentials()
    assert (frozen.access_key, frozen.secret_key, frozen.token) == ("key-of-a-role", "s", "t")


async def test_a_web_identity_is_exchanged_for_keys(
    moto: S3Server, tmp_path: Path, no_keys: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("who I am")
    no_keys.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    no_keys.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/recorder")
    no_keys.setenv("AWS_ENDPOINT_URL_STS", moto.endpoint)
    frozen = await RenewableCredentials(KeySettings()).get_frozen_credentials()
    assert frozen.access_key and frozen.secret_key and frozen.token


def _profile(key_id: str, secret: str) -> str:
    return f"[default]\naws_access_key_id = {key_id}\naws_secret_access_key = {secret}\n"


async def test_fifty_streams_that_are_refused_at_once_ask_the_source_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(credentials, "_SHORTEST_LIFE_SECONDS", 60.0)
    file = tmp_path / "secret"
    file.write_text("first")
    renewable = RenewableCredentials(KeySettings("key", secret_access_key_file=file))
    await asyncio.gather(*(renewable.get_frozen_credentials() for _ in range(50)))
    file.write_text("second")
    for _ in range(50):
        renewable.refused()
    assert (await renewable.get_frozen_credentials()).secret_key == "first"
    monkeypatch.setattr(credentials, "_SHORTEST_LIFE_SECONDS", 0.0)
    renewable.refused()
    assert (await renewable.get_frozen_credentials()).secret_key == "second"


async def test_a_trial_of_the_probe_that_is_called_a_wrong_signature_says_nothing_of_the_credentials(
    versitygw: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Google's store answers the checksum of a part so at each trial: the keys would be asked for all the time."""
    refused: list[int] = []
    monkeypatch.setattr(RenewableCredentials, "refused", lambda _: refused.append(1))
    with FaultyS3(versitygw.port) as proxy:
        rule = proxy.on("UploadPart", status(403, "SignatureDoesNotMatch"), key=PROBE_KEY, times=None)
        elsewhere = proxy.on("HeadObject", status(403, "SignatureDoesNotMatch"), key="take.mp4")
        settings = replace(settings_of(versitygw), endpoint_url=proxy.url)
        policy = RetryPolicy(0.05, 0.2)
        async with (
            asyncio.timeout(SECONDS),
            open_asked_again(settings, policy=policy, emit=FakeTelemetry().emit) as client,
        ):
            await client.create_upload("k", {})
            await until(lambda: rule.happened >= 3)
            assert refused == []
            await client.head("take.mp4")
            assert elsewhere.happened == 1 and refused == [1]
