"""An engine that panics on its data gets a milder, then a harder cure; another's data none."""

import os
import stat
from pathlib import Path

import pytest

from tests.lab import data
from tests.lab.engine import EndedError, Engine
from tests.lab.state import Hold

DAEMON = """#!/bin/sh
for word; do case $word in --data-root=*) data=${word#*=} ;; esac; done
echo "started on $data"
{panics}
touch "$data/answers"
exec sleep 60
"""
DOCKER = """#!/bin/sh
test -e "{data}/answers" || exit 1
[ "$1" != version ] || echo amd64
"""
PANIC = 'echo; echo "panic: page 2 already freed"; exit 2'
ON_DATABASE = f'if [ -e "$data/{data.NETWORK_DATABASE}" ]; then {PANIC}; fi'
ON_IMAGES = f'if [ -e "$data/image" ]; then {PANIC}; fi'


class Place:
    """An engine whose programs are scripts: `docker` answers once `dockerd` has started."""

    def __init__(self, root: Path, panics: str) -> None:
        programs = root / "bin"
        programs.mkdir()
        folder = root / "engine" / "data"
        self._script(programs / "dockerd", DAEMON.replace("{panics}", panics))
        self._script(programs / "docker", DOCKER.replace("{data}", str(folder)))
        for name in ("iptables", "ip"):
            self._script(programs / name, "#!/bin/sh\n")
        env = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
        env["KTRDR_LAB_ENGINE_ROOT"] = str(root / "engine")
        self.engine = Engine.chosen(env)
        self.data = folder
        self.hold = Hold(purpose="test", clone=str(root))

    @staticmethod
    def _script(path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def fill(self, *, marked: bool) -> None:
        if marked:
            data.make(self.data)
        database = self.data / data.NETWORK_DATABASE
        database.parent.mkdir(parents=True)
        database.touch()
        (self.data / "image").mkdir()


@pytest.fixture(autouse=True)
def _programs_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")


def acquired(place: Place) -> None:
    try:
        place.engine.acquire(place.hold)
        assert place.engine.answers()
    finally:
        place.engine.release(place.hold)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root starts engines")


@needs_root
def test_new_folder_is_marked_as_the_labs_own(tmp_path: Path) -> None:
    place = Place(tmp_path, "")
    acquired(place)
    assert data.made_by_lab(place.data)


@needs_root
def test_damaged_network_database_goes_and_images_stay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Place(tmp_path, ON_DATABASE)
    place.fill(marked=True)
    acquired(place)
    assert not (place.data / data.NETWORK_DATABASE).exists()
    assert (place.data / "image").is_dir()
    assert "network database removed, and once more" in capsys.readouterr().err


@needs_root
def test_folder_on_which_nothing_starts_is_made_anew(tmp_path: Path) -> None:
    place = Place(tmp_path, ON_IMAGES)
    place.fill(marked=True)
    acquired(place)
    assert not (place.data / "image").exists()
    assert data.made_by_lab(place.data)


@needs_root
def test_data_of_others_is_never_touched(tmp_path: Path) -> None:
    place = Place(tmp_path, ON_DATABASE)
    place.fill(marked=False)
    with pytest.raises(EndedError) as failure:
        place.engine.acquire(place.hold)
    assert "| panic: page 2 already freed" in failure.value.hints
    assert (place.data / data.NETWORK_DATABASE).exists()
    assert not place.engine.started_by_lab()


@needs_root
def test_engine_that_never_starts_is_given_up(tmp_path: Path) -> None:
    place = Place(tmp_path, PANIC)
    place.fill(marked=True)
    with pytest.raises(EndedError):
        place.engine.acquire(place.hold)
    assert not place.engine.started_by_lab()
