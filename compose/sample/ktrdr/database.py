"""Operations and notes in PostgreSQL, one short connection for each request."""

import importlib
import os
import threading
import uuid
from collections.abc import Sequence
from typing import Any, Protocol, Self

Row = tuple[Any, ...]


class DatabaseError(Exception):
    """What the database answered, or what lay in the way to it, in one line."""


class Cursor(Protocol):
    """The part of psycopg's cursor used here; psycopg itself is only in the image."""

    @property
    def description(self) -> object | None: ...
    def fetchall(self) -> list[Row]: ...


class Connection(Protocol):
    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...
    def execute(self, query: str, params: Sequence[object]) -> Cursor: ...


class Database:
    """Every method raises DatabaseError."""

    def __init__(self) -> None:
        # Two sessions that create one table at the same time: one fails, IF NOT EXISTS or not.
        self.creating_notes = threading.Lock()

    def check(self) -> None:
        self.query("SELECT 1")

    def operations(self) -> list[dict[str, Any]]:
        """The table comes from a migration that somebody has to run; until then this fails."""
        rows = self.query(
            "SELECT operation_id, operation_type, status, created_at::text"
            " FROM operations ORDER BY created_at"
        )
        names = ("operation_id", "operation_type", "status", "created_at")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def add_operation(self, operation_type: str) -> dict[str, Any]:
        operation_id = f"op_{operation_type}_{uuid.uuid4().hex[:8]}"
        self.query(
            "INSERT INTO operations (operation_id, operation_type) VALUES (%s, %s)",
            operation_id,
            operation_type,
        )
        return {"operation_id": operation_id, "operation_type": operation_type, "status": "pending"}

    def notes(self) -> list[dict[str, Any]]:
        self.create_notes()
        rows = self.query("SELECT id, text FROM notes ORDER BY id")
        return [{"id": number, "text": text} for number, text in rows]

    def add_note(self, text: str) -> dict[str, Any]:
        self.create_notes()
        ((number,),) = self.query("INSERT INTO notes (text) VALUES (%s) RETURNING id", text)
        return {"id": number, "text": text}

    def create_notes(self) -> None:
        """Notes need no migration: a stack can keep one as soon as it is up."""
        with self.creating_notes:
            self.query(
                "CREATE TABLE IF NOT EXISTS notes"
                " (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text text NOT NULL)"
            )

    def query(self, query: str, *params: object) -> list[Row]:
        """The rows; none for a statement that gives none."""
        try:
            psycopg: Any = importlib.import_module("psycopg")
        except ImportError as error:  # outside the image, as in a test on the host
            raise DatabaseError(str(error)) from error
        try:
            connection: Connection = psycopg.connect(connect_timeout=3, **address())
            with connection:
                cursor = connection.execute(query, params)
                return cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            raise DatabaseError(str(error).partition("\n")[0]) from error


def address() -> dict[str, str]:
    return {
        "host": os.environ.get("DB_HOST", "db"),
        "port": os.environ.get("DB_PORT", "5432"),
        "dbname": os.environ.get("DB_NAME", "ktrdr"),
        "user": os.environ.get("DB_USER", "ktrdr"),
        "password": os.environ.get("DB_PASSWORD", "localdev"),
    }
