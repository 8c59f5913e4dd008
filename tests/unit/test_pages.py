"""The pages themselves: what can be told of them without running a command."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.pages import CHECKOUT, blocks, commands, pages

LANGUAGES = {"console", "json", "make", "makefile", "sh", "text", "toml", "yaml"}


@pytest.mark.parametrize("page", pages())
def test_what_is_to_be_typed_stands_where_the_tests_find_it(page: str) -> None:
    for block in blocks(page):
        assert block.language in LANGUAGES, f"{page}:{block.line}: what is {block.language!r}?"
        if block.language != "console":
            typed = re.search(r"^\$ ", block.text, re.M)
            assert typed is None, f"{page}:{block.line}: a command outside of a console block"


def test_commands_come_without_their_remarks_and_with_their_outcome() -> None:
    found = {command.text: command.fails for command in commands("README.md")}
    assert found["./scripts/demo"] is False
    assert found["ktrdr-sandbox destroy"] is True
    assert found["ktrdr-sandbox destroy --yes"] is False


def test_every_link_of_the_site_leads_somewhere(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "site" / "index.html").is_file()


def test_every_link_of_the_readme_leads_somewhere() -> None:
    text = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    for goal in re.findall(r"\]\((?!https?://)([^)#]+)", text):
        assert (CHECKOUT / goal).is_file(), goal
