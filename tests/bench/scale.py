"""Few instances and many: 200 registry entries and 2,000 containers, listed by a `docker` that only
has the list. What grows with them must grow evenly, and slowly."""

from __future__ import annotations

import json
import shlex
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ktrdr_sandbox.models import Instance
from ktrdr_sandbox.slots.allocation import allocate
from ktrdr_sandbox.state.registry import RegistryStore
from tests.bench.harness import timed
from tests.bench.page import CONTAINERS, FEW, MANY, Growth
from tests.bench.quick import Place

_HOME_ID = "5f3f1a52-0000-4000-8000-000000000000"


def growths(at: Place, runs: int) -> list[Growth]:
    """Each work with few and with many, in turn."""
    works = _works(at)
    taken: dict[tuple[str, int], list[float]] = {}
    for number in range(runs + 1):
        for count in (FEW, MANY):
            _fill(at, at.register(count))
            for name, work in works.items():
                seconds = timed(work)
                if number:  # the first of each is unseen
                    taken.setdefault((name, count), []).append(seconds)
    return [
        Growth(
            work=name,
            few=statistics.median(taken[name, FEW]),
            many=statistics.median(taken[name, MANY]),
        )
        for name in works
    ]


def _works(at: Place) -> dict[str, Callable[[], object]]:
    sandbox = at.home / "sandbox"
    store = RegistryStore(sandbox / "instances.json", sandbox / "instances.lock")
    path = f"{at.folder / 'bin'}:{at.environment['PATH']}"
    words = ("ktrdr-sandbox", "up", "many-00")
    return {
        "`list`": lambda: at.tool("list", PATH=path),
        "`list --json`": lambda: at.tool("list", "--json", PATH=path),
        "`status NAME`": lambda: at.tool("status", "many-007", PATH=path),
        "`status --all`": lambda: at.tool("status", "--all", PATH=path),
        "`gc`": lambda: at.tool("gc", PATH=path),
        "completion of a name": lambda: at.tool(*words, PATH=path, _KTRDR_SANDBOX_COMPLETE="zsh"),
        "the registry: read": store.read,
        "the registry: one change, on disk": lambda: store.update(
            lambda registry: (registry.with_instance(_touched(registry.instances)), None)
        ),
        "a slot: allocated": lambda: allocate(
            taken={slot: name for slot, name in store.read().taken_slots().items() if slot != 7},
            wanted=None,
            busy=lambda _: [],
        ),
    }


def _touched(instances: Mapping[str, Instance]) -> Instance:
    one = instances["ktrdr--many-000"]
    return one.with_state("removing" if one.state == "created" else "created")


def _fill(at: Place, instances: Sequence[Instance]) -> None:
    """A `docker` that lists ten containers, a network and a volume of each instance."""
    folder = at.folder / "bin"
    folder.mkdir(exist_ok=True)
    (at.home / "sandbox" / "home-id").write_text(f"{_HOME_ID}\n", encoding="utf-8")
    lists = {
        "containers": _containers(instances),
        "belonging": _belongings(instances, "container", CONTAINERS),
        "networks": _belongings(instances, "network", 1),
        "volumes": _belongings(instances, "volume", 1),
    }
    for name, lines in lists.items():
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    script = folder / "docker"
    script.write_text(_SCRIPT.format(folder=shlex.quote(str(folder))), encoding="utf-8")
    script.chmod(0o755)


_SCRIPT = """\
#!/bin/sh
case " $* " in
*" ps --all --no-trunc --filter="*) ;;
*" ps --all --no-trunc "*) exec cat {folder}/containers;;
*" ps --all "*) exec cat {folder}/belonging;;
*" network ls "*) exec cat {folder}/networks;;
*" volume ls "*) exec cat {folder}/volumes;;
esac
"""


def _containers(instances: Sequence[Instance]) -> Iterator[str]:
    for one in instances:
        for number in range(CONTAINERS):
            service = f"service-{number}"
            yield json.dumps(
                {
                    "id": f"{number:064x}",
                    "name": f"{one.id}-{service}-1",
                    "state": "running",
                    "status": "Up 2 hours",
                    "image": "image:1",
                    "project": one.id,
                    "service": service,
                    "oneoff": "False",
                    "instance_id": one.id,
                    "uuid": one.uuid,
                    "published": "",
                }
            )


def _belongings(instances: Sequence[Instance], kind: str, count: int) -> Iterator[str]:
    for one in instances:
        for number in range(count):
            labels = {"instance_id": one.id, "uuid": one.uuid, "home": _HOME_ID}
            more = {"slot": str(one.slot), "project": one.id, "directory": str(Path("/"))}
            yield json.dumps({"name": f"{one.id}-{kind}-{number}", **labels, **more})
