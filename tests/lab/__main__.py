"""`python3 -m tests.lab`: an engine, Compose and images from what bare Debian reaches."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import NoReturn

from tests.lab import compose_plugin, environment, files
from tests.lab.errors import EXIT_USAGE, LabError
from tests.lab.host import SHELL_PACKAGES, install, missing
from tests.lab.laboratory import Laboratory
from tests.lab.state import Hold
from tests.lab.venv import Venv

INTERRUPTED, TERMINATED = 130, 143
ENSURE = "make everything there and hold it; prints the settings as JSON"
RELEASE = "drop the hold; the last one out stops an engine that the lab started"
PAIR = "default: the engine that there is, with Compose; modern: Debian 13's, beside it"
HOLDER = "the process whose end ends the hold (test: the calling one; demo: none)"


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(EXIT_USAGE, f"lab: {message}\n")


def parser() -> Parser:
    top = Parser(prog="python3 -m tests.lab", description=__doc__)
    commands = top.add_subparsers(required=True, parser_class=Parser)

    def add(
        name: str, about: str, action: Callable[[argparse.Namespace, Laboratory], None]
    ) -> Parser:
        command: Parser = commands.add_parser(name, help=about, description=about)
        command.set_defaults(action=action)
        return command

    ensure, release = add("ensure", ENSURE, _ensure), add("release", RELEASE, _release)
    for command in (ensure, release):
        command.add_argument("--purpose", choices=("demo", "test"), default="test")
        command.add_argument("--holder", type=int, metavar="PID", help=HOLDER)
        command.add_argument("--pair", choices=("default", "modern"), default="default", help=PAIR)
    ensure.add_argument("--shell", action="store_true", help="print lines for a shell instead")
    ensure.add_argument("--no-images", action="store_true", help="only the engine and Compose")
    inside = add("inside", "run a command in the network of the modern pair, with it", _inside)
    inside.add_argument("command", nargs=argparse.REMAINDER)
    venv = add("venv", "make the clone's .venv with the project installed", _venv)
    venv.add_argument("extras", nargs="*", help="optional dependencies to install too")
    add("shells", "bash, zsh, fish and direnv, for the tests of what shells do", _shells)
    add("status", "what is there, and who holds it", _status)
    add("where", "the folder that the settings are written to", _where)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _terminated)
    try:
        modern = getattr(given, "pair", "default") == "modern"
        given.action(given, Laboratory(env=os.environ, modern=modern))
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        for hint in error.hints:
            print(f"lab:   {hint}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _ensure(given: argparse.Namespace, lab: Laboratory) -> None:
    settings = lab.ensure(_hold(given, lab), with_images=not given.no_images)
    if given.shell:
        sys.stdout.write(environment.as_shell(settings, commands=lab.commands))
    else:
        sys.stdout.write(environment.as_json(settings))


def _release(given: argparse.Namespace, lab: Laboratory) -> None:
    lab.release(_hold(given, lab))


def _inside(given: argparse.Namespace, lab: Laboratory) -> None:
    lab.within(given.command)


def _hold(given: argparse.Namespace, lab: Laboratory) -> Hold:
    calling = os.getppid() if given.purpose == "test" else None
    return lab.hold(given.purpose, given.holder or calling)


def _venv(given: argparse.Namespace, lab: Laboratory) -> None:
    Venv(clone=lab.clone, cache=lab.cache).ensure(given.extras)


def _shells(given: argparse.Namespace, lab: Laboratory) -> None:
    log = files.make_folder(lab.cache) / "apt.log"
    install(missing(SHELL_PACKAGES), log=log, why="a test of what shells do")


def _where(given: argparse.Namespace, lab: Laboratory) -> None:
    print(lab.cache)


def _status(given: argparse.Namespace, lab: Laboratory) -> None:
    engine = lab.engine
    recorded = engine.recorded()
    architecture = engine.architecture()
    whose = "started by the lab" if recorded.engine else "not started by the lab"
    print(f"engine: {f'answers ({architecture}), {whose}' if architecture else 'none answers'}")
    if architecture:
        print(f"local images: {'complete' if lab.local_images(engine).complete() else 'missing'}")
    version = compose_plugin.version(engine.env)
    print(f"docker compose of the host: {'.'.join(map(str, version)) if version else 'none'}")
    for hold in recorded.holds:
        print(f"held for: {hold}")
    print(f"cache: {lab.cache}")
    print(f"state: {engine.state}")


def _terminated(signum: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(TERMINATED)


if __name__ == "__main__":
    sys.exit(main())
