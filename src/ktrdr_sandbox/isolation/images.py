"""Images that a stack builds: under a tag of the instance's own, starting from what exists.

A build replaces the image under every name it is given; with the file's own tag, that would be the
image of every other instance as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from ktrdr_sandbox.isolation import model as compose
from ktrdr_sandbox.isolation.findings import Findings, edit, reset
from ktrdr_sandbox.isolation.model import Service
from ktrdr_sandbox.isolation.result import ImageSeed
from ktrdr_sandbox.isolation.scope import full_reference, own_image

_IMAGE_CONTEXT: Final = "docker-image://"


class Images(NamedTuple):
    """The instance's own reference for each reference that some service builds."""

    own: Mapping[str, str]

    def of(self, reference: str) -> str | None:
        """The reference to use instead, or None where the file's own is right."""
        return self.own.get(full_reference(reference))


def built_images(model: Mapping[str, Any], instance_id: str) -> Images:
    """What the stack builds, in all its services and under all tags."""
    own: dict[str, str] = {}
    for service in compose.services(model).values():
        build = service.get("build") or {}
        tags = [service.get("image"), *(build.get("tags") or [])] if build else []
        for reference in filter(None, tags):
            own.setdefault(full_reference(reference), own_image(reference, instance_id))
    return Images(own)


def scope_images(model: Mapping[str, Any], images: Images) -> Findings:
    """Own tags for what is built, in the services that build it and in those that use it."""
    for name, service in compose.services(model).items():
        yield from _image(name, service, images)
        yield from _build(name, service, images)


def image_seeds(
    model: Mapping[str, Any], images: Images, existing: frozenset[str]
) -> tuple[ImageSeed, ...]:
    """Images that the engine has under the file's tag and not yet under the instance's own."""
    found: dict[str, ImageSeed] = {}
    for service in compose.services(model).values():
        base = str(service.get("image") or "")
        own = images.of(base) if base and service.get("build") else None
        if own:
            source, target = full_reference(base), full_reference(own)
            if source in existing and target not in existing:
                found.setdefault(target, ImageSeed(base=source, target=target))
    return tuple(found.values())


def _image(name: str, service: Service, images: Images) -> Findings:
    base = str(service.get("image") or "")
    own = images.of(base) if base else None
    if not own:
        return
    builds = bool(service.get("build"))
    reason = (
        "a build replaces the image under its tag: here, this instance's only"
        if builds
        else "another service of this instance builds this image"
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
        own = [images.of(tag) or tag for tag in tags]
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
    for key, context in (build.get("additional_contexts") or {}).items():
        base = str(context).removeprefix(_IMAGE_CONTEXT)
        own_context = images.of(base) if base != context else None
        if own_context:
            after = f"{_IMAGE_CONTEXT}{own_context}"
            path = ("services", name, "build", "additional_contexts", key)
            reason = "another service of this instance builds this image"
            yield edit(path, after, reason, before=str(context), after=after)
