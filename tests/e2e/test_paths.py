"""Checkouts in folders that shells and Compose read as something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.stacks import Sandbox, git, sandbox

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(300),
]


def test_a_space_a_dollar_quotes_and_an_umlaut(tmp_path: Path, mark: str) -> None:
    with sandbox(tmp_path / "My $HOME of 'quotes' ${X} ü") as place:
        place.make_repository(light=True)
        works(place, f"{mark}-odd")


def test_a_checkout_reached_by_a_symbolic_link(tmp_path: Path, mark: str) -> None:
    with sandbox(tmp_path / "real") as place:
        place.make_repository(light=True)
        link = tmp_path / "link"
        link.symlink_to(place.repository)
        works(place, f"{mark}-linked", cwd=link)


def works(place: Sandbox, name: str, cwd: Path | None = None) -> None:
    stack = place.create(name, cwd=cwd)
    assert stack.path == place.repository.resolve().parent / stack.id
    place.up(stack).expect(0)
    stack.post("/api/v1/notes", {"text": "works"})
    assert stack.get("/api/v1/info")["greeting"] == "hello from main"
    stack.edit("ktrdr/version.py", "hello from main", "hello from here")
    mounts = {m["Destination"]: m.get("Source") for m in stack.container("backend")["Mounts"]}
    assert mounts["/app/ktrdr"] == str(stack.path / "ktrdr")
    assert mounts["/app/data"] == str(place.home / ".ktrdr" / "shared" / "data")
    git("checkout", "--quiet", "--", ".", cwd=stack.path)
    # Also from inside the worktree, where the name is found by the directory.
    told = place.run("status", "--json", cwd=stack.path / "ktrdr").expect(0).data
    assert (told["instance"]["id"], told["status"]) == (stack.id, "running")
    place.run("destroy", name, "--yes", cwd=cwd).expect(0)
    assert stack.leftovers() == []
    assert not stack.path.exists()
    assert place.run("list", "--json", cwd=cwd).expect(0).data["instances"] == []
