"""What there is to say of single files. Apart from other results: these are wanted first of all."""

from __future__ import annotations

from typing import Literal, NamedTuple

KeptReason = Literal["changed", "other-source", "in-the-way", "appeared"]
"""changed: edited in the shared folder since it was copied, or never copied by this program;
other-source: an earlier run took it from somewhere else; in-the-way: a folder or link of that name;
appeared: written by something else while the copy ran."""


class Kept(NamedTuple):
    """A file of the shared folder that differs from the source and stays as it is."""

    path: str
    reason: KeptReason
    detail: str = ""


class LeftOut(NamedTuple):
    """Something of the source that was not copied. `failed` when it should have been."""

    path: str
    reason: str
    failed: bool
