"""The steps of create and init, each with its undo, and how they are taken back after a kill."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ktrdr_sandbox import env_file
from ktrdr_sandbox.commands.compose_project import write_env_file
from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.files import cannot_write, temporary_name
from ktrdr_sandbox.git.ignored import hide_env_file, is_hidden, show_env_file
from ktrdr_sandbox.git.worktree import Addition, Checkout, add_worktree, take_back_worktree
from ktrdr_sandbox.locking import hold
from ktrdr_sandbox.models import ENV_FILE_NAME, Instance
from ktrdr_sandbox.state import journal
from ktrdr_sandbox.state.journal import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Construction:
    """An instance in the making, as the journal keeps it.

    `addition` is None when the directory was there before (init).
    """

    instance_id: str
    uuid: str
    path: Path
    main: Path
    common_dir: Path
    addition: Addition | None = None

    def facts(self) -> dict[str, Any]:
        """For the journal: JSON-ready values."""
        return {key: _plain(value) for key, value in asdict(self).items()}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Construction:
        """The reverse of `facts`. Raises KeyError and TypeError for anything else."""
        addition = facts["addition"]
        return cls(
            instance_id=facts["instance_id"],
            uuid=facts["uuid"],
            path=Path(facts["path"]),
            main=Path(facts["main"]),
            common_dir=Path(facts["common_dir"]),
            addition=None if addition is None else _addition(addition),
        )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return str(value) if isinstance(value, Path) else value


def _addition(facts: Mapping[str, Any]) -> Addition:
    return Addition(
        main=Path(facts["main"]),
        common_dir=Path(facts["common_dir"]),
        path=Path(facts["path"]),
        checkout=Checkout(**facts["checkout"]),
        token=facts["token"],
        known=facts["known"],
    )


def construct(
    context: Context,
    plan: Construction,
    log: journal.Journal,
    reserve: Callable[[], Instance],
    copy: Callable[[], None],
) -> Instance:
    """Do all steps; nothing remains of them when one fails. Needs the repository's lock.

    `copy` brings the ignored files that a new worktree needs.
    """
    reserved: list[Instance] = []
    undoing = undo_steps(context, plan)

    def do_reserve() -> None:
        reserved.append(reserve())

    def do_worktree() -> None:
        if plan.addition is not None:
            add_worktree(plan.addition)

    def do_hide() -> None:
        if not is_hidden(plan.path):
            hide_env_file(plan.common_dir)

    def do_mark() -> None:
        write_env_file(context, reserved[0])

    def do_register() -> None:
        reserved[0] = replace(reserved[0], state="created", inode=plan.path.stat().st_ino)
        context.registry.add(reserved[0])

    doing = {
        "slot": do_reserve,
        "worktree": do_worktree,
        "exclude": do_hide,
        "marker": do_mark,
        "copies": copy,
        "entry": do_register,
    }
    log.run([Step(name=name, do=do, undo=undoing[name]) for name, do in doing.items()])
    return reserved[0]


def undo_steps(context: Context, plan: Construction) -> dict[str, Callable[[], None]]:
    """How each step is taken back, by its name; any number of times, in the reverse order."""

    def save(directory: Path) -> None:
        from ktrdr_sandbox.commands.trash import move_to_trash, trash_place

        trash = trash_place(context.home, plan.instance_id)
        move_to_trash(directory, trash)
        context.tell(f"{directory} held files that are not its branch's; they are kept in {trash}.")

    def undo_slot() -> None:
        entry = context.registry.read().instances.get(plan.instance_id)
        if entry is not None and entry.uuid == plan.uuid:
            context.registry.drop(entry)
        shutil.rmtree(context.home.state_of(plan.instance_id), ignore_errors=True)

    def undo_worktree() -> None:
        if plan.addition is not None:
            take_back_worktree(plan.addition, save=save)

    def undo_exclude() -> None:
        show_env_file(plan.main, plan.common_dir)

    return {
        "slot": undo_slot,
        "worktree": undo_worktree,
        "exclude": undo_exclude,
        "marker": lambda: unmark(plan.path, plan.uuid),
        # Git ignores them, so they are nobody's work and go with their worktree.
        "copies": lambda: None,
        "entry": lambda: None,  # the entry goes with its slot, the last thing to be given back
    }


def was_complete(context: Context, pending: journal.Pending) -> bool:
    """Whether a killed create or init had done all; then nothing is left but to let it stand.

    The registry tells, not the journal: after a loss of power the end of that may be missing.
    """
    entry = context.registry.read().instances.get(pending.instance_id)
    if entry is None or entry.uuid != pending.facts.get("uuid") or entry.state != "created":
        return False
    context.registry.renew_copy(entry)
    return True


def take_back(context: Context, pending: journal.Pending) -> None:
    """Undo what a killed create or init did. Needs the instance's lock."""
    plan = Construction.from_facts(pending.facts)
    undoing = undo_steps(context, plan)
    with repository_held(context, plan.common_dir):
        for name in reversed(pending.begun):
            undoing[name]()


def unmark(directory: Path, uuid: str) -> None:
    """Take away the marker of that instance, if a directory has it. Raises `cannot-write`."""
    marker = directory / ENV_FILE_NAME
    try:
        temporary_name(marker).unlink(missing_ok=True)
        if marker.is_file() and env_file.read(marker).get("SANDBOX_UUID", uuid) == uuid:
            marker.unlink(missing_ok=True)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise cannot_write(marker, error) from error


@contextmanager
def repository_held(context: Context, common_dir: Path) -> Iterator[None]:
    """Git's own lock files fail a second `worktree add` at once instead of letting it wait."""
    lock = context.home.repository_lock(common_dir)
    with hold(lock, purpose="git worktree", patience=120.0, tell=context.tell):
        yield
