# ruff: noqa: PT009  unittest, so that these run with nothing installed
import tomllib
import unittest
from pathlib import Path

from ktrdr.version import VERSION

ROOT = Path(__file__).parents[2]


class CheckoutTest(unittest.TestCase):
    def test_package_and_code_name_one_version(self) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        self.assertEqual(project["version"], VERSION)
