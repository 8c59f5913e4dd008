"""The scene of the commands, for what is found again on a whole machine."""

from __future__ import annotations

from tests.unit.commands.conftest import scene as scene
