"""Where a host path of the model belongs: in the worktree, in the shared folders, or where it is.

Only text is looked at, besides asking whether a path exists. A resolved model has absolute paths
only, so that a relative path which climbs out of the checkout looks like one that was meant; `Raw`
tells them apart where the caller has the unresolved model, too.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from ktrdr_sandbox.isolation import model as compose
from ktrdr_sandbox.isolation.request import IsolationRequest

_UP: Final = ".."


class Place(NamedTuple):
    """A host path after isolation. `reason` is "" when it is where the file says."""

    path: str
    reason: str = ""

    @property
    def value(self) -> str:
        """The path as the override must spell it."""
        return compose.escape(self.path)


class Raw:
    """Paths as the Compose file spells them, from `docker compose config --no-path-resolution`.

    Every answer is None when there is no such model.
    """

    def __init__(self, model: Mapping[str, Any] | None) -> None:
        self._model = model or {}

    def volume(self, service: str, position: int) -> str | None:
        volumes = self._service(service).get("volumes") or []
        return _text(volumes[position].get("source")) if position < len(volumes) else None

    def build(self, service: str, key: str) -> str | None:
        return _text((self._service(service).get("build") or {}).get(key))

    def context(self, service: str, key: str) -> str | None:
        build = self._service(service).get("build") or {}
        return _text((build.get("additional_contexts") or {}).get(key))

    def watch(self, service: str, position: int) -> str | None:
        watch = (self._service(service).get("develop") or {}).get("watch") or []
        return _text(watch[position].get("path")) if position < len(watch) else None

    def device(self, volume: str) -> str | None:
        body = (self._model.get("volumes") or {}).get(volume) or {}
        return _text((body.get("driver_opts") or {}).get("device"))

    def file(self, section: str, key: str) -> str | None:
        return _text(((self._model.get(section) or {}).get(key) or {}).get("file"))

    def _service(self, name: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = (self._model.get("services") or {}).get(name) or {}
        return found


class Places:
    """Settles host paths for one instance."""

    def __init__(self, request: IsolationRequest) -> None:
        self.raw = Raw(request.unresolved)
        self._exists = request.exists
        self._is_empty = request.is_empty
        self._root = posixpath.normpath(request.instance.path)
        self._compose_directory = posixpath.normpath(request.compose_directory)
        self._parents = [
            posixpath.normpath(parent)
            for parent in (request.parent_checkout, *request.parent_spellings)
            if parent is not None
        ]
        self._shared = {name: posixpath.normpath(path) for name, path in request.shared.items()}

    def settle(
        self, source: str, *, raw: str | None, folder: bool = False, share: bool = True
    ) -> Place:
        """The place for a host path of the model, spelt `raw` in the file where that is known.

        In order: into the worktree from the parent checkout, or from where a relative path climbed
        to; then, with `share`, from the worktree's data folders to the shared ones. An ancestor of
        the checkout is taken for a climbing path with `folder` only: `/` is often mounted as such.
        """
        path = posixpath.normpath(compose.unescape(source))
        home = self._bring_home(path, raw=raw, folder=folder)
        return self._share(home) if share else home

    def is_own(self, path: str) -> bool:
        """Whether a settled path is in the worktree or in the shared folders."""
        return any(_below(path, root) is not None for root in (self._root, *self._shared.values()))

    def exists(self, path: str) -> bool:
        return self._exists(Path(path))

    def _bring_home(self, path: str, *, raw: str | None, folder: bool) -> Place:
        if self.is_own(path):
            return Place(path)
        for parent in self._parents:
            inside = _below(path, parent)
            if inside is not None:
                return self._from_parent(path, inside)
        return self._climbed(path, raw=raw, folder=folder)

    def _from_parent(self, path: str, inside: str) -> Place:
        if inside.split("/")[0] == ".git":  # a worktree has no such folder, and git shares it
            return Place(path)
        return Place(self._join(inside), "the same place in this worktree, not the main checkout")

    def _climbed(self, path: str, *, raw: str | None, folder: bool) -> Place:
        """A relative path that leaves the checkout, seen from where the Compose file really is."""
        if raw is not None and not _is_relative(raw):
            return Place(path)
        if raw is None and not folder and _below(self._root, path) is not None:
            return Place(path)
        climb = posixpath.normpath(raw) if raw else posixpath.relpath(path, self._root)
        home = self._meant(compose.unescape(climb), instead_of=path if raw else None)
        if home is None:
            return Place(path)
        return Place(home, "relative to the Compose file's real folder")

    def _meant(self, climb: str, *, instead_of: str | None) -> str | None:
        """The place in the worktree that a climbing path means, rather than the one outside.

        One that exists, or will in a shared folder; else, for a path that is known to be relative,
        the one seen from the Compose file: data folders and logs are ignored by git, so that a new
        worktree has none of them yet. What is outside may be there only because the main checkout's
        stack was started, for which the engine makes it: it must not be taken for what was meant.
        """
        inside = [path for path in self._candidates(climb) if _below(path, self._root) is not None]
        is_there = self.exists if self._is_neighbour(climb, instead_of) else self._is_there
        found = next((path for path in inside if is_there(path)), None)
        if found is not None or not inside or instead_of is None:
            return found
        made = not self.exists(instead_of) or self._is_empty(Path(instead_of))
        return inside[0] if made or self._climbs_to_root(climb) else None

    def _is_there(self, path: str) -> bool:
        if self.exists(path):
            return True
        shared = self._share(Place(path)).path
        return shared in self._shared.values() or (shared != path and self.exists(shared))

    def _is_neighbour(self, climb: str, outside: str | None) -> bool:
        """Whether `../x` of a file in the root leads to something: it means just that."""
        return (
            outside is not None
            and self._compose_directory == self._root
            and climb.split("/").count(_UP) == 1
            and self.exists(outside)
            and not self._is_empty(Path(outside))
        )

    def _climbs_to_root(self, climb: str) -> bool:
        """From a folder some levels down exactly as many levels up: no neighbour is meant by that.

        One level is no evidence: `../x` is the usual way to a neighbour of the checkout.
        """
        folder = _below(self._compose_directory, self._root)
        depth = len(folder.split("/")) if folder else 0
        return depth > 1 and climb.split("/").count(_UP) == depth

    def _candidates(self, climb: str) -> list[str]:
        """From the Compose file's folder; then the path's own part in the root of the worktree."""
        parts = climb.split("/")
        own = [part for part in parts if part != _UP]
        from_file = posixpath.normpath(posixpath.join(self._compose_directory, climb))
        return [from_file, self._join("/".join(own))] if own else [from_file]

    def _share(self, place: Place) -> Place:
        inside = _below(place.path, self._root)
        if not inside:
            return place
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
    """Whether a path's name is that of a file: letters after a dot, save for `conf.d` and the like.

    Dot folders such as `.cache` have no letters before the dot, and are no files; `.env` is one.
    """
    name = posixpath.basename(path)
    stem, dot, suffix = name.rpartition(".")
    if not stem:
        return suffix == "env" or (bool(dot) and suffix.endswith("rc"))
    return suffix.isalpha() and suffix.isascii() and 1 < len(suffix) <= _LONGEST_SUFFIX


_LONGEST_SUFFIX: Final = 5


def _below(path: str, root: str) -> str | None:
    """The part of a path below a root: "" for the root itself, None for anything outside."""
    if path == root:
        return ""
    prefix = root if root.endswith("/") else f"{root}/"
    return path[len(prefix) :] if path.startswith(prefix) else None


def _is_relative(raw: str) -> bool:
    return not raw.startswith(("/", "~"))


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
