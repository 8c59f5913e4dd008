"""The random id of a KTRDR_HOME, which labels carry so that orphans can be told from strangers."""

from __future__ import annotations

import contextlib
import os
import uuid

from ktrdr_sandbox.files import cannot_write, follow_owner, make_folder, private_mode
from ktrdr_sandbox.paths import Home


def home_id(home: Home) -> str:
    """The id; made at the first call, the same for all processes. Raises `cannot-write`."""
    found = known_home_id(home)
    if found:
        return found
    make_folder(home.sandbox)
    fresh = home.home_id.with_name(f"home-id.{os.getpid()}.tmp")
    try:
        fresh.write_text(f"{uuid.uuid4()}\n", encoding="utf-8")
        fresh.chmod(private_mode(home.sandbox))
        follow_owner(fresh)
        # A link fails where another process was quicker; its id then holds.
        with contextlib.suppress(FileExistsError):
            os.link(fresh, home.home_id)
        fresh.unlink()
    except OSError as error:
        raise cannot_write(home.home_id, error) from error
    return known_home_id(home)


def known_home_id(home: Home) -> str:
    """The id, "" while there is none."""
    try:
        return home.home_id.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
