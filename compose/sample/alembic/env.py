"""Runs the migrations against the database that the DB_* variables name."""

import os
from importlib.util import find_spec
from logging.config import fileConfig

from alembic import context
from sqlalchemy import create_engine
from sqlalchemy.engine import URL

if context.config.config_file_name is not None:
    fileConfig(context.config.config_file_name)

# SQLAlchemy before 2.0 knows psycopg2 alone, which python:3.12-slim does not get.
driver = "psycopg2" if find_spec("psycopg2") else "psycopg"
address = URL.create(
    f"postgresql+{driver}",
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
