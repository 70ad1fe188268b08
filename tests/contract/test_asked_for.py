"""The check at the end of each session fails for what the policy does not grant, by both of its witnesses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from src.doctor import OPTIONAL
from src.domain import Right
from tests.harness.asked_for import ACTIONS, beside_the_policy, granted, operation

ROOT = Path(__file__).resolve().parents[2]
PROXY = """
import urllib.request
from tests.harness.faulty_s3 import FaultyS3, status

def test_asks():
    with FaultyS3(1) as proxy:
        proxy.on(None, status(200), times=None)
        headers = {headers!r}
        asked = urllib.request.Request(proxy.url + {target!r}, method={method!r}, headers=headers)
        urllib.request.urlopen(asked).read()
"""
STORE = """
import boto3
from botocore.config import Config

def test_asks(versitygw):
    client = boto3.client(
        "s3", endpoint_url=versitygw.endpoint, region_name=versitygw.region,
        aws_access_key_id=versitygw.access_key, aws_secret_access_key=versitygw.secret_key,
        config=Config(user_agent={agent!r}, s3={{"addressing_style": "path"}}),
    )
    client.create_bucket(Bucket="bucket-of-a-test")
    client.{call}
"""
OURS = {"User-Agent": "cefmp4/9"}


def _session(folder: Path, test: str, *options: str) -> tuple[int, str]:
    """Exit code and output of a session of its own, with this suite's ``conftest``."""
    (folder / "test_inner.py").write_text(test)
    typed = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider", "-c", "/dev/null"]
    done = subprocess.run(
        [*typed, "--rootdir", str(folder), *options, str(folder / "test_inner.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("method", "target", "headers", "missing"),
    [
        ("GET", "/bucket/key", OURS, ""),
        ("GET", "/bucket/key?tagging", OURS, "GET key?tagging"),
        ("GET", "/bucket/key?versionId=1", OURS, "GET key?versionId"),
        ("DELETE", "/bucket/key", OURS, "DELETE key?"),
        ("PUT", "/bucket/key", {**OURS, "X-Amz-Acl": "private"}, "s3:PutObjectAcl"),
        ("DELETE", "/bucket/key", {"User-Agent": "a test's own client"}, ""),
    ],
)
def test_a_session_whose_proxy_saw_something_beside_the_policy_fails(
    tmp_path: Path, method: str, target: str, headers: dict[str, str], missing: str
) -> None:
    code, out = _session(tmp_path, PROXY.format(method=method, target=target, headers=headers))
    assert code == (1 if missing else 0), out
    assert "1 passed" in out, "the test itself is good"
    assert ("not granted by doctor --policy" in out) is bool(missing)
    assert missing in out


def test_a_worker_checks_its_own_share(tmp_path: Path) -> None:
    test = PROXY.format(method="DELETE", target="/bucket/key", headers=OURS)
    code, out = _session(tmp_path, test, "-n", "2")
    assert code == 1 and "not granted by doctor --policy" in out, out


@pytest.mark.versitygw
@pytest.mark.parametrize(
    ("agent", "call", "missing"),
    [
        ("cefmp4/9", 'list_objects_v2(Bucket="bucket-of-a-test")', ""),
        ("cefmp4/9", 'delete_object(Bucket="bucket-of-a-test", Key="key")', "DeleteObject needs DeleteObject"),
        ("another", 'delete_object(Bucket="bucket-of-a-test", Key="key")', ""),
    ],
)
def test_a_session_whose_store_saw_something_beside_the_policy_fails(
    tmp_path: Path, agent: str, call: str, missing: str
) -> None:
    code, out = _session(tmp_path, STORE.format(agent=agent, call=call))
    assert code == (1 if missing else 0), out
    assert "1 passed" in out
    assert missing in out


def test_every_action_of_the_policy_is_needed_by_an_operation_and_the_others_are_none_of_it() -> None:
    assert granted() == {action for actions in ACTIONS.values() for action in actions}
    assert not OPTIONAL.keys() & set(map(str, Right))
    assert beside_the_policy(ACTIONS) == {}
    assert beside_the_policy(["DeleteObject", "GetObject"]) == {"DeleteObject": frozenset({"DeleteObject"})}


@pytest.mark.parametrize(
    ("method", "target", "host", "name"),
    [
        ("PUT", "/b/k?partNumber=1&uploadId=2&x-id=UploadPart", "127.0.0.1:1", "UploadPart"),
        ("PUT", "/k", "b.store.example", "PutObject"),
        ("PUT", "/", "b.store.example", "CreateBucket"),
        ("GET", "/b?list-type=2&prefix=a%2F&max-keys=1", "localhost:1", "ListObjectsV2"),
        ("GET", "/b?policy", "127.0.0.1:1", "GET bucket?policy"),
        ("GET", "/b", "127.0.0.1:1", "GET bucket?"),
    ],
)
def test_an_operation_is_known_by_all_of_its_parameters(method: str, target: str, host: str, name: str) -> None:
    assert operation(method, target, {"host": host}) == name
