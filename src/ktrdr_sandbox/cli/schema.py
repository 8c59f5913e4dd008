"""ktrdr-sandbox schema."""

from __future__ import annotations

from ktrdr_sandbox.cli import options
from ktrdr_sandbox.cli.boundary import command


def schema(json_mode: options.Json = False) -> None:
    """Print the JSON Schema of what --json prints."""
    with command("schema", json_mode=json_mode) as output:
        import json

        from ktrdr_sandbox.schema import shipped

        text = shipped()
        output.result(text.rstrip("\n"), {"document": json.loads(text)})
