"""The `data` of every command's document.

To add a command: an entry in DATA with the shape of what it gives `output.result`, and one in
ON_FAILURE when it gives data with a failure too. Then `python scripts/make_tables.py`.
"""

from __future__ import annotations

from typing import Final

from ktrdr_sandbox.configuration.layers import Kind as Source
from ktrdr_sandbox.errors import ErrorCode
from ktrdr_sandbox.lifecycle.collection import Kind
from ktrdr_sandbox.lifecycle.doctor.findings import Level
from ktrdr_sandbox.lifecycle.inspection import Summary
from ktrdr_sandbox.schema.parts import INSTANCE, SLOT
from ktrdr_sandbox.schema.shapes import (
    COUNT,
    FLAG,
    NOTHING,
    PORT,
    SECONDS,
    TEXT,
    TEXT_OR_NULL,
    Shape,
    about,
    either,
    many,
    mapping,
    maybe,
    obj,
    part,
    word,
)
from ktrdr_sandbox.shared_data.results import KeptReason

_CREATION: Final = obj(
    instance=part("instance"),
    branch=TEXT_OR_NULL,
    new_branch=FLAG,
    ports=about("the slot's port map, by role", mapping(PORT)),
    skipped_slots=about("slots passed over, and their busy ports", mapping(many(PORT))),
    copied=about("git-ignored files that the new worktree got", many(TEXT)),
    not_copied=many(obj(path=TEXT, reason=TEXT)),
)
_ANYTHING: Final[Shape] = {}
_SETTING: Final = obj(
    name=TEXT,
    value=_ANYTHING,
    source=word(Source),
    file=TEXT_OR_NULL,
    line=maybe(COUNT),
    variable=TEXT_OR_NULL,
)
_PLAN: Final = obj(
    about="What would go (--dry-run).",
    instance=part("instance"),
    resources=about("containers, networks and volumes", many(TEXT)),
    images=many(TEXT),
    directory=about("null when it stays", TEXT_OR_NULL),
    kept_because=TEXT_OR_NULL,
    branch=TEXT_OR_NULL,
    unsaved=obj(files=many(TEXT), operation=TEXT_OR_NULL, commits=many(TEXT)),
)
_DESTRUCTION: Final = obj(
    _PLAN, about="What went. `trash` is where work that was unsaved is.", trash=TEXT_OR_NULL
)
_EXAMINATION: Final = obj(
    healthy=FLAG,
    shared=part("shared"),
    findings=many(
        obj(
            check=TEXT,
            level=word(Level),
            text=TEXT,
            fix=TEXT_OR_NULL,
            instance=TEXT_OR_NULL,
            repaired=FLAG,
        )
    ),
)
_COLLECTION: Final = obj(
    items=many(
        obj(
            kind=word(Kind),
            name=TEXT,
            reason=TEXT,
            parts=many(TEXT),
            done=FLAG,
            trouble=about("why it stays", TEXT_OR_NULL),
        )
    )
)
_FILLING: Final = obj(
    source=TEXT,
    destination=TEXT,
    dry_run=FLAG,
    copied=obj(files=COUNT, new=COUNT, replaced=COUNT, bytes=COUNT, links=COUNT, folders=COUNT),
    unchanged=COUNT,
    kept=many(obj(path=TEXT, reason=word(KeptReason), detail=TEXT)),
    left_out=many(obj(path=TEXT, reason=TEXT, failed=FLAG)),
    linked=mapping(TEXT),
    ignored=COUNT,
    sha256=TEXT_OR_NULL,
    seconds=SECONDS,
    shared=maybe(part("shared")),
)

DATA: Final[dict[str, Shape]] = {
    "create": _CREATION,
    "init": _CREATION,
    "up": either(part("startup"), part("isolation")),
    "down": obj(instance=part("instance"), removed=many(TEXT), volumes_kept=many(TEXT)),
    "destroy": either(_PLAN, _DESTRUCTION, obj(instance={"type": "null"})),
    "list": obj(
        instances=many(obj(INSTANCE, status=word(Summary), api_port=PORT)),
        dropped=about("ids of entries of which nothing was left", many(TEXT)),
    ),
    "status": obj(
        instance=part("instance"),
        status=word(Summary),
        ports=many(part("published")),
        containers=many(obj(name=TEXT, service=TEXT, state=TEXT, status=TEXT, image=TEXT)),
        missing=about("services of the last up without a container", many(TEXT)),
        shared=part("shared"),
    ),
    "logs": obj(instance=TEXT, containers=many(obj(name=TEXT, service=TEXT, lines=many(TEXT)))),
    "move": obj(instance=part("instance"), former_slot=SLOT, ports=mapping(PORT)),
    "wait": part("startup"),
    "isolate": part("isolation"),
    "doctor": _EXAMINATION,
    "gc": _COLLECTION,
    "init-shared": _FILLING,
    "demo": either(
        obj(directory=TEXT, stacks=many(part("startup"))),
        obj(destroyed=many(TEXT), directory=TEXT_OR_NULL),
    ),
    "config show": obj(
        checkout=TEXT_OR_NULL,
        settings=many(_SETTING),
        unapproved=about("what the checkout's file sets in vain", mapping(_ANYTHING)),
    ),
    "config schema": obj(schema=about("a JSON Schema", {"type": "object"})),
    "config path": obj(files=many(obj(path=TEXT, exists=FLAG))),
    "config approve": obj(
        checkout=TEXT,
        repository=TEXT,
        asked=mapping(_ANYTHING),
        sha256=TEXT_OR_NULL,
        approved=about("before this command", FLAG),
    ),
    "schema": obj(document=about("a JSON Schema", {"type": "object"})),
    "explain": obj(
        codes=many(
            obj(
                code=word(ErrorCode),
                meaning=TEXT,
                remedy=TEXT,
                exit_status=COUNT,
                exit_status_of=about("commands where it is another", mapping(COUNT)),
            )
        )
    ),
    "--version": obj(
        version=TEXT,
        tools=about(
            "with --verbose; a tool is null when missing or not answering",
            maybe(
                obj(
                    python=TEXT,
                    git=TEXT_OR_NULL,
                    docker_client=TEXT_OR_NULL,
                    docker_engine=TEXT_OR_NULL,
                    compose=TEXT_OR_NULL,
                )
            ),
        ),
    ),
    "--help": obj(of=about("the command's whole name", TEXT), text=TEXT),
    # A command line that names no command.
    "": NOTHING,
}

ON_FAILURE: Final[dict[str, Shape]] = {
    "create": _CREATION,
    "up": part("startup"),
    "wait": part("startup"),
    "demo": part("startup"),
    "doctor": _EXAMINATION,
    "gc": _COLLECTION,
    "init-shared": _FILLING,
}
