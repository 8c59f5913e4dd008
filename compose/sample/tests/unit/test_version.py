# ruff: noqa: PT009  unittest, so that these run with nothing installed
import unittest

from ktrdr.version import VERSION


class VersionTest(unittest.TestCase):
    def test_has_four_numbers(self) -> None:
        self.assertRegex(VERSION, r"^\d+(\.\d+){3}$")
