"""The command of the lab, where nothing needs an engine."""

from pathlib import Path

import pytest

from tests.lab.__main__ import main
from tests.lab.engine import Engine
from tests.lab.errors import EXIT_USAGE


def test_wrong_usage_is_told_apart_from_failure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["ensure", "--purpose", "nothing"])
    assert ended.value.code == EXIT_USAGE
    assert "invalid choice: 'nothing'" in capsys.readouterr().err


def test_an_engine_of_its_own_shares_nothing(tmp_path: Path) -> None:
    engine = Engine.chosen({"KTRDR_LAB_ENGINE_ROOT": str(tmp_path)})
    assert engine.settings == {"DOCKER_HOST": f"unix://{tmp_path}/docker.sock"}
    assert engine.state == tmp_path / "lab"
    places = [option.partition("=")[2].removeprefix("unix://") for option in engine.options[:-1]]
    assert {Path(place).parent for place in places} == {tmp_path}
    assert engine.options[-1] == f"--bridge={engine.bridge}"
    assert engine.bridge is not None
    assert len(engine.bridge) <= 15  # what the kernel takes as an interface name


def test_the_default_engine_gets_no_options() -> None:
    engine = Engine.chosen({"HOME": "/home/u"})
    assert (engine.options, engine.settings, engine.bridge) == ((), {}, None)
