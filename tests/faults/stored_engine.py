"""The fake engine as a thing outside the program: its state is a file, and survives a kill."""

from __future__ import annotations

import fcntl
import itertools
import os
import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ktrdr_sandbox.docker.engine import Engine, Resources
from tests.support.fake_engine import FakeEngine

_STATE = ("held", "stubborn", "_images", "_networks", "_volumes")


class StoredEngine(FakeEngine):
    """Every call reads the state and writes it back; calls of several processes take turns."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._depth = 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        with self.lock:
            if self._depth:
                yield
                return
            self._depth = 1
            handle = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                self._load()
                yield
                self.save()
            finally:
                self._depth = 0
                os.close(handle)

    def _load(self) -> None:
        if self._path.exists():
            state = pickle.loads(self._path.read_bytes())  # noqa: S301  written by this class
            self._numbers = itertools.count(state.pop("number"))
            self.__dict__.update(state)

    def save(self) -> None:
        """Also called half-way through a call, so that a kill leaves half of it done."""
        number = next(self._numbers)
        self._numbers = itertools.count(number)
        state = {name: self.__dict__[name] for name in _STATE} | {"number": number}
        data = pickle.dumps(state)
        if self._path.exists() and self._path.read_bytes() == data:
            return
        temporary = self._path.with_suffix(".new")
        temporary.write_bytes(data)
        temporary.replace(self._path)

    def remove(self, resources: Resources, *, grace: int | None) -> None:
        with self.turn():
            for container in resources.containers:
                FakeEngine.remove(self, Resources(containers=(container,)), grace=grace)
                self.save()
            for network in resources.networks:
                FakeEngine.remove(self, Resources(networks=(network,)), grace=grace)
                self.save()
            for volume in resources.volumes:
                FakeEngine.remove(self, Resources(volumes=(volume,)), grace=grace)
                self.save()


def _in_turn(name: str) -> Callable[..., Any]:
    plain = getattr(FakeEngine, name)

    def call(self: StoredEngine, *args: Any, **kwargs: Any) -> Any:
        with self.turn():
            return plain(self, *args, **_saving(self, kwargs))

    return call


def _saving(engine: StoredEngine, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The caller's progress, with what was done so far saved before each line."""
    sink = kwargs.get("progress")
    if sink is None:
        return dict(kwargs)

    def progress(line: str) -> None:
        engine.save()
        sink(line)

    return {**kwargs, "progress": progress}


for _name in sorted(Engine.__abstractmethods__ - {"remove"}):
    setattr(StoredEngine, _name, _in_turn(_name))
