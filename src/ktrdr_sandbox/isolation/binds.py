"""Binds of host folders: data to the shared folders, strays back into the worktree."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from ktrdr_sandbox.isolation import model as compose
from ktrdr_sandbox.isolation.document import Entry
from ktrdr_sandbox.isolation.findings import Edit, Finding, change_at
from ktrdr_sandbox.isolation.images import Images
from ktrdr_sandbox.isolation.places import Place, Places, looks_like_file
from ktrdr_sandbox.isolation.request import IsolationRequest
from ktrdr_sandbox.isolation.result import BindSource, Change, Notice

_LACKING: Final = "it is not there and looks like a file: the engine must not make a folder of it"
_SOCKETS: Final = ("/docker.sock", "/podman.sock")


class Mount(NamedTuple):
    """One entry of a service's `volumes`, and where its source is after isolation.

    `place` is None for what is no bind. `image` is the instance's own image for a mount of one.
    `lacking` tells that the source is not there and looks like a file, which nobody can make up:
    the engine would make a folder of it, owned by root.
    """

    body: Mapping[str, Any]
    place: Place | None = None
    image: str | None = None
    lacking: bool = False

    @property
    def target(self) -> str:
        return str(self.body.get("target") or "")

    @property
    def reason(self) -> str:
        """Why the entry is changed, "" when it is as in the file."""
        if self.image:
            return "another service of this instance builds this image"
        reason = self.place.reason if self.place else ""
        return reason or (_LACKING if self.lacking else "")


def mounts(
    model: Mapping[str, Any], places: Places, images: Images
) -> dict[str, tuple[Mount, ...]]:
    """Every service's mounts, settled."""
    return {
        name: tuple(
            _mount(body, places.raw.volume(name, position), places, images)
            for position, body in enumerate(compose.volumes(service))
        )
        for name, service in compose.services(model).items()
    }


def move_binds(found: Mapping[str, tuple[Mount, ...]]) -> Iterator[Edit]:
    """The edits: a service's whole list, for an entry alone may fail to replace the file's.

    Compose tells entries by the target as it is spelt, and `/logs/` in a file is `/logs` here.
    """
    for name, entries in found.items():
        if any(mount.reason for mount in entries):
            yield Edit(
                ("services", name, "volumes"),
                Entry([_entry(mount) for mount in entries], _LIST_REASON, "!override"),
                tuple(_change(name, mount) for mount in entries if mount.reason),
            )


_LIST_REASON: Final = "all mounts of the service; those with a comment are changed"


def missing_sources(
    found: Mapping[str, tuple[Mount, ...]], request: IsolationRequest, places: Places
) -> Iterator[BindSource | Notice]:
    """Folders to create first, and notices for what cannot be created by guessing.

    The engine would create them owned by root, so that the container's user could not write.
    """
    for name, entries in found.items():
        if name in request.active:
            for mount in entries:
                yield from _missing(name, mount, places)
            yield from _mount_points(entries, places)


def outside_notices(
    found: Mapping[str, tuple[Mount, ...]], request: IsolationRequest, places: Places
) -> Iterator[Finding]:
    """Folders of the host that an active service of every instance may write."""
    for name, entries in found.items():
        for mount in entries if name in request.active else ():
            if (
                mount.place
                and not mount.body.get("read_only")
                and not places.is_own(mount.place.path)
                and not mount.place.path.endswith(_SOCKETS)
            ):
                text = f"{mount.place.path} is outside the checkout: every instance writes it"
                yield Notice(service=name, text=text)


def _mount(body: Mapping[str, Any], raw: str | None, places: Places, images: Images) -> Mount:
    kind, source = body.get("type"), body.get("source")
    if kind == "bind" and source:
        place = places.settle(str(source), raw=raw)
        is_file = looks_like_file(str(body.get("target") or "")) or looks_like_file(place.path)
        return Mount(body, place, lacking=is_file and not places.exists(place.path))
    if kind == "image" and source:
        return Mount(body, image=images.of(str(source)))
    return Mount(body)


def _entry(mount: Mount) -> Any:
    if not mount.reason:
        return dict(mount.body)
    source = mount.image or (mount.place.value if mount.place else "")
    body = {**mount.body, "source": source}
    if mount.lacking:
        body["bind"] = {**(mount.body.get("bind") or {}), "create_host_path": False}
    return Entry(body, mount.reason)


def _change(name: str, mount: Mount) -> Change:
    after = mount.image or (mount.place.path if mount.place else "")
    return change_at(
        ("services", name, "volumes", mount.target),
        before=compose.unescape(str(mount.body.get("source"))),
        after=f"{after}, which has to be there" if mount.lacking else after,
        reason=mount.reason,
    )


def _missing(name: str, mount: Mount, places: Places) -> Iterator[BindSource | Notice]:
    if mount.place is None or places.exists(mount.place.path):
        return
    path = mount.place.path
    if (mount.body.get("bind") or {}).get("create_host_path") is False:
        text = f"{path} does not exist, and the file says not to create it"
    elif mount.lacking:
        text = f"{path} does not exist; it looks like a file, so that no folder is made of it"
    else:
        yield BindSource(path=Path(path), own=places.is_own(path))
        return
    yield Notice(service=name, text=text)


def _mount_points(entries: tuple[Mount, ...], places: Places) -> Iterator[BindSource]:
    """Places inside a mounted folder where something else is mounted: made by root, too."""
    for outer in entries:
        if outer.place is None or not places.is_own(outer.place.path):
            continue
        prefix = outer.target.rstrip("/") + "/"
        for inner in entries:
            if not inner.target.startswith(prefix) or looks_like_file(inner.target):
                continue
            path = posixpath.join(outer.place.path, inner.target[len(prefix) :])
            if not places.exists(path):
                yield BindSource(path=Path(path))


def sources_of(items: Iterator[BindSource | Notice]) -> tuple[list[BindSource], list[Notice]]:
    """Split, with each folder named once."""
    sources: dict[Path, BindSource] = {}
    notices: list[Notice] = []
    for item in items:
        if isinstance(item, BindSource):
            sources.setdefault(item.path, item)
        else:
            notices.append(item)
    return list(sources.values()), notices
