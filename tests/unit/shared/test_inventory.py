"""What there is: symbols, timeframes, models, strategies."""

from __future__ import annotations

from pathlib import Path

from ktrdr_sandbox.shared.inventory import FolderInventory, take_inventory
from tests.support.trees import TIME_NS, write, write_tree


def test_everything_by_its_name(tmp_path: Path) -> None:
    names = ["AAPL_1d", "AAPL_5m", "AAPL_1h", "AAPL_1M", "BRK.B_1w", "BTC-USD_4h", "MY_OWN_15m"]
    no_series = ["notes.csv", "AAPL_0d.csv", "AAPL_1d.csv.bak", ".AAPL_1d.csv.swp"]
    write_tree(tmp_path, {f"data/{name}.csv": "x" * 10 for name in names})
    write_tree(tmp_path, {f"data/{name}": "y" for name in no_series})
    models = ["momentum/v1/w.bin", "momentum/v2/w.bin", "single.bin"]
    write_tree(tmp_path, {f"models/{name}": "w" for name in models})
    write_tree(tmp_path, {f"strategies/{name}": "a" for name in ("a.yaml", "b.yml", "README.md")})
    write_tree(tmp_path, {"data/older/MSFT_1d.csv": "x" * 10, "models/older_1d.csv": "w"})
    write(tmp_path / "models/newest.bin", "n", time_ns=TIME_NS + 10**9)
    held = take_inventory(tmp_path)
    assert held.symbols == {
        "AAPL": ["5m", "1h", "1d", "1M"],
        "BRK.B": ["1w"],
        "BTC-USD": ["4h"],
        "MSFT": ["1d"],
        "MY_OWN": ["15m"],
    }
    assert held.timeframes == ["5m", "15m", "1h", "4h", "1d", "1w", "1M"]
    assert held.models == ["momentum", "newest.bin", "older_1d.csv", "single.bin"]
    assert held.strategies == ["a.yaml", "b.yml"]
    assert held.folders["models"] == FolderInventory(5, 5, None)
    assert (held.files, held.updated) == (11 + 5 + 3, "2023-11-14T22:13:21Z")


def test_a_linked_folder_is_looked_into_and_said_so(tmp_path: Path) -> None:
    write(tmp_path / "disk/AAPL_1d.csv", "x")
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/data").symlink_to(tmp_path / "disk")
    (tmp_path / "disk/loop").symlink_to(tmp_path / "disk")
    held = take_inventory(tmp_path / "shared")
    assert held.symbols == {"AAPL": ["1d"]}
    assert held.folders["data"].linked_to == str(tmp_path / "disk")
    assert held.folders["models"].linked_to is None
