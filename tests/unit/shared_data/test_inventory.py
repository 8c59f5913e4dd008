"""What there is: symbols, timeframes, models, strategies."""

from __future__ import annotations

from pathlib import Path

from ktrdr_sandbox.shared_data.holdings import Holding, Series
from ktrdr_sandbox.shared_data.inventory import is_empty, take
from tests.support.trees import TIME_NS, write, write_tree


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    held = take(tmp_path / "shared")
    assert (held.files, held.size, held.updated) == (0, 0, None)
    assert (held.series, held.models, held.strategies, held.timeframes) == ((), (), (), ())
    assert is_empty(tmp_path / "shared")


def test_everything_by_its_name(tmp_path: Path) -> None:
    names = [
        "AAPL_1d",
        "AAPL_5m",
        "AAPL_1h",
        "EURUSD_1h",
        "BRK.B_1w",
        "BTC-USD_4h",
        "MY_OWN_15m",
        "AAPL_1M",
    ]
    write_tree(tmp_path, {f"data/{name}.csv": "x" * 10 for name in names})
    write_tree(
        tmp_path,
        {
            "data/notes.csv": "no series",
            "data/AAPL_0d.csv": "nor this",
            "data/AAPL_1d.csv.bak": "nor this",
            "data/.AAPL_1d.csv.swp": "hidden",
            "data/older/MSFT_1d.csv": "x" * 10,
            "models/momentum/v1/weights.bin": "w",
            "models/momentum/v2/weights.bin": "w",
            "models/single.bin": "w",
            "strategies/a.yaml": "a",
            "strategies/b.yml": "b",
            "strategies/README.md": "no strategy",
        },
    )
    write(tmp_path / "models/newest.bin", "n", time_ns=TIME_NS + 10**9)
    held = take(tmp_path)
    assert held.series == (
        Series(symbol="AAPL", timeframes=("5m", "1h", "1d", "1M"), size=40),
        Series(symbol="BRK.B", timeframes=("1w",), size=10),
        Series(symbol="BTC-USD", timeframes=("4h",), size=10),
        Series(symbol="EURUSD", timeframes=("1h",), size=10),
        Series(symbol="MSFT", timeframes=("1d",), size=10),
        Series(symbol="MY_OWN", timeframes=("15m",), size=10),
    )
    assert held.timeframes == ("5m", "15m", "1h", "4h", "1d", "1w", "1M")
    assert held.models == ("momentum", "newest.bin", "single.bin")
    assert held.strategies == ("a.yaml", "b.yml")
    assert held.holdings["models"] == Holding(files=4, size=4)
    assert held.files == 12 + 4 + 3
    assert held.updated == (TIME_NS + 10**9) / 10**9
    assert not is_empty(tmp_path)


def test_a_linked_folder_is_looked_into_and_said_so(tmp_path: Path) -> None:
    write(tmp_path / "disk/AAPL_1d.csv", "x")
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/data").symlink_to(tmp_path / "disk")
    (tmp_path / "disk/loop").symlink_to(tmp_path / "disk")
    held = take(tmp_path / "shared")
    assert [one.symbol for one in held.series] == ["AAPL"]
    assert held.holdings["data"].linked_to == str(tmp_path / "disk")
    assert held.holdings["models"].linked_to is None


def test_folders_without_files_are_empty(tmp_path: Path) -> None:
    (tmp_path / "data/deep").mkdir(parents=True)
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies/.gitkeep").touch()
    assert is_empty(tmp_path)
