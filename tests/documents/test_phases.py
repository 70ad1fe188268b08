"""The pages of the ten phases are there, their lists of code are true, and what they show works is tested."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts import phases
from tests.documents.test_documents import _TEST, ROOT, _tests_in

ASKED = (
    *("01_project_setup_core_config", "02_file_watching_mechanism", "03_stream_state_s3_init"),
    *("04_chunk_processing_s3_upload", "05_stream_finalization_s3_complete", "06_metadata_generation_ffprobe_json"),
    *("07_checkpoint_recovery_resume", "08_error_handling_shutdown", "09_observability_logging_metrics"),
    "10_finalizing_docker_ci_docs_testing",
)
FOLDER = ROOT / "docs" / "phases"


def test_every_phase_has_its_page_under_the_name_that_was_asked_for() -> None:
    assert tuple(phases.PHASES) == ASKED
    assert {path.stem for path in FOLDER.glob("*.md")} == {*ASKED, "README"}


@pytest.mark.parametrize("name", ASKED)
def test_a_page_has_the_purpose_the_code_how_to_try_it_and_the_differences(name: str) -> None:
    text = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    assert "**Purpose.**" in text
    sections = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert sections == ["Code", "Try it", "Differences from the plan"]


@pytest.mark.parametrize("path", [*sorted(FOLDER.glob("*.md")), ROOT / "docs" / "asked.md"], ids=lambda path: path.stem)
def test_every_test_that_a_page_names_exists(path: Path) -> None:
    named = _TEST.findall(path.read_text(encoding="utf-8"))
    assert named or path.stem in ("README", "asked")
    assert [f"{file}::{test}" for file, test in named if test not in _tests_in(file)] == []


def test_a_name_that_is_gone_from_the_code_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "PHASES", {ASKED[0]: (("src/config.py", ("Settings", "Gone"), "settings"),)})
    with pytest.raises(LookupError, match=r"src/config\.py has no Gone"):
        phases.page(FOLDER / f"{ASKED[0]}.md")
