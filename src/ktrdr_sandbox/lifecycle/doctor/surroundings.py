"""What all checks look at, asked once: the registry, and what is on each engine."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from ktrdr_sandbox.engine.address import current_address
from ktrdr_sandbox.engine.records import Belonging
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.lifecycle.home_id import known_home_id
from ktrdr_sandbox.lifecycle.workplace import Workplace
from ktrdr_sandbox.models import EngineAddress, Instance
from ktrdr_sandbox.questions import asked


@dataclass(frozen=True, kw_only=True)
class Engines:
    """Belongings by engine, and for an engine that did not answer, why. `here` is today's."""

    here: EngineAddress
    belongings: Mapping[EngineAddress, tuple[Belonging, ...]]
    silent: Mapping[EngineAddress, SandboxError]

    @functools.cached_property
    def by_uuid(self) -> Mapping[tuple[EngineAddress, str], tuple[Belonging, ...]]:
        """What is each instance's, told apart once however many there are."""
        found: dict[tuple[EngineAddress, str], list[Belonging]] = {}
        for address, belongings in self.belongings.items():
            for one in belongings:
                found.setdefault((address, one.uuid), []).append(one)
        return {key: tuple(ones) for key, ones in found.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """`instances` is empty, and `registry_error` says why, where the registry cannot be read."""

    place: Workplace
    instances: tuple[Instance, ...]
    registry_error: SandboxError | None
    engines: Engines
    home_id: str

    def of(self, instance: Instance) -> tuple[Belonging, ...] | None:
        """What an instance has on its engine; None when that does not answer."""
        if instance.engine not in self.engines.belongings:
            return None
        return self.engines.by_uuid.get((instance.engine, instance.uuid), ())

    def orphans(self) -> dict[tuple[EngineAddress, str], list[Belonging]]:
        """By engine and uuid: what carries this home's id and belongs to no instance of it."""
        if not self.home_id or self.registry_error is not None:
            return {}
        registered = {instance.uuid for instance in self.instances}
        found: dict[tuple[EngineAddress, str], list[Belonging]] = {}
        for address, belongings in self.engines.belongings.items():
            for one in belongings:
                if one.home == self.home_id and one.uuid and one.uuid not in registered:
                    found.setdefault((address, one.uuid), []).append(one)
        return found


def look_around(place: Workplace) -> Surroundings:
    """Ask everything once. What does not answer is kept as the reason. Never raises for it.

    The engines are asked before the registry: what was made in between is then registered.
    """
    first, _ = _registered(place)
    here = current_address(place.environment)
    addresses = dict.fromkeys([here, *(one.engine for one in first)])
    answers = {one: asked(place.engine(one).belongings) for one in addresses}
    belongings, silent = {}, {}
    for address, answer in answers.items():
        try:
            belongings[address] = answer.result()
        except SandboxError as failure:
            silent[address] = failure
    instances, error = _registered(place)
    return Surroundings(
        place=place,
        instances=instances,
        registry_error=error,
        engines=Engines(here=here, belongings=belongings, silent=silent),
        home_id=known_home_id(place.home),
    )


def _registered(place: Workplace) -> tuple[tuple[Instance, ...], SandboxError | None]:
    try:
        found = place.registry.read().instances.values()
    except SandboxError as error:
        return (), error
    return tuple(sorted(found, key=lambda one: one.slot)), None
