"""What isolation adds to `docker compose config` for the stack's eleven services.

    python -m tests.bench.isolation_override [rounds]

Each round resolves the model with Compose, then makes the override of it, so that both see the same
load of the machine. Printed are medians, the ratio, and the time to import the rules, which a
command pays once. The limit is 30 ms for both; it is reported, not enforced.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ktrdr_sandbox.isolation.isolate import isolate
from ktrdr_sandbox.isolation.override import render
from tests.bench.harness import compiled, timed
from tests.corpus.worlds import CASES, World

LIMIT_MS = 30.0
# json and hashlib are loaded by then: the engine's answers and the temporary files need them
_IMPORT = (
    "import hashlib, json, time, ktrdr_sandbox.models, ktrdr_sandbox.errors; "
    "start = time.perf_counter(); "
    "import ktrdr_sandbox.isolation.isolate, ktrdr_sandbox.isolation.override; "
    "print(time.perf_counter() - start)"
)


def answered(action: Callable[[], Any]) -> tuple[float, Any]:
    """Milliseconds that an action takes, and its result."""
    results: list[Any] = []
    return timed(lambda: results.append(action())) * 1000, results[0]


def import_ms(bytecode: Path) -> float:
    """Milliseconds to import the rules, compiled as installed ones are, beside the models."""
    command = [sys.executable, "-c", _IMPORT]
    done = subprocess.run(command, env=compiled(bytecode), capture_output=True, check=True)
    return float(done.stdout) * 1000


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        root = world.check_out(CASES / "ktrdr-older", "ktrdr--s1")
        request = world.resolve(root, slot=1).request
        files = [root / "docker-compose.yml"]
        config, override, imports = [], [], []
        import_ms(Path(folder) / "bytecode")
        for _ in range(rounds):
            spent, model = answered(lambda: world.config("ktrdr--s1", root, files))
            config.append(spent)
            override.append(answered(lambda: render(isolate(model, request), request))[0])  # noqa: B023
            imports.append(import_ms(Path(folder) / "bytecode"))
    compose, ours, loading = map(statistics.median, (config, override, imports))
    print(f"services                       {len(model['services'])}")
    print(f"docker compose config          {compose:8.1f} ms")
    print(f"isolate and render             {ours:8.1f} ms   ratio {ours / compose:.3f}")
    print(f"import of the rules            {loading:8.1f} ms   ratio {loading / compose:.3f}")
    print(f"all that is added              {ours + loading:8.1f} ms   limit {LIMIT_MS:.0f} ms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
