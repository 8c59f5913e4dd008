"""Migrations read from their files: what to mount, and the head where it is certain."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from ktrdr_sandbox.commands.alembic_files import AlembicFiles, alembic_files

FIRST = 'revision = "a1"\ndown_revision = None\n'
SECOND = 'revision: str = "b2"\ndown_revision: str | None = "a1"\ndepends_on = None\n'


def read(root: Path, *, working_dir: str = "/app") -> AlembicFiles:
    found = alembic_files(root, working_dir=working_dir)
    assert found is not None
    return found


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def checkout(root: Path, *revisions: str, config: str = "script_location = alembic") -> Path:
    numbered = {f"alembic/versions/{n}.py": text for n, text in enumerate(revisions)}
    files = {"alembic.ini": f"[alembic]\n{config}\n", "alembic/env.py": "run()\n", **numbered}
    return write(root, files)


def test_a_checkout_without_alembic_has_none(tmp_path: Path) -> None:
    write(tmp_path, {"alembic/versions/0.py": FIRST})
    assert alembic_files(tmp_path, working_dir="/app") is None


@pytest.mark.parametrize(
    "location", ["alembic", "./alembic", "%(here)s/alembic", "/app/alembic", "alembic/"]
)
def test_the_folder_is_found_however_it_is_written(tmp_path: Path, location: str) -> None:
    found = read(checkout(tmp_path, FIRST, SECOND, config=f"script_location = {location}"))
    assert found.folders == (PurePosixPath("alembic"),)
    assert found.head == "b2"


@pytest.mark.parametrize(
    "config",
    [
        "script_location = ktrdr.db:migrations",
        "script_location = /elsewhere/alembic",
        "script_location = ../alembic",
        "script_location = %(nothing)s/alembic",
        "script_location =",
        "url = nothing",
    ],
)
def test_a_folder_that_is_not_of_the_checkout_is_left_to_alembic(
    tmp_path: Path, config: str
) -> None:
    found = read(checkout(tmp_path, FIRST, config=config))
    assert (found.folders, found.head) == ((), None)


@pytest.mark.parametrize("text", ["", "no section\n", "[alembic\n", "[loggers]\nkeys = root\n"])
def test_a_configuration_that_cannot_be_read_is_left_to_alembic(tmp_path: Path, text: str) -> None:
    found = read(write(checkout(tmp_path, FIRST), {"alembic.ini": text}))
    assert (found.folders, found.head) == ((), None)


def test_other_percent_signs_of_the_file_do_no_harm(tmp_path: Path) -> None:
    config = "file_template = %%(year)d_%(rev)s\nscript_location = alembic"
    assert read(checkout(tmp_path, FIRST, config=config)).head == "a1"


@pytest.mark.parametrize(
    ("separator", "written"),
    [
        ("", "one/versions two/versions"),
        ("", "one/versions, two/versions"),
        ("version_path_separator = :\n", "one/versions:two/versions"),
        ("path_separator = os\n", "one/versions:two/versions"),
        ("path_separator = newline\n", "one/versions\n  two/versions"),
    ],
)
def test_several_folders_of_versions(tmp_path: Path, separator: str, written: str) -> None:
    config = f"script_location = one\n{separator}version_locations = {written}"
    write(tmp_path, {"alembic.ini": f"[alembic]\n{config}\n", "one/env.py": ""})
    write(tmp_path, {"one/versions/1.py": FIRST, "two/versions/2.py": SECOND})
    found = read(tmp_path)
    assert found.folders == (PurePosixPath("one"), PurePosixPath("two/versions"))
    assert found.head == "b2"


def test_the_head_follows_all_others(tmp_path: Path) -> None:
    left = 'revision = "c"\ndown_revision = "a1"\n'
    joined = 'revision = "d"\ndown_revision = ("b2", "c")\n'
    assert read(checkout(tmp_path, joined, FIRST, left, SECOND)).head == "d"


@pytest.mark.parametrize(
    "revisions",
    [
        [],
        [FIRST, 'revision = "c"\ndown_revision = None\n'],
        [FIRST, FIRST],
        [FIRST, 'revision = name()\ndown_revision = "a1"\n'],
        [FIRST, 'revision = "c"\n'],
        [FIRST, 'down_revision = "a1"\n'],
        [FIRST, 'revision = "c"\ndown_revision = 7\n'],
        [FIRST, 'revision = "c"\ndown_revision = "a1"\ndepends_on = "a1"\n'],
        [FIRST, "revision = ("],
        ['revision = "c"\ndown_revision = "gone"\n'],
    ],
    ids=[
        "no revision",
        "two heads",
        "the same twice",
        "a computed name",
        "no ancestor",
        "no name",
        "an odd ancestor",
        "a dependency",
        "no Python",
        "an ancestor that is missing",
    ],
)
def test_an_uncertain_head_is_none(tmp_path: Path, revisions: list[str]) -> None:
    assert read(checkout(tmp_path, *revisions)).head is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("alembic/env.py", 'context.configure(version_table="ours")'),
        ("alembic.ini", "[alembic]\nscript_location = alembic\nsourceless = true\n"),
        (
            "alembic.ini",
            "[alembic]\nscript_location = alembic\nrecursive_version_locations = true\n",
        ),
    ],
)
def test_unusual_ways_make_it_uncertain(tmp_path: Path, name: str, text: str) -> None:
    assert read(write(checkout(tmp_path, FIRST), {name: text})).head is None


def test_files_that_alembic_passes_over_count_for_nothing(tmp_path: Path) -> None:
    others = {"__init__.py": "", "README": "revision", ".#0.py": "(", "0.py~": "("}
    write(tmp_path, {f"alembic/versions/{name}": text for name, text in others.items()})
    assert read(checkout(tmp_path, FIRST)).head == "a1"


def test_in_the_root_of_a_container(tmp_path: Path) -> None:
    found = read(checkout(tmp_path, FIRST, config="script_location = /alembic"), working_dir="/")
    assert found.folders == (PurePosixPath("alembic"),)
