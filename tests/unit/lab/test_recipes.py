"""A tag names the content of an image: nothing else may change it, and every change must."""

import io
import shutil
import tarfile
from pathlib import Path

import pytest

from tests.lab import recipes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "Dockerfile").write_text("FROM x\n")
    (tmp_path / "recipe" / "run.sh").write_text("true\n")
    return tmp_path / "recipe"


def test_a_copy_elsewhere_has_the_same_digest(folder: Path) -> None:
    copy = shutil.copytree(folder, folder.parent / "copy")
    (copy / "run.sh").chmod(0o700)
    assert recipes.digest(copy, "base") == recipes.digest(folder, "base")


def test_bytecode_is_not_content(folder: Path) -> None:
    before = recipes.digest(folder)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "run.cpython-311.pyc").write_bytes(b"x")
    assert recipes.digest(folder) == before


def test_content_name_and_input_each_change_the_digest(folder: Path) -> None:
    seen = {recipes.digest(folder, "base"), recipes.digest(folder, "other")}
    (folder / "run.sh").write_text("false\n")
    seen.add(recipes.digest(folder, "base"))
    (folder / "run.sh").rename(folder / "run2.sh")
    seen.add(recipes.digest(folder, "base"))
    assert len(seen) == 4


def test_content_moved_from_one_file_to_another_changes_the_digest(folder: Path) -> None:
    (folder / "a").write_text("12")
    (folder / "b").write_text("3")
    before = recipes.digest(folder)
    (folder / "a").write_text("1")
    (folder / "b").write_text("23")
    assert recipes.digest(folder) != before


def test_a_private_umask_does_not_reach_the_image() -> None:
    with tarfile.open(fileobj=io.BytesIO(recipes.DATABASE.context())) as archive:
        modes = {member.name: member.mode for member in archive}
    assert modes == {"Dockerfile": 0o644, "entrypoint.sh": 0o644}


def test_every_recipe_has_its_files() -> None:
    assert [
        recipe.name for recipe in recipes.DERIVED if not (recipe.folder / "Dockerfile").is_file()
    ] == []


def test_lists_leave_out_comments_and_empty_lines(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("# about\n\none\ntwo  # why\n")
    assert recipes.lines(tmp_path / "list") == ["one", "two"]


def test_a_tag_depends_on_the_architecture() -> None:
    assert recipes.base_tag("amd64") != recipes.base_tag("arm64")
    assert recipes.tiny_tag("amd64") != recipes.tiny_tag("arm64")
