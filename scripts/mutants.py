"""Mutation test of the pure rooms: small errors are put into the code one by one, and the room's own tests must fail.

    .venv/bin/pip install --no-deps --require-hashes -r scripts/requirements-mutants.txt
    .venv/bin/python scripts/mutants.py run domain          # a seeded sample; --all for every mutant
    .venv/bin/python scripts/mutants.py report              # scores and survivors, as Markdown

docs/how-to/mutants.md explains what is counted. cosmic-ray says which mutants there are; they are run here, because its
own runner rewrites the checked-out source and starts an interpreter a mutant. Here no file is ever changed: the tests
are collected once, each mutant is a forked child in which one function has other code, and only the tests run that
enter this function. What is not in a function (tables, defaults, decorators) is imported again by another child.
"""

from __future__ import annotations
import __future__

import argparse
import ast
import contextlib
import gc
import hashlib
import importlib.machinery
import importlib.util
import json
import os
import random
import select
import signal
import sys
import time
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
os.chdir(ROOT)
sys.path.insert(0, str(ROOT))

import awscrt.checksums  # noqa: E402, F401 - loaded once, before the children
import cosmic_ray.plugins  # noqa: E402
import pytest  # noqa: E402
from cosmic_ray.ast import ast_nodes, get_ast  # noqa: E402
from cosmic_ray.mutating import mutate_code  # noqa: E402
from hypothesis import HealthCheck, Phase, settings  # noqa: E402

#: The modules of a room and its tests; ``test_at_risk`` is left out, because its simulations take seconds. Facts of
#: ``domain`` that only one other room judges are with that room, whose tests say what is concluded from them.
ROOMS = {
    "domain": (
        "domain/{at_risk,checksums,completion,early_end,errand,lifecycle,object_keys,part_plan,ports,pruning,recording,"
        "resuming,usual_silence,whose}",
        "at_risk_figures,believable,checksums,completion,domain_equality,early_end,errand,lifecycle,object_keys,"
        "part_plan,ports,pruning,recording,resuming,usual_silence,values,whose",
    ),
    "ownership": ("ownership/{decision,facts,keys}", "ownership_decision,ownership_equality,ownership_keys,values"),
    "containers": (
        "containers/{boxes,ebml,film,formats,fragments,matroska,transport}",
        "boxes,containers,film,fragments,matroska,transport,values",
    ),
    "dispatcher": ("dispatcher/{sightings}", "sightings,values"),
    "stream_processor": ("stream_processor/{next_step}", "next_step,values"),
    "retry": ("retry/{policy,request_outcome}", "request_outcome,retry,values"),
    "redis_client": ("redis_client/{format,names}", "checkpoint_format,golden_records,record_limits,redis_names"),
    "status": (
        "status/{advice,chronicle,conclusions,facts,gathering,recorders,schema,texts,view} domain/{unfinished}",
        "advice,status_gathering,status_text,status_texts,status_view",
    ),
    "page": ("page/{access,shown,throughput,wording}", "page_access,page_throughput,page_wording"),
    "verification": (
        "verification/{choice,report,verdicts} domain/{inspection}",
        "safe_to_delete,verification",
    ),
    "doctor": ("doctor/{faults,judgement,policy} domain/{checkup}", "doctor"),
    "metadata_generator": ("metadata_generator/{document,media}", "believable,golden_records,metadata"),
    "settings": ("settings/{typed_values}", "typed_values"),
    "slots": ("slots/{usual_pace}", "usual_pace"),
}
#: Pure modules without mutants that tell anything, and why.
LEFT_OUT = {
    "domain.moment_kinds": "the base classes of the moments: nothing is computed",
    "domain.moments": "the fields of the moments: nothing is computed, and the types are checked",
    "domain.recorder_moments": "as domain.moments",
    "domain.structure": "names: nothing is computed",
    "events": "the types of hints: nothing is computed",
    "exceptions": "classes and their texts: what they lead to is decided in the rooms that catch them",
}
SAMPLE, SEED = 300, "mutants"
RESULTS, REASONS = ROOT / "build" / "mutants", ROOT / "scripts" / "mutants.toml"
CPU_SECONDS, WALL_SECONDS, CALLS_WITHOUT_NEWS = 60, 900, 20_000

#: Of cosmic-ray's operators those whose mutants are hard to catch. ``a * b`` has eleven mutants, and eight of them fail
#: with a TypeError or by orders of magnitude: they would only raise the score. ``is`` stands beside None and members of
#: enumerations alone, where ``==`` is the same. The one for exceptions fails on ``except (*KINDS, Another)``.
BINARY = [
    "Add_Sub",
    "Sub_Add",
    "Mul_Add",
    "Mul_FloorDiv",
    "Div_Mul",
    "FloorDiv_Div",
    "FloorDiv_Mul",
    "Mod_FloorDiv",
    "Pow_Mul",
    "RShift_LShift",
    "LShift_RShift",
    "BitOr_BitAnd",
    "BitAnd_BitOr",
    "BitXor_BitOr",
]
ORDER = ("Eq", "NotEq", "Lt", "LtE", "Gt", "GtE")
OPERATORS = [
    *(f"ReplaceBinaryOperator_{pair}" for pair in BINARY),
    *(f"ReplaceComparisonOperator_{a}_{b}" for a in ORDER for b in ORDER if a != b),
    *("ReplaceComparisonOperator_Is_IsNot", "ReplaceComparisonOperator_IsNot_Is"),
    *("ReplaceUnaryOperator_USub_UAdd", "ReplaceUnaryOperator_Delete_USub", "ReplaceUnaryOperator_Delete_Not"),
    *("AddNot", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd"),
    *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "NumberReplacer"),
    *("RemoveDecorator", "ZeroIterationForLoop"),
]


@dataclass(frozen=True)
class Mutant:
    """One place and its replacement: the ``occurrence``-th for this operator in the file, wherever it stands."""

    path: str
    operator: str
    occurrence: int
    line: int = field(compare=False)
    column: int = field(compare=False)


@dataclass
class Result:
    """``outcome``: killed, timeout (killed by it), survived, unreached (no test of the room enters the function)."""

    mutant: Mutant
    outcome: str
    by: str | None
    function: str
    before: str
    after: str
    seconds: float

    @property
    def is_killed(self) -> bool:
        return self.outcome in ("killed", "timeout")


def sources(room: str) -> list[Path]:
    found = [pattern.rstrip("}").rpartition("{") for pattern in ROOMS[room][0].split()]
    return [Path(f"src/{folder}{name}.py") for folder, _, names in found for name in names.split(",")]


def tests(room: str) -> list[str]:
    files = [f"tests/unit/test_{name}.py" for name in ROOMS[room][1].split(",")]
    return [file for file in files if Path(file).exists()]


def _annotations(tree: ast.Module) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where type annotations stand: nothing at runtime reads what they say."""
    found = [n.annotation for n in ast.walk(tree) if isinstance(n, ast.AnnAssign | ast.arg) and n.annotation]
    found += [n.returns for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef) and n.returns]
    return [((n.lineno, n.col_offset), (n.end_lineno or n.lineno, n.end_col_offset or 0)) for n in found]


def mutants_of(path: Path) -> Iterator[Mutant]:
    text = path.read_text()
    nodes, annotations = list(ast_nodes(get_ast(text))), _annotations(ast.parse(text))
    for name in OPERATORS:
        operator = cosmic_ray.plugins.get_operator(f"core/{name}")()
        places = ((node, start) for node in nodes for start, _ in operator.mutation_positions(node))
        for occurrence, (node, start) in enumerate(places):
            if _is_arithmetic(name, node) and not any(begin <= start < end for begin, end in annotations):
                yield Mutant(str(path), name, occurrence, *start)


def _is_arithmetic(name: str, node: Any) -> bool:
    """cosmic-ray also takes a star among parameters or arguments for a multiplication."""
    return not name.startswith("ReplaceBinaryOperator") or node.parent.type not in (
        *(
            "parameters",
            "param",
            "arglist",
            "argument",
            "trailer",
            "typedargslist",
            "lambdef",
            "dictorsetmaker",
            "atom",
        ),
        *("star_expr", "testlist_comp", "testlist_star_expr", "import_from"),
    )


def sample(room: str, everything: bool) -> list[Mutant]:
    """In an order by chance that is always the same: the first of them are a smaller sample."""
    found = [mutant for path in sources(room) for mutant in mutants_of(path)]
    random.Random(SEED).shuffle(found)  # noqa: S311
    return found if everything else found[:SAMPLE]


@cache
def _statements(path: str) -> list[str]:
    """A file cut into its outermost statements: to parse all of it for each mutant takes longer than the tests."""
    return [node.get_code() for node in get_ast(Path(path).read_text()).children]


@cache
def _counted(path: str, name: str) -> list[int]:
    """How many places each of the outermost statements has for this operator."""
    operator = cosmic_ray.plugins.get_operator(f"core/{name}")()
    statements = get_ast(Path(path).read_text()).children
    return [sum(1 for node in ast_nodes(part) for _ in operator.mutation_positions(node)) for part in statements]


def _place(mutant: Mutant) -> tuple[int, str]:
    """Which of the outermost statements it is in, and that with the error in it."""
    place = mutant.occurrence
    for index, count in enumerate(_counted(mutant.path, mutant.operator)):
        if place < count:
            operator = cosmic_ray.plugins.get_operator(f"core/{mutant.operator}")()
            return index, str(mutate_code(_statements(mutant.path)[index], operator, place))
        place -= count
    raise LookupError(mutant)


def mutated(mutant: Mutant) -> str:
    """The text of the file with the error in it."""
    index, statement = _place(mutant)
    parts = _statements(mutant.path)
    return "".join([*parts[:index], statement, *parts[index + 1 :]])


def _compiled(path: str, statement: str) -> CodeType:
    code: CodeType = compile(statement, str(ROOT / path), "exec", flags=__future__.annotations.compiler_flag)
    return code


@cache
def _definitions(path: str) -> list[tuple[int, int, str]]:
    """First and last line of each function and class, the outer ones first."""
    found = [n for n in ast.walk(ast.parse(Path(path).read_text())) if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    return [(node.lineno, node.end_lineno or 0, node.name) for node in found]


# What a mutant changes in the compiled module.


def _own(code: CodeType) -> tuple[object, ...]:
    """A code without the code in it, and without the line numbers."""
    consts = tuple("code" if isinstance(c, CodeType) else (type(c), c) for c in code.co_consts)
    return code.co_code, consts, code.co_names, code.co_varnames, code.co_exceptiontable


def _same(one: CodeType, other: CodeType) -> bool:
    inner, others = _inner(one), _inner(other)
    return _own(one) == _own(other) and all(_same(a, b) for a, b in zip(inner, others, strict=True))


def _inner(code: CodeType) -> list[CodeType]:
    return [const for const in code.co_consts if isinstance(const, CodeType)]


def changed_functions(one: CodeType, other: CodeType) -> list[CodeType] | None:
    """The functions and methods that are other code now; None when something outside of them has changed."""
    if _own(one) != _own(other) or len(_inner(one)) != len(_inner(other)):
        return None
    found: list[CodeType] = []
    for before, after in zip(_inner(one), _inner(other), strict=True):
        if _same(before, after):
            continue
        if before.co_flags & 0x1:  # CO_OPTIMIZED: a function's; a class body's is not
            found.append(after)
        elif (methods := changed_functions(before, after)) is None:
            return None
        else:
            found += methods
    return found


def live(module: ModuleType, qualname: str) -> list[FunctionType]:
    """The function objects of that name; none where a decorator hides it."""
    found: object = module
    for name in qualname.split("."):
        found = vars(found).get(name) if isinstance(found, type | ModuleType) else None
    for attribute in ("fget", "__func__", "__wrapped__", "func"):
        found = getattr(found, attribute, None) or found
    return [found] if isinstance(found, FunctionType) and found.__code__.co_qualname == qualname else []


# Running.


def profile() -> None:
    settings.register_profile(
        "mutants",
        max_examples=25,
        database=None,
        deadline=None,
        derandomize=True,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("mutants")


def pytest_run(files: list[str], plugin: object) -> int:
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # to look for them takes longer than most mutants
    options = ["-x", "--noconftest", "-W", "ignore", "-o", "timeout=0"]
    plugins = ("no:terminal", "no:cacheprovider", "pytest_asyncio.plugin", "pytest_timeout", "_hypothesis_pytestplugin")
    options += [word for name in plugins for word in ("-p", name)]
    return int(pytest.main([*options, *files], plugins=[plugin]))


def in_children(work: Callable[[int], object], count: int) -> Iterator[tuple[int, object, bool]]:
    """What ``work`` returns for each number, in a fork of this process, and whether that had to be ended.

    Nothing where the process died: then the next number gets a new one.
    """
    done = 0
    while done < count:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            _work(work, range(done, count), writing)
        os.close(writing)
        with os.fdopen(reading, "rb") as answers:
            while select.select([answers], [], [], WALL_SECONDS)[0] and (line := answers.readline()):
                yield done, json.loads(line), False
                done += 1
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if done < count:
            yield done, None, os.WTERMSIG(status) in (signal.SIGPROF, signal.SIGKILL)
            done += 1


def _work(work: Callable[[int], object], numbers: range, writing: int) -> NoReturn:
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        os.dup2(null, stream)
    with contextlib.suppress(BaseException):
        for number in numbers:
            signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
            os.write(writing, json.dumps(work(number)).encode() + b"\n")
    os._exit(0)


def in_child(work: Callable[[], object]) -> tuple[object, bool]:
    """The same, once."""
    ((_, said, ended),) = in_children(lambda _: work(), 1)
    return said, ended


class FirstFailure:
    """A plugin that remembers the first test that failed."""

    by: str | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and self.by is None:
            self.by = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and self.by is None:
            self.by = f"{report.nodeid} (import)"


class Warm(FirstFailure):
    """Collects the room's tests once, sees which of them enter which function, and then runs mutant after mutant."""

    def __init__(self, mutants: list[Mutant], report: Callable[[Result], None]) -> None:
        self.mutants, self._report = mutants, report
        self.cold: list[Mutant] = []
        self._begun = time.monotonic()

    def _run(self, items: list[pytest.Item]) -> str | None:
        self.by = None
        for index, item in enumerate(items):
            following = items[index + 1] if index + 1 < len(items) else None
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self.by is not None:
                return self.by
        return None

    def _entered(self, items: list[pytest.Item], files: set[str]) -> dict[str, list[tuple[float, int]]]:
        """By function: how long each test lasts that enters it, and its index."""
        entered: dict[str, list[tuple[float, int]]] = defaultdict(list)
        seen: set[CodeType] = set()
        calls = 0

        def note(frame: FrameType, event: str, _: object) -> None:
            nonlocal calls
            calls += 1
            if event == "call" and frame.f_code.co_filename in files and frame.f_code not in seen:
                seen.add(frame.f_code)
                calls = 0
            elif calls > CALLS_WITHOUT_NEWS:  # simulations make millions: such a test may enter anything
                sys.setprofile(None)

        for index, item in enumerate(items):
            seen.clear()
            calls = 0
            begun = time.process_time()
            sys.setprofile(note)
            failed = self._run([item])
            is_whole = sys.getprofile() is not None
            sys.setprofile(None)
            if failed:
                return {"failed": [(0.0, index)]}
            for name in {f"{code.co_filename}:{code.co_qualname.partition('.<locals>')[0]}" for code in seen}:
                entered[name].append((time.process_time() - begun, index))
            if not is_whole:
                for file in files:
                    entered[file].append((time.process_time() - begun, index))
        return entered

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        files = {str(ROOT / mutant.path) for mutant in self.mutants}
        entered, _ = in_child(lambda: self._entered(session.items, files))
        assert isinstance(entered, dict), "the tests die without a mutant"
        assert "failed" not in entered, f"fails without a mutant: {session.items[entered['failed'][0][1]].nodeid}"
        gc.collect()
        gc.freeze()
        for index, said, ended in in_children(
            lambda i: self._one(session, self.mutants[i], entered), len(self.mutants)
        ):
            mutant, begun = self.mutants[index], self._begun
            self._begun = time.monotonic()
            outcome, by = _outcome((said, ended))
            assert outcome != "broken", (mutant, by)
            if outcome == "outside":
                self.cold.append(mutant)
            elif outcome != "none":
                self._report(result(mutant, outcome, by, begun))
        return True

    def _one(self, session: pytest.Session, mutant: Mutant, entered: dict[str, list[tuple[float, int]]]) -> list[Any]:
        """Which test fails, behind the name of the outcome."""
        file = str(ROOT / mutant.path)
        try:
            index, statement = _place(mutant)
            before = _compiled(mutant.path, _statements(mutant.path)[index])
            codes = changed_functions(before, _compiled(mutant.path, statement))
        except SyntaxError:
            return ["none", None]  # ``not`` before a name that is given a value: this is not Python
        except Exception as exc:  # noqa: BLE001 - an error of this script is no mutant that was caught
            return ["broken", repr(exc)]
        if codes == []:
            return ["none", None]  # the compiler sees no difference
        module = sys.modules.get(mutant.path.removesuffix(".py").replace("/", "."))
        targets = [(code, live(module, code.co_qualname)) for code in codes or ()] if module else []
        if codes is None or not targets or not all(found for _, found in targets):
            return ["outside", None]
        names = [file, *(f"{file}:{code.co_qualname}" for code, _ in targets)]
        quickest = sorted({(spent, index) for name in names for spent, index in entered.get(name, ())})
        wanted = list(dict.fromkeys(index for _, index in quickest))
        if not wanted:
            return ["unreached", None]
        signal.setitimer(signal.ITIMER_PROF, 2 + 3 * sum({index: spent for spent, index in quickest}.values()))
        healthy = [(function, function.__code__) for _, found in targets for function in found]
        for code, found in targets:
            for function in found:
                function.__code__ = code
        by = self._run([session.items[i] for i in wanted])
        for function, was in healthy:
            function.__code__ = was
        if by is not None and self._run([item for item in session.items if item.nodeid == by]) is not None:
            os._exit(1)  # something has stayed of the mutant: the next one gets a new process
        return ["survived" if by is None else "killed", by]


def _outcome(answer: tuple[object, bool]) -> tuple[str, str | None]:
    said, ended = answer
    if isinstance(said, list):
        return said[0], said[1]
    return ("timeout", None) if ended else ("killed", "the tests died")


def result(mutant: Mutant, outcome: str, by: str | None, begun: float) -> Result:
    old, new = Path(mutant.path).read_text().splitlines(), mutated(mutant).splitlines()
    first = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), mutant.line - 1)
    gone = len(old) - len(new)
    was = " ".join(line.strip() for line in old[first : first + 1 + max(gone, 0)])
    name = ".".join(name for begin, end, name in _definitions(mutant.path) if begin <= first + 1 <= end)
    return Result(mutant, outcome, by, name, was, new[first].strip(), round(time.monotonic() - begun, 2))


def cold(mutant: Mutant, files: list[str]) -> Result:
    """A mutant outside of functions: everything is imported again, by a process that has imported nothing of ours."""
    begun = time.monotonic()
    file, name = ROOT / mutant.path, mutant.path.removesuffix(".py").replace("/", ".")
    after = mutated(mutant)

    class Loader(importlib.machinery.SourceFileLoader):
        def get_code(self, fullname: str) -> CodeType:
            return compile(after, str(file), "exec")

    class Finder:
        @staticmethod
        def find_spec(fullname: str, *_: object) -> importlib.machinery.ModuleSpec | None:
            if fullname != name:
                return None
            return importlib.util.spec_from_file_location(name, file, loader=Loader(name, str(file)))

    def work(files: list[str]) -> list[str | None]:
        sys.meta_path.insert(0, Finder)
        plugin = FirstFailure()
        status = pytest_run(files, plugin)
        by = plugin.by or (f"pytest ended with {status}" if status else None)
        return ["survived" if by is None else "killed", by]

    own = [test for test in files if test.startswith(f"tests/unit/test_{file.stem}")][:1]
    outcome, by = _outcome(in_child(lambda: work(own))) if own else ("survived", None)
    if outcome == "survived" and own != files:
        outcome, by = _outcome(in_child(lambda: work([test for test in files if test not in own])))
    return result(mutant, outcome, by, begun)


def digest(path: Path) -> str:
    """Of the code without its comments and docstrings, which move lines and nothing else."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value.value = None
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16]


def run(room: str, *, everything: bool, only: str, again: bool, functions: bool) -> None:
    """Runs what has no result yet for this source; may be ended and begun again."""
    profile()
    kept = RESULTS / f"{room}.jsonl"
    kept.parent.mkdir(parents=True, exist_ok=True)
    files, known = tests(room), latest(room)
    chosen = [mutant for mutant in sample(room, everything) if only in mutant.path]
    if again:  # those that had survived, before tests were added
        chosen = [mutant for mutant in chosen if mutant in known and not known[mutant].is_killed]
    else:
        chosen = [mutant for mutant in chosen if mutant not in known]
    states = {str(path): digest(path) for path in sources(room)}

    def note(found: Result) -> None:
        with kept.open("a") as file:
            file.write(json.dumps({**asdict(found), "state": states[found.mutant.path]}) + "\n")
        if not found.is_killed:
            print(f"{found.mutant.path}:{found.mutant.line} {found.outcome}: {found.before}  ->  {found.after}")
        sys.stdout.flush()

    print(f"{room}: {len(chosen)} mutants, {len(known)} results before", flush=True)

    def warm() -> dict[str, list[Any]]:
        plugin = Warm(chosen, note)
        status = pytest_run(files, plugin)
        assert status in (0, pytest.ExitCode.NO_TESTS_COLLECTED), status
        return {"cold": [asdict(mutant) for mutant in plugin.cold], "libraries": libraries()}

    left = _forked(warm)
    if functions:
        return
    for name in left["libraries"]:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    for entry in left["cold"]:
        note(cold(Mutant(**entry), files))


def libraries() -> list[str]:
    """What is loaded and is not ours."""
    return [name for name in sys.modules if name.partition(".")[0] not in ("src", "tests", "scripts", "__main__")]


def _forked(warm: Callable[[], dict[str, list[Any]]]) -> dict[str, list[Any]]:
    """What the warm process leaves. It is a child, so that this process stays without anything of ours."""
    left = RESULTS / f"left-{os.getpid()}.json"  # two rooms may be run at once
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            left.write_text(json.dumps(warm()))
            status = 0
        finally:
            sys.stdout.flush()
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    if status:
        sys.exit("the tests could not be run")
    found: dict[str, list[Any]] = json.loads(left.read_text())
    left.unlink()
    return found


def latest(room: str) -> dict[Mutant, Result]:
    """The latest result of each mutant of today's source."""
    kept, found = RESULTS / f"{room}.jsonl", dict[Mutant, Result]()
    states = {str(path): digest(path) for path in sources(room)}
    for line in kept.read_text().splitlines() if kept.exists() else ():
        known = json.loads(line)
        mutant = Mutant(**known["mutant"])
        if known.pop("state") == states.get(mutant.path):
            found[mutant] = Result(**{**known, "mutant": mutant})
    return found


def report() -> None:
    given = tomllib.loads(REASONS.read_text())["survivor"] if REASONS.exists() else []
    reasons = {(r["path"], r["before"], r["after"]): r["reason"] for r in given}
    print("| room | mutants | caught | of these by a timeout | survived | never reached | score |")
    print("|---|---|---|---|---|---|---|")
    alive: list[Result] = []
    for room in ROOMS:
        known, todays = latest(room), sample(room, everything=True)
        found = [known[mutant] for mutant in todays if mutant in known]
        if not found:
            continue
        count = {o: sum(e.outcome == o for e in found) for o in ("killed", "timeout", "survived", "unreached")}
        killed = count["killed"] + count["timeout"]
        print(
            f"| `{room}` | {len(found)} of {len(todays)} | {killed} | {count['timeout']} | {count['survived']} "
            f"| {count['unreached']} | {100 * killed / len(found):.1f} % |"
        )
        alive += [entry for entry in found if not entry.is_killed]
    print()
    for entry in sorted(alive, key=lambda entry: (entry.mutant.path, entry.mutant.line)):
        why = reasons.get((entry.mutant.path, entry.before, entry.after), "**no reason yet**")
        print(f"- `{entry.mutant.path}` in `{entry.function}`: `{entry.before}` → `{entry.after}`: {why}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help="run the mutants of a room")
    running.add_argument("room", choices=ROOMS)
    running.add_argument("--all", action="store_true", help=f"every mutant, not a sample of {SAMPLE}")
    running.add_argument("--only", default="", metavar="TEXT", help="only files with this in their path")
    running.add_argument("--again", action="store_true", help="only those that survived the runs before")
    running.add_argument(
        "--functions", action="store_true", help="without tables, defaults and decorators: much faster"
    )
    commands.add_parser("report", help="scores and survivors as Markdown")
    asked = parser.parse_args()
    if asked.command == "run":
        run(asked.room, everything=asked.all, only=asked.only, again=asked.again, functions=asked.functions)
    else:
        report()


if __name__ == "__main__":
    main()
