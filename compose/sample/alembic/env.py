"""Runs the migrations against the database that the DB_* variables name."""

import os

from alembic import context
from sqlalchemy import URL, create_engine

address = URL.create(
    "postgresql+psycopg",
    username=os.environ.get("DB_USER", "ktrdr"),
    password=os.environ.get("DB_PASSWORD", "localdev"),
    host=os.environ.get("DB_HOST", "localhost"),
    port=int(os.environ.get("DB_PORT", "5432")),
    database=os.environ.get("DB_NAME", "ktrdr"),
)

with create_engine(address).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
