"""What is generated of the documents is current, and every diagram that is promised is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.documents import GENERATED, lifecycle
from src.domain import TRANSITIONS, Fact, Status

ROOT = Path(__file__).resolve().parents[2]
DIAGRAMS = {
    *("architecture", "stream_processing_flow", "file_watcher_flow", "stream_initialization_sequence"),
    *("chunk_processing_sequence", "stream_finalization_sequence", "metadata_generation_sequence"),
    *("checkpoint_recovery_sequence", "error_handling_graceful_shutdown", "observability_setup", "ci_cd_pipeline"),
    *("deployment_overview", "class_interactions", "design_decisions", "lifecycle", "house"),
}


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.name)
def test_what_is_generated_is_what_would_be_written_now(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == GENERATED[path](), "python -m scripts.documents"


def test_the_lifecycle_diagram_follows_the_table() -> None:
    other = {**TRANSITIONS, Status.COMPLETED: {Fact.GREW: Status.FAILED}}
    assert "completed --> failed: grew" in lifecycle(other)
    assert lifecycle(other) != lifecycle()


def test_every_diagram_is_there_and_begins_with_what_it_shows() -> None:
    files = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "diagrams").glob("*.mmd")}
    assert files.keys() == DIAGRAMS
    assert [name for name, text in files.items() if not re.match(r"%% .+\.\n", text)] == []


def test_every_class_and_module_in_a_diagram_is_the_codes_own() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    drawn = (ROOT / "docs" / "diagrams" / "class_interactions.mmd").read_text(encoding="utf-8")
    names = set(re.findall(r"\b[A-Z]\w+\b", re.sub(r"%%.*", "", drawn))) - {"TD", "SP"}
    known = set(re.findall(r"^class (\w+)", source, re.MULTILINE))
    assert len(names) > 15
    assert names <= known


def test_the_pipeline_diagram_names_every_job() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    jobs = re.findall(r"^  (\w+):$", workflow.partition("\njobs:\n")[2], re.MULTILINE)
    drawn = (ROOT / "docs" / "diagrams" / "ci_cd_pipeline.mmd").read_text(encoding="utf-8")
    assert len(jobs) >= 3
    assert [job for job in jobs if not re.search(rf"\b{job}\b", drawn)] == []


def test_the_lock_of_the_diagrams_names_no_host_to_fetch_from() -> None:
    lock = (ROOT / "tests" / "diagrams" / "package-lock.json").read_text(encoding="utf-8")
    assert '"integrity"' in lock
    assert '"resolved"' not in lock


def test_the_mind_map_holds_every_decision_under_its_number() -> None:
    drawn = (ROOT / "docs" / "diagrams" / "design_decisions.mmd").read_text(encoding="utf-8")
    assert "\nmindmap\n" in drawn
    written = [path.name for path in (ROOT / "docs" / "decisions").glob("[0-9]*.md")]
    assert sorted(map(int, re.findall(r": (\d+)$", drawn, re.MULTILINE))) == sorted(int(name[:4]) for name in written)
