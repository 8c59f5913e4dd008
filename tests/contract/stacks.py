"""A small stack for the engine contract, on the fake engine or a real one."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ktrdr_sandbox.docker.engine import ComposeCall, Container, Engine
from ktrdr_sandbox.docker.environment import child_environment
from ktrdr_sandbox.models import LABEL_ID, LABEL_UUID
from tests.support.stacks import MARK

FOREVER = ["sleep", "600"]


def script(text: str) -> list[str]:
    """A command of `echo`, `exit` and `sleep` steps."""
    return ["sh", "-c", text]


@dataclass
class ContractStack:
    """One project with a uuid of its own; `end` removes what is left of it."""

    engine: Engine
    image: str
    folder: Path
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def project(self) -> str:
        return f"ktrdr--{MARK}-{self.uuid[:8]}"

    @property
    def labels(self) -> dict[str, str]:
        return {LABEL_UUID: self.uuid, LABEL_ID: self.project}

    def service(self, **more: Any) -> dict[str, Any]:
        """A labelled service that runs until it is stopped, changed as told."""
        body = {"image": self.image, "command": FOREVER, "labels": self.labels}
        return {**body, "stop_grace_period": "1s", **more}

    def call(
        self,
        services: Mapping[str, Any],
        *,
        volumes: tuple[str, ...] = (),
        profiles: tuple[str, ...] = (),
        variables: Mapping[str, str] | None = None,
        env_file: str | None = None,
    ) -> ComposeCall:
        """The Compose call on a file with these services and a labelled network."""
        model = {
            "services": services,
            "networks": {"default": {"labels": self.labels}},
            "volumes": {name: {"labels": self.labels} for name in volumes},
        }
        path = self.folder / "compose.yaml"
        path.write_text(json.dumps(model), encoding="utf-8")
        return self.call_on(path, profiles=profiles, variables=variables, env_file=env_file)

    def call_on(
        self,
        path: Path,
        *,
        profiles: tuple[str, ...] = (),
        variables: Mapping[str, str] | None = None,
        env_file: str | None = None,
    ) -> ComposeCall:
        env_files: tuple[Path, ...] = ()
        if env_file is not None:
            env_files = (self.folder / "contract.env",)
            env_files[0].write_text(env_file, encoding="utf-8")
        return ComposeCall(
            project=self.project,
            directory=self.folder,
            files=(path,),
            env_files=env_files,
            profiles=profiles,
            environment={
                **child_environment(os.environ, address=self.engine.address),
                **(variables or {}),
            },
        )

    def created(self, services: Mapping[str, Any], **more: Any) -> ComposeCall:
        call = self.call(services, **more)
        self.engine.compose_create(call, build=(), progress=lambda _: None)
        return call

    def started(self, services: Mapping[str, Any], **more: Any) -> ComposeCall:
        call = self.created(services, **more)
        self.engine.compose_start(call, list(services), progress=lambda _: None)
        return call

    def container(self, service: str) -> Container:
        found = [c for c in self.engine.containers(uuid=self.uuid) if c.service == service]
        assert len(found) == 1, found
        return found[0]

    def container_once(self, service: str, state: str) -> Container:
        """The service's container when it has come to that state."""
        until(lambda: self.container(service).state == state)
        return self.container(service)

    def end(self) -> None:
        self.engine.remove(self.engine.resources(self.uuid), grace=0)
        assert not self.engine.resources(self.uuid)


def until(condition: Callable[[], bool]) -> None:
    """Wait for what an engine does in its own time; the test's time limit ends it."""
    while not condition():
        time.sleep(0.05)
