"""An instance of which nothing is left: out of the registry, and its worktree out of git.

`list` does it by itself, so it forgets less than `destroy`, which was asked to.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.commands.demolition import common_dir_of
from ktrdr_sandbox.commands.relocated import has_marker
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.git.ignored import show_env_file
from ktrdr_sandbox.git.worktree import forget_worktree, listed
from ktrdr_sandbox.locking import hold
from ktrdr_sandbox.models import Instance


def forget(context: Context, instance: Instance) -> bool:
    """Take away the entry of a directory that is gone, its state folder, and git's side of it.

    False where it has to wait for another time: a command is at work on the instance or in its
    repository, or the directory was only renamed. What git or its files refuse is left.
    """
    if _is_beside(instance):
        return False
    common_dir = _common_dir_of(instance.parent_repo)
    try:
        with _held(context.home.instance_lock(instance.id)):
            if instance.path.is_dir():
                return False
            if common_dir is not None:
                with _held(context.home.repository_lock(common_dir)):
                    _forget_in_git(instance, common_dir)
            shutil.rmtree(context.home.state_of(instance.id), ignore_errors=True)
            context.registry.drop(instance)  # last, so that after a kill the next list goes on
    except SandboxError as error:
        if error.code != "lock-timeout":
            raise
        return False
    return True


@contextmanager
def _held(lock: Path) -> Iterator[None]:
    """Nobody who only looks is kept waiting. Raises `lock-timeout`."""
    with hold(lock, purpose="list", patience=0.0, tell=lambda _: None):
        yield


def _is_beside(instance: Instance) -> bool:
    """Whether a neighbour of the directory has its marker.

    It was renamed without git, so that its place is known again when a command is run in it, and
    then it needs its entry, here and in git.
    """
    with contextlib.suppress(OSError):
        return any(_is_marked(folder, instance) for folder in instance.path.parent.iterdir())
    return False


def _is_marked(folder: Path, instance: Instance) -> bool:
    with contextlib.suppress(OSError):  # a neighbour that this user may not look into
        return has_marker(folder, instance)
    return False


def _common_dir_of(main: Path | None) -> Path | None:
    with contextlib.suppress(SandboxError, OSError):
        return common_dir_of(main)
    return None


def _forget_in_git(instance: Instance, common_dir: Path) -> None:
    """Needs the repository's lock. The name is then free for another `create`."""
    main = instance.parent_repo
    if main is None:
        return
    with contextlib.suppress(SandboxError, OSError):
        ours = instance.created_by == "create" and not instance.path.exists()
        if ours and not _is_needed(main, instance.path):
            forget_worktree(main, common_dir, instance.path)
    with contextlib.suppress(SandboxError, OSError):
        show_env_file(main, common_dir)


def _is_needed(main: Path, path: Path) -> bool:
    """Whether somebody had git keep it, or git's entry may be all that holds commits of it."""
    entry = listed(main, path)
    if entry is None:
        return False
    detached = entry.branch is None or not entry.head.strip("0")
    return detached or entry.locked is not None
