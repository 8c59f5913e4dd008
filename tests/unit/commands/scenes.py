"""A home, a repository and a fake engine: what the use cases need, without a command line."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.commands.create import CreatePlan, create
from ktrdr_sandbox.docker.engine import ComposeCall
from ktrdr_sandbox.models import LABEL_ID, LABEL_UUID, EngineAddress, Instance
from ktrdr_sandbox.paths import Home
from ktrdr_sandbox.settings import load_settings
from ktrdr_sandbox.state.registry import RegistryStore
from tests.support.fake_engine import FakeEngine
from tests.support.repositories import GitRepository, repository

FOREVER = ["sleep", "600"]
IMAGE = "tiny:1"


class Scene:
    """One user's machine. `place` is what use cases get; `told` what they said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = Home(folder / "home")
        self.repository = repository(folder / "ktrdr")
        self.engine = FakeEngine(images=[IMAGE])
        self.told: list[str] = []
        self.addresses: list[EngineAddress] = []
        self.context = Context(
            home=self.home,
            cwd=self.repository.root,
            environment=dict(os.environ),
            registry=RegistryStore(
                self.home.registry, self.home.registry_lock, tell=self.told.append
            ),
            engine=self._engine,
            settings=lambda checkout: load_settings(self.home, checkout=checkout),
            tell=self.told.append,
        )

    def _engine(self, address: EngineAddress) -> FakeEngine:
        self.addresses.append(address)
        return self.engine

    def at(self, directory: Path) -> Context:
        return replace(self.context, cwd=directory)

    def create(
        self, name: str = "feat-x", *, branch: str | None = None, slot: int | None = None
    ) -> CreatePlan:
        return create(self.context, name=name, branch=branch, slot=slot)

    def instance(self, name: str = "feat-x") -> Instance:
        return self.create(name).instance

    def checkout(self, instance: Instance) -> GitRepository:
        return GitRepository(instance.path)

    def registered(self) -> dict[str, Instance]:
        return dict(self.context.registry.read().instances)

    def path_of(self, name: str) -> Path:
        return self.folder / f"ktrdr--{name}"

    def hook(self, script: str) -> None:
        """Run something in every new worktree, right after its checkout."""
        path = self.repository.root / ".git" / "hooks" / "post-checkout"
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)

    # -- containers --------------------------------------------------------------------------

    def stack(
        self,
        instance: Instance,
        services: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        uuid: str | None = None,
        start: bool = True,
    ) -> ComposeCall:
        """Containers, a network and a volume of the instance, as `up` would leave them."""
        labels = {LABEL_ID: instance.id, LABEL_UUID: uuid or instance.uuid}
        mount = {"type": "volume", "source": "data", "target": "/data"}
        bodies = services or {"db": {"volumes": [mount]}, "backend": {}}
        model = {
            "services": {
                name: {"image": IMAGE, "command": FOREVER, "labels": labels, **body}
                for name, body in bodies.items()
            },
            "networks": {"default": {"labels": labels}},
            "volumes": {"data": {"labels": labels}},
        }
        path = self.folder / f"{instance.id}.json"
        path.write_text(json.dumps(model), encoding="utf-8")
        call = ComposeCall(project=instance.id, directory=self.folder, files=(path,))
        self.engine.compose_create(call, build=(), progress=lambda _: None)
        if start:
            self.engine.compose_start(call, list(bodies), progress=lambda _: None)
        return call
