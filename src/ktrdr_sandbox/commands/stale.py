"""Drop an instance of which nothing is left: from the registry, and its worktree from git.

`list` does it by itself, so it drops less than `destroy`, which was asked to.
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.commands.destroy import common_dir_of
from ktrdr_sandbox.commands.relocated import has_marker
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.git.ignored import show_env_file
from ktrdr_sandbox.git.worktree import forget_worktree, listed
from ktrdr_sandbox.locking import hold
from ktrdr_sandbox.models import Instance


def drop_stale(context: Context, instance: Instance) -> bool:
    """Take away the entry of a directory that is gone, its state folder, and git's side of it.

    False where it has to wait for another time: a command is at work on the instance or in its
    repository, or the directory was only renamed. What git or its files refuse is left.
    """
    if _is_beside(instance):
        return False
    main, common_dir = instance.parent_repo, None
    with contextlib.suppress(SandboxError, OSError):
        common_dir = common_dir_of(main)
    locks = [context.home.instance_lock(instance.id)]
    locks += [] if common_dir is None else [context.home.repository_lock(common_dir)]
    try:
        with contextlib.ExitStack() as stack:
            for lock in locks:  # nobody who only looks is kept waiting
                stack.enter_context(hold(lock, purpose="list", patience=0.0, tell=lambda _: None))
            if instance.path.is_dir():
                return False
            if main is not None and common_dir is not None:
                _drop_from_git(instance, main, common_dir)
            shutil.rmtree(context.home.state_of(instance.id), ignore_errors=True)
            context.registry.drop(instance)  # last, so that after a kill the next list goes on
    except SandboxError as error:
        if error.code != "lock-timeout":
            raise
        return False
    return True


def _is_beside(instance: Instance) -> bool:
    """Whether a neighbour of the directory has its marker.

    It was renamed without git, so that its place is known again when a command is run in it, and
    then it needs its entry, here and in git.
    """
    with contextlib.suppress(OSError):
        for folder in instance.path.parent.iterdir():
            with contextlib.suppress(OSError):  # a neighbour that this user may not look into
                if has_marker(folder, instance):
                    return True
    return False


def _drop_from_git(instance: Instance, main: Path, common_dir: Path) -> None:
    """Needs the repository's lock. The name is then free for another `create`."""
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
