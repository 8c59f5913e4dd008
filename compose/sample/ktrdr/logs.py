"""Log lines on stdout, and for the backend in a file as well."""

import logging.config
import os
from pathlib import Path
from typing import Any


def configure_logging(*, to_file: bool) -> None:
    """Raises ValueError ("Unable to configure handler 'file'") when the folder is not writable.

    Nobody catches that: a backend whose `logs` folder belongs to root dies on the spot, and again
    after each restart.
    """
    handlers: dict[str, Any] = {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "line",
            "stream": "ext://sys.stdout",
        }
    }
    if to_file:
        handlers["file"] = {
            "class": "logging.handlers.RotatingFileHandler",
            "formatter": "line",
            "filename": str(Path(os.environ.get("KTRDR_LOG_DIR", "/app/logs")) / "ktrdr.log"),
            "maxBytes": 1_000_000,
            "backupCount": 3,
        }
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
            "handlers": handlers,
            "root": {"level": "INFO", "handlers": list(handlers)},
        }
    )
