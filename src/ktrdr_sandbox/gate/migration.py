"""What the gate needs of whoever migrates the database's schema."""

from __future__ import annotations

from typing import Final, Protocol

COMMAND: Final = "alembic upgrade head"

NO_ALEMBIC: Final = 97
"""Exit status of a one-off container whose image has no alembic to run."""


class Migration(Protocol):
    """One schema migration, in a one-off container. Methods block and raise SandboxError.

    `service` is the one whose image, environment and networks it uses. `required`: that the image
    has no alembic is then a failure.
    """

    service: str
    required: bool

    def is_applied(self) -> bool:
        """Whether the database is certain to be at the head of the checkout's revisions."""

    def start(self) -> str:
        """Begin, and return the container's id. Its exit status is the migration's."""
