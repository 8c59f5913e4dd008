"""Which database an environment speaks of, and by what names a service is reached."""

from __future__ import annotations

from typing import Any

import pytest

from ktrdr_sandbox.commands.migrate import address_in, names_of


@pytest.mark.parametrize(
    "environment",
    [
        {"DB_HOST": "db", "DB_NAME": "ktrdr", "DB_USER": "me", "DB_PASSWORD": "x"},
        {"KTRDR_DB_HOST": "db", "KTRDR_DB_NAME": "ktrdr", "KTRDR_DB_USER": "me"},
        {"PGHOST": "db", "PGDATABASE": "ktrdr", "PGUSER": "me"},
        {"POSTGRES_HOST": "db", "POSTGRES_DB": "ktrdr", "POSTGRES_USER": "me"},
        {"DATABASE_URL": "postgresql+asyncpg://me:p%40ss@db:5432/ktrdr"},
        {"ANYTHING": "postgres://me@DB/ktrdr?sslmode=disable"},
    ],
)
def test_one_database_in_many_spellings(environment: dict[str, str]) -> None:
    found = address_in({**environment, "HOSTNAME": "other", "API_HOST": "0.0.0.0", "DB_POOL": "5"})
    parts = (found["hosts"], found["names"], found["users"])
    assert parts == ({"db"}, {"ktrdr"}, {"me"})


def test_all_that_is_named_counts() -> None:
    found = address_in({"DB_HOST": "db", "KTRDR_DB_HOST": "warehouse", "DB_NAME": ""})
    assert found["hosts"] == {"db", "warehouse"}
    assert not found["names"]


def test_a_broken_address_is_nobody_of_ours() -> None:
    assert address_in({"DATABASE_URL": "postgresql://[db/x"})["hosts"] == {"postgresql://[db/x"}


def test_every_name_of_a_service() -> None:
    services: dict[str, dict[str, Any]] = {
        "db": {
            "hostname": "Store",
            "container_name": "ktrdr-db",
            "networks": {"default": None, "inner": {"aliases": ["timescale"]}},
        },
        "backend": {"links": ["db:database", "cache:redis", "db"]},
    }
    assert names_of("db", services) == {"db", "store", "ktrdr-db", "timescale", "database"}
    assert names_of("backend", {"backend": {"networks": ["default"]}}) == {"backend"}
