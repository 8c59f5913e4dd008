"""Images that a stack builds: under a tag of the instance's own, starting from what exists.

A build replaces the image under every name it is given; with the file's own tag, that would be the
image of every other instance as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, Final, NamedTuple

from ktrdr_sandbox.isolation import model as compose
from ktrdr_sandbox.isolation.findings import Findings, edit, reset
from ktrdr_sandbox.isolation.model import Service
from ktrdr_sandbox.isolation.request import IsolationRequest
from ktrdr_sandbox.isolation.result import ImageSeed
from ktrdr_sandbox.isolation.scope import full_reference, own_image

_IMAGE_CONTEXT: Final = "docker-image://"
_NAMES_IMAGE: Final = re.compile(r"(?:.*_)?(?:image|base|from)", re.I)
"""Names of build arguments whose value is an image even where it looks like any other word."""


class Images(NamedTuple):
    """The instance's own reference for each reference that some service builds.

    `to_be_had` are the references whose own image exists or will. One that only services of
    inactive profiles build is never made here: who uses it goes on taking it from where the file
    says, as a registry. Nor is it started from the base tag's, for nothing would ever renew it.
    """

    project: str
    own: Mapping[str, str]
    to_be_had: frozenset[str]

    def of(self, reference: str) -> str | None:
        """What to use instead of a reference, or None where the file's own is right."""
        full = full_reference(reference)
        return self.own[full] if full in self.to_be_had else None

    def built_as(self, reference: str) -> str:
        """What to build instead of a reference that some service builds."""
        return self.own[full_reference(reference)]

    def of_service(self, name: str, service: Service) -> str | None:
        """What a service's `image` has to be, or None where the file's own is right."""
        if service.get("build"):
            return self.built_as(_image_of(name, service, self.project))
        declared = str(service.get("image") or "")
        return self.of(declared) if declared else None

    @property
    def written(self) -> tuple[str, ...]:
        """Every own reference, as an engine lists it."""
        return tuple(sorted({full_reference(reference) for reference in self.own.values()}))


def built_images(model: Mapping[str, Any], request: IsolationRequest) -> Images:
    """What the stack builds, in all its services and under all tags."""
    project = request.instance.id
    builders = {name: body for name, body in compose.services(model).items() if body.get("build")}
    written = {
        name: [_image_of(name, service, project), *(service["build"].get("tags") or [])]
        for name, service in builders.items()
    }
    own: dict[str, str] = {}
    for reference in chain.from_iterable(written.values()):
        own.setdefault(full_reference(reference), own_image(reference, project))
    _shorten(own, [name for name, body in builders.items() if not body.get("image")], project)
    active = {
        full_reference(reference)
        for name in written.keys() & request.active
        for reference in written[name]
    }
    here = {full for full, mine in own.items() if full_reference(mine) in request.images}
    return Images(project, own, frozenset(active | here))


def _image_of(name: str, service: Service, project: str) -> str:
    """The image that a service builds, by Compose's own name where the file gives it none.

    That name cannot stay: `ktrdr--feat-test-web` is `web` of the instance `feat-test`, and
    `test-web` of `feat`. Services that only use the image may call it so.
    """
    return str(service.get("image") or f"{project}-{name}")


def _shorten(own: dict[str, str], unnamed: Iterable[str], project: str) -> None:
    """`<id>/<service>` for images without a name, unless the file calls another one so."""
    taken = {full_reference(reference) for reference in own.values()}
    for service in unnamed:
        short = own_image(service, project)
        if full_reference(short) not in taken:
            own[full_reference(f"{project}-{service}")] = short


def scope_images(model: Mapping[str, Any], images: Images) -> Findings:
    """Own tags for what is built, in the services that build it and in those that use it."""
    for name, service in compose.services(model).items():
        yield from _image(name, service, images)
        yield from _build(name, service, images)


def image_seeds(
    model: Mapping[str, Any], images: Images, request: IsolationRequest
) -> tuple[ImageSeed, ...]:
    """Images that the engine has under the file's tag and not yet under the instance's own."""
    found: dict[str, ImageSeed] = {}
    for name, service in compose.services(model).items():
        base = str(service.get("image") or "")
        if base and service.get("build") and name in request.active:
            source, target = full_reference(base), full_reference(images.built_as(base))
            if source in request.images and target not in request.images:
                found.setdefault(target, ImageSeed(base=source, target=target))
    return tuple(found.values())


def _image(name: str, service: Service, images: Images) -> Findings:
    base = str(service.get("image") or "")
    own = images.of_service(name, service)
    if not own:
        return
    builds = bool(service.get("build"))
    reason = "another service of this instance builds this image"
    if builds:
        reason = (
            "a build replaces the image under its tag: here, this instance's only"
            if base
            else "the name that Compose makes up may be another instance's as well"
        )
    yield edit(("services", name, "image"), own, reason, before=base, after=own)
    policy = service.get("pull_policy") or ""
    if policy == "never" or (builds and policy == "build"):
        return
    reason = "no registry has the instance's own image"
    path = ("services", name, "pull_policy")
    yield edit(path, "never", reason, before=policy, after="never")


def _build(name: str, service: Service, images: Images) -> Findings:
    build = service.get("build") or {}
    tags = build.get("tags") or []
    if tags:
        own = [images.built_as(tag) for tag in tags]
        yield edit(
            ("services", name, "build", "tags"),
            own,
            "a build replaces the images under all its tags",
            before=", ".join(tags),
            after=", ".join(own),
            tag="!override",
        )
    if build.get("cache_to"):
        reason = "every instance's builds would write the same cache"
        before = ", ".join(build["cache_to"])
        yield reset(("services", name, "build", "cache_to"), reason, before=before)
    yield from _bases(("services", name, "build"), build, images)


def _bases(path: tuple[str, ...], build: Mapping[str, Any], images: Images) -> Findings:
    """Images that a build starts from, by a named context or as the whole of an argument.

    What the Dockerfile itself names is not looked at.
    """
    reason = "another service of this instance builds this image"
    for key, context in (build.get("additional_contexts") or {}).items():
        base = str(context).removeprefix(_IMAGE_CONTEXT)
        own = images.of(base) if base != context else None
        if own:
            after = f"{_IMAGE_CONTEXT}{own}"
            where = (*path, "additional_contexts", key)
            yield edit(where, after, reason, before=str(context), after=after)
    for key, value in compose.pairs(build.get("args")).items():
        own = images.of(value) if value and _is_reference(key, value) else None
        if own:
            yield edit((*path, "args", key), own, reason, before=str(value), after=own)


def _is_reference(argument: str, value: str) -> bool:
    """Whether a build argument is meant for an image: `app` may be a folder or a stage, too."""
    return ":" in value or "/" in value or bool(_NAMES_IMAGE.fullmatch(argument))
