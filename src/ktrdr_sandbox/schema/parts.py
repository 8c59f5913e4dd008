"""Shapes that the data of several commands share, by the name under which `part()` finds them."""

from __future__ import annotations

from typing import Any, Final

from ktrdr_sandbox.errors import ErrorCode
from ktrdr_sandbox.gate.result import CheckName
from ktrdr_sandbox.models import FIRST_SLOT, LAST_SLOT, CreatedBy, Protocol, Role
from ktrdr_sandbox.schema.shapes import (
    COUNT,
    FLAG,
    PORT,
    SECONDS,
    TEXT,
    TEXT_OR_NULL,
    Shape,
    about,
    many,
    mapping,
    maybe,
    obj,
    part,
    word,
)

SLOT: Final[Shape] = {"type": "integer", "minimum": FIRST_SLOT, "maximum": LAST_SLOT}

INSTANCE: Final = obj(
    about="One sandbox instance, as the registry has it.",
    id=about("ktrdr--NAME; also the name of its Compose project", TEXT),
    name=TEXT,
    uuid=about("the label that everything of it in Docker carries", TEXT),
    slot=SLOT,
    path=about("root of its worktree or clone", TEXT),
    created_at=TEXT,
    created_by=word(CreatedBy),
    is_worktree=FLAG,
    parent_repo=TEXT_OR_NULL,
    engine=about("Docker context or endpoint that it lives on", TEXT),
)
PUBLISHED: Final = obj(
    about="One host port that a stack publishes.",
    service=TEXT,
    target=about("the container's port", PORT),
    protocol=word(Protocol),
    host_ip=TEXT,
    published=about("the host's port", PORT),
    role=about("what it is for; null in the slot's extra block", maybe(word(Role))),
    variable=about("its name in .env.sandbox", TEXT),
)
NOTE: Final = obj(service=TEXT_OR_NULL, text=TEXT)
GATE: Final = obj(
    about="The Startability Gate's report.",
    passed=FLAG,
    seconds=SECONDS,
    healed=about("worker containers that were restarted", many(TEXT)),
    checks=many(
        obj(
            name=word(CheckName),
            title=TEXT,
            passed=FLAG,
            final=about("it could no longer come true, so nobody waited", FLAG),
            facts=many(TEXT),
            services=about("services to blame", many(TEXT)),
            seconds=SECONDS,
            cause=TEXT_OR_NULL,
            next_command=TEXT_OR_NULL,
            logs=many(obj(service=TEXT, lines=many(TEXT))),
        )
    ),
)
STARTUP: Final = obj(
    about="A start, and the gate's report; null when it was not waited for.",
    instance=part("instance"),
    ports=many(part("published")),
    gate=maybe(part("gate")),
    notices=many(NOTE),
    seconds=SECONDS,
)
ISOLATION: Final = obj(
    about="What is laid over the checkout's Compose file.",
    instance=part("instance"),
    files=many(TEXT),
    changes=many(obj(service=TEXT_OR_NULL, key=TEXT, before=TEXT, after=TEXT, reason=TEXT)),
    refusals=many(obj(service=TEXT_OR_NULL, key=TEXT, reason=TEXT, setting=TEXT)),
    notices=many(NOTE),
    ports=many(part("published")),
    override=about("the override file's text", TEXT),
)
SHARED: Final = obj(
    about="What the folder that all instances share holds.",
    path=TEXT,
    files=COUNT,
    bytes=COUNT,
    folders=mapping(obj(files=COUNT, bytes=COUNT, linked_to=TEXT_OR_NULL)),
    symbols=about("timeframes by symbol", mapping(many(TEXT))),
    models=many(TEXT),
    strategies=many(TEXT),
    updated=TEXT_OR_NULL,
)
ERROR: Final = obj(
    about="A failure. The code is stable; the wording may change.",
    code=about("docs/errors.md, or `ktrdr-sandbox explain CODE`", word(ErrorCode)),
    message=TEXT,
    hints=many(TEXT),
    details=about("facts of this failure; which, depends on it", {"type": "object"}),
)

PARTS: Final[dict[str, Any]] = {
    "instance": INSTANCE,
    "published": PUBLISHED,
    "gate": GATE,
    "startup": STARTUP,
    "isolation": ISOLATION,
    "shared": SHARED,
    "error": ERROR,
}
