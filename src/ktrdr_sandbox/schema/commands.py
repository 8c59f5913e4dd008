"""The `data` of every command's document.

To add a command: an entry in DATA with the shape of what it gives `output.result`, and one in
ON_FAILURE when it gives data with a failure too. Then `python -m scripts.generate`.
"""

from __future__ import annotations

from typing import Final

from ktrdr_sandbox.api_address import Source
from ktrdr_sandbox.commands.doctor_checks import Level
from ktrdr_sandbox.commands.gc import Kind
from ktrdr_sandbox.commands.inspect import Summary
from ktrdr_sandbox.errors import ErrorCode
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
from ktrdr_sandbox.settings_sources import Kind as SettingSource
from ktrdr_sandbox.shared.results import KeptReason

_CREATION: Final = obj(
    instance=part("instance"),
    branch=TEXT_OR_NULL,
    new_branch=FLAG,
    ports=about("the slot's port map, by role", mapping(PORT)),
    skipped_slots=about("slots passed over, and their busy ports", mapping(many(PORT))),
    copied=about("ignored files that were copied from the main checkout", many(TEXT)),
    not_copied=many(obj(path=TEXT, reason=TEXT)),
)
_PLAN: Final = obj(
    about="What would go (--dry-run).",
    instance=part("instance"),
    resources=about("containers, networks and volumes", many(TEXT)),
    images=many(TEXT),
    directory=about("null when it stays", TEXT_OR_NULL),
    kept_because=TEXT_OR_NULL,
    branch=TEXT_OR_NULL,
    unsaved=obj(
        files=many(TEXT),
        operation=TEXT_OR_NULL,
        commits=many(TEXT),
        repositories=about("work in other repositories within it, a line each", many(TEXT)),
    ),
    ignored=about("what git ignores in it, which goes along", many(TEXT)),
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
_SHUTDOWN: Final = obj(instance=part("instance"), removed=many(TEXT), volumes_kept=many(TEXT))


def _of_all(own: Shape) -> Shape:
    """What `--all` gives of a command whose own data is `own`."""
    return obj(
        about="Every instance (--all), by slot.",
        instances=many(
            obj(
                instance=about("its id", TEXT),
                ok=FLAG,
                exit_code=about("null when it was never begun", {"type": ["integer", "null"]}),
                data=either(NOTHING, own),
                messages=many(TEXT),
                error=maybe(part("error")),
            )
        ),
        succeeded=COUNT,
        failed=COUNT,
    )


_ALL_UP: Final = _of_all(part("startup"))
_ALL_DOWN: Final = _of_all(_SHUTDOWN)
_ALL_DESTROYED: Final = _of_all(either(_DESTRUCTION, obj(instance={"type": "null"})))

_STATUS: Final = obj(
    instance=part("instance"),
    status=word(Summary),
    ports=many(part("published")),
    containers=many(obj(name=TEXT, service=TEXT, state=TEXT, status=TEXT, image=TEXT)),
    missing=about("services of the last up without a container", many(TEXT)),
    shared=part("shared"),
)

DATA: Final[dict[str, Shape]] = {
    "create": _CREATION,
    "init": _CREATION,
    "up": either(part("startup"), part("isolation"), _ALL_UP),
    "down": either(_SHUTDOWN, _ALL_DOWN),
    "destroy": either(
        _PLAN,
        _DESTRUCTION,
        about("a killed command had all but ended it", obj(instance={"type": "null"})),
        about("--all --dry-run", obj(instances=many(_PLAN))),
        _ALL_DESTROYED,
    ),
    "list": obj(
        instances=many(obj(INSTANCE, status=word(Summary), api_port=PORT)),
        dropped=about("ids of entries of which nothing was left", many(TEXT)),
    ),
    "status": either(_STATUS, about("--all", obj(instances=many(_STATUS)))),
    "logs": obj(instance=TEXT, containers=many(obj(name=TEXT, service=TEXT, lines=many(TEXT)))),
    "move": obj(instance=part("instance"), former_slot=SLOT, ports=mapping(PORT)),
    "wait": part("startup"),
    "isolate": part("isolation"),
    "env": obj(
        about="With passwords and keys as they are, for it is asked for just these.",
        instance=part("instance"),
        file=TEXT,
        environment=mapping(TEXT),
    ),
    "url": obj(url=TEXT, source=word(Source), why=TEXT),
    # What they run has stdout to itself: a document only when that does not begin.
    "run": NOTHING,
    "exec": NOTHING,
    "open": obj(tool=TEXT, url=TEXT, service=TEXT),
    "completion": either(
        obj(shell=TEXT, script=TEXT), obj(shell=TEXT, path=TEXT, added_to=TEXT_OR_NULL)
    ),
    "config show": obj(
        checkout=TEXT_OR_NULL,
        settings=many(
            obj(
                name=TEXT,
                value=about("as a settings file would have it", {}),
                source=word(SettingSource),
                file=TEXT_OR_NULL,
                line=maybe(COUNT),
                variable=TEXT_OR_NULL,
            )
        ),
        unapproved=about("set by the checkout, and not in force", {"type": "object"}),
    ),
    "config schema": obj(schema={"type": "object"}),
    "config path": obj(files=many(obj(path=TEXT, exists=FLAG))),
    "config approve": obj(
        checkout=TEXT,
        repository=TEXT,
        asked={"type": "object"},
        sha256=TEXT_OR_NULL,
        approved=FLAG,
    ),
    "doctor": _EXAMINATION,
    "gc": _COLLECTION,
    "init-shared": _FILLING,
    "demo": either(
        obj(directory=TEXT, stacks=many(part("startup"))),
        obj(destroyed=many(TEXT), directory=TEXT_OR_NULL),
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
    # A command line that names no command, and a group without one.
    "": NOTHING,
    "config": NOTHING,
}

ON_FAILURE: Final[dict[str, Shape]] = {
    "create": _CREATION,
    "up": either(part("startup"), _ALL_UP),
    "down": _ALL_DOWN,
    "destroy": _ALL_DESTROYED,
    "wait": part("startup"),
    "demo": part("startup"),
    "doctor": _EXAMINATION,
    "gc": _COLLECTION,
    "init-shared": _FILLING,
}
