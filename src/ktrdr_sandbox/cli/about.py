"""schema, explain, completion, and what `--version --verbose` adds: the program about itself."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

from typer import Argument, Option

from ktrdr_sandbox.cli.boundary import command
from ktrdr_sandbox.cli.error_table import entries
from ktrdr_sandbox.commands.tool_versions import tool_versions
from ktrdr_sandbox.console import reports, results, text
from ktrdr_sandbox.errors import ErrorCode, SandboxError
from ktrdr_sandbox.files import replace_file

Shell = Literal["bash", "zsh", "fish"]


def tools() -> tuple[str, dict[str, Any]]:
    """Give the versions of the tools, as text and as data."""
    found = tool_versions()
    return reports.versions(found), results.fill("ToolsData", found)


def schema() -> None:
    """Print the JSON Schema of what --json prints."""
    with command("schema") as output:
        shipped = results.SCHEMA_FILE.read_text(encoding="utf-8")
        output.result(shipped.rstrip("\n"), {"document": json.loads(shipped)})


def explain(
    code: Annotated[
        str | None,
        Argument(
            metavar="CODE",
            help="Of an error in --json. Left out: all.",
            autocompletion=lambda: get_args(ErrorCode),
        ),
    ] = None,
) -> None:
    """Tell what an error code means, and what to do about it."""
    with command("explain") as output:
        found = [entry for entry in entries().values() if code in (None, entry.code)]
        if not found:
            hint = "Run 'ktrdr-sandbox explain' to see all."
            raise SandboxError("usage", f"There is no error code '{code}'.", hints=(hint,))
        if code is None:
            rows = [[entry.code, entry.statuses, entry.meaning] for entry in found]
            lines = text.table([["CODE", "EXIT STATUS", "MEANING"], *rows])
        else:
            entry = found[0]
            lines = [f"{entry.code}: {entry.meaning}", f"  What to do   {entry.remedy}"]
            lines.append(f"  Exit status  {entry.statuses}")
        data = [
            results.fill(
                "CodeData", entry, exit_status=entry.status, exit_status_of=entry.elsewhere
            )
            for entry in found
        ]
        output.result("\n".join(lines), {"codes": data})


def completion(
    shell: Annotated[
        Shell | None, Argument(metavar="[bash|zsh|fish]", help="Left out: that of $SHELL.")
    ] = None,
    install: Annotated[
        bool, Option("--install", help="Put it where new shells of yours find it, and say where.")
    ] = False,
) -> None:
    """Print the script that completes commands, instances, services and branches on TAB."""
    with command("completion") as output:
        chosen = shell or _own_shell()
        script = (Path(__file__).parent / "shells" / f"{chosen}.sh").read_text(encoding="utf-8")
        if not install:
            output.result(script.rstrip("\n"), {"shell": chosen, "script": script})
            return
        path, line, start = _places(chosen)
        replace_file(path, script, mode=0o644)
        added = start is not None and _add_line(start, line)
        done = f"Completion for {chosen} is in {path}."
        if added:
            done += f"\nAdded to {start}: {line}"
        data = {"shell": chosen, "path": str(path), "added_to": str(start) if added else None}
        output.result(f"{done}\nNew shells have it.", data)


def _own_shell() -> Shell:
    name = Path(os.environ.get("SHELL", "")).name
    if name in get_args(Shell):
        return cast("Shell", name)
    raise SandboxError(
        "usage",
        f"Which shell? {f'$SHELL is {name}' if name else '$SHELL is not set'}, and only bash, zsh "
        "and fish are known.",
        hints=("Say it: ktrdr-sandbox completion bash",),
    )


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
        with start.open("a+", encoding="utf-8", errors="surrogateescape") as file:
            file.seek(0)
            written = file.read()
            if line in written.splitlines():
                return False
            gap = "" if not written or written.endswith("\n") else "\n"
            file.write(f"{gap}{line}\n")
    except OSError as error:
        raise SandboxError(
            "cannot-write",
            f"Cannot add a line to {start}: {error.strerror}.",
            hints=(f"Add it yourself: {line}",),
            details={"path": str(start), "line": line},
        ) from error
    return True
