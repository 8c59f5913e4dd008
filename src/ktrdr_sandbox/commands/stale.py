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
    with contextlib.suppress(OSError):
        if any(has_marker(folder, instance) for folder in instance.path.parent.iterdir()):
            return False  # renamed without git: its place is known when a command is run in it
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


def _drop_from_git(instance: Instance, main: Path, common_dir: Path) -> None:
    """The name is then free for another `create`. What somebody had git keep stays, and what may
    be all that holds commits."""
    with contextlib.suppress(SandboxError, OSError):
        entry = listed(main, instance.path)
        needed = entry is not None and (
            entry.branch is None or not entry.head.strip("0") or entry.locked is not None
        )
        if instance.created_by == "create" and not instance.path.exists() and not needed:
            forget_worktree(main, common_dir, instance.path)
    with contextlib.suppress(SandboxError, OSError):
        show_env_file(main, common_dir)
