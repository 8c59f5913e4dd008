"""Other host paths of a model: secrets, configs, build contexts and watched folders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ktrdr_sandbox.isolation import model as compose
from ktrdr_sandbox.isolation.document import Entry
from ktrdr_sandbox.isolation.findings import Edit, Findings, change_at, edit
from ktrdr_sandbox.isolation.model import Service
from ktrdr_sandbox.isolation.places import Place, Places

_FILE_SECTIONS: Final = ("secrets", "configs")


def move_files(model: Mapping[str, Any], places: Places) -> Findings:
    """Bring home the paths that lead to the parent checkout, or climbed out of this one.

    What is read here comes from the branch: these paths never go to the shared folders.
    """
    for section in _FILE_SECTIONS:
        for key, body in compose.section(model, section).items():
            if body.get("file"):
                place = places.settle(
                    str(body["file"]), raw=places.raw.file(section, key), share=False
                )
                yield from _moved((section, key, "file"), str(body["file"]), place)
    for name, service in compose.services(model).items():
        yield from _build_paths(name, service, places)
        yield from _watched(name, service, places)


def _build_paths(name: str, service: Service, places: Places) -> Findings:
    build = service.get("build") or {}
    for key in ("context", "dockerfile"):
        yield from _build_path(
            ("services", name, "build", key), build.get(key), places.raw.build(name, key), places
        )
    for key, context in (build.get("additional_contexts") or {}).items():
        path = ("services", name, "build", "additional_contexts", key)
        yield from _build_path(path, context, places.raw.context(name, key), places)


def _build_path(path: tuple[str, ...], value: Any, raw: str | None, places: Places) -> Findings:
    """A local folder or file; URLs and what is relative to the context are left alone."""
    if str(value or "").startswith("/"):
        place = places.settle(str(value), raw=raw, folder=True, share=False)
        yield from _moved(path, str(value), place)


def _moved(path: tuple[str, ...], before: str, place: Place) -> Findings:
    if place.reason:
        before = compose.unescape(before)
        yield edit(path, place.value, place.reason, before=before, after=place.path)


def _watched(name: str, service: Service, places: Places) -> Findings:
    """`develop.watch` is a list, to be replaced as a whole."""
    entries = (service.get("develop") or {}).get("watch") or []
    settled = [
        places.settle(str(entry["path"]), raw=places.raw.watch(name, position), share=False)
        for position, entry in enumerate(entries)
    ]
    if any(place.reason for place in settled):
        path = ("services", name, "develop", "watch")
        moved = [
            Entry({**entry, "path": place.value}, place.reason)
            for entry, place in zip(entries, settled, strict=True)
        ]
        changes = tuple(
            change_at(
                path,
                before=compose.unescape(str(entry["path"])),
                after=place.path,
                reason=place.reason,
            )
            for entry, place in zip(entries, settled, strict=True)
            if place.reason
        )
        yield Edit(path, Entry(moved, "watched folders of this worktree", "!override"), changes)
