# ruff: noqa: PT009  unittest, so that these run with nothing installed
"""Against the stack of this checkout: on its sandbox's port, or the default without a sandbox."""

import json
import os
import unittest
import urllib.request
from typing import Any

BASE = f"http://localhost:{os.environ.get('KTRDR_API_PORT', '8000')}/api/v1"


def get(path: str) -> Any:
    with urllib.request.urlopen(f"{BASE}/{path}", timeout=10) as answer:  # noqa: S310
        return json.load(answer)


class StackTest(unittest.TestCase):
    def test_is_healthy(self) -> None:
        self.assertEqual(get("health")["status"], "ok")

    def test_has_workers_of_both_types(self) -> None:
        types = {worker["worker_type"] for worker in get("workers")}
        self.assertEqual(types, {"backtesting", "training"})
