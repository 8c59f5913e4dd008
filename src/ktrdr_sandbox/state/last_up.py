"""What is kept beside the registry: an instance's last `up`, and the random id of this home."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ktrdr_sandbox.files import (
    cannot_write,
    create_file,
    follow_owner,
    make_folder,
    private_mode,
    replace_file,
)
from ktrdr_sandbox.models import Instance, PublishedPort
from ktrdr_sandbox.paths import Home
from ktrdr_sandbox.state.values import from_json, to_json

if TYPE_CHECKING:  # isolation is not for the commands that only read the record
    from ktrdr_sandbox.isolation.request import IsolatedStack

FILE = "stack.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class StackRecord:
    """Services and host ports of the last `up`. `images` are all that the instance ever built.

    `inputs` has the digest of what each image was made from, see `prepare.stale_images`.
    """

    uuid: str = ""
    slot: int = 0
    services: tuple[str, ...] = ()
    ports: tuple[PublishedPort, ...] = ()
    images: tuple[str, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)


def save(
    home: Home,
    instance: Instance,
    isolation: IsolatedStack,
    *,
    inputs: Mapping[str, str],
    kept: Iterable[str] = (),
) -> None:
    """Write the record; `kept` are the instance's images that its file does not build any more.

    Raises `cannot-write`.
    """
    record = StackRecord(
        uuid=instance.uuid,
        slot=instance.slot,
        services=tuple(service.name for service in isolation.stack.startable),
        ports=tuple(isolation.stack.ports),
        images=tuple(sorted({*isolation.images, *kept})),
        inputs=inputs,
    )
    path = home.state_of(instance.id) / FILE
    text = json.dumps(to_json(record), indent=2) + "\n"
    replace_file(path, text, mode=private_mode(path.parent))


def load(home: Home, instance: Instance) -> StackRecord:
    """The record, empty when there is none or it is of another instance of that name.

    Ports of another slot than the instance's are of no use any more and left out.
    """
    try:
        document = json.loads((home.state_of(instance.id) / FILE).read_text(encoding="utf-8"))
        record = from_json(StackRecord, document)
    except (OSError, ValueError):
        return StackRecord()
    if record.uuid != instance.uuid:
        return StackRecord()
    return record if record.slot == instance.slot else replace(record, ports=())


def home_id(home: Home) -> str:
    """The id that labels carry, so that orphans can be told from another home's things.

    Made at the first call, the same for all processes. Raises `cannot-write`.
    """
    if not known_home_id(home):
        make_folder(home.sandbox)
        fresh, mode = f"{uuid.uuid4()}\n".encode(), private_mode(home.sandbox)
        try:
            with contextlib.suppress(FileExistsError):  # another process was quicker; its id holds
                create_file(home.home_id, fresh, mode=mode)
                follow_owner(home.home_id)
        except OSError as error:
            raise cannot_write(home.home_id, error) from error
    return known_home_id(home)


def known_home_id(home: Home) -> str:
    """The id, "" while there is none."""
    try:
        return home.home_id.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
