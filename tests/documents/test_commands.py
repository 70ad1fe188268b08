"""Each command that a document has somebody type is typed by a test, or this list says why not.

The README's own are in ``tests/e2e/test_readme.py``, each with its test.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.documents.test_documents import _tests_in

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
_STORY = "e2e/test_readme.py::test_the_readme_from_the_first_recording_to_the_start_after_two_kills"
_FFMPEG = "e2e/test_how_to.py::test_what_the_page_on_ffmpeg_has_one_type_writes_what_it_says"
_EXAMPLE = "e2e/test_readme.py::test_the_daemon_runs_from_a_copy_of_the_example"
_GIVE_UP = "e2e/test_how_to.py::test_a_failed_recording_is_given_up_as_the_page_says"
_FIFO = "corpus/test_shapes.py::test_it_is_skipped_with_one_line_and_found_when_it_becomes_a_file"
_SUITE = "e2e/test_readme.py::test_the_suite_is_run_by_one_command"
_KINDS = "no test: it lists the tests themselves; typed when the suite is changed"
_SYSTEMD = "no test: it changes the machine, as root; unit and package are tried by e2e/test_installed.py and the gate"
_ENGINE = "no test: it needs a Docker engine; .ci/containers and tests/run_integration_test.sh type it"
_MUTANTS = "no test: it runs the tests themselves, for hours; typed before a release"
_PASSWORD = "no test: it writes below /etc; contract/test_status_page.py has a password"
_GATE = "no test: it is the gate itself, or a part of it"
_PAGE = "no test: curl, and what filters its output, are not on every machine; the page is read by " + _STORY
_TRUST = "e2e/test_verify.py::test_every_command_of_the_page_before_you_trust_it_is_typed"
#: The beginning of each command, and the test that types it, or "no test: " and the reason.
COMMANDS = {
    "scripts/run": _STORY,
    "cp test_data/sample.mp4 local_watch_dir/": _STORY,
    "cmp test_data/sample.mp4": _STORY,
    "redis-cli -p 6390": _STORY,
    'kill -9 "$(cat data/redis.lock)"': _STORY,
    "scripts/setup": _EXAMPLE,
    ".venv/bin/python -m src.main": _EXAMPLE,
    "scripts/test": _SUITE,
    "ffmpeg -rtsp_transport tcp": _FFMPEG,
    "gst-launch-1.0": "no test: the set-up installs no GStreamer",
    "cefmp4 give-up 8f1c": _GIVE_UP,
    "cefmp4 retry 8f1c": "e2e/test_commands.py::test_a_failed_recording_is_given_up_only_with_apply",
    "cefmp4 status": "e2e/test_commands.py::test_status_shows_a_recording_on_its_way_and_what_is_at_risk",
    "cefmp4 wait && sudo poweroff": "e2e/test_commands.py::test_wait_includes_a_file_that_was_made_just_before",
    "cefmp4 doctor": _TRUST,
    "cefmp4 verify": _TRUST,
    "cefmp4 wait --timeout 10m": _TRUST,
    "cefmp4 config --changed": "e2e/test_commands.py::test_config_names_the_origin_of_each_setting_and_no_secret",
    "export ": "e2e/test_how_to.py::test_the_store_is_reached_through_the_proxy_of_the_environment",
    "curl -s http://127.0.0.1:8000/": _PAGE,
    "openssl rand -base64 18 > /etc/cefmp4/status-password": _PASSWORD,
    "chmod 640 /etc/cefmp4/status-password": _PASSWORD,
    "journalctl": _SYSTEMD,
    "python3 -m venv /opt/cefmp4": _SYSTEMD,
    "/opt/cefmp4/bin/pip": _SYSTEMD,
    "install ": _SYSTEMD,
    "test -e /etc/cefmp4": _SYSTEMD,
    "systemd-sysusers": _SYSTEMD,
    "systemctl": _SYSTEMD,
    "docker ": _ENGINE,
    "tests/run_integration_test.sh": _ENGINE,
    "make ": "e2e/test_readme.py::test_every_target_of_make_is_there",
    ".ci/": _GATE,
    ".venv/bin/python -m tests.harness.kinds": _KINDS,
    ".venv/bin/pip install --no-deps --require-hashes -r scripts/requirements-mutants.txt": _MUTANTS,
    ".venv/bin/python scripts/mutants.py": _MUTANTS,
    "S3_ACCESS_KEY_ID=x": "e2e/test_readme.py::test_wrong_settings_are_told_as_shown",
    "S3_ENDPOINT_URL=http://127.0.0.1:1": "no test: e2e/test_s3_faults.py has a store that is away for long",
    "APP_ENV=production scripts/run": _STORY,
    "mkfifo local_watch_dir/": _FIFO,
    "ln -s /etc/hostname": "contract/test_recordings.py::test_no_path_leads_out_of_the_tree_or_by_a_link",
    "cmp local_watch_dir/first.mp4": _STORY,
    "printf X | dd": "no test: e2e/test_changes.py patches a byte of a finished file by itself",
    "cat data/s3/": "no test: e2e/test_recordings.py reads the document of every recording",
}
_FENCE = re.compile(r"^ *```sh\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def _typed(document: Path) -> list[str]:
    blocks = _FENCE.findall(document.read_text(encoding="utf-8"))
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]


def test_each_command_of_the_documents_is_typed_by_a_test_or_says_why_not() -> None:
    typed = {document: _typed(document) for document in DOCUMENTS}
    every = [line for lines in typed.values() for line in lines]
    assert len(every) > 50
    unknown = [(document.name, line) for document, lines in typed.items() for line in lines if not _known(line)]
    assert unknown == []
    assert [beginning for beginning in COMMANDS if not any(line.startswith(beginning) for line in every)] == []


def _known(line: str) -> bool:
    return line.startswith(tuple(COMMANDS))


@pytest.mark.parametrize("named", sorted(set(COMMANDS.values())))
def test_what_is_named_there_is_a_test_or_a_reason(named: str) -> None:
    file, _, test = named.partition("::")
    assert named.startswith("no test: ") or test in _tests_in(file)
