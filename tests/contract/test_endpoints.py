"""Where a request goes is found once, and not again for each object."""

from __future__ import annotations

import gzip
import json
import secrets
from pathlib import Path

import botocore
import pytest
from botocore.endpoint_provider import RuleSet

from src.retry import RetryPolicy
from src.s3_client import KeySettings, StoreSettings, open_store
from src.s3_client.transport import OF_NO_RULE
from tests.harness import servers
from tests.harness.e2e.bucket import Bucket


def test_no_rule_asks_for_what_the_rules_are_not_given() -> None:
    (path,) = (Path(botocore.__file__).parent / "data/s3/2006-03-01").glob("endpoint-rule-set*.json.gz")
    text = gzip.decompress(path.read_bytes()).decode()
    rules = json.dumps(json.loads(text)["rules"])
    assert json.loads(text)["parameters"].keys() >= OF_NO_RULE
    assert '"Bucket"' in rules
    assert [name for name in OF_NO_RULE if f'"{name}"' in rules or f"{{{name}}}" in rules] == []


@pytest.mark.versitygw
async def test_the_rules_for_endpoints_are_evaluated_once_for_many_keys(
    versitygw: servers.S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluated = 0
    evaluate = RuleSet.evaluate

    def counted(self: RuleSet, given: dict[str, object]) -> object:
        nonlocal evaluated
        evaluated += 1
        return evaluate(self, given)

    monkeypatch.setattr(RuleSet, "evaluate", counted)
    bucket = Bucket(versitygw, f"endpoints-{secrets.token_hex(6)}")
    bucket.client.create_bucket(Bucket=bucket.name)
    evaluated = 0
    keys = KeySettings(access_key_id=versitygw.access_key, secret_access_key=versitygw.secret_key)
    settings = StoreSettings(bucket=bucket.name, endpoint_url=versitygw.endpoint, keys=keys)
    async with open_store(settings, policy=RetryPolicy(), emit=lambda _: None) as store:
        for number in range(20):
            assert await store.inspection.look(f"{number}.mp4") is None
    assert evaluated == 1
