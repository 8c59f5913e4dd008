"""Settings and where each value came from.

Order, strongest first: `KTRDR_SANDBOX_*` variables, `.ktrdr-sandbox.toml` in the checkout,
`$KTRDR_HOME/sandbox/config.toml`, defaults. Key by key; what the checkout's file may set only with
approval is told in `configuration/trust.py`.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, get_args

from pydantic import Field, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from ktrdr_sandbox.configuration.commands import Hooks
from ktrdr_sandbox.configuration.defaults import DEFAULTS, Defaults
from ktrdr_sandbox.configuration.layers import (
    CHECKOUT_FILE,
    PREFIX,
    Layer,
    Origin,
    flat,
    nested,
    read_file,
)
from ktrdr_sandbox.configuration.problems import Problem, no_such, raise_all
from ktrdr_sandbox.configuration.trust import digest, is_loosening, is_personal
from ktrdr_sandbox.paths import Home

DELIMITER: Final = "__"
"""Between a table and its key in a variable's name: KTRDR_SANDBOX_HOOKS__AFTER_CREATE."""


class Settings(BaseSettings):
    """All settings of the program. Times are in seconds."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter=DELIMITER, extra="forbid", frozen=True
    )

    bind_address: str = Field(
        DEFAULTS.bind_address, description="Address that host ports are published on"
    )
    compose_file: str | None = Field(
        DEFAULTS.compose_file,
        description="Compose file, relative to the checkout, instead of the usual search; several "
        "as one:two",
    )
    health_paths: tuple[str, ...] = Field(
        DEFAULTS.health_paths,
        description="Backend health paths; the next is tried where one answers 404",
    )
    gate_timeout: float = Field(
        DEFAULTS.gate_timeout, gt=0, description="Longest wait for a stack to be ready"
    )
    heal_workers: bool = Field(
        DEFAULTS.heal_workers, description="Restart, once, workers that are up but never registered"
    )
    migrate: Literal["auto", "always", "never"] = Field(
        DEFAULTS.migrate,
        description="Whether up applies the checkout's alembic migrations: where nothing else does,"
        " always, or never",
    )
    allow: frozenset[str] = Field(
        DEFAULTS.allow, description="Refusals of isolation to let pass, by the name each gives"
    )
    network_pool: str | None = Field(
        DEFAULTS.network_pool, description="CIDR from which each slot gets its own small subnets"
    )
    ktrdr_command: tuple[str, ...] | None = Field(
        DEFAULTS.ktrdr_command,
        min_length=1,
        description="Command that 'ktrdr' hands over to, instead of a search",
    )
    trash_days: float = Field(
        DEFAULTS.trash_days,
        ge=0,
        description="Days for which gc keeps what destroy --force moved to the trash",
    )
    lock_patience: float = Field(
        DEFAULTS.lock_patience,
        gt=0,
        description="Longest wait for another command on the same instance",
    )
    copy_files: tuple[str, ...] = Field(
        DEFAULTS.copy_files,
        description="Git-ignored files that create copies, as in `.worktreeinclude`",
    )
    hooks: Hooks = Hooks()
    hook_timeout: float = Field(
        DEFAULTS.hook_timeout, gt=0, description="Longest run of one command of a hook"
    )
    demo_database_image: str = Field(
        DEFAULTS.demo_database_image,
        description="Image of the database in the sample application",
    )
    demo_python_image: str = Field(
        DEFAULTS.demo_python_image, description="Image of Python in the sample application"
    )
    demo_prometheus_image: str = Field(
        DEFAULTS.demo_prometheus_image, description="Image of Prometheus in the sample application"
    )
    demo_grafana_image: str = Field(
        DEFAULTS.demo_grafana_image, description="Image of Grafana in the sample application"
    )
    demo_jaeger_image: str = Field(
        DEFAULTS.demo_jaeger_image, description="Image of Jaeger in the sample application"
    )

    @field_validator("bind_address")
    @classmethod
    def _is_address(cls, value: str) -> str:
        return str(ipaddress.ip_address(value))

    @field_validator("network_pool")
    @classmethod
    def _is_network(cls, value: str | None) -> str | None:
        return None if value is None else str(ipaddress.ip_network(value))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003  read by `resolve`, layer by layer
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  no .env is ours
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


AnySettings = Settings | Defaults
"""What a command is given: the same by name and value where nothing is set."""


class _Variables(EnvSettingsSource):
    """A list is JSON, or words with commas between them. What is neither is judged as text."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        text = str(value).strip()
        if not text.startswith(("[", "{")) and _holds_texts(field.annotation):
            return [word.strip() for word in text.split(",") if word.strip()]
        try:
            return super().decode_complex_value(field_name, field, text)
        except ValueError:
            return text


def _holds_texts(annotation: Any) -> bool:
    """Whether a setting is a list of texts, or may be left out and is one otherwise."""
    kinds = get_args(annotation)
    if type(None) in kinds:
        return any(str in get_args(kind) for kind in kinds)
    return str in kinds


TABLES: Final = frozenset(
    name for name, whole in Settings.model_fields.items() if whole.annotation is Hooks
)
FIELDS: Final[Mapping[str, FieldInfo]] = {
    key: described
    for name, whole in Settings.model_fields.items()
    for key, described in (
        [(f"{name}.{inner}", one) for inner, one in Hooks.model_fields.items()]
        if name in TABLES
        else [(name, whole)]
    )
}
"""Every setting by its flat key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Withheld:
    """What a checkout's file sets but may not by itself: flat keys with validated values."""

    path: Path
    values: Mapping[str, Any]

    @property
    def digest(self) -> str:
        return digest(self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """The settings that count, the origin of each key, and what a user should be told of them.

    `asked` is what the checkout's file sets and needs approval for, approved or not; `withheld`
    the same where it is not approved.
    """

    settings: Settings
    origins: Mapping[str, Origin]
    asked: Withheld | None = None
    withheld: Withheld | None = None
    remarks: Mapping[str, str] = field(default_factory=dict)
    """Sentences by what they are about, so that the same content in two checkouts is told once."""

    def value(self, key: str) -> Any:
        """The value of a flat key, JSON-ready."""
        return _values(self.settings)[key]


def as_data(settings: AnySettings) -> dict[str, Any]:
    """All of them, JSON-ready."""
    judged = Settings(**nested({})) if isinstance(settings, Defaults) else settings
    return judged.model_dump(mode="json")


Approved = Callable[[Path, str], bool]
"""Whether a person has approved the content of that digest for the repository of a checkout."""


def _nobody(_checkout: Path, _digest: str) -> bool:
    return False


def load_settings(home: Home, *, checkout: Path | None, approved: Approved = _nobody) -> Settings:
    """The settings that count. Raises `bad-settings`."""
    return resolve(home, checkout=checkout, approved=approved).settings


def resolve(home: Home, *, checkout: Path | None, approved: Approved = _nobody) -> Resolution:
    """Read all sources. Raises `bad-settings` with key, value, what is allowed, and the place.

    Each source is judged by itself and as a whole: what does not count today may do so tomorrow.
    """
    variables, strange = _variables()
    layers = [variables]
    asked = withheld = None
    ignored: list[str] = []
    theirs = _file(checkout / CHECKOUT_FILE, "checkout") if checkout is not None else None
    if checkout is not None and theirs is not None:
        validated = _values(_judged(theirs))
        personal = frozenset(key for key in theirs.values if is_personal(key))
        ignored = [_personal(theirs, key) for key in sorted(personal)]
        asked = _loosening(theirs, validated)
        if asked is not None and not approved(checkout, asked.digest):
            withheld = asked
        theirs = theirs.without(personal | frozenset(withheld.values if withheld else ()))
        layers.append(theirs)
    own = _file(home.config, "home")
    if own is not None:
        layers.append(own)
    for layer in layers:
        _judged(layer)
    return Resolution(
        settings=Settings(
            **nested({k: v for one in reversed(layers) for k, v in one.values.items()})
        ),
        origins={key: _origin(layers, key) for key in FIELDS},
        asked=asked,
        withheld=withheld,
        remarks={
            **{text: text for text in (*strange, *ignored)},
            **({withheld.digest: _unapproved(withheld)} if withheld else {}),
        },
    )


def _file(path: Path, kind: Literal["checkout", "home"]) -> Layer | None:
    return read_file(path, kind, tables=TABLES)


def _variables() -> tuple[Layer, list[str]]:
    """The variables that are settings, and a remark on each that looks like one and is none.

    Those do not stop a command as an unknown key of a file does: an environment is inherited, and
    may be meant for another version of this program.
    """
    given = {name.upper(): name for name in os.environ if name.upper().startswith(PREFIX)}
    values = flat(_Variables(Settings)(), tables=TABLES)
    places = {key: given.get(_variable(key), _variable(key)) for key in values}
    for table in TABLES & {name.removeprefix(PREFIX).lower() for name in given}:
        whole = given[PREFIX + table.upper()]
        places |= {
            key: whole
            for key in values
            if key.partition(".")[0] == table and _variable(key) not in given
        }
    known = {_variable(key) for key in (*FIELDS, *TABLES)}
    endings = [name.removeprefix(PREFIX) for name in known]
    strange = [
        f"{given[name]}: {no_such(name.removeprefix(PREFIX), endings, prefix=PREFIX)} (ignored)"
        for name in sorted(given.keys() - known)
    ]
    return Layer(kind="variable", values=values, variables=places), strange


def _variable(key: str) -> str:
    return PREFIX + key.replace(".", DELIMITER).upper()


def _judged(layer: Layer) -> Settings:
    """A layer by itself. Raises `bad-settings` with all that is wrong with it."""
    unknown = [key for key in layer.values if key not in FIELDS and key not in TABLES]
    problems = [
        Problem(setting=key, text=no_such(key, FIELDS), origin=layer.origin(key)) for key in unknown
    ]
    try:
        judged = Settings(**nested(layer.without(frozenset(unknown)).values))
    except ValidationError as error:
        raise_all([*problems, *_faults(layer, error)])
        raise
    raise_all(problems)
    return judged


def _faults(layer: Layer, error: ValidationError) -> Iterator[Problem]:
    for fault in error.errors():
        parts = [str(part) for part in fault["loc"]]
        key = ".".join(parts[:2] if parts[0] in TABLES else parts[:1])
        text = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
        where = f"entry {int(parts[-1]) + 1} " if parts[-1].isdigit() else ""
        yield Problem(
            setting=key, value=fault["input"], text=where + text, origin=layer.origin(key)
        )


def _values(settings: Settings) -> dict[str, Any]:
    """All by flat key, JSON-ready; what has no order sorted."""
    found = flat(settings.model_dump(mode="json"), tables=TABLES)
    return {**found, "allow": sorted(found["allow"])}


def _loosening(layer: Layer, validated: Mapping[str, Any]) -> Withheld | None:
    values = {
        key: validated[key]
        for key in layer.values
        if key in FIELDS and not is_personal(key) and is_loosening(key, validated[key])
    }
    return Withheld(path=layer.path, values=values) if values and layer.path else None


def _personal(layer: Layer, key: str) -> str:
    return f"{layer.origin(key)}: {key} is ignored; it is read from your own settings file alone."


def _unapproved(withheld: Withheld) -> str:
    keys = ", ".join(sorted(withheld.values))
    return (
        f"{withheld.path} sets {keys}: ignored, because a checkout may do so only with your "
        "approval. To see it and decide, run there: ktrdr-sandbox config approve"
    )


def _origin(layers: list[Layer], key: str) -> Origin:
    for layer in layers:
        if key in layer.values:
            return layer.origin(key)
    return Origin()


__all__ = [
    "CHECKOUT_FILE",
    "FIELDS",
    "PREFIX",
    "AnySettings",
    "Resolution",
    "Settings",
    "Withheld",
    "as_data",
    "load_settings",
    "resolve",
]
