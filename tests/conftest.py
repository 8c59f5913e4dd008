"""Guards for every test: a home of its own, no stray variables, no engine that it did not ask for.

What breaks them fails the test that did it, by itself and not some later one.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import hypothesis
import platformdirs
import pytest

from tests.lab.processes import find
from tests.lab.runs import Run, drop_note, keep_note
from tests.support import repositories
from tests.support.stacks import MARK

# No test fails by timing: a machine may be as slow as it likes.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")

_REAL_HOME = Path(os.environ.get("HOME") or "~").expanduser()
_OWN_PLACES = tuple(
    f"{path}/"
    for path in (
        Path(os.environ.get("KTRDR_HOME") or _REAL_HOME / ".ktrdr"),
        Path(platformdirs.user_log_dir("ktrdr-sandbox", appauthor=False)),
        Path(platformdirs.user_cache_dir("ktrdr-sandbox", appauthor=False)),
    )
)
"""Where this program keeps things for the person who runs the tests."""

_FILE_EVENTS = frozenset(
    {
        "open",
        "os.chmod",
        "os.listdir",
        "os.mkdir",
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.scandir",
        "os.symlink",
        "shutil.move",
        "shutil.rmtree",
    }
)
_NOWHERE = "unix:///nowhere/docker.sock"
_ENGINE_VARIABLES = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
_violations: list[str] = []
_homes = itertools.count()


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    """An audit hook: sees every file opened and every process started, in any thread."""
    if event in _FILE_EVENTS:
        for path in arguments[:2]:
            text = os.fsdecode(path) if isinstance(path, (str, bytes)) else ""
            if f"{text}/".startswith(_OWN_PLACES):
                _violations.append(f"{event} {text}")
    elif event == "subprocess.Popen":
        given = arguments[3]
        environment = given if isinstance(given, Mapping) else os.environ
        if environment.get("HOME") == str(_REAL_HOME):
            _violations.append(f"started {arguments[1]!r} with the real HOME")


sys.addaudithook(_watch)

# A shell starts background jobs with both ignored, and every child would inherit it: a program that
# cannot be interrupted at all.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGQUIT) is signal.SIG_IGN:
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def _clean(environment: Mapping[str, str]) -> dict[str, str]:
    """The caller's variables without those that steer this program, Compose or git."""

    def stays(key: str) -> bool:
        if key.startswith(("KTRDR_LAB_", "KTRDR_SANDBOX_DEMO_")):
            return True  # the images that tests on a real engine use
        return not key.startswith(("KTRDR_", "COMPOSE_", "GIT_", "XDG_"))

    return {key: value for key, value in environment.items() if stays(key)}


@pytest.fixture(scope="session", autouse=True)
def _surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """For fixtures that live longer than a test: the same cleaned surroundings for all of them."""
    before = dict(os.environ)
    home = tmp_path_factory.mktemp("home-of-session")
    config = home / "gitconfig"
    config.write_text(
        "[user]\n\tname = A Developer\n\temail = developer@localhost\n"
        "[init]\n\tdefaultBranch = main\n[commit]\n\tgpgsign = false\n[gc]\n\tauto = 0\n",
        encoding="utf-8",
    )
    repositories.keep_first_in = home
    cleaned = _clean(before)
    real_docker = _REAL_HOME / ".docker"  # may hold the Compose plugin and registry logins
    if "DOCKER_CONFIG" not in cleaned and real_docker.is_dir():
        cleaned["DOCKER_CONFIG"] = str(real_docker)
    cleaned |= {
        "HOME": str(home),
        "KTRDR_HOME": str(home / ".ktrdr"),
        "GIT_CONFIG_GLOBAL": str(config),
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    _become(cleaned)
    yield
    _become(before)


@pytest.fixture(scope="session")
def _noted_on_the_engine(
    tmp_path_factory: pytest.TempPathFactory, _surroundings: None
) -> Iterator[None]:
    """The next run removes what this one leaves if it is killed."""
    process = find(os.getpid())
    assert process is not None
    run = Run.of(process, mark=MARK, folder=str(tmp_path_factory.getbasetemp()))
    environment = dict(os.environ)
    keep_note(run, environment)
    yield
    drop_note(run, environment)


def _become(environment: Mapping[str, str]) -> None:
    for key in set(os.environ) - set(environment):
        del os.environ[key]
    os.environ.update(environment)


@pytest.fixture(autouse=True)
def _guarded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, _surroundings: None
) -> Iterator[None]:
    """A home for this test alone; only tests marked `engine` can reach a Docker engine."""
    before = dict(os.environ)
    # not `mktemp`, which looks through all that there are for the next number
    home = tmp_path_factory.getbasetemp() / f"home-of-test-{next(_homes)}"
    home.mkdir()
    os.environ.update(
        HOME=str(home),
        KTRDR_HOME=str(home / ".ktrdr"),
        XDG_CACHE_HOME=str(home / "cache"),
        XDG_CONFIG_HOME=str(home / "config"),
        XDG_DATA_HOME=str(home / "data"),
        XDG_STATE_HOME=str(home / "state"),
    )
    if request.node.get_closest_marker("engine") is not None:
        request.getfixturevalue("_noted_on_the_engine")
    else:
        for variable in _ENGINE_VARIABLES:
            os.environ.pop(variable, None)
        os.environ["DOCKER_HOST"] = _NOWHERE
    given = _comparable(os.environ)
    _violations.clear()
    yield
    left = _comparable(os.environ)
    _become(before)
    shutil.rmtree(home, ignore_errors=True)
    changed = sorted(key for key in given.keys() | left.keys() if given.get(key) != left.get(key))
    assert not changed, f"the test left these variables changed: {', '.join(changed)}"
    assert not _violations, "the test used the real home:\n" + "\n".join(_violations)


def _comparable(environment: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in environment.items() if key != "PYTEST_CURRENT_TEST"}


def pytest_make_parametrize_id(val: object) -> str | None:
    """Values of more than a line have no place in a name; their number is enough."""
    if isinstance(val, (str, bytes)) and len(val) > 100:
        return f"{len(val)}-{'characters' if isinstance(val, str) else 'bytes'}"
    return None


def pytest_collection_finish(session: pytest.Session) -> None:
    """Tests that share an engine's slots must not run beside one another, silently least of all.

    Of the groups, all but one hold slots that no other test has (`held_slot`), from the last down.
    "chosen slots" are tests in which the program chooses, from the first up, or which have the main
    environment's ports. "slow start" is one test that waits for a minute.
    """
    if not getattr(session.config.option, "loadgroup", False):
        return
    for item in session.items:
        if item.get_closest_marker("xdist_group") and "@" not in item.nodeid.rpartition("]")[2]:
            raise pytest.UsageError("this pytest and pytest-xdist keep no groups of tests together")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests counted, by name; also where they ran in other processes."""
    counts: dict[str, int] = {}
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if isinstance(value, int):
                counts[name] = counts.get(name, 0) + value
    for name, count in sorted(counts.items()):
        terminalreporter.write_line(f"{name}: {count}")
