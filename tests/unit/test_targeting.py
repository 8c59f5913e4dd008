from __future__ import annotations

from pathlib import Path

import pytest

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import ENV_FILE_NAME, Instance
from ktrdr_sandbox.state.registry import Registry
from ktrdr_sandbox.targeting import target


def an_instance(name: str, path: Path, *, uuid: str = "") -> Instance:
    return Instance(
        id=f"ktrdr--{name}",
        uuid=uuid or f"uuid-of-{name}",
        slot=1,
        path=path,
        created_at="2026-01-15T10:30:00Z",
        is_worktree=True,
        parent_repo=None,
        state="created",
        created_by="create",
    )


@pytest.fixture
def feat_x(tmp_path: Path) -> Instance:
    instance = an_instance("feat-x", tmp_path / "ktrdr--feat-x")
    (instance.path / "src" / "deep").mkdir(parents=True)
    mark(instance.path, instance)
    return instance


def mark(folder: Path, instance: Instance) -> None:
    text = f"INSTANCE_ID={instance.id}\nSANDBOX_UUID={instance.uuid}\n"
    (folder / ENV_FILE_NAME).write_text(text, encoding="utf-8")


def registry(*instances: Instance) -> Registry:
    return Registry({instance.id: instance for instance in instances})


@pytest.mark.parametrize("name", ["feat-x", "ktrdr--feat-x"])
def test_by_name_from_anywhere(feat_x: Instance, name: str) -> None:
    assert target(registry(feat_x), name=name, cwd=Path("/")) == feat_x


def test_a_name_beats_the_directory(feat_x: Instance, tmp_path: Path) -> None:
    other = an_instance("other", tmp_path / "other")
    assert target(registry(feat_x, other), name="other", cwd=feat_x.path) == other


@pytest.mark.parametrize("inside", ["", "src", "src/deep"])
def test_by_the_file_of_the_directorys_tree(feat_x: Instance, inside: str) -> None:
    assert target(registry(feat_x), name=None, cwd=feat_x.path / inside) == feat_x


def test_variables_of_the_shell_do_not_count(
    feat_x: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = an_instance("other", tmp_path / "other")
    monkeypatch.setenv("INSTANCE_ID", other.id)
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", other.id)
    assert target(registry(feat_x, other), name=None, cwd=feat_x.path) == feat_x


def test_a_deleted_file_leaves_the_registered_path(feat_x: Instance) -> None:
    feat_x.env_file.unlink()
    assert target(registry(feat_x), name=None, cwd=feat_x.path / "src") == feat_x


def test_outside_of_every_instance(feat_x: Instance, tmp_path: Path) -> None:
    with pytest.raises(SandboxError) as caught:
        target(registry(feat_x), name=None, cwd=tmp_path)
    assert caught.value.code == "not-in-instance"
    assert caught.value.message == (
        "Not in a sandbox instance directory. Run 'ktrdr-sandbox list' to see instances, or "
        "'ktrdr-sandbox create <name>' to create one."
    )


def test_an_unknown_name_comes_with_the_known(feat_x: Instance) -> None:
    with pytest.raises(SandboxError) as caught:
        target(registry(feat_x), name="feat-y", cwd=feat_x.path)
    assert caught.value.code == "no-such-instance"
    assert caught.value.message == "There is no instance 'feat-y'. Instances: feat-x."
    assert caught.value.details == {"name": "feat-y", "instances": ["ktrdr--feat-x"]}


def test_an_impossible_name_is_wrong_usage(feat_x: Instance) -> None:
    with pytest.raises(SandboxError) as caught:
        target(registry(feat_x), name="../x", cwd=feat_x.path)
    assert caught.value.code == "usage"


def test_a_copied_checkout_names_an_instance_without_being_it(
    feat_x: Instance, tmp_path: Path
) -> None:
    """The directory tells which entry; commands act on the entry's own path."""
    copy = tmp_path / "copy"
    copy.mkdir()
    mark(copy, feat_x)
    assert target(registry(feat_x), name=None, cwd=copy).path == feat_x.path


def test_a_file_of_another_registry(feat_x: Instance) -> None:
    with pytest.raises(SandboxError) as caught:
        target(registry(), name=None, cwd=feat_x.path)
    assert caught.value.code == "no-such-instance"
    assert caught.value.details["instance"] == "ktrdr--feat-x"
    assert "KTRDR_HOME" in caught.value.hints[0]


def test_a_file_of_an_earlier_instance_of_that_name(feat_x: Instance, tmp_path: Path) -> None:
    again = an_instance("feat-x", tmp_path / "elsewhere", uuid="another")
    with pytest.raises(SandboxError) as caught:
        target(registry(again), name=None, cwd=feat_x.path)
    assert caught.value.code == "no-such-instance"
    assert str(again.path) in caught.value.message


def test_a_damaged_file_is_told(feat_x: Instance) -> None:
    feat_x.env_file.write_bytes(b"\xff\xfe")
    with pytest.raises(SandboxError) as caught:
        target(registry(feat_x), name=None, cwd=feat_x.path)
    assert caught.value.code == "env-file-damaged"
