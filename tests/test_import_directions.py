"""Who may import whom: `cli -> console, commands -> rooms -> base`, and who starts processes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "ktrdr_sandbox"
BASE = {"models", "errors", "paths", "files", "locking", "naming", "redaction"}
BASE |= {"process", "exec_process", "own_commands", "background"}
ROOMS = {"slots", "state", "env_file", "git", "isolation", "docker", "gate", "shared"}
ALLOWED = {
    "base": BASE,
    "room": BASE,
    "gate": {*BASE, "docker.engine"},
    "state": {*BASE, "docker.engine", "env_file", "git", "isolation.request"},
    "settings": {"errors", "paths", "settings_sources"},
    "settings_sources": {"errors", "paths", "settings"},
    "targeting": {*BASE, "env_file", "state"},
    "api_address": {*BASE, "env_file"},
    "real_ktrdr": {*BASE, "settings", "commands.configuration"},
    "alias": {*BASE, "api_address", "real_ktrdr", "__main__", "cli.boundary", "console.output"},
    "commands": {*BASE, *ROOMS, "settings", "settings_sources", "api_address"},
    # records only, to render them
    "console": {*BASE, "commands", "gate.result", "isolation.request"}
    | {"api_address", "settings_sources"}
    | {"shared.inventory", "shared.results"},
    "cli": {*BASE, "console", "commands", "targeting", "settings", "state.registry"}
    | {"api_address", "settings_sources"}
    | {"docker.engine", "docker.cli", "docker.environment", "env_file", "gate.result"}
    | {"state.journal", "state.rebuild", "shared.inventory"},
}


def kind_of(part: str) -> str:
    if part in BASE:
        return "base"
    if part in ROOMS and part not in ALLOWED:
        return "room"
    return part


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if name not in {"__init__", "__main__"}:
            yield name, path


def imports(path: Path) -> Iterator[str]:
    """Every module a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "ktrdr_sandbox":
            yield from (f"ktrdr_sandbox.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            is_package = (ROOT.parent / Path(*module.split("."))).is_dir()
            names = [f"{module}.{alias.name}" for alias in node.names] if is_package else [module]
            yield from names


def is_allowed(imported: str, allowed: set[str]) -> bool:
    return any(imported == entry or imported.startswith(f"{entry}.") for entry in allowed)


@pytest.mark.parametrize(("name", "path"), list(modules()), ids=[name for name, _ in modules()])
def test_imports_go_one_way(name: str, path: Path) -> None:
    own = name.split(".", maxsplit=1)[0]
    allowed = {*ALLOWED.get(kind_of(own), set()), own, "__version__"}
    foreign = [
        imported.removeprefix("ktrdr_sandbox.")
        for imported in imports(path)
        if imported.startswith("ktrdr_sandbox.")
    ]
    assert [one for one in foreign if not is_allowed(one, allowed)] == []


def importers(package: str) -> set[str]:
    return {
        name
        for name, path in modules()
        if any(one.split(".")[0] == package for one in imports(path))
    }


def test_processes_are_started_by_the_one_runner() -> None:
    assert importers("subprocess") == {"process"}


def test_python_on_whales_is_imported_in_one_file() -> None:
    assert importers("python_on_whales") == {"docker.compose"}


def test_typer_is_the_command_lines_alone() -> None:
    assert {name.split(".")[0] for name in importers("typer")} == {"cli"}


def test_httpx_is_the_gates_and_the_downloads() -> None:
    assert {name.split(".")[0] for name in importers("httpx")} == {"gate", "shared"}
