"""Makes the seed pack of `init-shared --minimal`, the same byte for byte wherever it runs.

    python scripts/make_seed_pack.py src/ktrdr_sandbox/shared/seed

Prices are invented: a random walk in whole cents (or hundred-thousandths), so that no rounding of
floating-point numbers differs between machines. Only the shape is real: names and columns as KTRDR
writes them, the New York Stock Exchange's calendar with its short days, the week of the currency
market with its daylight saving, days that are the sum of their hours.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import NamedTuple

FIRST, LAST = date(2024, 1, 2), date(2025, 12, 31)
HOURLY_FROM = date(2025, 10, 1)
TICKS = 12
"""Price changes in an hour."""

# https://www.nyse.com/markets/hours-calendars
HOLIDAYS = {
    date(*day)
    for day in (
        (2024, 1, 1),
        (2024, 1, 15),
        (2024, 2, 19),
        (2024, 3, 29),
        (2024, 5, 27),
        (2024, 6, 19),
        (2024, 7, 4),
        (2024, 9, 2),
        (2024, 11, 28),
        (2024, 12, 25),
        (2025, 1, 1),
        (2025, 1, 9),
        (2025, 1, 20),
        (2025, 2, 17),
        (2025, 4, 18),
        (2025, 5, 26),
        (2025, 6, 19),
        (2025, 7, 4),
        (2025, 9, 1),
        (2025, 11, 27),
        (2025, 12, 25),
    )
}
SHORT_DAYS = {
    date(*day)
    for day in (
        (2024, 7, 3),
        (2024, 11, 29),
        (2024, 12, 24),
        (2025, 7, 3),
        (2025, 11, 28),
        (2025, 12, 24),
    )
}
CURRENCY_HOLIDAYS = {date(2024, 12, 25), date(2025, 1, 1), date(2025, 12, 25)}


class Symbol(NamedTuple):
    """`digits` after the point; `sigma` is the largest change of a tick, in the last digit."""

    name: str
    digits: int
    start: int
    sigma: int
    seed: int
    has_volume: bool


class Bar(NamedTuple):
    start: datetime
    day: date
    open: int
    high: int
    low: int
    close: int
    volume: int


STOCKS = (
    Symbol("AAPL", 2, 18_500, 90, 20_240_102, has_volume=True),
    Symbol("MSFT", 2, 37_000, 160, 20_240_103, has_volume=True),
)
CURRENCIES = (Symbol("EURUSD", 5, 110_400, 70, 20_240_104, has_volume=False),)

STRATEGY = """\
# Part of the seed pack: small enough to read, valid enough to train on the data beside it.
name: seed_rsi_trend
version: "3.0"
description: Short and long relative strength of hourly closes, for momentum and trend

training_data:
  symbols:
    mode: single
    symbol: EURUSD
  timeframes:
    mode: single
    timeframe: "1h"
  history_required: 60

indicators:
  rsi_14:
    type: rsi
    period: 14
    source: close
  rsi_42:
    type: rsi
    period: 42
    source: close

fuzzy_sets:
  momentum:
    indicator: rsi_14
    falling: [0, 25, 45]
    steady: [35, 50, 65]
    rising: [55, 75, 100]
  trend:
    indicator: rsi_42
    down: [0, 35, 50]
    up: [50, 65, 100]

nn_inputs:
  - fuzzy_set: momentum
    timeframes: all
  - fuzzy_set: trend
    timeframes: all

model:
  type: mlp
  architecture:
    hidden_layers: [16, 8]
    activation: relu
    output_activation: softmax
    dropout: 0.1
  features:
    include_price_context: false
    lookback_periods: 2
    scale_features: true
  training:
    learning_rate: 0.002
    batch_size: 32
    epochs: 10
    optimizer: adam

decisions:
  output_format: classification
  confidence_threshold: 0.55
  position_awareness: true

training:
  method: supervised
  labels:
    source: zigzag
    zigzag_threshold: 0.004
    label_lookahead: 12
  data_split:
    train: 0.7
    validation: 0.15
    test: 0.15
"""


def main(folder: Path) -> None:
    data = folder / "data"
    for symbol in STOCKS:
        write(data, symbol, list(bars(symbol, stock_hours())))
    for symbol in CURRENCIES:
        write(data, symbol, list(bars(symbol, currency_hours())))
    put(folder / "strategies" / "seed_rsi_trend.yaml", STRATEGY)


# -- calendars -----------------------------------------------------------------------------------


def days() -> Iterator[date]:
    """Monday to Friday."""
    day = FIRST
    while day <= LAST:
        if day.weekday() < 5:
            yield day
        day += timedelta(days=1)


def new_york(day: date, hour: int) -> datetime:
    """A full hour in New York, in UTC: four hours behind in summer, five in winter."""
    summer = nth_sunday(day.year, 3, 2) <= day < nth_sunday(day.year, 11, 1)
    zone = timezone(timedelta(hours=-4 if summer else -5))
    return datetime(day.year, day.month, day.day, hour, tzinfo=zone).astimezone(UTC)


def nth_sunday(year: int, month: int, n: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(6 - first.weekday()) % 7 + 7 * (n - 1))


def stock_hours() -> Iterator[tuple[date, datetime]]:
    """Trading day and start of each hour: 9 to 16 o'clock, to 13 on short days."""
    for day in days():
        if day not in HOLIDAYS:
            for hour in range(9, 13 if day in SHORT_DAYS else 16):
                yield day, new_york(day, hour)


def currency_hours() -> Iterator[tuple[date, datetime]]:
    """The trading day begins at 17 o'clock the evening before; Sunday's evening is Monday's."""
    for day in days():
        if day not in CURRENCY_HOLIDAYS:
            start = new_york(day - timedelta(days=1), 17)
            while start < new_york(day, 17):
                yield day, start
                start += timedelta(hours=1)


# -- prices --------------------------------------------------------------------------------------


def bars(symbol: Symbol, hours: Iterator[tuple[date, datetime]]) -> Iterator[Bar]:
    """A walk that is drawn back to where it began, so that it never runs away."""
    # Only random() itself is promised to give the same numbers in every version of Python.
    chance = random.Random(symbol.seed)  # noqa: S311  prices, not secrets
    price, yesterday = symbol.start, None
    for day, start in hours:
        if yesterday not in (None, day):
            price += step(chance, symbol.sigma * 6)
        yesterday = day
        walk = [price]
        for _ in range(TICKS):
            price += step(chance, symbol.sigma) + toward_zero(symbol.start - price, 4_000)
            walk.append(price)
        volume = 200_000 + int(chance.random() * 6_000_000) if symbol.has_volume else 0
        yield Bar(start, day, walk[0], max(walk), min(walk), walk[-1], volume)


def step(chance: random.Random, largest: int) -> int:
    """Up or down, small changes more often: the mean of three even chances."""
    total = sum(int(chance.random() * (2 * largest + 1)) - largest for _ in range(3))
    return toward_zero(total, 3)


def toward_zero(value: int, divisor: int) -> int:
    """Whole quotient; rounding down instead would draw every price down."""
    return value // divisor if value >= 0 else -(-value // divisor)


def daily(hourly: list[Bar]) -> Iterator[Bar]:
    """Each trading day as one bar, at midnight UTC of its date."""
    by_day: dict[date, list[Bar]] = {}
    for bar in hourly:
        by_day.setdefault(bar.day, []).append(bar)
    for day, found in by_day.items():
        yield Bar(
            datetime(day.year, day.month, day.day, tzinfo=UTC),
            day,
            found[0].open,
            max(bar.high for bar in found),
            min(bar.low for bar in found),
            found[-1].close,
            sum(bar.volume for bar in found),
        )


# -- files ---------------------------------------------------------------------------------------


def write(folder: Path, symbol: Symbol, hourly: list[Bar]) -> None:
    recent = [bar for bar in hourly if bar.day >= HOURLY_FROM]
    put(folder / f"{symbol.name}_1h.csv", table(symbol, recent))
    put(folder / f"{symbol.name}_1d.csv", table(symbol, list(daily(hourly))))


def table(symbol: Symbol, rows: list[Bar]) -> str:
    lines = ["timestamp,open,high,low,close,volume"]
    for row in rows:
        prices = (text(value, symbol.digits) for value in (row.open, row.high, row.low, row.close))
        lines.append(",".join([f"{row.start:%Y-%m-%d %H:%M:%S}+00:00", *prices, f"{row.volume}.0"]))
    return "\n".join(lines) + "\n"


def text(value: int, digits: int) -> str:
    whole, rest = divmod(value, 10**digits)
    return f"{whole}.{rest:0{digits}}"


def put(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode("ascii"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
