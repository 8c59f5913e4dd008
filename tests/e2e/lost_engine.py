"""What happens to one instance when its engine goes away; run by `test_lost_engine`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.support.http import eventually
from tests.support.private_engine import PrivateEngine
from tests.support.repositories import repository
from tests.support.stacks import Outcome, Sandbox, Stack, docker, sandbox

COMPOSE: Final = """\
services:
  db:
    image: {image}
    command: ["sh", "-c", "sleep {seconds}; touch /tmp/ready; exec sleep 3600"]
    init: true
    healthcheck:
      {{test: ["CMD", "test", "-f", "/tmp/ready"], interval: 1s, retries: 60}}
    volumes: ["rows:/rows"]
  backend:
    image: {image}
    command: ["sleep", "3600"]
    init: true
    ports: ["8000:8000"]
    depends_on: {{db: {{condition: service_healthy}}}}
volumes:
  rows: {{}}
"""


def up(place: Sandbox, stack: Stack) -> Outcome:
    return place.run("up", stack.name, "--no-wait")


def lost_in_the_middle_of_up(
    place: Sandbox, engine: PrivateEngine, stack: Stack, how: signal.Signals
) -> None:
    log = place.folder / "log"
    with place.started("up", stack.name, "--no-wait", log=log) as process:
        eventually(lambda: "db" in running(stack))
        engine.stop(how)
        status = process.wait(timeout=60)
    said = log.read_text(encoding="utf-8")
    print(f"up -> {status}\n{said}")
    assert status in (1, 69), said
    assert "error: " in said
    assert "hint: " in said
    assert "Traceback" not in said
    told_while_it_is_away(place, stack)
    engine.start()
    up(place, stack).expect(0)
    assert running(stack) == {"db", "backend"}


def told_while_it_is_away(place: Sandbox, stack: Stack) -> None:
    """Nothing is lost by asking, and every command says what is the matter and exits."""
    before = (place.state / "instances.json").read_bytes()
    for arguments in (("status",), ("down",), ("destroy", "--yes"), ("up", "--no-wait")):
        outcome = place.run(arguments[0], stack.name, *arguments[1:]).expect(69)
        print(outcome.stderr)
        assert "hint: " in outcome.stderr, str(outcome)
    listed = place.run("list").expect(0)
    print(listed.stdout, listed.stderr)
    assert stack.name in listed.stdout
    found = place.run("doctor").expect(1)
    print(found.stdout)
    assert (place.state / "instances.json").read_bytes() == before
    assert stack.path.is_dir()


def stopped_in_the_middle_of_up(place: Sandbox, engine: PrivateEngine, stack: Stack) -> None:
    lost_in_the_middle_of_up(place, engine, stack, signal.SIGTERM)


def killed_in_the_middle_of_up(place: Sandbox, engine: PrivateEngine, stack: Stack) -> None:
    lost_in_the_middle_of_up(place, engine, stack, signal.SIGKILL)


def restarted_under_a_running_instance(place: Sandbox, engine: PrivateEngine, stack: Stack) -> None:
    up(place, stack).expect(0)
    docker("exec", f"{stack.id}-db-1", "sh", "-c", "echo kept > /rows/row")
    for how in (signal.SIGTERM, signal.SIGKILL):
        engine.stop(how)
        engine.start()
        shown = place.run("status", stack.name).expect(0)
        print(shown.stdout)
        assert place.listed()[stack.name]["status"] in ("stopped", "partial"), shown.stdout
        up(place, stack).expect(0)
        assert running(stack) == {"db", "backend"}
        assert docker("exec", f"{stack.id}-db-1", "cat", "/rows/row") == "kept"


def stopped_in_the_middle_of_destroy(place: Sandbox, engine: PrivateEngine, stack: Stack) -> None:
    up(place, stack).expect(0)
    docker("stop", "--time", "0", f"{stack.id}-backend-1")
    with place.started("destroy", stack.name, "--yes", log=place.folder / "log") as process:
        eventually(lambda: len(stack.containers()) < 2)
        engine.stop(signal.SIGKILL)
        status = process.wait(timeout=60)
    said = (place.folder / "log").read_text(encoding="utf-8")
    print(f"destroy -> {status}\n{said}")
    assert "Traceback" not in said
    assert stack.path.is_dir() or status == 0
    engine.start()


SCENARIOS: Final[dict[str, Callable[[Sandbox, PrivateEngine, Stack], None]]] = {
    one.__name__: one
    for one in (
        stopped_in_the_middle_of_up,
        killed_in_the_middle_of_up,
        restarted_under_a_running_instance,
        stopped_in_the_middle_of_destroy,
    )
}


def running(stack: Stack) -> set[str]:
    return {name for name, one in stack.services().items() if one["State"]["Running"]}


def main(name: str, folder: Path, image: str, archive: Path) -> None:
    engine = PrivateEngine(folder / "engine", images=[archive])
    engine.start()
    with sandbox(folder / "place") as place:
        made = repository(place.repository)
        text = COMPOSE.format(image=image, seconds=4 if "of_up" in name else 0)
        made.commit({"docker-compose.yml": text})
        stack = place.create("feat-x", any_slot=True)
        SCENARIOS[name](place, engine, stack)
        place.run("destroy", stack.name, "--yes")
        assert stack.leftovers() == []
        assert not stack.path.exists()
        assert place.listed() == {}
        assert not list((place.state / "journal").glob("*"))
    engine.stop()
    print("end")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
