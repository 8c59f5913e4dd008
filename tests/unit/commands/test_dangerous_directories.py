"""Directories in which something lies that destroy must not take with it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ktrdr_sandbox.commands.destroy import DestroyPlan, destroy
from ktrdr_sandbox.commands.trash import delete, mounts_in, move_to_trash, trashed
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import Instance
from ktrdr_sandbox.paths import Home
from tests.support.repositories import GitRepository, empty_repository, git, repository
from tests.unit.commands.scenes import Scene

APART = ("unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]))


@pytest.fixture
def instance(scene: Scene) -> Instance:
    return scene.instance("feat-x")


def ended(scene: Scene, instance: Instance, *, force: bool = False) -> DestroyPlan:
    return destroy(scene.context, instance, keep_worktree=False, force=force)


def refused_even_by_force(scene: Scene, instance: Instance) -> SandboxError:
    scene.stack(instance)
    for force in (False, True):
        with pytest.raises(SandboxError) as caught:
            ended(scene, instance, force=force)
        assert caught.value.code == "would-lose-work"
        assert caught.value.hints[-1] == "Or keep the directory: --keep-worktree"
    assert instance.path.is_dir()
    assert scene.engine.resources(instance.uuid), "a refusal touches nothing"
    assert scene.registered()[instance.id].state == "created"
    return caught.value


# -- what is inside ------------------------------------------------------------------------------


def test_another_instances_directory(scene: Scene, instance: Instance) -> None:
    inner = scene.instance("inner")
    context = instance.path / ".worktrees" / "inner"
    scene.checkout(instance).commit({".gitignore": ".worktrees/\n"})
    context.parent.mkdir()
    scene.repository.git("worktree", "move", str(inner.path), str(context))
    scene.context.registry.add(replace(inner, path=context))
    error = refused_even_by_force(scene, instance)
    assert error.message == (
        f"{instance.path} cannot be deleted: in it is {context}, the directory of ktrdr--inner."
    )
    assert error.hints[0] == "Destroy or move inner first"
    done = ended(scene, scene.registered()[inner.id])
    assert done.kept_because == "it lies in the directory of ktrdr--feat-x"
    assert context.is_dir()


def test_the_home_itself(scene: Scene, instance: Instance) -> None:
    scene.context = replace(scene.context, home=Home(instance.path / ".ktrdr"))
    scene.context.home.root.mkdir()
    error = refused_even_by_force(scene, instance)
    assert f"in it is {instance.path}/.ktrdr, KTRDR_HOME." in error.message


def test_its_own_repository(scene: Scene, instance: Instance) -> None:
    inside = instance.path / "repository"
    scene.repository.root.rename(inside)
    git(inside, "worktree", "repair", str(instance.path))
    moved = replace(instance, parent_repo=inside)
    scene.context.registry.add(moved)
    error = refused_even_by_force(scene, moved)
    assert f"in it is {inside}, its own repository." in error.message


# -- what the directory has become ---------------------------------------------------------------


def test_a_repository_around_it_that_ignores_everything(tmp_path: Path) -> None:
    """Without its link to git, git in it speaks of the repository around."""
    outer = empty_repository(tmp_path)
    outer.commit({".gitignore": "*\n"})
    scene = Scene(tmp_path)
    instance = scene.instance()
    (instance.path / ".git").unlink()
    scene.checkout(instance).write({"work": "precious"})
    assert git(instance.path, "status", "--porcelain") == ""
    done = ended(scene, instance, force=True)
    assert done.kept_because == "it is no longer this instance's worktree"
    assert (instance.path / "work").read_text() == "precious"


def test_a_new_repository_made_in_it(scene: Scene, instance: Instance) -> None:
    (instance.path / ".git").unlink()
    empty_repository(instance.path)
    scene.checkout(instance).commit({"work": "precious"})
    done = ended(scene, instance)
    assert done.kept_because == "it is no longer this instance's worktree"
    assert (instance.path / "work").read_text() == "precious"


# -- links and mounts ----------------------------------------------------------------------------


def test_links_lead_nowhere(scene: Scene, instance: Instance) -> None:
    outside = scene.folder / "outside"
    outside.mkdir()
    (outside / "file").write_text("theirs")
    scene.checkout(instance).commit({".gitignore": "away\nhard\n"})
    (instance.path / "away").symlink_to(outside)
    (instance.path / "hard").hardlink_to(outside / "file")
    ended(scene, instance)
    assert not instance.path.exists()
    assert (outside / "file").read_text() == "theirs"


MOUNTED = """
import sys
from pathlib import Path
from tests.unit.commands.test_dangerous_directories import directory_with_mount

directory_with_mount(Path(sys.argv[1]))
print("end")
"""


def directory_with_mount(folder: Path) -> None:
    """In a mount namespace of its own."""
    scene = Scene(folder)
    instance = scene.instance()
    outside = folder / "out side"
    outside.mkdir()
    (outside / "file").write_text("theirs")
    inside = instance.path / "logs é\\ x"
    inside.mkdir()
    scene.checkout(instance).commit({".gitignore": "logs*\n"})
    subprocess.run(["mount", "--bind", str(outside), str(inside)], check=True)
    assert mounts_in(instance.path) == (inside,)
    error = refused_even_by_force(scene, instance)
    assert f"in it is {inside}, mounted there." in error.message
    assert error.hints[0] == f"Umount '{inside}'"
    with pytest.raises(SandboxError) as caught:
        delete(instance.path, engine=None, images=(), uuid="")
    assert caught.value.code == "teardown-incomplete"
    assert (outside / "file").read_text() == "theirs"
    assert (instance.path / "README.md").exists()
    subprocess.run(["umount", str(inside)], check=True)
    ended(scene, instance)
    assert not instance.path.exists()
    assert (outside / "file").read_text() == "theirs"


@pytest.mark.skipif(sys.platform != "linux", reason="a mount within a file system is Linux's")
def test_a_place_that_is_mounted_there_is_not_entered(tmp_path: Path) -> None:
    argv = [*APART, sys.executable, "-c", MOUNTED, str(tmp_path)]
    done = subprocess.run(
        argv, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("end\n"), done.stdout + done.stderr


# -- kinds of repositories -----------------------------------------------------------------------


@pytest.fixture
def bare(tmp_path: Path) -> GitRepository:
    """A bare repository with one linked worktree, the only place to work from."""
    source = repository(tmp_path / "source")
    git(source.root, "clone", "--quiet", "--bare", str(source.root), str(tmp_path / "ktrdr.git"))
    git(tmp_path / "ktrdr.git", "worktree", "add", "--quiet", str(tmp_path / "work"), "main")
    return GitRepository(tmp_path / "work")


def test_a_bare_repository_forgets_the_worktree_too(tmp_path: Path, bare: GitRepository) -> None:
    scene = Scene(tmp_path)
    scene.context = scene.at(bare.root)
    before = bare.worktrees()
    instance = scene.instance()
    assert instance.path == tmp_path / "ktrdr--feat-x"
    assert len(bare.worktrees()) == len(before) + 1
    ended(scene, instance)
    assert bare.worktrees() == before
    assert not instance.path.exists()
    assert "feat-x" in bare.branches()


# -- what --force keeps --------------------------------------------------------------------------


def test_lost_commits_outlive_what_git_prunes(scene: Scene, instance: Instance) -> None:
    checkout = scene.checkout(instance)
    checkout.git("switch", "--quiet", "--detach")
    lost = checkout.commit({"work": "x"})
    done = ended(scene, instance, force=True)
    assert done.trash is not None
    scene.repository.git("gc", "--quiet", "--prune=now")
    with pytest.raises(AssertionError):
        scene.repository.git("cat-file", "-t", lost)
    scene.repository.git("fetch", "--quiet", str(done.trash / "lost-commits.bundle"), "HEAD")
    assert scene.repository.head("FETCH_HEAD") == lost


def test_commits_of_a_submodule_are_kept_too(scene: Scene, instance: Instance) -> None:
    library = repository(scene.folder / "library")
    checkout = scene.checkout(instance)
    add = ["-c", "protocol.file.allow=always", "submodule", "add", "-q", str(library.root), "l"]
    checkout.git(*add)
    checkout.git("commit", "--quiet", "-m", "Add a submodule")
    lost = GitRepository(instance.path / "l").commit({"new": "x"})
    checkout.git("commit", "--quiet", "--all", "-m", "Use it")
    with pytest.raises(SandboxError) as caught:
        ended(scene, instance)
    assert "in l: commit that is only here: " in caught.value.message
    done = ended(scene, instance, force=True)
    assert done.trash is not None
    library.git("fetch", "--quiet", str(done.trash / "git-modules" / "l"), "HEAD")
    assert library.head("FETCH_HEAD") == lost
    assert not list((scene.repository.root / ".git" / "worktrees").glob("*"))


def test_work_that_appears_while_it_is_forced_is_not_deleted(
    scene: Scene, instance: Instance
) -> None:
    """Nothing was unsaved when it began, so nothing goes to the trash; a container, stopping,
    writes a file."""
    scene.stack(instance)
    remove = scene.engine.remove

    def writes_at_its_end(*args: Any, **kwargs: Any) -> None:
        (instance.path / "written").write_text("at the last moment")
        remove(*args, **kwargs)

    setattr(scene.engine, "remove", writes_at_its_end)  # noqa: B010
    with pytest.raises(SandboxError) as caught:
        ended(scene, instance, force=True)
    assert caught.value.code == "would-lose-work"
    assert (instance.path / "written").exists()
    done = ended(scene, scene.registered()[instance.id], force=True)
    assert done.trash is not None
    assert (done.trash / "written").exists()


def test_a_place_in_the_trash_is_never_given_twice(scene: Scene, instance: Instance) -> None:
    """As when the clock was set back: what is there would be taken for the directory itself."""
    now = datetime.now(UTC)
    for second in range(120):
        stamp = (now + timedelta(seconds=second)).strftime("%Y%m%dT%H%M%S")
        (scene.home.trash / f"{instance.id}-{stamp}").mkdir(parents=True)
    scene.checkout(instance).write({"work": "precious"})
    done = ended(scene, instance, force=True)
    assert done.trash is not None
    assert (done.trash / "work").read_text() == "precious"
    (days,) = [days for path, days in trashed(scene.home) if path == done.trash]
    assert abs(days) < 1


def test_a_copy_into_the_trash_leaves_out_what_cannot_be_copied(tmp_path: Path) -> None:
    """Onto another file system; pipes and sockets hold nothing."""
    argv = [*APART, sys.executable, "-c", COPIED, str(tmp_path)]
    done = subprocess.run(
        argv, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("end\n"), done.stdout + done.stderr


COPIED = """
import sys
from pathlib import Path
from tests.unit.commands.test_dangerous_directories import copied_to_another_file_system

copied_to_another_file_system(Path(sys.argv[1]))
print("end")
"""


def copied_to_another_file_system(folder: Path) -> None:
    """In a mount namespace of its own."""
    doomed, trash = folder / "doomed", folder / "home" / "trash" / "x-20260101T000000"
    (doomed / "deep").mkdir(parents=True)
    (doomed / "deep" / "work").write_text("precious")
    (doomed / "link").symlink_to("nowhere")
    os.mkfifo(doomed / "pipe")
    (folder / "home").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder / "home")]
    subprocess.run(mount, check=True)
    (doomed / "big").write_bytes(b"x" * 2**21)
    with pytest.raises(SandboxError) as caught:
        move_to_trash(doomed, trash)
    assert caught.value.code == "cannot-write"
    assert caught.value.hints[-1] == f"Until then everything is in {doomed}."
    assert not trash.exists()
    (doomed / "big").unlink()
    move_to_trash(doomed, trash)
    assert (trash / "deep" / "work").read_text() == "precious"
    assert (trash / "link").is_symlink()
    assert not (trash / "pipe").exists()
    assert [path.name for path in trash.parent.iterdir()] == [trash.name]
