"""What the lab hands on: the settings, as JSON for programs and as a file for a shell."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path

from tests.lab import files

JSON_NAME, SHELL_NAME = "env.json", "env.sh"


def write(cache: Path, settings: Mapping[str, str], *, commands: Path) -> None:
    """`commands` is the folder of the clone's programs; a shell gets it on its PATH."""
    files.replace(cache / JSON_NAME, as_json(settings))
    files.replace(cache / SHELL_NAME, as_shell(settings, commands=commands))


def as_json(settings: Mapping[str, str]) -> str:
    return json.dumps(dict(settings), indent=2) + "\n"


def as_shell(settings: Mapping[str, str], *, commands: Path) -> str:
    folder = shlex.quote(str(commands))
    exports = "".join(f"export {key}={shlex.quote(value)}\n" for key, value in settings.items())
    # reading the file twice must not lengthen PATH twice
    path = f'case ":$PATH:" in *:{folder}:*) ;; *) export PATH={folder}:"$PATH" ;; esac\n'
    return exports + path
