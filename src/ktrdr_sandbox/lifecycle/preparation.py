"""What up does before the engine creates a thing: checks, files, folders, image names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.engine.compose import require_compose
from ktrdr_sandbox.engine.interface import STOPPED, Container, Engine
from ktrdr_sandbox.isolation.result import Notice
from ktrdr_sandbox.isolation.scope import full_reference
from ktrdr_sandbox.lifecycle import record
from ktrdr_sandbox.lifecycle.composition import Composition, compose, refuse, write_down
from ktrdr_sandbox.lifecycle.migration import end_left_over
from ktrdr_sandbox.lifecycle.obstacles import refuse_busy_ports, refuse_foreign, refuse_paused
from ktrdr_sandbox.lifecycle.workplace import Workplace
from ktrdr_sandbox.models import Instance
from ktrdr_sandbox.questions import asked


@dataclass(frozen=True, slots=True)
class Prepared:
    """A composition that may be created now, and the services whose containers must be anew."""

    composition: Composition
    recreate: tuple[str, ...]


def prepared(place: Workplace, instance: Instance, engine: Engine) -> Prepared:
    """Everything before the engine creates a thing: checks, files, folders, image names."""
    versions, existing = asked(engine.versions), asked(engine.containers)
    owned = asked(engine.belongings)
    composing = asked(lambda: compose(place, instance, engine))
    # Its failure first: an engine that does not answer fails all, and says why best.
    require_compose(versions.result())
    composition = composing.result()
    containers, belongings = existing.result(), owned.result()
    refuse(composition.isolation)
    refuse_foreign(composition, belongings)
    refuse_paused(instance, containers)
    end_left_over(engine, instance, containers, composition.isolation.stack)
    cut_off = asked(lambda: _cut_off(engine, instance, containers))
    refuse_busy_ports(composition, containers)
    write_down(place, composition)
    former = record.load(place.home, instance)
    kept = composition.images.intersection(former.images)
    record.save(place.home, instance, composition.isolation, inputs=former.inputs, kept=kept)
    for seed in composition.isolation.seeds:
        engine.tag(seed.base, seed.target)
    return Prepared(composition, cut_off.result())


def _cut_off(
    engine: Engine, instance: Instance, containers: Sequence[Container]
) -> tuple[str, ...]:
    """Services that Compose would leave with a network which was removed while they were stopped,
    by `docker network prune` or with the engine's own records. It looks at running ones only."""
    stopped = {
        one.id: one.service
        for one in containers
        if one.uuid == instance.uuid and one.state in STOPPED and not one.oneoff
    }
    gone = engine.cut_off(list(stopped))
    return tuple(sorted({stopped[one] for one in gone}))


def to_build(composition: Composition, *, everything: bool) -> dict[str, str]:
    """Images to build, each with one service of it: KTRDR's seven that share a tag need one build.

    An image that is there, or was just named from the base tag, is only built with --build.
    """
    here = composition.images | {seed.target for seed in composition.isolation.seeds}
    first: dict[str, str] = {}
    for service in composition.isolation.stack.active:
        if service.image is None or not service.builds:
            continue
        if everything or full_reference(service.image) not in here:
            first.setdefault(service.image, service.name)
    return first


def stale_images(
    place: Workplace, composition: Composition, *, built: frozenset[str]
) -> list[Notice]:
    """Note what each image was made of, and tell where the checkout has other files now."""
    instance = composition.instance
    former = record.load(place.home, instance)
    seeded = {seed.target for seed in composition.isolation.seeds}
    made_of, notices = {}, []
    for source in composition.inputs:
        now = source.digest()
        parent = instance.parent_repo
        if source.reference in built:
            made_of[source.reference] = now
        elif source.reference in seeded and parent is not None:
            made_of[source.reference] = source.moved(instance.path, parent).digest()
        else:
            made_of[source.reference] = former.inputs.get(source.reference, now)
        if made_of[source.reference] != now:
            rebuild = own_commands.on(instance.name, "up", "--build")
            text = (
                f"the Dockerfile or a dependency file differs from what {source.reference} was "
                f"made of: {rebuild} makes it anew"
            )
            notices.append(Notice(service=source.service, text=text))
    record.save(place.home, instance, composition.isolation, inputs=made_of, kept=former.images)
    return notices
