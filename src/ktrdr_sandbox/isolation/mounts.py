"""Host folders and files of a model: data goes to the shared folders, strays come back home.

Only text is looked at, besides asking whether a path exists. A resolved model has absolute paths
only, so that a relative path which climbs out of the checkout looks like one that was meant; the
unresolved model tells them apart where the caller has it, too.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from ktrdr_sandbox.isolation import model as compose
from ktrdr_sandbox.isolation.images import BUILT_HERE, Images
from ktrdr_sandbox.isolation.model import Service, StackModel, escape, unescape
from ktrdr_sandbox.isolation.override import Edit, Entry, Findings, change_at, edit
from ktrdr_sandbox.isolation.refusals import SOCKETS
from ktrdr_sandbox.isolation.request import BindSource, IsolationRequest, Notice


class Place(NamedTuple):
    """A host path after isolation. `reason` is "" when it is where the file says."""

    path: str
    reason: str = ""

    @property
    def value(self) -> str:
        """The path as the override must spell it."""
        return escape(self.path)


class Paths:
    """Settles host paths for one instance."""

    def __init__(self, request: IsolationRequest) -> None:
        self._request = request
        self._root = posixpath.normpath(request.instance.path)
        self._compose_directory = posixpath.normpath(request.compose_directory)
        self._shared = {name: posixpath.normpath(path) for name, path in request.shared.items()}

    def settle(
        self, source: str, *at: str | int, is_folder: bool = False, share: bool = True
    ) -> Place:
        """The place for a host path of the model, whose keys in the model are `at`.

        In order: into the worktree from the parent checkout, or from where a relative path climbed
        to; then, with `share`, from the worktree's data folders to the shared ones. `is_folder`
        takes an ancestor of the checkout for a climbing path: `/` is often mounted as such.
        """
        raw: Any = self._request.unresolved  # in the end, the path as the Compose file spells it
        try:
            for key in at:
                raw = raw[key]
        except (KeyError, IndexError, TypeError):
            raw = None
        path = posixpath.normpath(unescape(source))
        home = self._bring_home(path, raw, is_folder=is_folder)
        return self._share(home) if share else home

    def is_own(self, path: str) -> bool:
        """Whether a settled path is in the worktree or in the shared folders."""
        return any(_below(path, root) is not None for root in (self._root, *self._shared.values()))

    def exists(self, path: str) -> bool:
        return self._request.exists(Path(path))

    def _bring_home(self, path: str, raw: str | None, *, is_folder: bool) -> Place:
        if self.is_own(path):
            return Place(path)
        parent = self._request.parent_checkout
        inside = None if parent is None else _below(path, posixpath.normpath(parent))
        if inside is not None:
            if inside.split("/")[0] == ".git":  # a worktree has no such folder, and git shares it
                return Place(path)
            reason = "the same place in this worktree, not the main checkout"
            return Place(self._join(inside), reason)
        is_relative = is_folder or _below(self._root, path) is None
        if raw is not None:
            is_relative = not raw.startswith(("/", "~"))
        home = self._meant(path, raw) if is_relative else None
        return Place(home, "relative to the Compose file's real folder") if home else Place(path)

    def _meant(self, path: str, raw: str | None) -> str | None:
        """The place in the worktree that a climbing path means, rather than the one outside.

        One that exists, or will in a shared folder; else, for a path that is known to be relative,
        the one seen from the Compose file: data folders and logs are ignored by git, so that a new
        worktree has none of them yet. What is outside may be there only because the main checkout's
        stack was started, for which the engine makes it: it must not be taken for what was meant.
        """
        climb = posixpath.normpath(unescape(raw)) if raw else posixpath.relpath(path, self._root)
        own = [part for part in climb.split("/") if part != ".."]
        candidates = [posixpath.normpath(posixpath.join(self._compose_directory, climb))]
        if own:
            candidates.append(self._join("/".join(own)))
        inside = [path for path in candidates if _below(path, self._root) is not None]
        is_used = bool(raw) and self.exists(path) and not self._request.is_empty(Path(path))
        climbs = climb.split("/").count("..")
        # `../x` of a file in the root that leads to something means just that.
        is_neighbour = is_used and self._compose_directory == self._root and climbs == 1
        for candidate in inside:
            if self.exists(candidate) or (not is_neighbour and self._is_shared(candidate)):
                return candidate
        if not inside or not raw:
            return None
        # From a folder some levels down exactly as many levels up: no neighbour is meant by that.
        depth = len((_below(self._compose_directory, self._root) or "").split("/"))
        return inside[0] if not is_used or 1 < depth == climbs else None

    def _is_shared(self, path: str) -> bool:
        """Whether a shared folder has, or will have, what is missing in the worktree."""
        shared = self._share(Place(path)).path
        return shared in self._shared.values() or (shared != path and self.exists(shared))

    def _share(self, place: Place) -> Place:
        inside = _below(place.path, self._root) or ""
        name, _, rest = inside.partition("/")
        if name not in self._shared:
            return place
        shared = posixpath.join(self._shared[name], rest) if rest else self._shared[name]
        if rest and looks_like_file(rest) and self.exists(place.path) and not self.exists(shared):
            return place  # a file that the branch itself brings, such as a database's first script
        return Place(shared, f"{name} is shared by all instances")

    def _join(self, inside: str) -> str:
        return posixpath.join(self._root, inside) if inside else self._root


def looks_like_file(path: str) -> bool:
    """Whether a path is a file's by its name: `x.conf`, `.env`; not `conf.d`, `.cache`."""
    stem, dot, suffix = posixpath.basename(path).rpartition(".")
    if not stem:
        return suffix == "env" or (bool(dot) and suffix.endswith("rc"))
    return suffix.isalpha() and suffix.isascii() and 2 <= len(suffix) <= 5


def _below(path: str, root: str) -> str | None:
    """The part of a path below a root: "" for the root itself, None for anything outside."""
    if path == root:
        return ""
    prefix = root if root.endswith("/") else f"{root}/"
    return path[len(prefix) :] if path.startswith(prefix) else None


# -- mounts ----------------------------------------------------------------------------------------

_LACKING: Final = "it is not there and looks like a file: the engine must not make a folder of it"


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
            reason = "all mounts of the service; those with a comment are changed"
            entry = Entry(bodies, reason, "!override")
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
    for name, service in model.services.items():
        yield from _move_watched(("services", name, "develop", "watch"), service, paths)


def _move_watched(path: tuple[str, ...], service: Service, paths: Paths) -> Findings:
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
        options, place = body.get("driver_opts") or {}, _device(key, body, paths)
        device = str(options.get("device") or "")
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
