"""Host folders and files of a model: mounts, volumes that are folders, secrets, configs, builds.

Data goes to the shared folders, strays come back into the worktree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from ktrdr_sandbox.isolation import model as compose
from ktrdr_sandbox.isolation.images import BUILT_HERE, Images
from ktrdr_sandbox.isolation.model import StackModel, unescape
from ktrdr_sandbox.isolation.override import Edit, Entry, Findings, change_at, edit
from ktrdr_sandbox.isolation.paths import Paths, Place, looks_like_file
from ktrdr_sandbox.isolation.refusals import SOCKETS
from ktrdr_sandbox.isolation.request import BindSource, IsolationRequest, Notice

_LACKING: Final = "it is not there and looks like a file: the engine must not make a folder of it"
_LIST_REASON: Final = "all mounts of the service; those with a comment are changed"


class Mount(NamedTuple):
    """One entry of a service's `volumes`, and where its source is after isolation.

    `bind` is None for what is no bind. `source` is what the override says, and `reason` why, "" for
    an entry that is as in the file. `lacking` tells that the source is not there and looks like a
    file, which nobody can make up: the engine would make a folder of it, owned by root.
    """

    body: Mapping[str, Any]
    bind: str | None = None
    source: str = ""
    reason: str = ""
    lacking: bool = False

    @property
    def is_forbidden(self) -> bool:
        """Whether the file itself says not to create the source."""
        return (self.body.get("bind") or {}).get("create_host_path") is False

    @property
    def target(self) -> str:
        return str(self.body.get("target") or "")


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
    kind, source = body.get("type"), str(body.get("source") or "")
    if kind == "bind" and source:
        place = paths.settle(source, *at)
        is_file = looks_like_file(str(body.get("target") or "")) or looks_like_file(place.path)
        lacking = is_file and not paths.exists(place.path)
        reason = place.reason or (_LACKING if lacking else "")
        return Mount(body, place.path, place.value, reason, lacking)
    image = images.of(source) if kind == "image" and source else None
    return Mount(body, source=image, reason=BUILT_HERE) if image else Mount(body)


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
            body, after = {**mount.body, "source": mount.source}, unescape(mount.source)
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
    files: dict[tuple[str, ...], Any] = {
        (section, key, "file"): body.get("file")
        for section, bodies in (("secrets", model.secrets), ("configs", model.configs))
        for key, body in bodies.items()
    }
    for name, service in model.services.items():
        build = service.get("build") or {}
        at = ("services", name, "build")
        files.update({(*at, key): build.get(key) for key in ("context", "dockerfile")})
        for key, context in (build.get("additional_contexts") or {}).items():
            files[(*at, "additional_contexts", key)] = context
    for path, value in files.items():
        if str(value or "").startswith("/"):  # no URL, nor relative to the context
            is_folder = path[0] == "services"
            place = paths.settle(str(value), *path, is_folder=is_folder, share=False)
            if place.reason:
                before = unescape(str(value))
                yield edit(path, place.value, place.reason, before=before, after=place.path)
    yield from _move_watched(model, paths)


def _move_watched(model: StackModel, paths: Paths) -> Findings:
    """`develop.watch` is a list, to be replaced as a whole."""
    for name, service in model.services.items():
        path = ("services", name, "develop", "watch")
        entries, changes = [], []
        for position, entry in enumerate((service.get("develop") or {}).get("watch") or []):
            place = paths.settle(str(entry["path"]), *path, position, "path", share=False)
            entries.append(Entry({**entry, "path": place.value}, place.reason))
            if place.reason:
                before, reason = unescape(str(entry["path"])), place.reason
                changes.append(change_at(path, before=before, after=place.path, reason=reason))
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
            yield Notice(
                None, f"volume {key} is {place.path}: every instance writes the same place"
            )
        elif place is None and device and options.get("type") != "tmpfs":
            yield Notice(None, f"volume {key} is on {device}: every instance writes the same place")


def _device(key: str, body: Mapping[str, Any], paths: Paths) -> Place | None:
    """The folder of the host that a volume is, settled; None for any other volume."""
    options = body.get("driver_opts") or {}
    device = str(options.get("device") or "")
    is_bind = options.get("type") in {"none", "bind"} or "bind" in str(options.get("o")).split(",")
    if not device.startswith("/") or not is_bind:
        return None
    return paths.settle(device, "volumes", key, "driver_opts", "device")


def mount_notices(mounts: Mounts, request: IsolationRequest, paths: Paths) -> Iterator[Notice]:
    """Folders that every instance may write, and missing sources that nobody can make up."""
    for name, entries in mounts.items():
        for mount in entries if name in request.active else ():
            path = mount.bind
            if path is None:
                continue
            is_writable = not mount.body.get("read_only") and not path.endswith(SOCKETS)
            if is_writable and not paths.is_own(path):
                yield Notice(name, f"{path} is outside the checkout: every instance writes it")
            if mount.is_forbidden and not paths.exists(path):
                yield Notice(name, f"{path} does not exist, and the file says not to create it")
            elif mount.lacking:
                text = "does not exist; it looks like a file, so that no folder is made of it"
                yield Notice(name, f"{path} {text}")


def missing_sources(
    model: StackModel, mounts: Mounts, request: IsolationRequest, paths: Paths
) -> tuple[BindSource, ...]:
    """Folders to create first.

    The engine would create them owned by root, so that the container's user could not write; for a
    volume it makes none, and fails. Places inside a mounted folder where something else is mounted
    are made by root, too.
    """
    sources: list[str] = []
    for name, entries in mounts.items():
        for mount in entries if name in request.active else ():
            if mount.bind and not mount.lacking and not mount.is_forbidden:
                sources.append(mount.bind)
            if mount.bind and paths.is_own(mount.bind):
                prefix = mount.target.rstrip("/") + "/"
                inside = [m.target for m in entries if m.target.startswith(prefix)]
                points = [path[len(prefix) :] for path in inside if not looks_like_file(path)]
                sources += [f"{mount.bind}/{point}" for point in points]
    devices = [_device(key, body, paths) for key, body in model.volumes.items()]
    sources += [place.path for place in devices if place]
    missing = [path for path in dict.fromkeys(sources) if not paths.exists(path)]
    return tuple(BindSource(Path(path), paths.is_own(path)) for path in missing)
