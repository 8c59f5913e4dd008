"""Commands in settings: lists of words, never a line for a shell."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

Hook = Literal["after_create", "after_ready", "before_destroy"]
HOOKS: Final[tuple[Hook, ...]] = get_args(Hook)

_WORD: Final[dict[str, Any]] = {"type": "string"}
_COMMAND: Final[dict[str, Any]] = {"type": "array", "items": _WORD, "minItems": 1}


def _several(value: Any) -> Any:
    """One command for a list of one. A line for a shell is refused: its words must be told."""
    if isinstance(value, (list, tuple)) and value and all(isinstance(one, str) for one in value):
        return (tuple(value),)
    if not isinstance(value, (list, tuple)):
        # A TypeError would not become a fault of the setting.
        raise ValueError(  # noqa: TRY004
            'should be a list of words, as ["uv", "sync"], or a list of such lists'
        )
    if not all(isinstance(one, (list, tuple)) and one and one[0] for one in value):
        raise ValueError('each command should be a list of words, as ["uv", "sync"]')
    return value


Commands = Annotated[
    tuple[tuple[str, ...], ...],
    BeforeValidator(_several),
    WithJsonSchema({"anyOf": [_COMMAND, {"type": "array", "items": _COMMAND}]}),
]
"""Commands to run one after the other, each a list of words; one alone needs no outer list."""


class Hooks(BaseModel):
    """Commands of the user's own at moments of an instance's life."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    after_create: Commands = Field(
        default=(), description="Run in the new worktree, when create is done"
    )
    after_ready: Commands = Field(default=(), description="Run when up has proven the stack ready")
    before_destroy: Commands = Field(default=(), description="Run before destroy removes anything")
