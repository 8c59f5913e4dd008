"""--bundle of up and doctor: a file that cannot be written is told before anything else."""

from __future__ import annotations

import tarfile

from tests.cli.docker_scripts import docker_script
from tests.support.world import World


def test_a_file_that_is_there_is_refused_before_the_engine_is_asked(
    world: World, slot: int
) -> None:
    world.run("create", "feat-x", "--slot", str(slot))
    (world.folder / "out.tar.gz").write_text("mine", encoding="utf-8")
    outcome = world.run("up", "feat-x", "--bundle", "../out.tar.gz")
    assert outcome.exit_code == 73
    assert outcome.err == (
        "error: <world>/ktrdr/../out.tar.gz is there already, and is not overwritten.\n"
        "hint: Name another file, or remove that one.\n"
    )
    assert (world.folder / "out.tar.gz").read_text(encoding="utf-8") == "mine"


def test_a_folder_that_is_not_there_is_refused_too(world: World, slot: int) -> None:
    world.run("create", "feat-x", "--slot", str(slot))
    path = world.folder / "nowhere" / "out.tar.gz"
    error = world.run("up", "feat-x", "--bundle", str(path), "--json")
    assert (error.exit_code, error.error["code"]) == (73, "cannot-write")
    assert error.error["details"]["path"] == str(path)


def test_a_start_that_fails_leaves_its_bundle(world: World, slot: int) -> None:
    world.run("create", "feat-x", "--slot", str(slot))
    engine = docker_script(world, "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    path = world.folder / "out.tar.gz"
    outcome = world.run("up", "feat-x", "--bundle", str(path), env=engine)
    assert outcome.exit_code == 69
    assert outcome.err.splitlines()[0] == "Bundle: <world>/out.tar.gz"
    assert outcome.err.splitlines()[1].startswith("error: Docker does not answer")
    with tarfile.open(path) as archive:
        assert "ktrdr--feat-x-bundle/error.json" in archive.getnames()


def test_doctor_bundles_how_things_stand(world: World, slot: int) -> None:
    """Here nothing answers, and the archive says that."""
    world.run("create", "feat-x", "--slot", str(slot))
    path = world.folder / "out.tar.gz"
    outcome = world.run("doctor", "feat-x", "--bundle", str(path))
    assert outcome.exit_code == 1
    assert outcome.err == "Bundle: <world>/out.tar.gz\n"
    with tarfile.open(path) as archive:
        names = set(archive.getnames())
        told = archive.extractfile("ktrdr--feat-x-bundle/doctor.txt")
        assert told is not None
        found = told.read().decode().splitlines()
    assert "ktrdr--feat-x-bundle/error.json" in names
    assert "ktrdr--feat-x-bundle/gate.txt" not in names
    assert found[-1] == outcome.out.splitlines()[-1]


def test_doctor_refuses_a_file_that_is_there_before_it_looks(world: World, slot: int) -> None:
    world.run("create", "feat-x", "--slot", str(slot))
    path = world.folder / "out.tar.gz"
    path.write_text("mine", encoding="utf-8")
    outcome = world.run("doctor", "feat-x", "--bundle", str(path), "--json")
    assert (outcome.exit_code, outcome.error["code"]) == (73, "file-exists")
    assert path.read_text(encoding="utf-8") == "mine"


def test_doctor_bundles_an_instance_or_nothing(world: World) -> None:
    path = world.folder / "out.tar.gz"
    outcome = world.run("doctor", "--bundle", str(path), "--json")
    assert (outcome.exit_code, outcome.error["code"]) == (66, "not-in-instance")
    assert not path.exists()
