"""The lists of code in ``docs/phases``: where each phase of the project's first plan lives now.

``python -m scripts.documents`` writes them between two marks of each page. Modules and names are looked up in the code,
so that a page cannot name what is gone.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "phases"
_UP = "/".join([".."] * len(PAGES.relative_to(ROOT).parts))  # from a page to the top
BEGIN = "<!-- begin: written by python -m scripts.documents -->\n"
END = "<!-- end -->\n"

#: For each page: a file, its names that matter here, and what it does.
PHASES: Mapping[str, tuple[tuple[str, tuple[str, ...], str], ...]] = {
    "01_project_setup_core_config": (
        ("src/config.py", ("Settings", "load_settings"), "the settings; all problems in one message"),
        ("src/settings/complaints.py", ("slip", "sentence"), "messages for invalid values"),
        ("src/main.py", ("main",), "reads the settings, builds all components, runs them"),
        ("src/logging_config.py", ("configure_logging",), "configures logging before the first line"),
        ("pyproject.toml", (), "packages, lint, types and tests"),
        ("example.env", (), "every setting with its default; generated"),
    ),
    "02_file_watching_mechanism": (
        ("src/watcher/watcher.py", ("Watcher",), "notifications and scans"),
        ("src/watcher/tree.py", ("Tree",), "the last known state of the folder, to detect changes"),
        ("src/watcher/globs.py", ("Globs",), "which names are recordings"),
        ("src/events.py", ("StreamEvent", "WatcherChangeType"), "the hints"),
        ("src/dispatcher/sightings.py", ("decide",), "what a hint means: numbered cases"),
        ("src/dispatcher/hints.py", ("Hints",), "examines each hinted file and acts on its case"),
        ("src/dispatcher/dispatcher.py", ("Dispatcher",), "turns hints into streams, one for each file"),
        ("src/watcher/recording_file.py", ("RecordingFiles",), "stat, bytes and writers, off the event loop"),
        ("src/watcher/opening.py", ("open_file",), "opens files, inside the watched folder only"),
    ),
    "03_stream_state_s3_init": (
        ("src/domain/recording.py", ("Checkpoint", "Status", "Identity"), "the state of a stream"),
        ("src/domain/lifecycle.py", ("Fact", "after"), "the transitions between statuses"),
        ("src/ownership/decision.py", ("Case", "decide"), "whether a file is done, changed, or new; its key"),
        ("src/ownership/claim.py", ("Claims",), "gathers the facts for that, and acts on it"),
        ("src/ownership/keys.py", ("Keys",), "which file has which key"),
        ("src/stream_processor/ledger.py", ("Ledger",), "the checkpoint in memory, and how it is saved"),
        ("src/redis_client/checkpoints.py", ("RedisCheckpoints",), "checkpoints and markers in Redis"),
        ("src/redis_client/names.py", ("Names",), "the keys and sets in Redis"),
        ("src/redis_client/writer.py", ("RedisWriter",), "writes a checkpoint, in one script"),
        ("src/s3_client/client.py", ("S3Client", "open_store"), "the store: uploads and all other requests"),
        ("src/s3_client/bucket.py", ("Bucket",), "the bucket; created if missing"),
    ),
    "04_chunk_processing_s3_upload": (
        (
            "src/domain/part_plan.py",
            ("Limits", "to_send", "part_size"),
            "S3's limits, part sizes, the next chunk to send",
        ),
        ("src/stream_processor/upload.py", ("Upload",), "sends chunks, compares and verifies them"),
        ("src/domain/checksums.py", ("combine", "multipart_etag"), "CRC64NVME and ETags as S3 writes them"),
        ("src/s3_client/transport.py", ("BodyFile",), "how a chunk is written, signed and sent"),
        ("src/slots/fair_slots.py", ("FairSlots",), "turns: at most MAX_CONCURRENT_STREAMS recordings upload"),
    ),
    "05_stream_finalization_s3_complete": (
        ("src/stream_processor/processor.py", ("StreamProcessor",), "one recording, from start to end"),
        ("src/stream_processor/next_step.py", ("Case", "decide"), "what a stream does next, case by case"),
        ("src/stream_processor/sight.py", ("Sight",), "whether the file has changed, is quiet or closed"),
        ("src/domain/early_end.py", ("EarlyEnd",), "whether the end is proved, so that the wait is short"),
        (
            "src/containers/formats.py",
            ("Format", "is_whole"),
            "what a file is, and whether its structure proves its end",
        ),
        ("src/stream_processor/completion.py", ("Completion",), "completes an upload and determines the result"),
        ("src/stream_processor/proving.py", ("Proving",), "whether the object equals the file"),
        ("src/stream_processor/anew.py", ("Anew",), "restarts an upload"),
        ("src/domain/completion.py", ("after_completion", "Step"), "the decision after a completion"),
        ("src/stream_processor/source_missing.py", ("Remains",), "the parts of a missing file"),
    ),
    "06_metadata_generation_ffprobe_json": (
        ("src/metadata_generator/ffprobe.py", ("Ffprobe",), "runs ffprobe in a sandbox"),
        ("src/containers/film.py", ("read_film",), "counts the media samples, as a second source"),
        ("src/containers/matroska.py", ("read_film",), "the same for Matroska and WebM"),
        ("src/containers/transport.py", ("read_film",), "the same for transport streams"),
        ("src/metadata_generator/media.py", ("read_answer",), "combines both sources"),
        (
            "src/metadata_generator/document.py",
            ("metadata_document", "encode_document", "read_document"),
            "the document",
        ),
        ("src/stream_processor/describing.py", ("Describing",), "from a proved object to its marker"),
        ("src/stream_processor/documents.py", ("Documents",), "stores the document beside the object"),
        ("docs/metadata.schema.json", (), "its JSON Schema"),
    ),
    "07_checkpoint_recovery_resume": (
        ("src/redis_client/format.py", ("encode_meta", "decode_meta", "encode_part"), "the format of a checkpoint"),
        ("src/dispatcher/recovery.py", ("Recovery",), "resumes every unfinished stream at the start"),
        ("src/domain/resuming.py", ("merge_parts",), "reconciles checkpoint, store and disk"),
        ("src/ownership/elsewhere.py", ("Elsewhere",), "finds objects and uploads after a data loss in Redis"),
        ("src/ownership/sweep.py", ("Sweep",), "aborts orphan uploads"),
    ),
    "08_error_handling_shutdown": (
        (
            "src/exceptions.py",
            ("Transient", "Permanent", "S3OperationError"),
            "errors, classified by what the caller should do",
        ),
        ("src/retry/policy.py", ("RetryPolicy", "until_it_works"), "the only retry policy"),
        ("src/s3_client/errors.py", ("translate",), "translates botocore's errors"),
        ("src/redis_client/errors.py", ("translate",), "translates redis-py's errors"),
        ("src/main.py", ("main",), "signals, draining, exit codes"),
        ("src/metrics/watchdog.py", ("Watchdog",), "ends a process whose event loop hangs"),
    ),
    "09_observability_logging_metrics": (
        ("src/domain/moments.py", ("DaemonStarted",), "events as data, one class each"),
        ("src/metrics/told.py", ("TOLD",), "the table of events: log line, metrics and reference entry"),
        ("src/metrics/emitter.py", ("Metrics",), "writes log lines, updates metrics, calls listeners"),
        ("src/metrics/instruments.py", ("Instruments",), "names, labels and buckets"),
        ("src/metrics/series.py", ("Roll",), "limits per-stream series"),
        ("src/metrics/http_server.py", ("serve",), "/metrics, /-/healthy, /-/ready"),
        ("src/metrics/readiness.py", ("Readiness",), "which dependency is unavailable, since when, and why"),
        ("src/domain/at_risk.py", ("Figures",), "what exists only on this disk"),
        ("deploy/prometheus/rules/cefmp4.yml", (), "the alerts"),
    ),
    "10_finalizing_docker_ci_docs_testing": (
        ("Dockerfile", (), "the image"),
        ("docker-compose.yml", (), "the daemon with Redis and a store"),
        (".github/workflows/ci.yml", (), "the checks of every push"),
        (".ci/run", (), "all checks, on any Debian machine"),
        ("tests/run_integration_test.sh", (), "end to end through the containers"),
        ("scripts/documents.py", ("GENERATED",), "the generated parts of the documents"),
        ("docs/requirements.md", (), "the requirements, their code and their tests"),
    ),
}


def page(path: Path) -> str:
    """The page with its list of code as it would be written now. Raises ``LookupError`` for what is not there."""
    return put_between_marks(path, _listed(path.stem))


def put_between_marks(path: Path, text: str) -> str:
    """The page with this text between its two marks. Raises ``LookupError`` for a page that has none."""
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise LookupError(f"{path.name} has no place for what is generated")
    return f"{before}{BEGIN}{text}{END}{after}"


def _listed(phase: str) -> str:
    lines = ["| code | |", "|---|---|"]
    for file, names, what in PHASES[phase]:
        missing = set(names) - _names_in(ROOT / file)
        if missing:
            raise LookupError(f"{file} has no {', '.join(sorted(missing))}")
        own = "".join(f", `{name}`" for name in names)
        lines.append(f"| [{file}]({_UP}/{file}){own} | {what} |")
    return "\n".join(lines) + "\n"


def _names_in(path: Path) -> set[str]:
    """The names that a module defines at its top level; none for what is not Python."""
    text = path.read_text(encoding="utf-8")
    found: set[str] = set()
    for node in ast.parse(text).body if path.suffix == ".py" else ():
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return found
