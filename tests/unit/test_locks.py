"""What is imported is declared, the locks are complete, and whatever installs a lock installs it as it is."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCKS = (
    *("requirements.txt", "requirements-dev.txt", "bench/requirements.txt"),
    *("scripts/requirements-go.txt", "scripts/requirements-uv.txt", "scripts/requirements-site.txt"),
    "scripts/requirements-mutants.txt",
)
#: What installs, or tells people how to.
_INSTALLERS = ("scripts", ".ci", ".github/workflows", "docs", "bench", "Dockerfile", "Makefile", "README.md")
#: Of the documents, those that tell people how.
_TELLS_TO_INSTALL = ("systemd.md", "upgrade.md")
_OUR_OWN = {"src", "tests", "bench", "scripts"}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _declared(*extras: str) -> set[str]:
    wanted = [*_PROJECT["dependencies"], *(one for e in extras for one in _PROJECT["optional-dependencies"][e])]
    return {_normal(re.match(r"[\w.-]+", one)[0]) for one in wanted}  # type: ignore[index]


def _imported(folder: str) -> dict[str, str]:
    """Each third-party package that a file of the folder imports, wherever in it, with one file that does."""
    found: dict[str, str] = {}
    own = (
        path
        for path in (ROOT / folder).rglob("*.py")
        if "node_modules" not in path.parts  # npm's, for diagrams
        and path.name != "mutants.py"  # is run with the development lock and one of its own
    )
    for path in sorted(own):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [str(node.module)]
            found |= {name.partition(".")[0]: str(path.relative_to(ROOT)) for name in names}
    return {name: path for name, path in found.items() if name not in sys.stdlib_module_names | _OUR_OWN}


def _locked(name: str) -> dict[str, str]:
    """Distribution and version."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pairs = [re.match(r"([\w.-]+)==([\w.]+)", line) for line in lines]
    return {_normal(pair[1]): pair[2] for pair in pairs if pair}


# The demo is started from the smaller lock.
@pytest.mark.parametrize(("folder", "extras"), [("src", ()), ("scripts", ()), ("tests", ("dev",)), ("bench", ("dev",))])
def test_every_import_is_of_a_declared_package(folder: str, extras: tuple[str, ...]) -> None:
    distributions = packages_distributions()
    imported = _imported(folder)
    assert imported
    declared = _declared(*extras)
    undeclared = {
        name: path
        for name, path in imported.items()
        if not declared & {_normal(one) for one in distributions.get(name, [name])}
    }
    assert undeclared == {}


def test_no_package_is_declared_that_the_daemon_does_not_import() -> None:
    distributions = packages_distributions()
    imported = {_normal(one) for name in _imported("src") for one in distributions[name]}
    assert _declared() - imported == set()


def test_what_is_declared_is_locked_and_the_development_lock_holds_the_other() -> None:
    run, dev = _locked("requirements.txt"), _locked("requirements-dev.txt")
    assert _declared() - run.keys() == set()
    assert _declared("dev") - dev.keys() == set()
    assert {name: dev.get(name) for name in run} == run


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_is_pinned_to_one_version_with_its_hashes(name: str) -> None:
    packages = [each for each in re.split(r"\n(?=[^\s#])|^(?=[^#])", _without_remarks(name)) if each.strip()]
    assert packages
    assert [each for each in packages if not re.match(r"[\w.\[\]-]+==[\w.]+[^\n]*\\\n\s+--hash=sha256:", each)] == []


def _without_remarks(name: str) -> str:
    return "".join(re.findall(r"^(?!#).*\n", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_host(name: str) -> None:
    assert (
        re.findall(r"https?:|--(?:extra-)?index-url|--find-links|^-[if] ", _without_remarks(name), re.MULTILINE) == []
    )


def test_every_lock_is_known_here() -> None:
    found = {
        str(path.relative_to(ROOT))
        for folder in ("", "scripts", "bench", ".ci", "docs", "deploy")
        for path in (ROOT / folder).glob("requirements*.txt")
    }
    assert found == set(LOCKS)


def _commands() -> Iterator[tuple[str, str]]:
    """The file, and each command in it that has pip install something; a Python list of its words is a command too."""
    for place in _INSTALLERS:
        paths = (
            [ROOT / place] if (ROOT / place).is_file() else sorted(p for p in (ROOT / place).rglob("*") if p.is_file())
        )
        for path in paths:
            if path.suffix in (".pyc", ".md") and path.name not in _TELLS_TO_INSTALL:
                continue
            text = path.read_text(encoding="utf-8", errors="replace").replace("\\\n", " ").replace('", "', " ")
            for line in text.splitlines():
                for command in re.split(r"&&|\|\||;", line):
                    if re.search(r"\bpip\b.* install\b|\[.install\b", command):
                        yield str(path.relative_to(ROOT)), command.strip()


def test_whatever_installs_resolves_nothing() -> None:
    commands = list(_commands())
    files = {path for path, _ in commands}
    assert files >= {
        "scripts/lib.sh",
        "Dockerfile",
        ".github/workflows/ci.yml",
        "docs/how-to/systemd.md",
        "docs/how-to/upgrade.md",
        "bench/rivals.py",
    }
    resolving = [each for each in commands if "--no-deps" not in each[1] and "--dry-run" not in each[1]]
    assert resolving == []
    unproved = [
        (path, command)
        for path, command in commands
        if "--require-hashes" not in command and "--dry-run" not in command and not command.endswith(" .")
    ]
    assert unproved == []


@pytest.mark.parametrize(
    "path",
    ["scripts/lib.sh", "Dockerfile", ".github/workflows/ci.yml", "docs/how-to/systemd.md", "docs/how-to/upgrade.md"],
)
def test_whatever_installs_a_lock_asks_whether_it_is_complete(path: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    assert re.search(r"--require-hashes(?:.*\n){1,3}?.*\bpip\b.*\bcheck\b", text)
