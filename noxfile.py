"""Development sessions. `nox -s tests` for the quick ones, `nox -s e2e` with a Docker engine."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.default_venv_backend = "venv"
PYTHONS = ["3.11", "3.12", "3.13"]


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Everything that needs no engine."""
    session.install("-e", ".[test]")
    session.run("pytest", "-n", "2", "-m", "not engine", *session.posargs)


@nox.session
def e2e(session: nox.Session) -> None:
    """What needs a real engine and the lab's images; scripts/test provides both."""
    session.install("-e", ".[test]")
    session.run("pytest", "-n", "3", "--dist", "loadgroup", "-m", "engine", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style."""
    session.install("-e", ".[test]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Types, tests included."""
    session.install("-e", ".[test]")
    session.run("mypy")


@nox.session
def minimums(session: nox.Session) -> None:
    """The tests with the lowest versions of the dependencies that we claim to support."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    lowest = [re.sub(r">=([^,]+).*", r"==\1", entry) for entry in project["dependencies"]]
    session.install("-e", ".[test]", *lowest)
    session.run("pytest", "-n", "2", "-m", "not engine", *session.posargs)


@nox.session
def cover(session: nox.Session) -> None:
    """Branch coverage of what needs no engine."""
    session.install("-e", ".[test]", "coverage[toml]>=7.4", "pytest-cov>=5")
    session.run("pytest", "-m", "not engine", "--cov", "--cov-report=term-missing")


@nox.session
def docs(session: nox.Session) -> None:
    """The pages as a site, in build/site; a link that leads nowhere fails."""
    session.install("-e", ".[test]")
    session.run("mkdocs", "build", "--strict", *session.posargs)


@nox.session
def pictures(session: nox.Session) -> None:
    """The pictures of the documentation, with real stacks: needs an engine and the lab's images."""
    session.install("-e", ".[test]", "pyte>=0.8.2,<0.9")
    session.run("python", "-m", "scripts.make_pictures", "docs/pictures")


@nox.session
def bench(session: nox.Session) -> None:
    """Timings against the raw tools, into docs/benchmarks.md: reports, never fails by time."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "tests.bench", *session.posargs)


@nox.session
def dev(session: nox.Session) -> None:
    """A virtual environment to work in."""
    session.run("python", "-m", "venv", ".venv", external=True)
    session.run(".venv/bin/pip", "install", "-e", ".[test]", external=True)
