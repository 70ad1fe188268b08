"""The house: which room may know which, a room is entered by its door, and each library has its room."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.harness.findings import each

ROOT = Path(__file__).parents[2]
#: Calls that write into a file, or make, move or remove one.
_CHANGES_FILES = (
    r"\.(unlink|rmdir|touch|write_text|write_bytes|hardlink_to|symlink_to)$"
    r"|^(os|[\w.]*[pP]ath)\.(remove|removedirs|rename|renames|replace|truncate|ftruncate|link|symlink|mknod|mkfifo"
    r"|chmod|chown|utime|write|pwrite|pwritev|writev|sendfile|copy_file_range)$"
)
SRC = ROOT / "src"

#: From the ground up: a room, and the rooms that it may know. A room is a folder, or a file beside the folders.
#: ``main`` may know all of them: it builds the house.
MAY_KNOW: dict[str, frozenset[str]] = {
    "exceptions": frozenset(),
    "events": frozenset(),
    "logging_config": frozenset(),
    "timeouts": frozenset(),
    "connections": frozenset(),
    "domain": frozenset(),
    "containers": frozenset({"domain"}),
    "settings": frozenset({"domain"}),
    "config": frozenset({"domain", "exceptions", "settings"}),
    "retry": frozenset({"domain", "exceptions", "timeouts"}),
    "slots": frozenset({"domain", "timeouts"}),
    "embedded": frozenset({"exceptions", "timeouts"}),
    "file_threads": frozenset({"exceptions", "timeouts"}),
    "metadata_generator": frozenset({"containers", "domain", "exceptions", "file_threads", "timeouts"}),
    "watcher": frozenset({"containers", "domain", "events", "exceptions", "file_threads", "timeouts"}),
    "redis_client": frozenset({"domain", "exceptions", "retry", "timeouts"}),
    "s3_client": frozenset({"domain", "exceptions", "retry", "timeouts"}),
    "metrics": frozenset({"connections", "containers", "domain", "exceptions", "timeouts"}),
    "ownership": frozenset({"domain", "events", "exceptions", "metadata_generator", "timeouts"}),
    "stream_processor": frozenset({"domain", "exceptions", "metadata_generator", "ownership", "timeouts"}),
    "dispatcher": frozenset({"domain", "events", "exceptions", "ownership", "timeouts"}),
    "status": frozenset({"domain"}),
    "page": frozenset({"domain", "status"}),
    "verification": frozenset({"domain", "exceptions", "metadata_generator", "timeouts"}),
    "doctor": frozenset({"domain", "status"}),
    "door": frozenset(),
    "doorkeeper": frozenset({"connections", "domain", "door", "exceptions", "timeouts"}),
    "trying_out": frozenset({"config", "embedded", "settings"}),
    "store_from_settings": frozenset({"config", "s3_client"}),
    "answering": frozenset(
        {
            *("config", "dispatcher", "domain", "exceptions", "logging_config", "metrics", "ownership", "page"),
            *("settings", "status", "timeouts", "watcher"),
        }
    ),
    "cli": frozenset(
        {
            *("config", "doctor", "domain", "door", "exceptions", "logging_config", "metadata_generator", "page"),
            *("redis_client", "retry", "s3_client", "settings", "status", "store_from_settings", "timeouts"),
            *("verification", "watcher"),
        }
    ),
}
#: Rooms that read the settings and build from them.
READERS = frozenset({"main", "trying_out", "answering", "store_from_settings", "cli"})
BUILDERS = frozenset({"main", "__main__"})

#: Where each library may be imported. What is not listed here is not to be imported at all.
LIBRARIES: dict[str, frozenset[str]] = {
    "aioboto3": frozenset({"s3_client"}),
    "aiobotocore": frozenset({"s3_client"}),
    "botocore": frozenset({"s3_client"}),
    "aiohttp": frozenset({"doorkeeper", "embedded", "metrics", "page", "s3_client"}),
    "awscrt": frozenset({"domain", "s3_client", "watcher"}),
    "redis": frozenset({"embedded", "redis_client"}),
    "watchfiles": frozenset({"watcher"}),
    "structlog": frozenset({"logging_config", "metrics"}),
    "prometheus_client": frozenset({"metrics"}),
    "tenacity": frozenset({"retry"}),
    "pydantic": frozenset({"cli", "config", "settings"}),
    "pydantic_settings": frozenset({"config"}),
    "annotated_types": frozenset({"config", "settings"}),
    "click": frozenset({"cli"}),
    "rich": frozenset({"cli"}),
    "jinja2": frozenset({"page"}),
    "markupsafe": frozenset({"page"}),
    "dotenv": frozenset({"settings"}),
}

#: Rooms, and modules of other rooms, that hold nothing but words and rules.
PURE_ROOMS = frozenset({"domain", "containers", "doctor", "events", "exceptions", "status"})
PURE_MODULES = frozenset(
    {
        "metadata_generator.document",
        "metadata_generator.media",
        "ownership.decision",
        "ownership.facts",
        "page.access",
        "page.shown",
        "page.throughput",
        "page.wording",
        "redis_client.format",
        "redis_client.names",
        "settings.typed_values",
        "slots.usual_pace",
        "stream_processor.next_step",
        "verification.choice",
        "verification.report",
        "verification.verdicts",
    }
)
#: Promises of what others await.
PROMISES = frozenset({"domain.ports"})
#: What a rule has no use for: it has no clock, awaits nothing, reads and logs nothing.
IMPURE = frozenset({"asyncio", "time", "random", "secrets", "logging", "socket", "subprocess", "threading", "pathlib"})
VAGUE = ("utils", "util", "helpers", "helper", "common", "manager", "misc")
LONGEST_FUNCTION = 60
LONGEST_MODULE, LONGEST_CLASS, MOST_METHODS = 500, 350, 25


def _name(path: Path) -> str:
    """The module's name inside the package: ``dispatcher``, ``ownership.claim``; "" for the package itself."""
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES: dict[str, Path] = {_name(path): path for path in sorted(SRC.rglob("*.py"))}
DOORS = {name: path for name, path in MODULES.items() if name and path.name == "__init__.py"}
HOUSE = {name: path for name, path in MODULES.items() if name and not name.startswith("embedded")}
ROOMS = {name.partition(".")[0] for name in MODULES} - {""}
PURE = sorted(
    name for name in HOUSE if (name.partition(".")[0] in PURE_ROOMS or name in PURE_MODULES) and name not in PROMISES
)


@dataclass(frozen=True, slots=True)
class Import:
    """One import of a module of ours: ``module`` is the one named, ``name`` what is taken of it."""

    module: str
    name: str

    @property
    def room(self) -> str:
        return self.module.partition(".")[0]


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def _own(name: str) -> Iterator[Import]:
    """The relative imports of a module."""
    path = MODULES[name]
    package = path.relative_to(SRC).parent.parts
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            for alias in node.names:
                if node.module is not None:
                    yield Import(".".join((*base, node.module)), alias.name)
                else:
                    full = ".".join((*base, alias.name))
                    yield Import(full, "") if full in MODULES else Import(".".join(base), alias.name)


def _foreign(name: str) -> set[str]:
    """The packages that a module imports from elsewhere."""
    found: set[str] = set()
    for node in ast.walk(_tree(MODULES[name])):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module).partition(".")[0])
    return found


def _room(name: str) -> str:
    return name.partition(".")[0]


def _known(room: str) -> set[str]:
    return {own.room for name in MODULES if _room(name) == room for own in _own(name)} - {room, ""}


def _offered(door: str) -> list[str]:
    for node in _tree(DOORS[door]).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            return [str(name) for name in ast.literal_eval(node.value)]
    return []


# -- rooms -----------------------------------------------------------------------------------------------------------


def test_every_room_is_in_the_table() -> None:
    assert MAY_KNOW.keys() | BUILDERS == ROOMS


@each("room", MAY_KNOW)
def test_a_room_knows_the_rooms_that_it_may_know_and_no_others(room: str) -> None:
    assert _known(room) == MAY_KNOW[room]


def test_imports_go_down() -> None:
    """The table is written from the ground up, so that a room is known only by those that stand above it."""
    order = list(MAY_KNOW)
    assert [(room, other) for room in order for other in MAY_KNOW[room] if order.index(other) > order.index(room)] == []


@each("name", [name for name in MODULES if name])
def test_a_room_is_entered_by_its_door(name: str) -> None:
    inside = [own.module for own in _own(name) if own.room != _room(name) and "." in own.module]
    assert inside == []


@each("name", [name for name in MODULES if name not in DOORS and "." in name])
def test_whoever_is_in_a_room_does_not_go_out_to_come_in_by_its_door(name: str) -> None:
    assert [own for own in _own(name) if own.module == _room(name)] == []


@each("door", DOORS)
def test_a_door_offers_what_it_imports_and_does_nothing_else(door: str) -> None:
    body = _tree(DOORS[door]).body
    assert all(isinstance(node, ast.ImportFrom | ast.Assign) for node in body[1:])
    imported = [alias.asname or alias.name for node in body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(imported) == sorted(_offered(door))


@each("door", DOORS)
def test_what_is_asked_for_at_a_door_is_offered_there(door: str) -> None:
    asked = {own.name for name in MODULES if _room(name) != door for own in _own(name) if own.module == door}
    assert asked <= set(_offered(door))


def _patched() -> Iterator[tuple[str, str, str]]:
    """Where a test replaces a name in a module of ours: the test's file and line, the module, the name."""
    for path in sorted((ROOT / "tests").rglob("*.py")):
        tree = _tree(path)
        bound: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and not node.level and str(node.module).partition(".")[0] == "src":
                base = str(node.module).partition(".")[2]
                for alias in node.names:
                    bound[alias.asname or alias.name] = f"{base}.{alias.name}" if base else alias.name
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("setattr") and len(node.args) > 1:
                where = f"{path.relative_to(ROOT)}:{node.lineno}"
                match node.args[0], node.args[1]:
                    case ast.Name(id=module), ast.Constant(value=str(name)) if bound.get(module) in MODULES:
                        yield where, bound[module], name
                    case ast.Constant(value=str(dotted)), _ if dotted.startswith("src."):
                        yield where, *_target(dotted.removeprefix("src.").split("."))


def _target(parts: list[str]) -> tuple[str, str]:
    """The module in which a dotted name is replaced, and the name; none for what is replaced in a class.

    A module may be written as an attribute of another that has imported it: ``stream_processor.upload.part_plan``.
    """
    length = max((end for end in range(len(parts)) if ".".join(parts[:end]) in MODULES), default=0)
    module, inside = ".".join(parts[:length]), parts[length:]
    if len(inside) == 2 and module:
        imported = [f"{own.module}.{own.name}" for own in _own(module) if own.name == inside[0]]
        if imported and imported[0] in MODULES:
            return imported[0], inside[1]
    return module, inside[0] if len(inside) == 1 else ""


def _is_used(module: str, name: str) -> bool:
    """Whether a function of the module reads the name, or another module does with the module's name in front."""
    functions = [n for n in ast.walk(_tree(MODULES[module])) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    if any(isinstance(node, ast.Name) and node.id == name for one in functions for node in ast.walk(one)):
        return True
    written = f"{module.rpartition('.')[2]}.{name}"
    return any(
        isinstance(node, ast.Attribute) and node.attr == name and ast.unparse(node) == written
        for path in MODULES.values()
        for node in ast.walk(_tree(path))
    )


def test_a_test_replaces_a_name_where_it_is_used_and_never_at_a_door() -> None:
    """A door holds a second reference: to replace that one changes nothing, and the test would not notice."""
    patched = list(_patched())
    assert len(patched) > 20
    assert [one for one in patched if one[1] in DOORS or one[1] not in MODULES] == []
    assert [one for one in patched if one[2] and not _is_used(one[1], one[2])] == []


def test_only_main_trying_out_and_the_commands_import_the_settings_and_the_embedded_services() -> None:
    for name in (name for name in MODULES if _room(name) not in READERS):
        known = {own.room for own in _own(name)} - {_room(name)}
        assert not known & {"config", "embedded"}, name


def test_the_daemon_starts_without_the_commands_and_their_libraries() -> None:
    code = "import src.__main__, src.main, sys; print([n for n in ('click', 'rich', 'src.cli') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"


def test_nobody_imports_main_but_the_command() -> None:
    assert [name for name in MODULES if any(own.module == "main" for own in _own(name))] == ["__main__"]


# -- libraries -------------------------------------------------------------------------------------------------------


@each("name", MODULES)
def test_each_library_is_imported_in_its_room_alone(name: str) -> None:
    libraries = _foreign(name) - sys.stdlib_module_names
    assert {library for library in libraries if _room(name) not in LIBRARIES.get(library, frozenset())} == set()


def test_no_library_is_allowed_where_it_is_not_used() -> None:
    used = {(library, _room(name)) for name in MODULES for library in _foreign(name)}
    assert {(library, room) for library, rooms in LIBRARIES.items() for room in rooms} <= used


@each("name", MODULES)
def test_imports_inside_the_package_are_relative(name: str) -> None:
    assert _foreign(name).isdisjoint({"src", "tests", *ROOMS} - sys.stdlib_module_names)


# -- what a module may do --------------------------------------------------------------------------------------------


@each("name", PURE)
def test_rules_and_words_have_no_clock_await_nothing_and_open_nothing(name: str) -> None:
    assert _foreign(name).isdisjoint(IMPURE)
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


def test_no_module_is_longer_than_five_hundred_lines() -> None:
    lengths = {name: path.read_text(encoding="utf-8").count("\n") for name, path in MODULES.items()}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_MODULE} == {}


@each("name", MODULES)
def test_no_class_is_longer_than_a_reader_can_hold(name: str) -> None:
    for found in (node for node in ast.walk(_tree(MODULES[name])) if isinstance(node, ast.ClassDef)):
        methods = sum(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in found.body)
        assert (found.end_lineno or found.lineno) - found.lineno < LONGEST_CLASS, found.name
        assert methods <= MOST_METHODS, found.name


def test_every_module_begins_with_its_promise() -> None:
    silent = [name for name, path in MODULES.items() if not ast.get_docstring(_tree(path))]
    assert [name for name in silent if MODULES[name].stat().st_size > 0] == []


@each("name", [name for name in MODULES if name != "domain.lifecycle"])
def test_what_holds_for_each_status_stands_in_one_table(name: str) -> None:
    """A second table would have to be edited by hand for a new status."""
    nodes = list(ast.walk(_tree(MODULES[name])))
    keys = [key for node in nodes if isinstance(node, ast.Dict) for key in node.keys if key is not None]
    cases = [node.value for node in nodes if isinstance(node, ast.MatchValue)]
    assert [one.lineno for one in (*keys, *cases) if ast.unparse(one).startswith("Status.")] == []


def test_nothing_reads_a_metric_back() -> None:
    """What the daemon knows of itself comes from its own state; only a scrape reads metrics."""
    readers = ("collect", "generate_latest", "get_sample_value", "restricted_registry")
    used = {
        (name, ast.unparse(node))
        for name, path in MODULES.items()
        for node in ast.walk(_tree(path))
        if (isinstance(node, ast.Attribute) and node.attr in readers)
        or (isinstance(node, ast.Name) and node.id in readers)
    }
    assert used == {("metrics.http_server", "generate_latest"), ("main", "gc.collect")}


def test_each_field_of_a_checkpoint_says_what_it_is_for() -> None:
    lines = MODULES["domain.recording"].read_text(encoding="utf-8").splitlines()
    classes = [node for node in _tree(MODULES["domain.recording"]).body if isinstance(node, ast.ClassDef)]
    (checkpoint,) = (node for node in classes if node.name == "Checkpoint")
    fields = [node for node in checkpoint.body if isinstance(node, ast.AnnAssign)]
    assert len(fields) > 20
    silent = [ast.unparse(one.target) for one in fields if not lines[one.lineno - 2].lstrip().startswith("#:")]
    assert silent == []


def test_the_mutants_come_from_each_pure_module_but_those_that_are_left_out_with_a_reason() -> None:
    told: dict[str, Any] = {}
    for node in _tree(ROOT / "scripts" / "mutants.py").body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("ROOMS", "LEFT_OUT"):
            told[ast.unparse(node.targets[0])] = ast.literal_eval(node.value)
    mutated: set[str] = set()
    for modules, tests in told["ROOMS"].values():
        for folder, names in re.findall(r"(\w+)/\{([\w,]+)\}", modules):
            mutated |= {f"{folder}.{name}" for name in names.split(",")}
        assert [name for name in tests.split(",") if not (ROOT / f"tests/unit/test_{name}.py").exists()] == []
    assert all(told["LEFT_OUT"].values())
    assert not mutated & told["LEFT_OUT"].keys()
    pure = {name for name in PURE if name not in DOORS}
    assert mutated | told["LEFT_OUT"].keys() >= pure
    assert told["LEFT_OUT"].keys() <= pure


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
