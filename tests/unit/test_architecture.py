"""The floors of the house: imports only go down, neighbours do not know each other, and each library has its room."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.harness.findings import each

ROOT = Path(__file__).parents[2]
#: Calls that write into a file, or make, move or remove one.
_CHANGES_FILES = (
    r"\.(unlink|rmdir|touch|write_text|write_bytes|hardlink_to|symlink_to)$"
    r"|^(os|[\w.]*[pP]ath)\.(remove|removedirs|rename|renames|replace|truncate|ftruncate|link|symlink|mknod|mkfifo"
    r"|chmod|chown|utime|write|pwrite|pwritev|writev|sendfile|copy_file_range)$"
)
SRC = ROOT / "src"

#: From the lowest floor up. ``tools`` are the dispatcher's and the processor's own, between promises and conduct.
FLOORS: dict[str, frozenset[str]] = {
    "words": frozenset({"recording", "events", "exceptions", "checksums", "errand"}),
    "rules": frozenset(
        {"lifecycle", "part_plan", "reconcile", "metadata_generator", "object_keys", "checkpoint_format", "boxes"}
        | {"at_risk", "early_end", "film", "fragments", "media", "typed_values"}
    ),
    "promises": frozenset({"ports"}),
    "edges": frozenset(
        {
            "config",
            "logging_config",
            "metrics",
            "instruments",
            "series",
            "trouble",
            "request_outcome",
            "retry",
            "watcher",
            "recording_file",
            "file_threads",
            "child_process",
            "redis_errors",
            "redis_turns",
            "redis_client",
            "credentials",
            "s3_settings",
            "s3_transport",
            "s3_uploads",
            "s3_errors",
            "s3_outcomes",
            "s3_abilities",
            "s3_probe",
            "probe_notes",
            "ability_metrics",
            "s3_answers",
            "s3_client",
            "ffprobe",
            "http_server",
            "readiness",
            "health",
            "watchdog",
            "at_risk_metrics",
        }
    ),
    "patience": frozenset({"slots", "patience"}),
    "tools": frozenset(
        {"ledger", "upload", "completion", "documents", "remains", "claim", "elsewhere", "sweep"}
        | {"names", "newcomers", "reading"}
    ),
    "conduct": frozenset({"stream_processor", "dispatcher", "left_out"}),
    "root": frozenset({"main", "__main__"}),
}

#: Floors that the modules of a floor may import.
DOWN: dict[str, frozenset[str]] = {
    "words": frozenset(),
    "rules": frozenset({"words"}),
    "promises": frozenset({"words", "rules"}),
    "edges": frozenset({"words", "rules", "promises"}),
    "patience": frozenset({"words", "promises"}),
    "tools": frozenset({"words", "rules", "promises"}),
    "conduct": frozenset({"words", "rules", "promises"}),
    "root": frozenset({"words", "rules", "promises", "edges", "patience", "conduct"}),
}

#: What is allowed beyond that: module, and the modules that it may import besides.
BESIDES: dict[str, frozenset[str]] = {
    "reconcile": frozenset({"part_plan"}),
    "metadata_generator": frozenset({"part_plan", "object_keys"}),
    "fragments": frozenset({"boxes", "at_risk"}),
    "film": frozenset({"boxes", "fragments"}),
    "media": frozenset({"film"}),
    **{edge: frozenset({"retry", "metrics"}) - {edge} for edge in FLOORS["edges"] - {"config", "s3_client"}},
    "metrics": frozenset({"ability_metrics", "health", "instruments", "series", "trouble", "request_outcome"}),
    "redis_errors": frozenset({"request_outcome"}),
    "recording_file": frozenset({"file_threads"}),
    "ffprobe": frozenset({"file_threads", "child_process"}),
    "redis_client": frozenset({"retry", "request_outcome", "redis_errors", "redis_turns"}),
    "s3_settings": frozenset({"credentials"}),
    "s3_errors": frozenset({"request_outcome", "s3_outcomes"}),
    "s3_answers": frozenset({"s3_settings"}),
    "s3_abilities": frozenset({"retry", "s3_settings"}),
    "s3_probe": frozenset({"s3_abilities", "s3_answers"}),
    "s3_client": frozenset(
        {"retry", "credentials", "request_outcome", "s3_settings", "s3_transport", "s3_errors", "s3_answers"}
        | {"s3_outcomes", "s3_abilities", "s3_probe", "s3_uploads"}
    ),
    "http_server": frozenset({"readiness"}),
    "patience": frozenset({"retry"}),
    "upload": frozenset({"ledger"}),
    "completion": frozenset({"ledger", "upload"}),
    "documents": frozenset({"upload"}),
    "remains": frozenset({"ledger", "completion", "documents"}),
    "claim": frozenset({"ledger", "elsewhere", "names", "reading"}),
    "sweep": frozenset({"claim"}),
    "stream_processor": frozenset({"ledger", "upload", "completion", "documents", "remains", "claim"}),
    "dispatcher": frozenset({"claim", "sweep", "newcomers", "reading"}),
    "main": frozenset({"embedded", ""}),  # "": the package itself, for its version
    "__main__": frozenset({"main"}),
}

#: A room beside the house: what it may import of the house, and who may enter it.
EMBEDDED_IMPORTS = frozenset({"exceptions"})

#: Where each library may be imported. What is not listed here is not to be imported at all.
LIBRARIES: dict[str, frozenset[str]] = {
    "aioboto3": frozenset({"s3_client"}),
    "aiobotocore": frozenset({"s3_client", "s3_transport", "credentials"}),
    "botocore": frozenset({"s3_client", "s3_transport", "s3_errors", "credentials"}),
    "aiohttp": frozenset({"s3_client", "s3_transport", "s3_errors", "http_server", "embedded.s3_server"}),
    "awscrt": frozenset({"checksums", "recording_file", "s3_client", "s3_probe"}),
    "redis": frozenset({"redis_client", "redis_errors", "redis_turns", "embedded.redis_server"}),
    "watchfiles": frozenset({"watcher"}),
    "structlog": frozenset({"ability_metrics", "logging_config", "metrics", "health"}),
    "prometheus_client": frozenset(
        {"ability_metrics", "metrics", "instruments", "health", "http_server", "at_risk_metrics"}
    ),
    "tenacity": frozenset({"retry"}),
    "pydantic": frozenset({"config"}),
    "pydantic_settings": frozenset({"config"}),
    "annotated_types": frozenset({"config"}),
    "dotenv": frozenset({"config"}),
}

#: What a rule has no use for: it has no clock, awaits nothing, reads and logs nothing.
IMPURE = frozenset({"asyncio", "time", "random", "secrets", "logging", "socket", "subprocess", "threading", "pathlib"})
VAGUE = ("utils", "util", "helpers", "helper", "common", "manager", "misc")
LONGEST_FUNCTION = 60


def _name(path: Path) -> str:
    """The module's name inside the package: ``claim``, ``embedded.child``; "" for the package itself."""
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES: dict[str, Path] = {_name(path): path for path in sorted(SRC.rglob("*.py"))}
HOUSE = {name: path for name, path in MODULES.items() if name and not name.startswith("embedded")}


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def _imports(name: str) -> Iterator[tuple[str, bool]]:
    """Each import of a module: its full name, and whether it is one of the package's own (without ``src``)."""
    path = MODULES[name]
    package = path.relative_to(SRC).parent.parts
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, False) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module), False
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1]
            if node.module is not None:
                yield ".".join((*base, node.module)), True
            else:
                for alias in node.names:
                    full = ".".join((*base, alias.name))
                    yield (full if full in MODULES else ".".join(base)), True


def _own(name: str) -> set[str]:
    return {imported for imported, own in _imports(name) if own}


def _floor_of(name: str) -> str:
    return next(floor for floor, modules in FLOORS.items() if name in modules)


def test_every_module_stands_on_exactly_one_floor() -> None:
    standing = [name for modules in FLOORS.values() for name in modules]
    assert sorted(standing) == sorted(HOUSE)


@each("name", HOUSE)
def test_a_module_imports_only_from_floors_below_and_what_is_said_besides(name: str) -> None:
    below = frozenset[str]().union(*(FLOORS[floor] for floor in DOWN[_floor_of(name)]))
    assert _own(name) <= below | BESIDES.get(name, frozenset())


def test_every_exception_from_the_rule_is_for_a_module_that_exists() -> None:
    assert BESIDES.keys() <= HOUSE.keys()
    assert frozenset[str]().union(*BESIDES.values()) <= MODULES.keys()


def test_only_main_imports_the_settings_and_the_embedded_services() -> None:
    for name in MODULES.keys() - {"main"}:
        own = _own(name)
        assert "config" not in own, name
        assert name.startswith("embedded") or not any(one.startswith("embedded") for one in own), name


@each("name", [name for name in MODULES if name.startswith("embedded")])
def test_the_embedded_services_know_only_the_errors_of_the_house(name: str) -> None:
    assert {own for own in _own(name) if not own.startswith("embedded")} <= EMBEDDED_IMPORTS


def test_nobody_imports_main_but_the_command() -> None:
    assert [name for name in MODULES if "main" in _own(name)] == ["__main__"]


@each("name", MODULES)
def test_each_library_is_imported_in_its_room_alone(name: str) -> None:
    foreign = {imported.partition(".")[0] for imported, own in _imports(name) if not own}
    libraries = foreign - sys.stdlib_module_names
    assert {library for library in libraries if name not in LIBRARIES.get(library, frozenset())} == set()


def test_no_library_is_allowed_where_it_is_not_used() -> None:
    used = {(imported.partition(".")[0], name) for name in MODULES for imported, own in _imports(name) if not own}
    assert {(library, name) for library, names in LIBRARIES.items() for name in names} <= used


@each("name", MODULES)
def test_imports_inside_the_package_are_relative(name: str) -> None:
    roots = {imported.partition(".")[0] for imported, own in _imports(name) if not own}
    assert roots.isdisjoint({"src", "tests", *MODULES})


@each("name", sorted(FLOORS["rules"] | FLOORS["words"]))
def test_rules_and_words_have_no_clock_await_nothing_and_open_nothing(name: str) -> None:
    assert {imported.partition(".")[0] for imported, own in _imports(name) if not own}.isdisjoint(IMPURE)
    for node in ast.walk(_tree(MODULES[name])):
        assert not isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith), ast.dump(node)
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            assert called not in ("open", "now", "utcnow", "today", "print", "getLogger"), f"{name} calls {called}"


def _sources(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


@each("name", HOUSE)
def test_the_house_makes_folders_and_changes_and_removes_no_file(name: str) -> None:
    """Recordings are opened for reading, and nothing else is opened; the watched folder is made where it is missing."""
    calls = [node for node in ast.walk(_tree(HOUSE[name])) if isinstance(node, ast.Call)]
    named = [ast.unparse(call.func) for call in calls]
    assert [one for one in named if re.fullmatch(r"open|io\.open|os\.fdopen|shutil\.(?!which).*", one)] == []
    assert [one for one in named if re.search(_CHANGES_FILES, one)] == []
    flags = {flag.attr for flag in ast.walk(_tree(HOUSE[name])) if isinstance(flag, ast.Attribute)}
    assert not flags & {"O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND"}


@each("path", _sources("src", "tests"), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_named_by_what_it_knows(path: Path) -> None:
    assert not set(path.stem.split("_")) & set(VAGUE)


@each("path", _sources("src"), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_function_is_longer_than_sixty_lines(path: Path) -> None:
    functions = [n for n in ast.walk(_tree(path)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = {f.name: (f.end_lineno or f.lineno) - f.lineno + 1 for f in functions}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FUNCTION} == {}


def test_every_module_begins_with_its_promise() -> None:
    silent = [name for name, path in MODULES.items() if not ast.get_docstring(_tree(path))]
    assert [name for name in silent if MODULES[name].stat().st_size > 0] == []


def _texts() -> Iterator[Path]:
    for folder in ("src", "tests", "docs", "scripts", ".github"):
        yield from (path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    for name in ("README.md", "Makefile", "Dockerfile", "docker-compose.yml", "example.env", "pyproject.toml"):
        if (ROOT / name).exists():
            yield ROOT / name


def test_nothing_that_is_delivered_leans_on_a_folder_outside_of_the_checkout() -> None:
    outside = b"/".join((b"..", b"shared")), b"/".join((b"work", b"shared"))
    leaning = [str(path.relative_to(ROOT)) for path in _texts() if any(one in path.read_bytes() for one in outside)]
    assert leaning == []
