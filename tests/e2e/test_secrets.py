"""What services answer, or do not, told by the whole daemon: never a secret, and with what to change."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest

from tests.harness import canary, servers
from tests.harness.e2e.daemon import Daemon, eventually
from tests.harness.e2e.stage import Stage

pytestmark = [pytest.mark.slow, pytest.mark.versitygw, pytest.mark.redis]


def _everything(daemon: Daemon) -> str:
    """All that the daemon tells anybody: its pages, its log, standard error."""
    pages = [daemon.page(page)[1] for page in ("/-/ready", "/-/healthy", "/metrics", f"/{canary.CANARY[:3]}")]
    assert daemon.stop() == 0
    return "\n".join([*pages, daemon.everything_said()])


def _reason(daemon: Daemon, part: str) -> str:
    def found() -> str:
        page = json.loads(daemon.page("/-/ready")[1])
        return str(page[part].get("reason", ""))

    return eventually(found, f"{part} has a reason")


#: Characters that mean something in addresses, in JSON, in a shell or in a pattern.
_AWKWARD = "@#/?:%[]\\\"'${}`<> &=+\u00e9"


@pytest.mark.parametrize(
    "settings",
    [
        {"REDIS_URL": f"redis://:{quote(canary.CANARY + _AWKWARD, safe='')}@127.0.0.1:9/0"},
        {"REDIS_URL": f"redis://anna:{quote(_AWKWARD, safe='')}{canary.CANARY}@no-such-host.invalid:6379/3"},
        {"REDIS_URL": f"rediss://:{canary.CANARY}@127.0.0.1:9/0?ssl_ca_certs=/no/such/file"},
        {"REDIS_URL": f"redis://127.0.0.1:9/0?password={canary.CANARY}"},
        {"REDIS_URL": "", "REDIS_HOST": "127.0.0.1", "REDIS_PORT": "9", "REDIS_PASSWORD": canary.CANARY + _AWKWARD},
        {"REDIS_PASSWORD": canary.CANARY + _AWKWARD},  # ignored beside REDIS_URL, and said
        {"S3_SECRET_ACCESS_KEY": canary.CANARY + _AWKWARD},
        {"S3_ACCESS_KEY_ID": f"{canary.CANARY}", "S3_SECRET_ACCESS_KEY": canary.CANARY + "/+="},
        {"S3_ENDPOINT_URL": "http://127.0.0.1:9", "S3_SECRET_ACCESS_KEY": f"{_AWKWARD}{canary.CANARY}"},
    ],
    ids=lambda settings: " ".join(settings),
)
def test_what_a_service_refuses_or_does_not_answer_tells_no_secret(stage: Stage, settings: dict[str, str]) -> None:
    """The tail of the log is searched by the harness as well, and by the report of each test."""
    daemon = stage.daemon
    daemon.start(LOG_LEVEL="DEBUG", **settings)
    daemon.wait_for("daemon_started")
    if settings.keys() != {"REDIS_PASSWORD"}:
        assert _reason(daemon, "redis" if any(name.startswith("REDIS") for name in settings) else "s3")
    assert not canary.is_told(_everything(daemon))


def test_a_redis_in_protected_mode_is_no_silence(stage: Stage, tmp_path: Path) -> None:
    address = next(
        (
            one.address
            for addresses in psutil.net_if_addrs().values()
            for one in addresses
            if one.family is socket.AF_INET and not one.address.startswith("127.")
        ),
        None,
    )
    if address is None:
        pytest.skip("left out: this machine has no address but its own")
    with servers.start_redis(tmp_path, "--bind", "0.0.0.0", "--protected-mode", "yes") as guarded:
        daemon = stage.daemon
        daemon.start(REDIS_URL=f"redis://{address}:{guarded.port}/0")
        line = daemon.wait_for("redis_unavailable")
        assert "protected mode" in line["hint"]
        assert "requirepass" in line["hint"] and "REDIS_URL" in line["hint"]
        assert "protected mode" in _reason(daemon, "redis")
        assert daemon.stop() == 0
