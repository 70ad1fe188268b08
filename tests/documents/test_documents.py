"""The documents say what the code does: their links lead somewhere, and the names in them exist."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from scripts.telemetry_tables import events_that_warn
from src.config import _OLD_NAMES, Settings, defaults
from src.doctor import OPTIONAL, policy
from src.domain import TRANSITIONS
from src.metrics import AtRiskCollector, Metrics
from src.metrics.instruments import SERVICES
from src.metrics.told import TOLD
from tests.contract.test_s3_answers import BAD
from tests.corpus.courses import COURSES
from tests.corpus.media import MEDIA
from tests.corpus.names import RECORDINGS
from tests.corpus.shapes import CHANGES, OTHERS, STILL
from tests.crash.test_mutants import MUTANTS
from tests.harness import rotation
from tests.harness.findings import each

ROOT = Path(__file__).resolve().parents[2]
AT_THE_ROOT = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
DOCUMENTS = sorted([*(ROOT / name for name in AT_THE_ROOT), *(ROOT / "docs").rglob("*.md")])
#: What users read and what runs; tests may need to name more.
PUBLISHED = sorted(
    path
    for path in [*DOCUMENTS, *(ROOT / "docs").rglob("*"), *(ROOT / "src").rglob("*"), *(ROOT / "scripts").rglob("*")]
    if path.is_file() and path.suffix not in (".pyc", ".png")
)

COMPOSE_FILES = (ROOT / "docker-compose.yml", ROOT / "deploy" / "compose" / "secrets.yml")
#: Names in capitals that belong to other programs.
OTHERS_NAMES = frozenset(
    {
        "AWS_CONFIG_FILE",
        "AWS_CA_BUNDLE",
        "CAP_LEASE",
        "MINIO_API_STALE_UPLOADS_EXPIRY",
        "RUSTFS_API_STALE_UPLOADS_EXPIRY",
        "WITHOUT_MINIO",  # of the set-up
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
        # of compose
        "COMPOSE_FILE",
        # of the tests
        rotation.SEED,
        rotation.EVERY,
        *re.findall(r"\$\{(\w+)", "".join(path.read_text(encoding="utf-8") for path in COMPOSE_FILES)),
    }
)
#: Names of the code, not of the environment.
CODE_NAMES = frozenset({"AUTH_TYPE_MAPS", "UNKNOWN", "FORMAT_VERSION", "SO_PEERCRED"})
#: Hosts that a reader may be sent to, beside his own machine.
HOSTS = frozenset(
    {
        "s3.amazonaws.com",  # a namespace of XML
        "127.0.0.1",
        "www.w3.org",
        "minio",
        "localhost",
        "github.com",
        "s3.eu-central-1.amazonaws.com",
        # in examples, of stores and of nobody
        *("s3.eu-central-003.backblazeb2.com", "ACCOUNT.r2.cloudflarestorage.com", "s3.eu-central-1.wasabisys.com"),
        *("s3.fr-par.scw.cloud", "minio.example", "proxy.example"),
        "docs.aws.amazon.com",
        "www.backblaze.com",
        "nginx.org",
        "keepachangelog.com",
        "semver.org",
        "json-schema.org",
        "creativecommons.org",
    }
)
GUARANTEES = ROOT / "docs" / "guarantees.md"
FAILURE_MODES = ROOT / "docs" / "failure-modes.md"
#: The groups of failure modes, and how many each has.
GROUPS = {"F": 43, "S": 33, "D": 19, "P": 20, "Q": 8, "X": 10}
#: The right that each operation of S3 needs.
RIGHTS = {
    "abort_multipart_upload": "s3:AbortMultipartUpload",
    "complete_multipart_upload": "s3:PutObject",
    "create_bucket": "s3:CreateBucket",
    "create_multipart_upload": "s3:PutObject",
    "get_bucket_lifecycle_configuration": "s3:GetLifecycleConfiguration",
    "get_bucket_versioning": "s3:GetBucketVersioning",
    "get_object": "s3:GetObject",
    "head_bucket": "s3:ListBucket",
    "head_object": "s3:GetObject",
    "list_multipart_uploads": "s3:ListBucketMultipartUploads",
    "list_objects_v2": "s3:ListBucket",
    "list_parts": "s3:ListMultipartUploadParts",
    "put_object": "s3:PutObject",
    "upload_part": "s3:PutObject",
    "upload_part_copy": "s3:PutObject",
}
#: Events that are written elsewhere than in the telemetry.
OTHER_EVENTS = frozenset({"log_line_lost"})

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
_METRIC = re.compile(r"\b(?:video|cefmp4|streams|active_streams)_[a-z0-9_]+\b")
#: A loud name with an underscore, as settings have; not a piece of a longer word.
_LOUD = re.compile(r"(?<![\w.$-])[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+(?![\w-])")
#: A test as documents name it.
_TEST = re.compile(
    r"`((?:(?:unit|documents|contract|corpus|crash|e2e|deploy|browser)/test_\w+|engine/checks)\.py)::(test_\w+)`"
)
_BOLD = re.compile(r"\*\*([^*]+)\*\*")
_CASE = re.compile(r"(?<!\*)\*([^*]+)\*(?!\*)")


def _id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _prose(document: Path) -> str:
    return _FENCE.sub("", document.read_text(encoding="utf-8"))


def _anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    plain = (re.sub(r"[`*]", "", heading) for heading in _HEADING.findall(_prose(document)))
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in plain}


def _section(document: Path, heading: str) -> str:
    """The text below a heading of the second level, up to the next one."""
    text = document.read_text(encoding="utf-8")
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def _rows(text: str) -> Iterator[list[str]]:
    """The cells of each row of the tables in ``text``, without their headings."""
    for line in text.splitlines():
        if line.startswith("| ") and not set(line) <= set("|-: "):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def _first_names(text: str, pattern: str) -> set[str]:
    """The names in backticks at the beginning of each row."""
    found = (re.match(pattern, cells[0]) for cells in _rows(text))
    return {match.group(1) for match in found if match}


@each("document", DOCUMENTS, ids=_id)
def test_every_link_inside_the_checkout_leads_somewhere(document: Path) -> None:
    lost = []
    for target in _LINK.findall(_prose(document)):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        there = (document.parent / name).resolve() if name else document
        inside = there == ROOT or ROOT in there.parents
        if not inside or not there.exists() or (anchor and anchor not in _anchors(there)):
            lost.append(target)
    assert lost == []


def test_every_document_is_reached_from_the_readme() -> None:
    reached, waiting = set[Path](), [ROOT / "README.md"]
    while waiting:
        document = waiting.pop()
        reached.add(document)
        targets = (target.partition("#")[0] for target in _LINK.findall(_prose(document)))
        found = {(document.parent / target).resolve() for target in targets if target.endswith(".md")}
        waiting += [path for path in found - reached if path.exists()]
    assert [_id(path) for path in DOCUMENTS if path not in reached] == []


@each("document", DOCUMENTS, ids=_id)
def test_every_setting_that_is_named_exists(document: Path) -> None:
    settings = {name.upper() for name in Settings.model_fields}
    allowed = settings | set(_OLD_NAMES) | OTHERS_NAMES | CODE_NAMES
    named = set(_LOUD.findall(document.read_text(encoding="utf-8")))
    shown_as_wrong = {"CHUNK_SIZE_BYTE"} if document.name == "README.md" else set[str]()
    assert sorted(named - allowed - shown_as_wrong) == []


def test_the_readme_shows_the_defaults_of_the_settings() -> None:
    usual = defaults()
    shown = 0
    for cells in _rows(_section(ROOT / "README.md", "Configuration")):
        for name in re.findall(r"`([A-Z0-9_]+)`", cells[0]):
            assert cells[1].strip("`") == usual[name], name
            shown += 1
    assert shown > 10


def test_the_figures_of_the_readme_are_those_of_the_bench() -> None:
    """In its first table, of what others do."""
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n| | CefMP4 |")[2].partition("\n\n")[0]
    figures = re.findall(r"\b\d+\.\d+\b", table)
    measured = (ROOT / "bench" / "README.md").read_text(encoding="utf-8")
    assert len(figures) == 6
    assert [figure for figure in figures if not re.search(rf"\b{re.escape(figure)} ?(?:s\b|;|\|)", measured)] == []


def _registered() -> dict[str, str]:
    """Name as it is scraped → type, of the metrics that are ours."""
    found = {}
    registry = Metrics(version="test").registry
    AtRiskCollector(registry, stream_max=1)
    for metric in registry.collect():
        if not metric.name.startswith("process_"):
            found[metric.name + ("_total" if metric.type == "counter" else "")] = metric.type
    return found


def test_the_reference_lists_the_metrics_that_there_are_and_no_others() -> None:
    listed = _first_names(
        (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8"), r"`([a-z0-9_]+)(?:\{[a-z_,]+\})?`"
    )
    assert listed == set(_registered())


@each("document", DOCUMENTS, ids=_id)
def test_every_metric_that_is_named_exists(document: Path) -> None:
    named = set(_METRIC.findall(document.read_text(encoding="utf-8")))
    assert sorted(named - set(_registered()) - _events()) == []


def _events() -> set[str]:
    """All events that the telemetry writes, of any level."""
    lines = [told.line.event for told in TOLD.values() if told.line]
    return {event.format(service=service) for event in lines for service in SERVICES}


def test_every_event_that_warns_says_once_what_it_means_and_what_to_do() -> None:
    lines = [told.line for told in TOLD.values() if told.line and told.line.level not in ("debug", "info")]
    warning = {(line.event.format(service=service), line.level) for line in lines for service in SERVICES}
    rows = [row for row in events_that_warn() if row[0] not in OTHER_EVENTS]
    assert len(rows) > 10
    assert sorted(row[:2] for row in rows) == sorted(warning)
    assert [row for row in rows if not all(row)] == []


def test_the_other_events_are_really_written() -> None:
    source = (ROOT / "src" / "logging_config.py").read_text(encoding="utf-8")
    assert [event for event in OTHER_EVENTS if f'"{event}"' not in source] == []


def test_the_architecture_shows_the_whole_lifecycle() -> None:
    table = _rows(_section(ROOT / "docs" / "architecture.md", "Lifecycle"))
    shown = [tuple(cell.strip("`") for cell in cells) for cells in table][1:]
    real = [
        (str(status), str(fact), str(after)) for status, facts in TRANSITIONS.items() for fact, after in facts.items()
    ]
    assert sorted(shown) == sorted(real)


def test_the_architecture_knows_every_room() -> None:
    rooms = {path.parent.name + "/" for path in (ROOT / "src").glob("*/__init__.py")}
    rooms |= {path.name for path in (ROOT / "src").glob("*.py")} - {"__init__.py"}
    assert _first_names(_section(ROOT / "docs" / "architecture.md", "The house"), r"`(\w+(?:/|\.py))`") == rooms


@each("path", PUBLISHED, ids=_id)
def test_nothing_depends_on_the_machine_where_it_was_made(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"(?<![\w.}~-])/(?:work|root|home|tmp)\b[\w./-]*", text) == []
    outward = [found for found in re.findall(r"(?<![\w./])(?:\.\./)+[\w.-]+", text) if not _inside(path, found)]
    assert outward == []


def _inside(path: Path, relative: str) -> bool:
    there = (path.parent / relative).resolve()
    return ROOT in there.parents and there.exists()


@each("path", PUBLISHED, ids=_id)
def test_nobody_is_sent_to_an_unexpected_host(path: Path) -> None:
    found = re.findall(r"https?://([A-Za-z0-9.-]+)", path.read_text(encoding="utf-8"))
    assert sorted(set(found) - HOSTS) == []


@cache
def _tests_in(name: str) -> frozenset[str]:
    path = ROOT / "tests" / name
    tree = ast.parse(path.read_text(encoding="utf-8")) if path.exists() else ast.Module([], [])
    return frozenset(n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


@each("document", [GUARANTEES, FAILURE_MODES], ids=_id)
def test_every_test_that_a_guarantee_names_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    named = _TEST.findall(text)
    assert [f"{file}::{test}" for file, test in named if test not in _tests_in(file)] == []
    assert len(named) == len(re.findall("::test_", text)) > 50


def test_every_promise_and_everything_that_is_not_promised_names_what_shows_it() -> None:
    for heading, beginning in (("What is promised", r"\n(?=\d+\. )"), ("What is not promised", r"\n(?=\*\*)")):
        items = [item for item in re.split(beginning, _section(GUARANTEES, heading)) if item.strip()]
        assert len(items) >= 10
        assert [item for item in items if not _TEST.search(item.partition("Shown by: ")[2])] == []


def _failure_modes() -> list[list[str]]:
    rows = _rows(FAILURE_MODES.read_text(encoding="utf-8"))
    return [cells for cells in rows if re.fullmatch(r"[A-Z]\d+", cells[0])]


def test_each_failure_mode_is_there_once_with_its_test_or_the_reason_why_there_is_none() -> None:
    listed = [cells[0] for cells in _failure_modes()]
    assert listed == [f"{group}{number}" for group, count in GROUPS.items() for number in range(1, count + 1)]
    for cells in _failure_modes():
        assert len(cells) == 4 and all(cells), cells
        shown = _TEST.search(cells[3]) or _BOLD.search(cells[3]) or re.match(r"No test: \w+", cells[3])
        assert shown, cells


def test_short_names_and_cases_of_tests_are_real() -> None:
    """A case is a text in the sources of the tests."""
    rows = _rows(FAILURE_MODES.read_text(encoding="utf-8"))
    short = {name for cells in rows if _TEST.search(cells[1]) for name in _BOLD.findall(cells[0])}
    last = [cells[3] for cells in _failure_modes()]
    assert {name for cell in last for name in _BOLD.findall(cell)} == short
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
    cases = {case for cell in last for case in _CASE.findall(_BOLD.sub("", cell))}
    assert len(cases) > 30
    assert sorted(case for case in cases if case not in sources) == []


def test_there_are_as_many_cases_as_the_guarantees_say() -> None:
    real = {
        "answers": len(BAD),
        "names": len(RECORDINGS),
        "shapes": len(STILL) + len(OTHERS) + len(CHANGES),
        "films": len(MEDIA),
        "courses": len(COURSES),
        "mutants": len(MUTANTS),
    }
    text = _section(GUARANTEES, "How it is tested")
    said = {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", text) if word in real}
    assert said.keys() == real.keys()
    assert {word: number for word, number in said.items() if number > real[word]} == {}


def _texts(node: ast.expr) -> set[str]:
    """The texts that an expression can become."""
    match node:
        case ast.Constant(value=str(text)):
            return {text}
        case ast.IfExp(body=body, orelse=orelse):
            return _texts(body) | _texts(orelse)
    return set()


def _operations() -> set[str]:
    """What the client asks of the store: the first argument wherever it asks."""
    trees = [
        ast.parse((ROOT / "src" / "s3_client" / f"{name}.py").read_text(encoding="utf-8"))
        for name in ("bucket", "checkup", "client", "inspection", "listings", "objects", "probe", "requests")
    ]
    calls = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args)
    named: set[str] = set()
    for call in calls:
        function, first = ast.unparse(call.func), ast.unparse(call.args[0])
        if re.search(r"\b(_call|call|_granted|_?pages)$", function):
            named |= _texts(call.args[0])
        elif (function, first) == ("partial", "self._call"):  # prepared to be called
            named |= _texts(call.args[1])
    return named


def test_the_rights_are_those_of_the_operations_that_are_used() -> None:
    """No right is asked for that nothing needs; deleting an object is none of them."""
    assert _operations() == RIGHTS.keys()
    operations = ROOT / "docs" / "operations.md"
    written = json.loads(_section(operations, "Rights on the bucket").partition("```json")[2].partition("```")[0])
    assert written == policy("video-streams", "")
    asked = {action for statement in written["Statement"] for action in statement["Action"]}
    assert asked == set(RIGHTS.values()) - OPTIONAL.keys()
    text = operations.read_text(encoding="utf-8")
    assert [right for right in OPTIONAL if right not in text] == []
