"""The `ktrdr` command: asks a backend."""

import argparse
import json
import os
import sys
import urllib.request

QUESTIONS = ("health", "info", "workers", "operations", "notes")


def main() -> None:
    parser = argparse.ArgumentParser(prog="ktrdr", description=__doc__)
    parser.add_argument("--url", "-u", help="the backend, with or without /api/v1")
    parser.add_argument("question", choices=QUESTIONS)
    arguments = parser.parse_args()
    base = arguments.url or os.environ.get("KTRDR_API_URL") or "http://localhost:8000/api/v1"
    address = f"{base.rstrip('/').removesuffix('/api/v1')}/api/v1/{arguments.question}"
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310
            print(json.dumps(json.load(answer), indent=2))
    except OSError as error:
        sys.exit(f"{address}: {error}")


if __name__ == "__main__":
    main()
