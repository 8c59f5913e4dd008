"""Names that belong to one instance: of volumes, networks and images."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

_COMPONENT: Final = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
"""One part of an image's repository, as the reference grammar has it."""

_NOT_IN_COMPONENT: Final = re.compile(r"[^a-z0-9]+")
_HASH_LENGTH: Final = 8


def is_own(name: str, instance_id: str) -> bool:
    """Whether Compose made the name from the project, or the file from the project's name."""
    return name.startswith((f"{instance_id}_", f"{instance_id}-"))


def own_names(resources: Mapping[str, Mapping[str, Any]], instance_id: str) -> dict[str, str]:
    """An instance's own name for each volume or network that is declared with a foreign one.

    Keys that are declared with the same name are the same resource, and stay one.
    """
    declared = {key: str(body.get("name") or key) for key, body in resources.items()}
    first_key: dict[str, str] = {}
    for key, name in declared.items():
        first_key.setdefault(name, key)
    return {
        key: f"{instance_id}_{first_key[name]}"
        for key, name in declared.items()
        if resources[key].get("external") or not is_own(name, instance_id)
    }


def own_image(reference: str, instance_id: str) -> str:
    """The instance's own reference for an image: `feat/registry__5000/team/app:tag`.

    Under the instance's name no registry is meant, whatever the file's reference begins with. A
    digest is left out: what is built here cannot be known by one.
    """
    name, _, _ = reference.partition("@")
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        repository, tag = name, ""
    owner = _component(instance_id)
    if not repository.startswith(f"{owner}/"):
        repository = "/".join([owner, *map(_component, repository.split("/"))])
    return f"{repository}:{tag}" if tag else repository


def full_reference(reference: str) -> str:
    """The form in which an engine lists an image: with a tag, without the default registry."""
    for registry in ("docker.io/library/", "docker.io/"):
        reference = reference.removeprefix(registry)
    has_tag = ":" in reference.rpartition("/")[2]
    return reference if has_tag or "@" in reference else f"{reference}:latest"


def _component(text: str) -> str:
    """The text as one part of a repository, two texts never alike.

    A registry's port is set off by `__`, which no host name contains. What the grammar has no way
    to say is told apart by a hash.
    """
    candidate = text.replace(":", "__")
    if _COMPONENT.fullmatch(candidate):
        return candidate
    digest = hashlib.sha256(text.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{_NOT_IN_COMPONENT.sub('-', text.lower()).strip('-')}-{digest}".lstrip("-")
