"""The lab as a whole: an engine, Compose and images for the time they are held."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tests.lab import compose_plugin, environment, files, images, runs
from tests.lab.commands import answers
from tests.lab.engine import Engine
from tests.lab.errors import EXIT_USAGE, LabError
from tests.lab.files import cache_folder, make_folder
from tests.lab.modern import ModernEngine
from tests.lab.processes import find
from tests.lab.state import Hold

CLONE = Path(__file__).resolve().parents[2]
MODERN_SETTINGS = "modern-env.json"
REGISTRY_LIMIT = 10.0  # seconds to get the small image


class SettingError(LabError):
    code = EXIT_USAGE


@dataclass(frozen=True)
class Laboratory:
    env: Mapping[str, str]
    clone: Path = CLONE
    modern: bool = False
    """The modern pair, beside the engine that there is otherwise."""

    @property
    def cache(self) -> Path:
        return cache_folder(self.env)

    @property
    def wanted_images(self) -> str:
        """`local` or `registry`; empty leaves the choice to what the engine reaches."""
        return self.env.get("KTRDR_LAB_IMAGES", "")

    @property
    def commands(self) -> Path:
        """Where the clone's own programs are."""
        return self.clone / ".venv" / "bin"

    @property
    def engine(self) -> Engine:
        first = Engine.chosen(self.env)
        return self._beside(first) if self.modern else first

    def _beside(self, first: Engine) -> ModernEngine:
        return ModernEngine.beside(first, cache=self.cache, clone=self.clone)

    def within(self, command: Sequence[str]) -> NoReturn:
        """Become a command in the network of the modern pair, which has to be held."""
        engine = self._beside(Engine.chosen(self.env))
        try:
            settings = json.loads((self.cache / MODERN_SETTINGS).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise LabError("the modern pair is not held: ensure --pair modern") from None
        argv = engine.within(command)
        os.execvpe(argv[0], argv, {**engine.env, **settings})  # noqa: S606  a list, no shell needed

    def hold(self, purpose: str, holder: int | None) -> Hold:
        """`holder` is the process whose end ends the hold; None holds until it is released."""
        process = find(holder) if holder is not None else None
        if holder is not None and process is None:
            raise SettingError(f"there is no process {holder} to hold the lab for")
        return Hold(purpose=purpose, clone=str(self.clone), holder=process)

    def ensure(self, hold: Hold, *, with_images: bool = True) -> dict[str, str]:
        """Engine, Compose and images; the settings that reach them. Undone if it fails."""
        self._check_settings()
        make_folder(self.cache)
        earlier = self.engine.recorded().engine
        new = self.engine.acquire(hold)
        just_started = self.engine.recorded().engine not in (None, earlier)
        try:
            runs.clear(self.engine.env, all_are_over=just_started)
            settings = self._equip(with_images=with_images)
        except BaseException:
            if new:
                self.engine.release(hold)
            raise
        if self.modern:
            files.replace(self.cache / MODERN_SETTINGS, environment.as_json(settings))
        elif with_images:
            environment.write(self.cache, settings, commands=self.commands)
        return settings

    def release(self, hold: Hold) -> None:
        self.engine.release(hold)

    @contextmanager
    def held(self, purpose: str) -> Iterator[dict[str, str]]:
        """For a test session: the settings, for as long as this process runs or the block lasts."""
        hold = self.hold(purpose, os.getpid())
        settings = self.ensure(hold)
        try:
            yield settings
        finally:
            self.release(hold)

    def _check_settings(self) -> None:
        if self.wanted_images not in ("", "local", "registry"):
            said = repr(self.wanted_images)
            raise SettingError(f"KTRDR_LAB_IMAGES is {said}; it may be local or registry")

    def _equip(self, *, with_images: bool) -> dict[str, str]:
        engine = self.engine
        if isinstance(engine, ModernEngine):
            names = self._images(Engine.chosen(self.env)) if with_images else {}
            engine.carry_over(Engine.chosen(self.env), names.values())
            return {**engine.settings, **names}
        with ThreadPoolExecutor(max_workers=1) as pool:
            compose = pool.submit(compose_plugin.ensure, self.cache, engine.env)
            names = self._images(engine) if with_images else {}
            return {**engine.settings, **compose.result(), **names}

    def _images(self, engine: Engine) -> dict[str, str]:
        local = self.local_images(engine)
        wanted = self.wanted_images
        if wanted == "registry":
            return images.REGISTRY
        if wanted == "local" or engine.started_by_lab() or local.complete():
            return local.ensure()
        return images.REGISTRY if registry_reached(engine) else local.ensure()

    def local_images(self, engine: Engine) -> images.Images:
        architecture = engine.architecture()
        if architecture is None:
            raise LabError("the Docker engine stopped answering")
        return images.Images(cache=self.cache, env=engine.env, architecture=architecture)


def registry_reached(engine: Engine) -> bool:
    """Asked of the engine, since it is the engine that would pull."""
    small = images.REGISTRY["KTRDR_LAB_TINY_IMAGE"]
    return answers(["docker", "pull", "--quiet", small], limit=REGISTRY_LIMIT, env=engine.env)
