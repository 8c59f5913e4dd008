"""The labels of what instances own, as anything outside the program sees them."""

from __future__ import annotations

from typing import Final

LABEL_UUID: Final = "ktrdr.sandbox.uuid"
LABEL_ID: Final = "ktrdr.sandbox.instance"
LABEL_HOME: Final = "ktrdr.sandbox.home"
LABEL_SLOT: Final = "ktrdr.sandbox.slot"
