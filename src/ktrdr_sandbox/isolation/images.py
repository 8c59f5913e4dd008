"""Images that a stack builds: under a tag of the instance's own, starting from what exists.

A build replaces the image under every name it is given; with the file's own tag, that would be the
image of every other instance as well.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from ktrdr_sandbox.isolation.model import Service, StackModel, pairs
from ktrdr_sandbox.isolation.override import Findings, edit, reset
from ktrdr_sandbox.isolation.request import IsolationRequest

_IMAGE_CONTEXT: Final = "docker-image://"
# Build arguments whose value is an image even where it looks like any other word.
_NAMES_IMAGE: Final = re.compile(r"(?:.*_)?(?:image|base|from)", re.I)
# One part of an image's repository, as the reference grammar has it.
_COMPONENT: Final = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
BUILT_HERE: Final = "another service of this instance builds this image"


def own_image(reference: str, instance_id: str) -> str:
    """The instance's own reference for an image: `feat/registry__5000/team/app:tag`.

    Under the instance's name no registry is meant, whatever the file's reference begins with. A
    digest is left out: what is built here cannot be known by one.
    """
    name, _, _ = reference.partition("@")
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        repository, tag = name, ""
    owner = _component(instance_id)
    if not repository.startswith(f"{owner}/"):
        repository = "/".join([owner, *map(_component, repository.split("/"))])
    return f"{repository}:{tag}" if tag else repository


def full_reference(reference: str) -> str:
    """The form in which an engine lists an image: with a tag, without the default registry."""
    for registry in ("docker.io/library/", "docker.io/"):
        reference = reference.removeprefix(registry)
    has_tag = ":" in reference.rpartition("/")[2]
    return reference if has_tag or "@" in reference else f"{reference}:latest"


def _component(text: str) -> str:
    """The text as one part of a repository, two texts never alike."""
    candidate = text.replace(":", "__")
    if _COMPONENT.fullmatch(candidate):
        return candidate
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{re.sub('[^a-z0-9]+', '-', text.lower()).strip('-')}-{digest}".lstrip("-")


class Images(NamedTuple):
    """The instance's own reference for each reference that some service builds.

    `available` are the references whose own image exists or will. One that only services of
    inactive profiles build is never made here: who uses it takes it from where the file says.
    """

    project: str
    own: Mapping[str, str]
    available: frozenset[str]

    def of(self, reference: str) -> str | None:
        """What to use instead of a reference, or None where the file's own is right."""
        full = full_reference(reference)
        return self.own[full] if full in self.available else None

    def built_as(self, reference: str) -> str:
        """What to build instead of a reference that some service builds."""
        return self.own[full_reference(reference)]

    def of_service(self, name: str, service: Service) -> str | None:
        """What a service's `image` has to be, or None where the file's own is right."""
        if service.get("build"):
            return self.built_as(_image_of(name, service, self.project))
        return self.of(str(service["image"])) if service.get("image") else None

    @property
    def written(self) -> tuple[str, ...]:
        """Every own reference, as an engine lists it."""
        return tuple(sorted({full_reference(reference) for reference in self.own.values()}))


def built_images(model: StackModel, request: IsolationRequest) -> Images:
    """What the stack builds, in all its services and under all tags.

    An image without a name is `<id>/<service>`, unless the file calls another one so. Compose's
    `ktrdr--feat-test-web` is `web` of the instance `feat-test`, and `test-web` of `feat`.
    """
    project = request.instance.id
    own: dict[str, str] = {}
    available: set[str] = set()
    unnamed = []
    for name, service in model.services.items():
        if not service.get("build"):
            continue
        if not service.get("image"):
            unnamed.append(name)
        references = [_image_of(name, service, project), *(service["build"].get("tags") or [])]
        for reference in references:
            own.setdefault(full_reference(reference), own_image(reference, project))
        if name in request.active:
            available.update(map(full_reference, references))
    taken = {full_reference(reference) for reference in own.values()}
    for name in unnamed:
        short = own_image(name, project)
        if full_reference(short) not in taken:
            own[full_reference(f"{project}-{name}")] = short
    available.update(key for key, mine in own.items() if full_reference(mine) in request.images)
    return Images(project, own, frozenset(available))


def _image_of(name: str, service: Service, project: str) -> str:
    """The image that a service builds, by Compose's own name where the file gives it none."""
    return str(service.get("image") or f"{project}-{name}")


def image_seeds(model: StackModel, images: Images, request: IsolationRequest) -> dict[str, str]:
    """Own names that are missing, with the images that the engine has under the file's tags."""
    seeds: dict[str, str] = {}
    for name, service in model.services.items():
        base = str(service.get("image") or "")
        if base and service.get("build") and name in request.active:
            source, target = full_reference(base), full_reference(images.built_as(base))
            if source in request.images and target not in request.images:
                seeds.setdefault(target, source)
    return seeds


def scope_images(model: StackModel, images: Images) -> Findings:
    """Own tags for what is built, in the services that build it and in those that use it."""
    for name, service in model.services.items():
        build, base = service.get("build") or {}, str(service.get("image") or "")
        own = images.of_service(name, service)
        if own:
            reason = BUILT_HERE
            if build:
                reason = "the name that Compose makes up may be another instance's as well"
            if build and base:
                reason = "a build replaces the image under its tag: here, this instance's only"
            yield edit(("services", name, "image"), own, reason, before=base)
            policy = service.get("pull_policy") or ""
            if policy != "never" and not (build and policy == "build"):
                reason = "no registry has the instance's own image"
                yield edit(("services", name, "pull_policy"), "never", reason, before=policy)
        yield from _build(("services", name, "build"), build, images)


def _build(path: tuple[str, ...], build: Mapping[str, Any], images: Images) -> Findings:
    tags = build.get("tags") or []
    if tags:
        own = [images.built_as(tag) for tag in tags]
        reason = "a build replaces the images under all its tags"
        yield edit((*path, "tags"), own, reason, before=", ".join(tags), tag="!override")
    if build.get("cache_to"):
        reason = "every instance's builds would write the same cache"
        yield reset((*path, "cache_to"), reason, before=", ".join(build["cache_to"]))
    # Images that a build starts from, by a named context or as the whole of an argument. What the
    # Dockerfile itself names is not looked at, and `app` may be a folder or a stage, too.
    bases = {
        ("additional_contexts", key): value
        for key, value in pairs(build.get("additional_contexts")).items()
        if value and value.startswith(_IMAGE_CONTEXT)
    } | {
        ("args", key): value
        for key, value in pairs(build.get("args")).items()
        if value and (":" in value or "/" in value or _NAMES_IMAGE.fullmatch(key))
    }
    for keys, value in bases.items():
        scheme = _IMAGE_CONTEXT if keys[0] == "additional_contexts" else ""
        image = images.of(value.removeprefix(scheme))
        if image:
            yield edit((*path, *keys), scheme + image, BUILT_HERE, before=value)
