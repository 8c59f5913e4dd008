"""What the settings of `knobs.py` do to a service that is about to start."""

import logging
import sys
import time

from ktrdr.knobs import Knobs

logger = logging.getLogger(__name__)

# Held for the life of the process. Filled, because the kernel gives out untouched memory for free.
ballast = b""


def misbehave_at_start(knobs: Knobs) -> None:
    """May raise SystemExit, may take a while, may keep memory."""
    global ballast
    if knobs.exit_code_at_start is not None:
        logger.error("exiting with code %d, as config/sample.toml says", knobs.exit_code_at_start)
        sys.exit(knobs.exit_code_at_start)
    if knobs.allocate_mebibytes:
        ballast = b"\1" * (knobs.allocate_mebibytes * 1024 * 1024)
    if knobs.start_delay_seconds:
        logger.info("starting in %s s, as config/sample.toml says", knobs.start_delay_seconds)
        time.sleep(knobs.start_delay_seconds)
