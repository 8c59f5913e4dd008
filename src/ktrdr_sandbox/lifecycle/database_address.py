"""Which database a container's environment speaks of, as far as its variables tell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

_URL: Final = re.compile(r"postgres(?:ql)?(?:\+\w+)?://", re.IGNORECASE)
_SUFFIXES: Final = {
    "hosts": re.compile(r"(?:.*_)?(?:DB|DATABASE|POSTGRES|PG)_?HOST"),
    "names": re.compile(r"(?:.*_)?(?:DB_NAME|DATABASE_NAME|POSTGRES_DB|PGDATABASE)"),
    "users": re.compile(r"(?:.*_)?(?:(?:DB|DATABASE|POSTGRES)_USER(?:NAME)?|PGUSER)"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseAddress:
    """All hosts, database names and users that some variable gives."""

    hosts: frozenset[str]
    names: frozenset[str]
    users: frozenset[str]


def address_in(environment: Mapping[str, str]) -> DatabaseAddress:
    """From `DB_HOST`, `KTRDR_DB_NAME`, `PGUSER`, `DATABASE_URL=postgresql://...` and their like."""
    found: dict[str, set[str]] = {part: set() for part in _SUFFIXES}
    for key, value in environment.items():
        if _URL.match(value):
            _add_url(found, value)
            continue
        for part, pattern in _SUFFIXES.items():
            if value and pattern.fullmatch(key.upper()):
                found[part].add(value)
    return DatabaseAddress(**{part: frozenset(values) for part, values in found.items()})


def _add_url(found: Mapping[str, set[str]], url: str) -> None:
    try:
        parts = urlsplit(url)
        values = (parts.hostname, unquote(parts.path.lstrip("/")), unquote(parts.username or ""))
    except ValueError:
        # Whatever it means, it is no name of ours.
        values = (url, "", "")
    for part, value in zip(("hosts", "names", "users"), values, strict=True):
        if value:
            found[part].add(value)


def names_of(service: str, services: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
    """Every name, in lower case, under which containers of a model reach one of its services."""
    body = services[service]
    names = [service, body.get("hostname"), body.get("container_name")]
    networks = body.get("networks") or {}
    if isinstance(networks, Mapping):
        names += [alias for one in networks.values() for alias in (one or {}).get("aliases") or ()]
    links = [
        str(link).partition(":") for one in services.values() for link in one.get("links") or ()
    ]
    names += [alias for target, _, alias in links if target == service]
    return frozenset(str(name).lower() for name in names if name)
