"""Older registry documents brought to the present version, one explicit step a version."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

VERSION: Final = 1


def version_of(document: Mapping[str, Any]) -> int:
    """The architecture document's own schema has no version: that is 0.

    Raises ValueError for one that is there and is no number of a version. It tells nothing of the
    shape, and a guess would be saved over what a newer program wrote.
    """
    version = document.get("version", 0)
    if not isinstance(version, int) or isinstance(version, bool) or version < 0:
        raise ValueError(f"its 'version' is no number of a version: {version!r}")
    return version


def upgraded(document: dict[str, Any]) -> dict[str, Any]:
    """The document in the present version. Shapes are not checked here, only added to.

    Raises ValueError as `version_of` does.
    """
    for version in range(version_of(document), VERSION):
        document = _STEPS[version](document)
    return document


def _from_plain(document: dict[str, Any]) -> dict[str, Any]:
    """0 to 1: each entry gets what the document's schema does not have.

    The uuid is derived, not drawn, so that every reader finds the same before one has saved it.
    `created_by` is the side on which no directory is ever deleted.
    """
    instances = document.get("instances")
    entries = instances if isinstance(instances, dict) else {}
    return {
        **document,
        "version": 1,
        "instances": {
            key: _with_identity(key, entry) if isinstance(entry, dict) else entry
            for key, entry in entries.items()
        }
        if isinstance(instances, dict)
        else instances,
    }


def _with_identity(key: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    origin = f"ktrdr-sandbox:{key}:{entry.get('path')}:{entry.get('created_at')}"
    defaults = {
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, origin)),
        "state": "created",
        "created_by": "init",
    }
    return {**defaults, **entry}


_STEPS: Final[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {0: _from_plain}
