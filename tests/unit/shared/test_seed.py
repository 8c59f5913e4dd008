"""The seed pack: made again byte for byte, of KTRDR's shape, and no more than a stopgap."""

from __future__ import annotations

import csv
import hashlib
import re
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from ktrdr_sandbox.shared.inventory import take_inventory
from ktrdr_sandbox.shared.layout import SEED_FOLDER, SEED_TIME_NS
from ktrdr_sandbox.shared.results import Kept
from tests.support.trees import checkout, files_of, write
from tests.unit.shared.runs import Sharing

ROOT = Path(__file__).parents[3]
FILES = sorted((SEED_FOLDER / "data").glob("*.csv"))
COLUMNS = ["timestamp", "open", "high", "low", "close", "volume"]

DIGESTS = {1_767_225_600: "3bce"}
"""The pack of each time: a run tells a new one by its time alone."""


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def stamps(path: Path) -> list[datetime]:
    return [datetime.fromisoformat(row["timestamp"]) for row in rows(path)]


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


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_file_is_as_ktrdr_writes_it(path: Path) -> None:
    text = path.read_bytes().decode("ascii")
    assert text.endswith("\n")
    assert "\r" not in text
    found = rows(path)
    assert list(found[0]) == COLUMNS
    for row in found:
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+00:00", row["timestamp"])
        opened, high, low, close = (float(row[name]) for name in COLUMNS[1:5])
        assert 0 < low <= min(opened, close) <= max(opened, close) <= high
        assert float(row["volume"]) >= 0
    times = stamps(path)
    assert times == sorted(set(times))


def test_the_calendar_of_stocks() -> None:
    """https://www.nyse.com/markets/hours-calendars: 252 days in 2024, 250 in 2025."""
    days = [stamp.date() for stamp in stamps(SEED_FOLDER / "data/AAPL_1d.csv")]
    assert sum(day.year == 2024 for day in days) == 252
    assert sum(day.year == 2025 for day in days) == 250
    assert all(day.weekday() < 5 for day in days)
    for closed in ("2024-03-29", "2024-06-19", "2025-01-09", "2025-11-27", "2025-12-25"):
        assert date.fromisoformat(closed) not in days
    for opened in ("2024-11-29", "2025-12-24", "2025-12-26", "2025-12-31"):
        assert date.fromisoformat(opened) in days
    assert days == [stamp.date() for stamp in stamps(SEED_FOLDER / "data/MSFT_1d.csv")]


def test_the_hours_of_stocks() -> None:
    """From half past nine to four in New York: 13 to 19 UTC in summer, 14 to 20 in winter."""
    by_day: dict[date, list[int]] = {}
    for stamp in stamps(SEED_FOLDER / "data/AAPL_1h.csv"):
        by_day.setdefault(stamp.date(), []).append(stamp.hour)
    assert by_day[date(2025, 10, 31)] == [13, 14, 15, 16, 17, 18, 19]
    assert by_day[date(2025, 11, 3)] == [14, 15, 16, 17, 18, 19, 20]
    assert by_day[date(2025, 11, 28)] == [14, 15, 16, 17], "the day after Thanksgiving is short"


def test_the_week_of_currencies() -> None:
    """From Sunday to Friday at five in New York: 21 UTC in summer, 22 in winter."""
    times = stamps(SEED_FOLDER / "data/EURUSD_1h.csv")
    gaps = [(a, b) for a, b in pairwise(times) if b - a > timedelta(hours=1)]
    weekends = [gap for gap in gaps if gap[0].weekday() == 4]
    assert len(weekends) == 13
    assert weekends[0] == (
        datetime(2025, 10, 3, 20, tzinfo=UTC),
        datetime(2025, 10, 5, 21, tzinfo=UTC),
    )
    assert weekends[-1] == (
        datetime(2025, 12, 26, 21, tzinfo=UTC),
        datetime(2025, 12, 28, 22, tzinfo=UTC),
    )
    assert [gap for gap in gaps if gap not in weekends] == [
        (datetime(2025, 12, 24, 21, tzinfo=UTC), datetime(2025, 12, 25, 22, tzinfo=UTC))
    ]


@pytest.mark.parametrize("symbol", ["AAPL", "MSFT"])
def test_days_are_the_sum_of_their_hours(symbol: str) -> None:
    by_day: dict[str, list[dict[str, str]]] = {}
    for row in rows(SEED_FOLDER / f"data/{symbol}_1h.csv"):
        by_day.setdefault(row["timestamp"][:10], []).append(row)
    days = {row["timestamp"][:10]: row for row in rows(SEED_FOLDER / f"data/{symbol}_1d.csv")}
    assert len(by_day) == 64
    for day, hours in by_day.items():
        assert days[day]["open"] == hours[0]["open"]
        assert days[day]["close"] == hours[-1]["close"]
        assert float(days[day]["high"]) == max(float(hour["high"]) for hour in hours)
        assert float(days[day]["low"]) == min(float(hour["low"]) for hour in hours)
        assert float(days[day]["volume"]) == sum(float(hour["volume"]) for hour in hours)


def test_prices_move_and_do_not_run_away() -> None:
    for path in FILES:
        closes = [float(row["close"]) for row in rows(path)]
        assert len(set(closes)) > len(closes) // 4
        assert max(closes) < 2 * min(closes)


def test_the_strategy_fits_the_data_beside_it() -> None:
    strategy = YAML(typ="safe").load(SEED_FOLDER / "strategies/seed_rsi_trend.yaml")
    assert strategy["version"] == "3.0"
    training = strategy["training_data"]
    series = f"{training['symbols']['symbol']}_{training['timeframes']['timeframe']}.csv"
    assert len(rows(SEED_FOLDER / "data" / series)) > 10 * training["history_required"]
    assert {one["indicator"] for one in strategy["fuzzy_sets"].values()} == set(
        strategy["indicators"]
    )
    assert {one["fuzzy_set"] for one in strategy["nn_inputs"]} == set(strategy["fuzzy_sets"])


# -- as a source ----------------------------------------------------------------------------------


def test_it_fills_an_empty_shared_folder(sharing: Sharing) -> None:
    done = sharing.run(minimal=True)
    assert files_of(sharing.shared) == packed()
    assert done.copied.new == 7
    assert sharing.run(minimal=True).unchanged == 7


def test_the_time_of_installing_it_does_not_matter(sharing: Sharing) -> None:
    sharing.run(minimal=True)
    times = {path.stat().st_mtime_ns for path in sharing.shared.rglob("*.csv")}
    assert times == {SEED_TIME_NS}


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
