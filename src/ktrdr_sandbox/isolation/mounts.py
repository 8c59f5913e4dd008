"""Host folders and files of a model: mounts, volumes that are folders, secrets, configs, builds.

Data goes to the shared folders, strays come back into the worktree.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from ktrdr_sandbox.isolation import model as compose
from ktrdr_sandbox.isolation.images import Images
from ktrdr_sandbox.isolation.model import Service, StackModel, unescape
from ktrdr_sandbox.isolation.override import Edit, Entry, Findings, change_at, edit
from ktrdr_sandbox.isolation.paths import Paths, Place, looks_like_file
from ktrdr_sandbox.isolation.refusals import SOCKETS
from ktrdr_sandbox.isolation.request import BindSource, IsolationRequest, Notice

_LACKING: Final = "it is not there and looks like a file: the engine must not make a folder of it"
_LIST_REASON: Final = "all mounts of the service; those with a comment are changed"


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


Mounts = Mapping[str, tuple[Mount, ...]]


def settle_mounts(model: StackModel, paths: Paths, images: Images) -> Mounts:
    """Every service's mounts, settled."""
    return {
        name: tuple(
            _settle(body, ("services", name, "volumes", position, "source"), paths, images)
            for position, body in enumerate(compose.mounts(service))
        )
        for name, service in model.services.items()
    }


def _settle(
    body: Mapping[str, Any], at: tuple[str | int, ...], paths: Paths, images: Images
) -> Mount:
    kind, source = body.get("type"), body.get("source")
    if kind == "bind" and source:
        place = paths.settle(str(source), *at)
        is_file = looks_like_file(str(body.get("target") or "")) or looks_like_file(place.path)
        return Mount(body, place, lacking=is_file and not paths.exists(place.path))
    if kind == "image" and source:
        return Mount(body, image=images.of(str(source)))
    return Mount(body)


def move_binds(mounts: Mounts) -> Findings:
    """Replace a service's whole list, for an entry alone may fail to replace the file's.

    Compose tells entries by the target as it is spelt, and `/logs/` in a file is `/logs` here.
    """
    for name, entries in mounts.items():
        changes, bodies = [], list[Any]()
        for mount in entries:
            if not mount.reason:
                bodies.append(dict(mount.body))
                continue
            body = {
                **mount.body,
                "source": mount.image or (mount.place.value if mount.place else ""),
            }
            after = mount.image or (mount.place.path if mount.place else "")
            if mount.lacking:
                body["bind"] = {**(mount.body.get("bind") or {}), "create_host_path": False}
                after += ", which has to be there"
            bodies.append(Entry(body, mount.reason))
            before = unescape(str(mount.body.get("source")))
            path = ("services", name, "volumes", mount.target)
            changes.append(change_at(path, before=before, after=after, reason=mount.reason))
        if changes:
            entry = Entry(bodies, _LIST_REASON, "!override")
            yield Edit(("services", name, "volumes"), entry, tuple(changes))


def move_files(model: StackModel, paths: Paths) -> Findings:
    """Bring home the paths that lead to the parent checkout, or climbed out of this one.

    What is read here comes from the branch: these paths never go to the shared folders.
    """
    for section, bodies in (("secrets", model.secrets), ("configs", model.configs)):
        for key, body in bodies.items():
            if body.get("file"):
                yield from _moved((section, key, "file"), body["file"], paths)
    for name, service in model.services.items():
        build = service.get("build") or {}
        path = ("services", name, "build")
        values: dict[tuple[str, ...], Any] = {
            (*path, key): build.get(key) for key in ("context", "dockerfile")
        }
        for key, context in (build.get("additional_contexts") or {}).items():
            values[(*path, "additional_contexts", key)] = context
        for where, value in values.items():
            if str(value or "").startswith("/"):  # no URL, nor relative to the context
                yield from _moved(where, value, paths, is_folder=True)
        yield from _watched(name, service, paths)


def _moved(path: tuple[str, ...], value: Any, paths: Paths, *, is_folder: bool = False) -> Findings:
    place = paths.settle(str(value), *path, is_folder=is_folder, share=False)
    if place.reason:
        before = unescape(str(value))
        yield edit(path, place.value, place.reason, before=before, after=place.path)


def _watched(name: str, service: Service, paths: Paths) -> Findings:
    """`develop.watch` is a list, to be replaced as a whole."""
    path = ("services", name, "develop", "watch")
    entries, changes = [], []
    for position, entry in enumerate((service.get("develop") or {}).get("watch") or []):
        before = str(entry["path"])
        place = paths.settle(before, *path, position, "path", share=False)
        entries.append(Entry({**entry, "path": place.value}, place.reason))
        if place.reason:
            before = unescape(before)
            changes.append(change_at(path, before=before, after=place.path, reason=place.reason))
    if changes:
        whole = Entry(entries, "watched folders of this worktree", "!override")
        yield Edit(path, whole, tuple(changes))


def move_devices(model: StackModel, paths: Paths) -> Findings:
    """Own places for volumes that are really a folder of the host, or a share of the network."""
    for key, body in model.volumes.items():
        options = body.get("driver_opts") or {}
        device = str(options.get("device") or "")
        place = _device(key, body, paths)
        if place and place.reason:
            path = ("volumes", key, "driver_opts", "device")
            yield edit(path, place.value, place.reason, before=device, after=place.path)
        elif place and not paths.is_own(place.path):
            text = f"volume {key} is {place.path}: every instance writes the same place"
            yield Notice(service=None, text=text)
        elif place is None and device and (options.get("type") or "") != "tmpfs":
            text = f"volume {key} is on {device}: every instance writes the same place"
            yield Notice(service=None, text=text)


def _device(key: str, body: Mapping[str, Any], paths: Paths) -> Place | None:
    """The folder of the host that a volume is, settled; None for any other volume."""
    options = body.get("driver_opts") or {}
    device = str(options.get("device") or "")
    is_bind = options.get("type") in {"none", "bind"} or "bind" in str(options.get("o")).split(",")
    if not device.startswith("/") or not is_bind:
        return None
    return paths.settle(device, "volumes", key, "driver_opts", "device")


def outside_notices(mounts: Mounts, request: IsolationRequest, paths: Paths) -> Iterator[Notice]:
    """Folders of the host that an active service of every instance may write."""
    for name, entries in mounts.items():
        for mount in entries if name in request.active else ():
            if (
                mount.place
                and not mount.body.get("read_only")
                and not paths.is_own(mount.place.path)
                and not mount.place.path.endswith(SOCKETS)
            ):
                text = f"{mount.place.path} is outside the checkout: every instance writes it"
                yield Notice(service=name, text=text)


def missing_sources(
    model: StackModel, mounts: Mounts, request: IsolationRequest, paths: Paths
) -> Iterator[BindSource | Notice]:
    """Folders to create first, and notices for what cannot be created by guessing.

    The engine would create them owned by root, so that the container's user could not write; for a
    volume it makes none, and fails.
    """
    for name, entries in mounts.items():
        if name in request.active:
            for mount in entries:
                yield from _missing(name, mount, paths)
            yield from _mount_points(entries, paths)
    for key, body in model.volumes.items():
        place = _device(key, body, paths)
        if place is not None and not paths.exists(place.path):
            yield BindSource(path=Path(place.path), own=paths.is_own(place.path))


def _missing(name: str, mount: Mount, paths: Paths) -> Iterator[BindSource | Notice]:
    if mount.place is None or paths.exists(mount.place.path):
        return
    path = mount.place.path
    if (mount.body.get("bind") or {}).get("create_host_path") is False:
        text = f"{path} does not exist, and the file says not to create it"
    elif mount.lacking:
        text = f"{path} does not exist; it looks like a file, so that no folder is made of it"
    else:
        yield BindSource(path=Path(path), own=paths.is_own(path))
        return
    yield Notice(service=name, text=text)


def _mount_points(entries: tuple[Mount, ...], paths: Paths) -> Iterator[BindSource]:
    """Places inside a mounted folder where something else is mounted: made by root, too."""
    for outer in entries:
        if outer.place is None or not paths.is_own(outer.place.path):
            continue
        prefix = outer.target.rstrip("/") + "/"
        for inner in entries:
            if inner.target.startswith(prefix) and not looks_like_file(inner.target):
                path = posixpath.join(outer.place.path, inner.target[len(prefix) :])
                if not paths.exists(path):
                    yield BindSource(path=Path(path))
