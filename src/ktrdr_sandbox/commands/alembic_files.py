"""What a checkout's alembic migrations consist of, read from its files without running them."""

from __future__ import annotations

import ast
import configparser
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

CONFIG: Final = "alembic.ini"
_REVISION_FILE: Final = re.compile(r"(?!\.#|__init__).*\.py")
_VARIABLES: Final = ("revision", "down_revision", "depends_on")


@dataclass(frozen=True, slots=True)
class AlembicFiles:
    """`folders` are those of scripts and versions, relative to the checkout and there.

    `head` is the only head of the revisions, or None when that is not certain.
    """

    folders: tuple[PurePosixPath, ...] = ()
    head: str | None = None


def alembic_files(root: Path, *, working_dir: str) -> AlembicFiles | None:
    """Read the migrations of a checkout, as alembic finds them in a container's working directory.

    None without an `alembic.ini`. What cannot be read is left to alembic to complain of.
    """
    if not (root / CONFIG).is_file():
        return None
    parser = configparser.ConfigParser({"here": "."})
    try:
        parser.read_string((root / CONFIG).read_text(encoding="utf-8"))
        option = parser["alembic"].get
        location, several = option("script_location", ""), option("version_locations", "")
        unusual = {option("sourceless"), option("recursive_version_locations")} - {None, "false"}
    except (OSError, ValueError, KeyError, configparser.Error):
        return AlembicFiles()
    base = PurePosixPath(working_dir)
    scripts = _relative(location.strip(), base)
    versions = [_relative(one, base) for one in re.split(r"[,;:\s]+", several) if one]
    if scripts is not None and not versions:
        versions = [scripts / "versions"]
    folders = [one for one in (scripts, *versions) if one is not None and (root / one).is_dir()]
    outer = tuple(one for one in dict.fromkeys(folders) if not set(folders) & set(one.parents))
    known = [root / one for one in versions if one is not None]
    certain = len(known) == len(versions) and not unusual
    return AlembicFiles(outer, _only_head(root / scripts, known) if scripts and certain else None)


def _relative(location: str, base: PurePosixPath) -> PurePosixPath | None:
    """A folder relative to the working directory; None for another place, or a package's."""
    path = PurePosixPath(location)
    if path.is_absolute() and path.is_relative_to(base):
        path = path.relative_to(base)
    outside = path.is_absolute() or ".." in path.parts or ":" in location
    return None if outside or not path.parts else path


def _only_head(scripts: Path, versions: Iterable[Path]) -> str | None:
    try:
        # With a table of another name, the usual one tells nothing.
        if "version_table" in (scripts / "env.py").read_text(encoding="utf-8"):
            return None
        found = [
            _revision(path.read_text(encoding="utf-8"))
            for folder in versions
            for path in folder.iterdir()
            if _REVISION_FILE.fullmatch(path.name)
        ]
    except (OSError, ValueError, SyntaxError):
        return None
    parents = dict(found)
    followed = {parent for ancestors in parents.values() for parent in ancestors}
    heads = parents.keys() - followed
    whole = len(parents) == len(found) and followed <= parents.keys()
    return heads.pop() if len(heads) == 1 and whole else None


def _revision(text: str) -> tuple[str, tuple[str, ...]]:
    """A revision with those it follows. Raises ValueError when it does not say so plainly."""
    values: dict[str, object] = {}
    for statement in ast.parse(text).body:
        if isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value is not None:
            many = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            for target in many:
                if isinstance(target, ast.Name) and target.id in _VARIABLES:
                    values[target.id] = ast.literal_eval(statement.value)
    revision, parents = values.get("revision"), values.get("down_revision", False)
    if parents is None or isinstance(parents, str):
        parents = (parents,) if parents else ()
    # What another one depends on leaves no row in the table of versions.
    if not isinstance(revision, str) or values.get("depends_on"):
        raise ValueError(text)
    if not isinstance(parents, (tuple, list)) or not all(isinstance(one, str) for one in parents):
        raise ValueError(text)
    return revision, tuple(parents)
