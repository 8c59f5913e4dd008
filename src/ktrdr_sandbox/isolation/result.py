"""What isolation hands back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ktrdr_sandbox.isolation.document import Document
from ktrdr_sandbox.models import Stack


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Something that would let an instance touch another, or the host, and cannot be changed.

    `setting` is the token that allows it all the same.
    """

    service: str | None
    key: str
    reason: str
    setting: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something a person should know, that stops nothing."""

    service: str | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSeed:
    """An image that can be had by naming an existing one, so that nothing needs a rebuild.

    `base` exists on the engine and `target` does not.
    """

    base: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BindSource:
    """A host path to be mounted that does not exist yet, to be created before the engine does."""

    path: Path
    own: bool = True
    """In the checkout or the shared folders, where any user of a container may write it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """A service on a network that the instance did not make, to be there under its containers'
    own names. `links` are `container:alias`, as the override gives them to the service.
    """

    service: str
    network: str
    links: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """The override and all that goes with it.

    `env` are variables for `.env.sandbox` beyond the fixed ones: `KTRDR_WORKER_PORT_1`... and one
    for each extra port. `images` are the references, with their tags, that its builds write. With
    `refusals` the stack must not be started.
    """

    override: Document
    changes: tuple[Change, ...]
    refusals: tuple[Refusal, ...]
    notices: tuple[Notice, ...]
    stack: Stack
    images: tuple[str, ...]
    seeds: tuple[ImageSeed, ...]
    bind_sources: tuple[BindSource, ...]
    guests: tuple[Guest, ...]
    env: dict[str, str]

    @property
    def tokens(self) -> list[str]:
        """What the setting `allow` has to list for the stack to run all the same."""
        return sorted({refusal.setting for refusal in self.refusals})
