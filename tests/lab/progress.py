"""Progress as whole lines on standard error, with the seconds each step took."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


def say(line: str) -> None:
    # one write a line: steps run side by side
    sys.stderr.write(f"lab: {line}\n")
    sys.stderr.flush()


@contextmanager
def step(name: str, *, slow: bool = False) -> Iterator[None]:
    """Announce a `slow` step, and say how long it took."""
    if slow:
        say(f"{name} ...")
    begin = time.monotonic()
    try:
        yield
    except BaseException:
        say(f"{name} ... failed after {time.monotonic() - begin:.1f} s")
        raise
    say(f"{name} ... {time.monotonic() - begin:.1f} s")
