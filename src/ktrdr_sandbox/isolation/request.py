"""All that isolation needs to know besides the Compose model. Nothing else is looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ktrdr_sandbox.models import Instance


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolationRequest:
    """What an override is made for: one instance, and the facts of its machine that matter.

    Nothing here tells of other instances, so that the override of a slot cannot depend on them.
    """

    instance: Instance

    home_id: str
    """Id of the KTRDR_HOME that the instance is registered in, for the labels."""

    bind_address: str
    """Host address that every published port gets, usually 127.0.0.1."""

    ports: Mapping[str, int]
    """The slot's named host ports: `slots.port_map.get_ports(instance.slot)`."""

    extra_ports: range
    """The slot's block for all other published ports: `slots.port_map.extra_ports(slot)`."""

    parent_checkout: Path | None
    """Root of the main worktree, so that absolute binds into it can be brought into ours."""

    compose_directory: Path
    """Folder of the first Compose file after resolving symlinks."""

    parent_spellings: tuple[Path, ...] = ()
    """Further ways to write the parent checkout's root, such as through a symlink."""

    unresolved: Mapping[str, Any] | None = None
    """The model from `config --no-path-resolution`: there, a path that climbs out shows as such.

    Without it, a path outside counts as climbing where the checkout has its like.
    """

    shared: Mapping[str, Path]
    """Shared folder of each of `data`, `models`, `strategies`."""

    active: frozenset[str]
    """Services that the enabled profiles include."""

    images: frozenset[str] = frozenset()
    """References (`repository:tag`) of images the engine has now."""

    networks: frozenset[str] = frozenset()
    """Names of networks the engine has now."""

    allow: frozenset[str] = frozenset()
    """Refusals that the settings allow; the tokens are in `refusals.py`."""

    network_pool: str | None = None
    """CIDR from which each slot's networks get their subnets; None leaves it to the engine."""

    host_routes: tuple[str, ...] = ()
    """CIDRs routed on this host, to check `network_pool` against."""

    exists: Callable[[Path], bool]
    """Whether a host path exists; given from outside so that the rules stay pure."""

    is_empty: Callable[[Path], bool] = lambda _: False
    """Whether a host path is a folder without content, as an engine makes of a missing source."""
