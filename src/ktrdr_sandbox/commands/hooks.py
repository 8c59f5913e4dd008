"""Hooks: the user's own commands at moments of an instance's life, run in its worktree.

No lock is held meanwhile, so that a hook may call this program. A note in the instance's state
folder tells of a hook whose program was killed: the next hook, `up` or `destroy` ends what it left.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from ktrdr_sandbox import env_file
from ktrdr_sandbox.api_address import URL_VARIABLE, api_url
from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.docker.environment import PLATFORM_SOCKET, child_environment, engine_variables
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import cannot_write, make_folder
from ktrdr_sandbox.git.git import REPOSITORY_VARIABLES
from ktrdr_sandbox.models import Instance
from ktrdr_sandbox.naming import printable
from ktrdr_sandbox.process import LineSink, Outcome, Patience, end_marked, stream
from ktrdr_sandbox.settings import Hook, may_be_set
from ktrdr_sandbox.shared.layout import shared_variables

HOOK_VARIABLE: Final = "KTRDR_HOOK"
"""Tells a hook's commands which hook they are of, and us which processes are a hook's."""

_SHOWN: Final = 10  # last lines of its output that a failure shows
_KEPT_LINES: Final = 40
_PATIENCE: Final[Patience] = (2.0, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class HookFailure:
    """A command of a hook that did not succeed; those after it were not run."""

    hook: Hook
    outcome: Outcome
    timeout: float

    def error(self, *, result: str, hints: tuple[str, ...] = ()) -> SandboxError:
        """`result` tells how things stand all the same."""
        outcome = self.outcome
        how = f"ended with exit status {outcome.exit_code}"
        if outcome.exit_code is None:
            how = f"took longer than {self.timeout:g} s and was ended"
        output = outcome.stderr.splitlines()
        lines = [f"The hook {self.hook} failed: {_shown(outcome.argv)} {how}."]
        lines += [f"  {line}" for line in output[-_SHOWN:]]
        return SandboxError(
            "hook-failed",
            "\n".join([*lines, *([result] if result else [])]),
            hints=hints,
            details={
                "hook": self.hook,
                "argv": list(outcome.argv),
                "exit_code": outcome.exit_code,
                "output": output,
            },
        )


def run_hook(
    context: Context, instance: Instance, hook: Hook, *, sink: LineSink
) -> HookFailure | None:
    """Run a hook's commands one after the other, up to the first that fails; None when all went
    well, or there are none. Each line they print goes to `sink`.

    Raises `bad-settings`, `env-file-damaged`, `cannot-write`.
    """
    end_left_over(context, instance)
    if not instance.path.is_dir():
        return None
    if not may_be_set("hooks", context.home, instance.path, variables=context.environment):
        return None
    settings = context.settings(instance.path)
    commands: tuple[tuple[str, ...], ...] = getattr(settings.hooks, hook)
    if not commands:
        return None
    environment = _environment(context, instance, hook)
    note = _note(context, instance)
    started = psutil.Process().create_time()
    try:
        # In place and not by a temporary file, which a kill would leave to nobody: what is cut off
        # tells of a hook that had not begun.
        make_folder(note.parent)
        with os.fdopen(os.open(note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(json.dumps({"hook": hook, "pid": os.getpid(), "started": started}) + "\n")
    except OSError as error:
        raise cannot_write(note, error) from error
    failure = None
    try:
        for argv in commands:
            sink(f"{hook}: {_shown(argv)}")
            outcome = _run(argv, environment, instance.path, settings.hook_timeout, sink)
            if outcome.exit_code != 0:
                failure = HookFailure(hook=hook, outcome=outcome, timeout=settings.hook_timeout)
                break
    except BaseException:
        # An interrupt may come between the start of a process and our knowing of it.
        end_marked({HOOK_VARIABLE: hook, "SANDBOX_UUID": instance.uuid})
        raise
    finally:
        note.unlink(missing_ok=True)
    return failure


def _run(
    argv: tuple[str, ...],
    environment: Mapping[str, str],
    directory: Path,
    timeout: float,
    sink: LineSink,
) -> Outcome:
    """What cannot be started ends with 126 or 127, as in a shell."""
    try:
        return stream(
            argv,
            environment=environment,
            cwd=directory,
            timeout=timeout,
            sink=sink,
            keep=_KEPT_LINES,
            patience=_PATIENCE,
            own_group=True,
        )
    except (OSError, ValueError) as error:
        code = 127 if isinstance(error, FileNotFoundError) else 126
        said = f"{argv[0]}: {getattr(error, 'strerror', None) or error}"
        return Outcome(argv=argv, exit_code=code, stdout="", stderr=said)


def _environment(context: Context, instance: Instance, hook: Hook) -> dict[str, str]:
    """The shell's variables without `COMPOSE_*`, the instance's file, and its engine's address."""
    inherited = {k: v for k, v in context.environment.items() if k not in REPOSITORY_VARIABLES}
    values = env_file.read(instance.env_file) if instance.env_file.is_file() else {}
    fixed = {"INSTANCE_ID": instance.id, "COMPOSE_PROJECT_NAME": instance.id}
    with contextlib.suppress(SandboxError):  # a damaged file must not keep it from being destroyed
        fixed[URL_VARIABLE] = api_url(instance.env_file, values)
    engine = engine_variables(instance.engine) or {"DOCKER_HOST": PLATFORM_SOCKET}
    return {
        **child_environment(
            inherited,
            address=instance.engine,
            file_values={**values, **fixed, "SLOT_NUMBER": str(instance.slot)},
            paths=shared_variables(context.home),
        ),
        **engine,
        "SANDBOX_UUID": instance.uuid,
        HOOK_VARIABLE: hook,
    }


def end_left_over(context: Context, instance: Instance) -> None:
    """End a hook whose program was killed; one look at the disk when there is none."""
    note = _note(context, instance)
    try:
        noted = json.loads(note.read_text(encoding="utf-8"))
        hook, pid, started = noted["hook"], int(noted["pid"]), noted["started"]
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError):
        note.unlink(missing_ok=True)  # cut off while it was written, before the hook began
        return
    with contextlib.suppress(psutil.Error):
        if psutil.Process(pid).create_time() == started:
            return  # the program that noted the hook still runs it
    ended = end_marked({HOOK_VARIABLE: str(hook), "SANDBOX_UUID": instance.uuid})
    context.tell(
        f"The hook {hook} of {instance.name} was cut off when its command was killed"
        + ("; what was left of it has been ended." if ended else ".")
    )
    note.unlink(missing_ok=True)


def _note(context: Context, instance: Instance) -> Path:
    return context.home.state_of(instance.id) / "hook.json"


def _shown(argv: tuple[str, ...]) -> str:
    """Words as a shell would take them; signs that a terminal might obey are escaped."""
    return printable(shlex.join(argv))
