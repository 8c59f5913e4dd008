"""What isolation is given, and what it hands back. No rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ktrdr_sandbox.models import Instance, Stack


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolationRequest:
    """One instance, and the facts of its machine that matter.

    Nothing here tells of other instances' slots, so that the ports cannot depend on them.
    """

    instance: Instance
    home_id: str  # of the KTRDR_HOME that the instance is registered in, for the labels
    bind_address: str  # that every published port gets, usually 127.0.0.1
    ports: Mapping[str, int]  # the slot's named host ports
    extra_ports: range  # the slot's block for all other published ports
    parent_checkout: Path | None  # root of the main worktree, whose binds are brought into ours
    compose_directory: Path  # folder of the first Compose file after resolving symlinks
    shared: Mapping[str, Path]  # the shared folder of each of `data`, `models`, `strategies`
    active: frozenset[str]  # services that the enabled profiles include
    images: frozenset[str] = frozenset()  # `repository:tag` of the images the engine has now
    networks: frozenset[str] = frozenset()  # names of the networks the engine has now
    containers: frozenset[str] = frozenset()  # of other instances, where they may be like ours
    allow: frozenset[str] = frozenset()  # refusals that the settings allow, see `refusals.py`
    network_pool: str | None = None  # CIDR for the networks' subnets; None leaves it to the engine
    host_routes: tuple[str, ...] = ()  # CIDRs routed on this host, to check `network_pool` against
    # The model from `config --no-path-resolution`: there, a path that climbs out shows as such.
    # Without it, a path outside counts as climbing where the checkout has its like.
    unresolved: Mapping[str, Any] | None = None
    exists: Callable[[Path], bool]  # whether a host path exists
    is_empty: Callable[[Path], bool] = lambda _: False  # whether it is a folder without content


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that the override says differently from the checkout's file, and why.

    `service` is None for top-level keys. `before` is "" for what the file did not have, `after` is
    "" for what is taken out.
    """

    service: str | None
    key: str
    before: str
    after: str
    reason: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something that would let an instance touch another, or the host, and cannot be changed.

    `setting` is the token that allows it all the same.
    """

    service: str | None
    key: str
    reason: str
    setting: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a person should know, that stops nothing."""

    service: str | None
    text: str


@dataclass(frozen=True, slots=True)
class BindSource:
    """A host path to be mounted that does not exist yet, to be created before the engine does."""

    path: Path
    own: bool = True  # in the checkout or the shared folders, where any container's user may write


@dataclass(frozen=True, slots=True)
class ExternalMembership:
    """A service that is to be on an external network under its containers' own names only.

    `links` are `container:alias`, as the override gives them to the service.
    """

    service: str
    network: str
    links: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolatedStack:
    """The override and all that goes with it. With `refusals` the stack must not be started."""

    override: dict[str, Any]  # see `override.py`
    changes: tuple[Change, ...]
    refusals: tuple[Refusal, ...]
    notices: tuple[Notice, ...]
    stack: Stack
    images: tuple[str, ...]  # references, with their tags, that its builds write
    seeds: dict[str, str]  # missing image names, each with the image that gets it before a build
    bind_sources: tuple[BindSource, ...]
    memberships: tuple[ExternalMembership, ...]
    env: dict[str, str]  # for `.env.sandbox` beyond the fixed ones: worker and extra ports

    @property
    def tokens(self) -> list[str]:
        """What the setting `allow` has to list for the stack to run all the same."""
        return sorted({refusal.setting for refusal in self.refusals})
