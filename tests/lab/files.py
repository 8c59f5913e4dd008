"""Where the lab keeps things, locks, and files that are replaced whole."""

import fcntl
import os
import pwd
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.lab.errors import LabError, LockBusyError
from tests.lab.progress import say

LOCK_LIMIT = 1200.0  # seconds: two cold builds after another on a slow host
ROOT_STATE = Path("/run/ktrdr-sandbox-lab")


def home(env: Mapping[str, str]) -> Path:
    """The user's own folder, also where HOME is unset or empty; it need not exist yet."""
    return Path(env.get("HOME") or pwd.getpwuid(os.geteuid()).pw_dir)


def cache_folder(env: Mapping[str, str]) -> Path:
    """`$XDG_CACHE_HOME/ktrdr-sandbox-lab`; a relative value counts for nothing, as XDG says."""
    named = Path(env.get("XDG_CACHE_HOME", ""))
    base = named if named.is_absolute() else home(env) / ".cache"
    return base / "ktrdr-sandbox-lab"


def state_folder(env: Mapping[str, str]) -> Path:
    """Who uses the engine is a fact of the host, not of one home: only root can have started it."""
    private = env.get("KTRDR_LAB_ENGINE_ROOT")
    if private:
        return Path(private) / "lab"
    return ROOT_STATE if os.geteuid() == 0 else cache_folder(env) / "state"


def make_folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o755)
    except OSError as error:
        raise LabError(f"cannot make {path}: {error.strerror}") from error
    return path


def replace(path: Path, content: str | bytes, *, mode: int = 0o600) -> None:
    """Write beside the target and rename: a reader sees the old file or the new one."""
    data = content.encode() if isinstance(content, str) else content
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fchmod(out.fileno(), mode)
            os.fsync(out.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def lock(path: Path, *, limit: float = LOCK_LIMIT) -> Iterator[None]:
    """An advisory lock that the kernel drops with its holder, however that one ends."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _take(handle, path, limit)
        yield
    finally:
        os.close(handle)


def _take(handle: int, path: Path, limit: float) -> None:
    deadline = time.monotonic() + limit
    told = False
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise LockBusyError(f"{path} was held for more than {limit:.0f} s") from None
            if not told:
                say(f"waiting for another run of the lab ({path})")
                told = True
            time.sleep(0.1)
