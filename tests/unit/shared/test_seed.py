"""The seed pack: made again byte for byte, of KTRDR's shape, and no more than a stopgap."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from ktrdr_sandbox.shared.inventory import take_inventory
from ktrdr_sandbox.shared.layout import SEED_FOLDER, SEED_TIME_NS
from ktrdr_sandbox.shared.results import Kept
from tests.support.trees import checkout, files_of, write
from tests.unit.shared.runs import Sharing

ROOT = Path(__file__).parents[3]
DIGESTS = {1_767_225_600: "3bce"}
"""The pack of each time: a run tells a new one by its time alone."""


def packed() -> dict[str, bytes]:
    return {
        name: content
        for name, content in files_of(SEED_FOLDER).items()
        if name.startswith(("data/", "models/", "strategies/"))
    }


def test_the_script_makes_it_byte_for_byte(tmp_path: Path) -> None:
    script = ROOT / "scripts" / "make_seed_pack.py"
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True)
    assert files_of(tmp_path) == packed()


def test_another_content_has_another_time() -> None:
    digest = hashlib.sha256(repr(sorted(packed().items())).encode()).hexdigest()
    known = DIGESTS.get(SEED_TIME_NS // 10**9)
    assert digest[:4] == known, "the pack has changed: move TIME_NS on, and note its digest here"


def test_what_is_in_it() -> None:
    held = take_inventory(SEED_FOLDER)
    assert held.symbols == {one: ["1h", "1d"] for one in ("AAPL", "EURUSD", "MSFT")}
    assert held.strategies == ["seed_rsi_trend.yaml"]
    assert held.bytes < 500_000
    assert "CC0" in (SEED_FOLDER / "README.md").read_text()


# -- as a source ----------------------------------------------------------------------------------


def test_it_fills_an_empty_shared_folder(sharing: Sharing) -> None:
    done = sharing.run(minimal=True)
    assert files_of(sharing.shared) == packed()
    assert done.copied.new == 7
    assert sharing.run(minimal=True).unchanged == 7


def test_real_data_takes_its_place_and_it_never_takes_that_of_real_data(
    sharing: Sharing, tmp_path: Path
) -> None:
    root = checkout(tmp_path / "ktrdr")
    sharing.run(minimal=True)
    write(sharing.shared / "data/MSFT_1d.csv", "edited\n")
    write(root / "data/MSFT_1d.csv", "real\n")
    done = sharing.run(root)
    assert done.copied.replaced == 2
    assert done.kept == [Kept("data/MSFT_1d.csv", "changed")]
    assert (sharing.shared / "data/AAPL_1d.csv").read_bytes() == (
        root / "data/AAPL_1d.csv"
    ).read_bytes()
    again = sharing.run(minimal=True)
    assert {one.path: one.reason for one in again.kept} == {
        "data/AAPL_1d.csv": "other-source",
        "data/EURUSD_1h.csv": "other-source",
        "data/MSFT_1d.csv": "changed",
    }
