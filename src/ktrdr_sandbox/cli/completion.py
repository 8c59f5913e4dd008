"""ktrdr-sandbox completion."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final, Literal, get_args

import typer

from ktrdr_sandbox.cli import options
from ktrdr_sandbox.cli.boundary import command
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import replace_file

Shell = Literal["bash", "zsh", "fish"]
_SHELLS: Final[tuple[Shell, ...]] = get_args(Shell)


def completion(
    shell: Annotated[
        Shell | None,
        typer.Argument(
            metavar="[bash|zsh|fish]", help="Left out: that of $SHELL.", show_default=False
        ),
    ] = None,
    install: Annotated[
        bool,
        typer.Option("--install", help="Put it where new shells of yours find it, and say where."),
    ] = False,
    json_mode: options.Json = False,
) -> None:
    """Print the script that completes commands, instances, services and branches on TAB."""
    with command("completion", json_mode=json_mode) as output:
        chosen = shell or _own_shell()
        script = _script(chosen)
        if not install:
            output.result(script.rstrip("\n"), {"shell": chosen, "script": script})
            return
        path, line, start = _places(chosen)
        replace_file(path, script, mode=0o644)
        added = start is not None and _add_line(start, line)
        text = f"Completion for {chosen} is in {path}."
        if added:
            text += f"\nAdded to {start}: {line}"
        output.result(
            f"{text}\nNew shells have it.",
            {"shell": chosen, "path": str(path), "added_to": str(start) if added else None},
        )


def _own_shell() -> Shell:
    name = Path(os.environ.get("SHELL", "")).name
    for known in _SHELLS:
        if name == known:
            return known
    raise SandboxError(
        "usage",
        f"Which shell? {f'$SHELL is {name}' if name else '$SHELL is not set'}, and only bash, zsh "
        "and fish are known.",
        hints=("Say it: ktrdr-sandbox completion bash",),
    )


def _script(shell: Shell) -> str:
    return (Path(__file__).parent / "shells" / f"{shell}.sh").read_text(encoding="utf-8")


def _places(shell: Shell) -> tuple[Path, str, Path | None]:
    """The script's file, the line that reads it, and the file that line belongs in, if any."""
    home = Path.home()
    if shell == "fish":  # reads this folder by itself
        config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
        return config / "fish" / "completions" / "ktrdr-sandbox.fish", "", None
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    path = data / "ktrdr-sandbox" / f"completion.{shell}"
    line = f"[ ! -r '{path}' ] || . '{path}'  # completion of ktrdr-sandbox"
    folder = Path(os.environ.get("ZDOTDIR") or home) if shell == "zsh" else home
    return path, line, folder / f".{shell}rc"


def _add_line(start: Path, line: str) -> bool:
    """Append the line unless it is there. The file may be a link into somebody's collection."""
    try:
        text = start.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        text = ""
    except OSError as error:
        raise _cannot_add(start, line, error) from error
    if line in text.splitlines():
        return False
    gap = "" if not text or text.endswith("\n") else "\n"
    try:
        with start.open("a", encoding="utf-8") as file:
            file.write(f"{gap}{line}\n")
    except OSError as error:
        raise _cannot_add(start, line, error) from error
    return True


def _cannot_add(start: Path, line: str, error: OSError) -> SandboxError:
    return SandboxError(
        "cannot-write",
        f"Cannot add a line to {start}: {error.strerror}.",
        hints=(f"Add it yourself: {line}",),
        details={"path": str(start), "line": line},
    )
