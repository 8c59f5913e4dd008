"""Where a host path of the model belongs: in the worktree, in the shared folders, or where it is.

Only text is looked at, besides asking whether a path exists. A resolved model has absolute paths
only, so that a relative path which climbs out of the checkout looks like one that was meant; the
unresolved model tells them apart where the caller has it, too.
"""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import Any, NamedTuple

from ktrdr_sandbox.isolation.model import escape, unescape
from ktrdr_sandbox.isolation.request import IsolationRequest


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
        to; then, with `share`, from the worktree's data folders to the shared ones. An ancestor of
        the checkout is taken for a climbing path where it is a folder to build from only: `/` is
        often mounted as such.
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
    """Whether a path's name is that of a file: letters after a dot, save for `conf.d` and the like.

    Dot folders such as `.cache` have no letters before the dot, and are no files; `.env` is one.
    """
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
