"""Counts and draws the house: rooms, arrows, lengths, comments, and how often a value on its way enters each room.

``python -m scripts.house`` counts the working tree, ``python -m scripts.house REVISION …`` these and the working tree
beside them, so that before and after stand in one table. ``--walk Class.method:parameter`` follows one more value.

A room is a folder of ``src/`` with its modules, or a file beside the folders. An arrow leads from a room to each one
that it imports from. A walk is read from the code, not run: it starts at a function's parameter and goes along with
every call that hands this parameter on. Where a port is called, its implementation is entered. What goes through
another variable, a container or a callback is not followed, so a walk tells the least there is.
"""

from __future__ import annotations

import argparse
import ast
import io
import statistics
import subprocess
import sys
import tarfile
import tempfile
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: What is followed: a title, and the places where it may begin, the first that exists.
WALKS: Mapping[str, tuple[str, ...]] = {
    "a hint's path, in the dispatcher": ("Hints._look_at:path", "Dispatcher._look_at:path"),
    "a new file's stat, from the dispatcher on": ("Dispatcher._start:snapshot",),
    "a file's path, to be claimed": ("Claims.claim:path",),
    "a manifest, to be completed": ("Completion.send:manifest",),
    "a marker, to be remembered": ("Claims._remember:marker", "RedisCheckpoints.put_marker:marker"),
}
_MOST_STEPS = 2000


@dataclass(frozen=True, slots=True)
class Function:
    """``holder`` is the class's name, or empty. ``name`` is the function's."""

    module: str
    holder: str
    name: str
    node: ast.FunctionDef | ast.AsyncFunctionDef

    @property
    def lines(self) -> int:
        return _lines(self.node)

    @property
    def parameters(self) -> list[str]:
        arguments = self.node.args
        names = [one.arg for one in (*arguments.posonlyargs, *arguments.args)]
        return names[1:] if names[:1] in (["self"], ["cls"]) else names

    @property
    def accepted(self) -> set[str]:
        return {*self.parameters, *(one.arg for one in self.node.args.kwonlyargs)}


@dataclass(slots=True)
class Class:
    """``attributes``: the name of the type of each attribute, as far as it can be read."""

    module: str
    node: ast.ClassDef
    methods: dict[str, Function] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def is_protocol(self) -> bool:
        return any("Protocol" in ast.unparse(base) for base in self.node.bases)


@dataclass(slots=True)
class House:
    """A package, read: its modules by dotted name without the package's own (``ownership.claim``)."""

    texts: dict[str, str]
    trees: dict[str, ast.Module]
    doors: set[str]
    imports: dict[str, dict[str, tuple[str, str]]]  # by module: name, to the module it is of and its name there
    functions: dict[tuple[str, str], Function]
    classes: dict[str, Class]

    @property
    def rooms(self) -> set[str]:
        return {_room(name) for name in self.trees}

    def arrows(self) -> set[tuple[str, str]]:
        """From room to room."""
        return {(_room(one), _room(other)) for one, other in self.module_arrows() if _room(one) != _room(other)}

    def module_arrows(self) -> set[tuple[str, str]]:
        """From module to module; an import at a door is an arrow to the door."""
        return {
            (name, module)
            for name, names in self.imports.items()
            for module, _ in names.values()
            if module != name and module in self.trees
        }

    def floors(self) -> dict[str, int]:
        """Each room's: one above the highest that it knows; the ground is 1. Raises ``ValueError`` for a circle."""
        known = {room: {other for one, other in self.arrows() if one == room} for room in self.rooms}
        found: dict[str, int] = {}
        while len(found) < len(known):
            ready = [room for room in known if room not in found and known[room] <= found.keys()]
            if not ready:
                raise ValueError(f"a circle among {', '.join(sorted(known.keys() - found.keys()))}")
            found |= {room: 1 + max((found[other] for other in known[room]), default=0) for room in ready}
        return found


def _lines(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _room(module: str) -> str:
    return module.partition(".")[0]


# -- reading ---------------------------------------------------------------------------------------------------------


def measured(src: Path) -> House:
    """The package in the folder ``src``, without its own ``__init__`` and ``__main__``."""
    texts: dict[str, str] = {}
    doors: set[str] = set()
    for path in sorted(src.rglob("*.py")):
        parts = path.relative_to(src).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        if name and name != "__main__":
            texts[name] = path.read_text(encoding="utf-8")
            if parts[-1] == "__init__":
                doors.add(name)
    trees = {name: ast.parse(text) for name, text in texts.items()}
    house = House(texts, trees, doors, {}, {}, {})
    for name, tree in trees.items():
        house.imports[name] = dict(_imported(name, tree, house))
        _define(name, tree, house)
    return house


def _imported(name: str, tree: ast.Module, house: House) -> Iterator[tuple[str, tuple[str, str]]]:
    package = name.split(".") if name in house.doors else name.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            for alias in node.names:
                module = ".".join((*base, *(node.module or "").split("."))).strip(".")
                full = f"{module}.{alias.name}".strip(".")
                yield alias.asname or alias.name, (full, "") if full in house.trees else (module, alias.name)


def _define(name: str, tree: ast.Module, house: House) -> None:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            house.functions[name, node.name] = Function(name, "", node.name, node)
        elif isinstance(node, ast.ClassDef):
            found = house.classes[node.name] = Class(name, node)
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                    found.methods[inner.name] = Function(name, node.name, inner.name, inner)
                elif isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name):
                    found.attributes[inner.target.id] = ast.unparse(inner.annotation)
            _note_attributes(found)


def _note_attributes(found: Class) -> None:
    for method in found.methods.values():
        annotated = _annotations(method)
        for node in ast.walk(method.node):
            match node:
                case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"), attr=attribute)], value=value):
                    match value:
                        case ast.Name(id=source) if source in annotated:
                            found.attributes.setdefault(attribute, annotated[source])
                        case ast.Call(func=ast.Name(id=made)):
                            found.attributes.setdefault(attribute, made)


def _annotations(function: Function) -> dict[str, str]:
    arguments = function.node.args
    every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    return {one.arg: ast.unparse(one.annotation) for one in every if one.annotation is not None}


# -- walking ---------------------------------------------------------------------------------------------------------


def walked(house: House, start: str) -> list[str] | None:
    """The rooms that the parameter ``Class.method:parameter`` enters one after the other, also when it comes back to go
    on from there; None where there is no such parameter."""
    where, _, parameter = start.partition(":")
    holder, _, name = where.rpartition(".")
    known = house.classes.get(holder)
    function = known.methods.get(name) if known else None
    if function is None or parameter not in function.accepted:
        return None
    route: list[str] = []
    _follow(house, function, parameter, route, frozenset())
    return [room for room, _ in groupby(_room(module) for module in route)]


def _follow(
    house: House, function: Function, parameter: str, route: list[str], within: frozenset[tuple[str, str, str]]
) -> None:
    """Write down the module at each step. A function that has the value already is entered, but not walked again."""
    me = (function.module, function.holder, function.name)
    route.append(function.module)
    if me in within or len(route) > _MOST_STEPS:
        return
    calls = [node for node in ast.walk(function.node) if isinstance(node, ast.Call)]
    for call in sorted(calls, key=lambda one: (one.lineno, one.col_offset)):
        for callee, name in _handed_on(house, function, call, parameter):
            route.append(function.module)
            _follow(house, callee, name, route, within | {me})


def _handed_on(house: House, function: Function, call: ast.Call, parameter: str) -> Iterator[tuple[Function, str]]:
    """The function that a call hands the parameter to, and what it is called there."""
    positions = [at for at, value in enumerate(call.args) if isinstance(value, ast.Name) and value.id == parameter]
    words = [one.arg for one in call.keywords if isinstance(one.value, ast.Name) and one.value.id == parameter]
    if not positions and not words:
        return
    callee = _callee(house, function, call.func)
    if callee is None:
        return
    for at in positions:
        if at < len(callee.parameters):
            yield callee, callee.parameters[at]
    for word in words:
        if word in callee.accepted:
            yield callee, str(word)


def _callee(house: House, function: Function, called: ast.expr) -> Function | None:
    match called:
        case ast.Name(id=name):
            module, there = _origin(house, function.module, name)
            return house.functions.get((module, there))
        case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name != "self":
            module, there = _origin(house, function.module, name)
            if not there and (module, attribute) in house.functions:
                return house.functions[module, attribute]
    if isinstance(called, ast.Attribute):
        kind = _kind(house, function, called.value)
        return _method(house, kind, called.attr, besides=function.holder) if kind else None
    return None


def _origin(house: House, module: str, name: str) -> tuple[str, str]:
    """Where a name of a module is defined: through doors, as far as they lead."""
    for _ in range(4):
        if name not in house.imports.get(module, {}):
            break
        module, name = house.imports[module][name]
        if not name:
            break
    return module, name


def _kind(house: House, function: Function, value: ast.expr) -> str:
    """The name of the class of an expression, or nothing."""
    match value:
        case ast.Name(id="self"):
            return function.holder
        case ast.Name(id=name):
            return _annotations(function).get(name, "")
        case ast.Attribute(value=inner, attr=attribute):
            kind = _kind(house, function, inner)
            known = house.classes.get(kind)
            return known.attributes.get(attribute, "").removesuffix(" | None") if known else ""
    return ""


def _method(house: House, kind: str, name: str, *, besides: str) -> Function | None:
    """Where a port is asked: of a class that keeps it, but not of the asking class itself, which may wrap another."""
    known = house.classes.get(kind)
    if known is None:
        return None
    if not known.is_protocol:
        for base in (kind, *(ast.unparse(one) for one in known.node.bases)):
            if base in house.classes and name in house.classes[base].methods:
                return house.classes[base].methods[name]
        return None
    wanted = known.methods.keys()
    classes = (one for one in house.classes.values() if not one.is_protocol and one.node.name != besides)
    able = [one for one in classes if wanted <= one.methods.keys()]
    # Of several the one that says so: PatientStore is the port, S3Client only looks like it.
    able.sort(key=lambda one: f"``{kind}``" not in (ast.get_docstring(one.node) or ""))
    return able[0].methods.get(name) if able else None


# -- counting --------------------------------------------------------------------------------------------------------


def figures(house: House, more_walks: Sequence[str] = ()) -> dict[str, str]:
    """What the table shows, in its order."""
    functions = _functions(house)
    lengths = sorted(_lines(node) for _, node in functions)
    classes = [(f"{one.module}.{one.node.name}", one) for one in house.classes.values()]
    lines = {name: text.count("\n") for name, text in house.texts.items()}
    comments, documented = _remarks(house.texts.values())
    total = sum(lines.values())
    long_class = max(classes, key=lambda one: _lines(one[1].node))
    many = max(classes, key=lambda one: len(one[1].methods))
    long_function = max(functions, key=lambda one: _lines(one[1]))
    returns = max(functions, key=lambda one: _returns(one[1]))
    found = {
        "rooms": str(len(house.rooms)),
        "floors": str(max(house.floors().values())),
        "arrows between rooms": str(len(house.arrows())),
        "modules": str(len(house.trees)),
        "arrows between modules": str(len(house.module_arrows())),
        "lines": f"{total:,}",
        "longest module": f"{max(lines.values())} {max(lines, key=lambda one: lines[one])}",
        "modules above 500 lines": str(sum(one > 500 for one in lines.values())),
        "longest class": f"{_lines(long_class[1].node)} {long_class[0]}",
        "most methods": f"{len(many[1].methods)} {many[0]}",
        "classes above 350 lines or 25 methods": str(
            sum(_lines(one.node) > 350 or len(one.methods) > 25 for _, one in classes)
        ),
        "functions": str(len(functions)),
        "longest function": f"{_lines(long_function[1])} {long_function[0]}.{long_function[1].name}",
        "median of function lengths": f"{statistics.median(lengths):g}",
        "p90 of function lengths": str(lengths[int(0.9 * (len(lengths) - 1))]),
        "most returns in a function": f"{_returns(returns[1])} {returns[0]}.{returns[1].name}",
        "lines with a comment": f"{100 * comments / total:.1f} %",
        "lines of docstrings": f"{100 * documented / total:.1f} %",
    }
    for title, starts in {**WALKS, **{start: (start,) for start in more_walks}}.items():
        route = next((one for start in starts if (one := walked(house, start)) is not None), None)
        found[f"walk: {title}"] = "-" if route is None else _told(route)
    return found


def _told(route: Sequence[str]) -> str:
    rooms = Counter(route)
    listed = ", ".join(f"{room} {times}" for room, times in rooms.most_common(6))
    return f"{len(route)} entries of {len(rooms)}: {listed}"


def _functions(house: House) -> list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    return [
        (name, node)
        for name, tree in house.trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def _returns(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return sum(isinstance(node, ast.Return) for node in ast.walk(function))


def _remarks(texts: Iterable[str]) -> tuple[int, int]:
    """Lines with a comment, and lines of docstrings."""
    comments = documented = 0
    for text in texts:
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        comments += len({token.start[0] for token in tokens if token.type == tokenize.COMMENT})
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
                first = node.body[0]
                if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                    documented += _lines(first)
    return comments, documented


# -- drawing ---------------------------------------------------------------------------------------------------------


#: ``main`` knows every room; most rooms know the others.
_NOT_DRAWN = frozenset({"main", "exceptions", "events", "timeouts", "logging_config"})


def drawn(house: House) -> str:
    """The rooms as a Mermaid diagram. What follows from other arrows is left out, and so are ``_NOT_DRAWN``."""
    arrows = {(one, other) for one, other in house.arrows() if not {one, other} & _NOT_DRAWN}
    floors = house.floors()
    kept = sorted(arrow for arrow in arrows if not _follows(arrow, arrows))
    lines = [
        "%% Generated from the imports of src/ by python -m scripts.documents.",
        "%% Left out: an arrow that follows from others; main, which knows every room; and what most rooms know:",
        "%% exceptions, events, timeouts and logging_config.",
        "flowchart TD",
    ]
    folders = {_room(name) for name in house.trees if "." in name}
    rooms = (room for room in sorted(floors, key=lambda one: (-floors[one], one)) if room not in _NOT_DRAWN)
    lines += [f'    {room}["{room}/"]' if room in folders else f'    {room}("{room}.py")' for room in rooms]
    return "\n".join([*lines, *(f"    {one} --> {other}" for one, other in kept)]) + "\n"


def _follows(arrow: tuple[str, str], arrows: set[tuple[str, str]]) -> bool:
    """Whether there is a longer way from the one to the other."""
    begin, end = arrow
    todo = [other for one, other in arrows if one == begin and other != end]
    seen = set(todo)
    while todo:
        here = todo.pop()
        nearer = {other for one, other in arrows if one == here} - seen
        if end in nearer:
            return True
        seen |= nearer
        todo += nearer
    return False


# -- the command -----------------------------------------------------------------------------------------------------


def _at(revision: str, folder: Path) -> House:
    archive = subprocess.run(["git", "archive", revision, "src"], cwd=ROOT, capture_output=True, check=True)  # noqa: S603, S607
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as packed:
        packed.extractall(folder, filter="data")
    return measured(folder / "src")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revisions", nargs="*", metavar="REVISION", help="of git, to stand beside the working tree")
    parser.add_argument("--walk", action="append", default=[], metavar="Class.method:parameter")
    parser.add_argument("--draw", action="store_true", help="the rooms as a Mermaid diagram, of the last column")
    chosen = parser.parse_args(arguments)
    houses: dict[str, House] = {}
    for revision in chosen.revisions:
        with tempfile.TemporaryDirectory() as folder:
            houses[revision] = _at(revision, Path(folder))
    houses["working tree"] = measured(ROOT / "src")
    if chosen.draw:
        print(drawn(list(houses.values())[-1]), end="")
        return 0
    columns = [figures(house, chosen.walk) for house in houses.values()]
    print("| | " + " | ".join(houses) + " |\n|---" + "|---" * len(columns) + "|")
    for name in columns[0]:
        print(f"| {name} | " + " | ".join(column[name] for column in columns) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
