"""The images of the lab in an engine, made when their content is not there yet."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.lab import recipes, rootfs
from tests.lab.commands import answers, run
from tests.lab.files import lock, make_folder
from tests.lab.progress import step

BUILD_LIMIT = 300.0  # seconds
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LABEL = "ktrdr-lab=1"
BUILD = ("docker", "build", "--quiet", "--force-rm", "--label", LABEL)

REGISTRY = {
    "KTRDR_SANDBOX_DEMO_DATABASE_IMAGE": "timescale/timescaledb:latest-pg16",
    "KTRDR_SANDBOX_DEMO_PYTHON_IMAGE": "python:3.12-slim",
    "KTRDR_SANDBOX_DEMO_PROMETHEUS_IMAGE": "prom/prometheus:latest",
    "KTRDR_SANDBOX_DEMO_GRAFANA_IMAGE": "grafana/grafana:latest",
    "KTRDR_SANDBOX_DEMO_JAEGER_IMAGE": "jaegertracing/all-in-one:1.53",
    "KTRDR_LAB_TINY_IMAGE": "busybox:latest",
}


def local_names(architecture: str) -> dict[str, str]:
    """Setting -> tag of every image the lab makes."""
    base = recipes.base_tag(architecture)
    return {
        "KTRDR_SANDBOX_DEMO_DATABASE_IMAGE": recipes.DATABASE.tag(base),
        "KTRDR_SANDBOX_DEMO_PYTHON_IMAGE": recipes.PYTHON.tag(base),
        "KTRDR_SANDBOX_DEMO_PROMETHEUS_IMAGE": recipes.PROMETHEUS.tag(base),
        "KTRDR_SANDBOX_DEMO_GRAFANA_IMAGE": recipes.GRAFANA.tag(base),
        "KTRDR_SANDBOX_DEMO_JAEGER_IMAGE": recipes.JAEGER.tag(base),
        "KTRDR_LAB_TINY_IMAGE": recipes.tiny_tag(architecture),
    }


@dataclass(frozen=True)
class Images:
    """The local images of one engine; `env` is what its docker commands run with."""

    cache: Path
    env: Mapping[str, str]
    architecture: str

    @property
    def _work(self) -> Path:
        return self.cache / "work"

    @property
    def _log(self) -> Path:
        return self.cache / "images.log"

    def complete(self) -> bool:
        """All of them in one question, which is what makes a second run quick."""
        return self._has(*local_names(self.architecture).values())

    def ensure(self) -> dict[str, str]:
        # a run killed at the very end leaves every image, and half a gigabyte of work
        if not self.complete() or any(self._work.glob("*")):
            make_folder(self.cache)
            with lock(self.cache / "images.lock"):
                rootfs.sweep(self._work)
                self._make_missing()
        return local_names(self.architecture)

    def _make_missing(self) -> None:
        with ThreadPoolExecutor(max_workers=2) as pool:
            tiny = pool.submit(self._ensure_tiny)
            self._ensure_base(pool)
            tiny.result()

    def _ensure_tiny(self) -> None:
        tag = recipes.tiny_tag(self.architecture)
        if self._has(tag):
            return
        stored = self._stored(tag)
        with step("tiny image (busybox)"):
            if not stored.exists():
                fresh = make_folder(self._work) / "tiny.tar"
                rootfs.make_busybox(fresh, work=self._work, log=self._log)
                self._keep(fresh, stored)
            self._import(stored, tag, 'CMD ["sh"]')

    def _ensure_base(self, pool: ThreadPoolExecutor) -> None:
        base = recipes.base_tag(self.architecture)
        kept: Future[None] | None = None
        if not self._has(base):
            kept = self._make_base(base, pool)
        self._build_all(base, pool)
        if kept is not None:
            kept.result()

    def _make_base(self, base: str, pool: ThreadPoolExecutor) -> Future[None] | None:
        """Import the root file system; keeping a fresh one goes on while the images are built."""
        stored = self._stored(base)
        if stored.exists():
            with step("base image (from the cache)"):
                self._import(stored, base)
            return None
        fresh = make_folder(self._work) / "base.tar"
        with step("base image (debootstrap, about a minute)", slow=True):
            rootfs.make_debian(fresh, work=self._work, log=self._log)
            self._import(fresh, base)
        return pool.submit(self._keep, fresh, stored)

    def _stored(self, tag: str) -> Path:
        """Where a root file system is kept for an engine that gets emptied."""
        return self.cache / f"{tag.rpartition('/')[2].replace(':', '-')}.tar.gz"

    def _keep(self, fresh: Path, stored: Path) -> None:
        for old in self.cache.glob(f"{stored.name.partition('-')[0]}-*.tar.gz"):
            old.unlink()
        rootfs.compress(fresh, stored)
        fresh.unlink()

    def _build_all(self, base: str, pool: ThreadPoolExecutor) -> None:
        for recipe in recipes.DERIVED:
            tag = recipe.tag(base)
            if not self._has(tag):
                with step(f"{recipe.name} image"):
                    self._build(recipe, tag, base)

    def _build(self, recipe: recipes.Recipe, tag: str, base: str) -> None:
        # the classic builder: an engine without buildx has no other
        run(
            [*BUILD, "--build-arg", f"BASE={base}", "--tag", tag, "-"],
            limit=BUILD_LIMIT,
            env={**self.env, "DOCKER_BUILDKIT": "0"},
            stdin=recipe.context(),
        )

    def _import(self, archive: Path, tag: str, *changes: str) -> None:
        settings = (f"ENV PATH={PATH}", "ENV LANG=C.UTF-8", f"LABEL {LABEL}", *changes)
        options = [text for change in settings for text in ("--change", change)]
        run(["docker", "import", *options, str(archive), tag], limit=BUILD_LIMIT, env=self.env)

    def _has(self, *tags: str) -> bool:
        return answers(["docker", "image", "inspect", *tags], limit=30, env=self.env)
