"""What a checkout's alembic migrations consist of, read from its files without running them."""

from __future__ import annotations

import ast
import configparser
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

CONFIG: Final = "alembic.ini"

_SEPARATORS: Final = {"space": r" +", "newline": r"\n+", "os": r":", ":": r":", ";": r";"}
_UNSEPARATED: Final = r", *|\s+"
"""How alembic splits a list of folders when the file names no separator."""

_REVISION_FILE: Final = re.compile(r"(?!\.#|__init__).*\.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class AlembicFiles:
    """`folders` are those of scripts and versions, relative to the checkout and there.

    `head` is the only head of the revisions, or None when that is not certain.
    """

    root: Path
    folders: tuple[PurePosixPath, ...]
    head: str | None


def alembic_files(root: Path, *, working_dir: str) -> AlembicFiles | None:
    """The migrations of a checkout, as alembic finds them in a container's working directory.

    None without an `alembic.ini`. What cannot be read is left to alembic to complain of.
    """
    if not (root / CONFIG).is_file():
        return None
    options = _options(root / CONFIG)
    base = PurePosixPath(working_dir)
    scripts = _relative(options.get("script_location", ""), base)
    versions = _version_folders(options, scripts, base)
    folders = [folder for folder in (scripts, *versions) if folder is not None]
    present = dict.fromkeys(folder for folder in folders if (root / folder).is_dir())
    return AlembicFiles(
        root=root,
        folders=tuple(one for one in present if not any(up in present for up in one.parents)),
        head=_certain_head(root, options, scripts, versions),
    )


def _options(path: Path) -> Mapping[str, str]:
    """The values of the `[alembic]` section that matter here, `%(here)s` being the checkout."""
    parser = configparser.ConfigParser({"here": "."})
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, configparser.Error):
        return {}
    found = {}
    for name in _WANTED:
        try:
            found[name] = parser.get("alembic", name).strip()
        except configparser.Error:
            continue
    return found


_WANTED: Final = (
    "script_location",
    "version_locations",
    "version_path_separator",
    "path_separator",
    "recursive_version_locations",
    "sourceless",
)


def _relative(location: str, base: PurePosixPath) -> PurePosixPath | None:
    """A folder relative to the working directory; None for another place, or a package's."""
    path = PurePosixPath(location)
    if path.is_absolute():
        path = path.relative_to(base) if path.is_relative_to(base) else PurePosixPath("..")
    elif ":" in location:
        return None
    return path if path.parts and ".." not in path.parts else None


def _version_folders(
    options: Mapping[str, str], scripts: PurePosixPath | None, base: PurePosixPath
) -> tuple[PurePosixPath | None, ...]:
    given = options.get("version_locations", "")
    if not given:
        return () if scripts is None else (scripts / "versions",)
    named = options.get("path_separator") or options.get("version_path_separator") or ""
    separator = _SEPARATORS.get(named, _UNSEPARATED)
    return tuple(_relative(one.strip(), base) for one in re.split(separator, given) if one.strip())


def _certain_head(
    root: Path,
    options: Mapping[str, str],
    scripts: PurePosixPath | None,
    versions: Sequence[PurePosixPath | None],
) -> str | None:
    unusual = {options.get(key, "false") for key in ("recursive_version_locations", "sourceless")}
    if scripts is None or unusual != {"false"}:
        return None
    try:
        # With a table of another name, the usual one tells nothing.
        if "version_table" in (root / scripts / "env.py").read_text(encoding="utf-8"):
            return None
        parents = dict(_revisions(root, versions))
    except (OSError, ValueError, SyntaxError, _UncertainError):
        return None
    followed = {parent for ancestors in parents.values() for parent in ancestors}
    heads = parents.keys() - followed
    return heads.pop() if len(heads) == 1 and followed <= parents.keys() else None


class _UncertainError(Exception):
    """A revision says in code, and not in plain values, what it is."""


def _revisions(
    root: Path, folders: Sequence[PurePosixPath | None]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each revision with those it follows."""
    seen = set()
    for folder in folders:
        if folder is None:
            raise _UncertainError
        for path in sorted((root / folder).iterdir()):
            if _REVISION_FILE.fullmatch(path.name):
                revision, parents = _revision(path.read_text(encoding="utf-8"))
                if revision in seen:
                    raise _UncertainError
                seen.add(revision)
                yield revision, parents


def _revision(text: str) -> tuple[str, tuple[str, ...]]:
    values = dict(_plain_values(ast.parse(text)))
    revision, parents = values.get("revision"), values.get("down_revision")
    # What another one depends on leaves no row in the table of versions.
    if not isinstance(revision, str) or "down_revision" not in values or values.get("depends_on"):
        raise _UncertainError
    if parents is None:
        return revision, ()
    found = (parents,) if isinstance(parents, str) else parents
    if not isinstance(found, (tuple, list)) or not all(isinstance(one, str) for one in found):
        raise _UncertainError
    return revision, tuple(found)


def _plain_values(module: ast.Module) -> Iterator[tuple[str, object]]:
    """Module-level variables about the revision. Raises _UncertainError when one is computed."""
    for statement in module.body:
        if isinstance(statement, ast.Assign):
            names = [target.id for target in statement.targets if isinstance(target, ast.Name)]
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            names = [statement.target.id]
        else:
            continue
        for name in names:
            if name in ("revision", "down_revision", "depends_on"):
                try:
                    yield name, ast.literal_eval(statement.value) if statement.value else None
                except ValueError:
                    raise _UncertainError from None
