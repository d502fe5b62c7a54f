"""The house rules of docs/STYLE.md that a machine can check, each as a test.

It owns what no linter of `make check` sees: the package map and its symlinks, sizes, what ``__init__.py`` may
hold, who may import which library, links between documents, and paths of one machine. The direction of
imports is import-linter's (pyproject.toml), names and complexity are ruff's.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROLES = ("client", "erasure", "miner", "proofs", "validator")
TOP_LEVEL = {*ROLES, "hippy", "tests", "deploy", "docs", "changelog.d"} | {
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "Makefile",
}
MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60

# Each of these is untyped, heavy or replaceable, so one module wraps it (docs/STYLE.md, rule 4).
ONLY_IMPORTER = {
    "asyncpg": "hippy/postgres/session.py",
    "bittensor": "hippy/chain/subtensor.py",
    "bittensor_core": "hippy/identity.py",
    "cffi": "erasure/isal_engine.py",
    "matplotlib": "hippy/sim/plot.py",
    "prometheus_client": "hippy/transport/metrics.py",
    "rocksdict": "hippy/rocks.py",
    "zfec": "erasure/zfec_engine.py",
}

# A home, a scratch directory or a checkout of whoever wrote the line; they exist on no other machine.
MACHINE_PATH = re.compile(r"(?<![\w.})>-])/(?:(?:home|Users)/\w|(?:root|work)/|(?:var/)?tmp/\w)")
MARKDOWN_LINK = re.compile(r"\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")
MARKDOWN_CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)


def text(path: str | PurePosixPath) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def _git_files() -> list[str] | None:
    """What git tracks or would add here; None outside a usable checkout (an unpacked archive)."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        return None
    command = [git, "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.split("\0")[:-1] if done.returncode == 0 else None


def _walked_files() -> Iterator[str]:
    """The same without git: everything that .gitignore does not name; links are not followed."""
    lines = text(".gitignore").splitlines()
    ignored = [line.strip("/") for line in lines if line and not line.startswith("#")]
    for folder, directories, names in os.walk(ROOT):
        links = [name for name in directories if Path(folder, name).is_symlink()]
        directories[:] = [
            name
            for name in directories
            if name not in links and name != ".git" and not any(fnmatch(name, pattern) for pattern in ignored)
        ]
        for name in names + links:
            if not any(fnmatch(name, pattern) for pattern in ignored):
                yield Path(folder, name).relative_to(ROOT).as_posix()


@cache
def project_files() -> tuple[PurePosixPath, ...]:
    """Every file and link of the project, relative to its root."""
    names = _git_files()
    listed = sorted(_walked_files()) if names is None else sorted(set(names))
    return tuple(PurePosixPath(name) for name in listed if os.path.lexists(ROOT / name))


@cache
def modules() -> tuple[PurePosixPath, ...]:
    """Every Python module of the package, by its real path: tests and links are not among them."""
    homes = {"hippy", *ROLES}
    return tuple(path for path in project_files() if path.suffix == ".py" and path.parts[0] in homes)


@cache
def tree(path: PurePosixPath) -> ast.Module:
    return ast.parse(text(path), filename=str(path))


def setuptools_table() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads(text("pyproject.toml"))["tool"]["setuptools"]
    return table


def package_name(folder: PurePosixPath) -> str:
    parts = folder.parts if folder.parts[0] == "hippy" else ("hippy", *folder.parts)
    return ".".join(parts)


def imported(source: ast.AST) -> set[str]:
    """Top-level names of every absolute import, wherever in the module it stands."""
    found: set[str] = set()
    for node in ast.walk(source):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def belongs_in_init(node: ast.stmt) -> bool:
    """A docstring, an import, ``__all__``, the version; for lazy exports TYPE_CHECKING and ``__getattr__``."""
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
            return True
        case ast.Assign(targets=[ast.Name(id="__all__" | "__version__")]) | ast.FunctionDef(name="__getattr__"):
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=[]):
            return all(isinstance(inner, ast.Import | ast.ImportFrom) for inner in node.body)
    return False


def long_functions(source: ast.AST) -> list[str]:
    functions = (n for n in ast.walk(source) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    return [n.name for n in functions if (n.end_lineno or n.lineno) - n.lineno >= FUNCTION_LINES_MAX]


def links(markdown: str) -> list[str]:
    """Targets of relative links, without their anchors."""
    targets = MARKDOWN_LINK.findall(MARKDOWN_CODE.sub("", markdown))
    return [t.partition("#")[0] for t in targets if not re.match(r"[a-z]+:|#", t)]


def modules_loaded_by(code: str) -> set[str]:
    """Names in sys.modules after a fresh interpreter has run ``code``."""
    script = f"{code}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines())


def test_every_package_is_listed_for_setuptools_and_every_listed_one_exists() -> None:
    assert {package_name(path.parent) for path in modules()} == set(setuptools_table()["packages"])


def test_every_package_has_an_init() -> None:
    assert {m.parent for m in modules()} == {m.parent for m in modules() if m.name == "__init__.py"}


def test_every_data_file_beside_the_code_is_shipped() -> None:
    inside = [p for p in project_files() if p.parts[0] in {"hippy", *ROLES} and p.suffix != ".py"]
    files = [
        PurePosixPath(package_name(p.parent).replace(".", "/"), p.name) for p in inside if not (ROOT / p).is_symlink()
    ]
    table = setuptools_table()["package-data"].items()
    shipped = [f"{package.replace('.', '/')}/{pattern}" for package, patterns in table for pattern in patterns]
    assert [str(f) for f in files if not any(f.match(pattern) for pattern in shipped)] == []


@pytest.mark.parametrize("role", ROLES)
def test_role_is_linked_into_the_namespace(role: str) -> None:
    assert (ROOT / "hippy" / role).readlink() == Path("..", role)


def test_only_the_roles_are_linked() -> None:
    found = {path.as_posix() for path in project_files() if (ROOT / path).is_symlink()}
    assert found == {f"hippy/{role}" for role in ROLES}


def test_top_level_holds_only_what_the_design_names() -> None:
    assert {path.parts[0] for path in project_files() if path.parts[0][0] != "."} <= TOP_LEVEL


def test_no_module_is_longer_than_500_lines() -> None:
    lengths = {str(m): len(text(m).splitlines()) for m in modules()}
    assert {m: n for m, n in lengths.items() if n > MODULE_LINES_MAX} == {}


def test_no_function_is_longer_than_60_lines() -> None:
    assert {str(m): found for m in modules() if (found := long_functions(tree(m)))} == {}


def test_every_module_has_a_docstring() -> None:
    assert [str(m) for m in modules() if not ast.get_docstring(tree(m))] == []


def test_init_holds_a_docstring_and_exports_only() -> None:
    inits = [m for m in modules() if m.name == "__init__.py"]
    wrong = [f"{m}:{n.lineno}" for m in inits for n in tree(m).body if not belongs_in_init(n)]
    assert wrong == []


def test_version_is_the_one_of_the_distribution() -> None:
    project = tomllib.loads(text("pyproject.toml"))["project"]
    assert f'__version__ = "{project["version"]}"' in text("hippy/version.py")


@pytest.mark.parametrize(("library", "home"), ONLY_IMPORTER.items())
def test_library_is_imported_by_its_wrapper_alone(library: str, home: str) -> None:
    assert {str(m) for m in modules() if library in imported(tree(m))} <= {home}


def test_no_module_imports_the_tests() -> None:
    assert [str(m) for m in modules() if "tests" in imported(tree(m))] == []


def test_relative_links_in_documents_lead_somewhere() -> None:
    dead = [
        f"{path}: {target}"
        for path in project_files()
        if path.suffix == ".md"
        for target in links(text(path))
        if not (ROOT / path.parent / target).exists()
    ]
    assert dead == []


def test_every_decision_record_is_in_the_index() -> None:
    records = {p.name for p in project_files() if p.match("docs/adr/[0-9]*.md")}
    indexed = set(links(text("docs/adr/README.md")))
    assert records
    assert records <= indexed


def test_no_file_names_a_path_of_one_machine() -> None:
    found = []
    for path in project_files():
        data = b"" if (ROOT / path).is_symlink() else (ROOT / path).read_bytes()
        lines = [] if b"\0" in data else data.decode(errors="replace").splitlines()
        found += [f"{path}:{i}: {line}" for i, line in enumerate(lines, 1) if MACHINE_PATH.search(line)]
    assert found == []


def test_client_loads_neither_chain_sdk_nor_database() -> None:
    loaded = modules_loaded_by(
        "import pkgutil, importlib, hippy.client as c\n"
        "for m in pkgutil.walk_packages(c.__path__, 'hippy.client.'): importlib.import_module(m.name)"
    )
    assert "hippy.client" in loaded
    assert loaded.isdisjoint({"bittensor", "rocksdict"})


# Written with | for / so that this file itself passes.
@pytest.mark.parametrize(
    "line", ["open('|home|ann|x')", 'a = "|tmp|x"', "see |Users|ann", "cd |root|x", "|var|tmp|a", "(|work|x)"]
)
def test_path_of_one_machine_is_recognised(line: str) -> None:
    assert MACHINE_PATH.search(line.replace("|", "/"))


@pytest.mark.parametrize(
    "line", ["|var|lib|hippy", "|v1|pieces|root|", "$HOME|tmp|x", "a|work|b", "|tmp", "https:||x.io|home|a"]
)
def test_ordinary_path_is_left_alone(line: str) -> None:
    assert not MACHINE_PATH.search(line.replace("|", "/"))


@pytest.mark.parametrize("code", ["x = 1", "def f(): pass", "if TYPE_CHECKING:\n    x = 1", "class A: pass"])
def test_code_in_an_init_is_recognised(code: str) -> None:
    assert not all(belongs_in_init(node) for node in ast.parse(code).body)


def test_function_of_60_lines_passes_and_of_61_does_not() -> None:
    def source(lines: int) -> ast.Module:
        return ast.parse("def f():\n" + "    pass\n" * (lines - 1))

    assert long_functions(source(FUNCTION_LINES_MAX)) == []
    assert long_functions(source(FUNCTION_LINES_MAX + 1)) == ["f"]


def test_import_inside_a_function_is_seen() -> None:
    assert imported(ast.parse("def f():\n    from bittensor.core import x")) == {"bittensor"}


def test_links_in_code_and_to_the_web_are_not_followed() -> None:
    assert links("[a](b.md#c) `[d](e.md)` [f](https://g.h) [i](#j)\n```\n[k](l.md)\n```\n") == ["b.md"]


def test_listing_without_git_misses_no_file() -> None:
    assert {str(path) for path in project_files()} <= set(_walked_files())
