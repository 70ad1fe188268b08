"""The store's key or secret is replaced in mid-recording, and the daemon gets the new one only later.

The process reads both from files, as a secrets manager writes them, and is never started again.
"""

from __future__ import annotations

import pytest

from tests.harness.e2e.bucket import Bucket
from tests.harness.e2e.daemon import Daemon, eventually
from tests.harness.e2e.recorders import CHUNK, Writer
from tests.harness.e2e.stage import Stage

pytestmark = [pytest.mark.slow, pytest.mark.versitygw, pytest.mark.redis]

#: Attribute of the server, setting, what the page says while it is wrong.
HALVES = {
    "key id": ("access_key", "S3_ACCESS_KEY_ID_FILE", "S3_ACCESS_KEY_ID"),
    "secret": ("secret_key", "S3_SECRET_ACCESS_KEY_FILE", "S3_SECRET_ACCESS_KEY"),
}


def _names(daemon: Daemon, word: str) -> bool:
    status, page = daemon.page("/-/ready")
    return status == 503 and word in page


#: No longer than MinIO takes for a key id.
ANOTHER = "another-one-by-now"


@pytest.mark.also_on("minio")
@pytest.mark.parametrize("half", HALVES)
def test_a_recording_waits_for_credentials_that_are_wrong_for_a_while(own_stage: Stage, half: str) -> None:
    stage, daemon, path = own_stage, own_stage.daemon, own_stage.folder / "take.mp4"
    attribute, _, word = HALVES[half]
    for name, setting, value in (value for value in HALVES.values()):
        file = stage.home / name
        file.write_text(getattr(stage.store, name))
        daemon.settings.pop(value)
        daemon.settings[setting] = str(file)
    daemon.start_and_wait()
    with Writer(path) as writer:
        writer.append(CHUNK + 1)
        stage.wait_until_sent(path, 1)
        stage.store.stop()
        setattr(stage.store, attribute, ANOTHER)
        stage.store.start()
        writer.append(CHUNK)
        eventually(lambda: _names(daemon, word), f"the daemon is not ready and names {word}")
    assert stage.members("failed") == set()
    (stage.home / attribute).write_text(ANOTHER)
    daemon.wait_until_ready()
    stage.bucket = Bucket(stage.store, stage.bucket.name)
    stage.wait_until_done(path)
    stage.wait_until_clean("take.mp4")
    assert "create the bucket" not in daemon.everything_said()
    assert daemon.lines("stream_failed") == [] and daemon.lines("unexpected_error") == []
