"""Docker Compose as a program of its own: a third of the work of starting it through `docker`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_PLACES: Final = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)
QUICK: Final = {"GOGC": "off"}
"""For a program that ends before collecting its garbage would pay."""


def compose_command(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The plugin that `docker compose` would start; itself where that is not found."""
    own = environment.get("DOCKER_CONFIG") or str(Path(environment["HOME"], ".docker"))
    for place in (str(Path(own, "cli-plugins")), *_PLACES):
        program = Path(place, "docker-compose")
        if os.access(program, os.X_OK):
            return (str(program),)
    return ("docker", "compose")
