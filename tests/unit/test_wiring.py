"""What is set reaches the part that it is for."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from textwrap import dedent

import pytest

from src.config import Settings, load_settings
from src.main import _naming, _rhythm
from src.store_from_settings import store_settings

SRC = Path(__file__).parents[2] / "src"


def _read(tree: ast.AST, owner: str) -> set[str]:
    """The attributes of ``owner`` that are read."""
    reads = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    return {node.attr for node in reads if ast.unparse(node.value).rpartition(".")[2] == owner}


def _taken() -> set[str]:
    """The settings that the builders hand on, or decide by; those, too, of which a property tells them."""
    names = ("main", "answering", "store_from_settings", "trying_out")
    builders = [SRC / f"{name}.py" for name in names]
    direct = set[str]().union(*(_read(ast.parse(path.read_text(encoding="utf-8")), "settings") for path in builders))
    properties = {name: value.fget for name, value in vars(Settings).items() if isinstance(value, property)}
    sources = [inspect.getsource(get) for name, get in properties.items() if name in direct and get is not None]
    return direct.union(*(_read(ast.parse(dedent(source)), "self") for source in sources))


def test_no_setting_is_without_effect() -> None:
    assert sorted(Settings.model_fields.keys() - _taken()) == []


def test_as_many_may_send_at_once_as_the_setting_says() -> None:
    calls = (
        node
        for node in ast.walk(ast.parse((SRC / "main.py").read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    )
    made = [call for call in calls if ast.unparse(call.func) == "FairSlots"]
    assert [ast.unparse(call.args[0]) for call in made] == ["settings.max_concurrent_streams"]


def test_the_time_limits_and_sizes_are_those_of_the_settings() -> None:
    chosen = load_settings(
        {
            "STREAM_TIMEOUT_SECONDS": "7",
            "WATCH_FILE_MIN_AGE_SECONDS_FOR_IDLE": "11",
            "WATCH_SCAN_SECONDS": "13",
            "PARTS_IN_FLIGHT": "3",
            "CHUNK_SIZE_BYTES": "6291456",
            "S3_KEY_PREFIX": "cam/",
        }
    ).settings
    rhythm, naming = _rhythm(chosen), _naming(chosen)
    assert (rhythm.timeout, rhythm.min_age, rhythm.parts_in_flight) == (7, 11, 3)
    assert rhythm.missing_grace > 13
    assert rhythm.memory == 3 * 6291456
    assert (naming.schedule.chunk_size, naming.key_prefix) == (6291456, "cam/")


@pytest.mark.parametrize("checksum", ["auto", "crc64nvme", "none"])
def test_the_store_is_spoken_to_as_the_settings_say(checksum: str) -> None:
    chosen = load_settings(
        {
            "S3_BUCKET_NAME": "films",
            "S3_ENDPOINT_URL": "http://store.example:9000",
            "S3_ACCESS_KEY_ID": "key",
            "S3_SECRET_ACCESS_KEY": "secret",
            "S3_REGION_NAME": "eu-north-1",
            "S3_CHECKSUM": checksum,
            "MAX_CONCURRENT_STREAMS": "9",
        }
    ).settings
    store = store_settings(chosen)
    assert (store.bucket, store.endpoint_url, store.region) == ("films", "http://store.example:9000", "eu-north-1")
    assert (store.keys.access_key_id, store.keys.secret_access_key) == ("key", "secret")
    assert store.checksum == {"auto": "auto", "crc64nvme": "on", "none": "off"}[checksum]
    assert store.connections > 9 * chosen.parts_in_flight
