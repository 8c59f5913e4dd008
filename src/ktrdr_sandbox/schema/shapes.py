"""Words to write JSON Schema in, so that a shape reads like the data it describes."""

from __future__ import annotations

from typing import Any, Final, get_args

Shape = dict[str, Any]

TEXT: Final[Shape] = {"type": "string"}
FLAG: Final[Shape] = {"type": "boolean"}
COUNT: Final[Shape] = {"type": "integer", "minimum": 0}
SECONDS: Final[Shape] = {"type": "number", "minimum": 0}
PORT: Final[Shape] = {"type": "integer", "minimum": 1, "maximum": 65535}
NOTHING: Final[Shape] = {"type": "object", "maxProperties": 0}
TEXT_OR_NULL: Final[Shape] = {"type": ["string", "null"]}


def obj(*first: Shape, about: str = "", **properties: Shape) -> Shape:
    """An object with exactly these keys, and those of the objects in `first`."""
    every = {key: shape for one in first for key, shape in one["properties"].items()} | properties
    described = {"description": about} if about else {}
    return {
        **described,
        "type": "object",
        "properties": every,
        "required": list(every),
        "additionalProperties": False,
    }


def many(shape: Shape) -> Shape:
    return {"type": "array", "items": shape}


def mapping(shape: Shape) -> Shape:
    """An object whose keys are data."""
    return {"type": "object", "additionalProperties": shape}


def maybe(shape: Shape) -> Shape:
    return {"anyOf": [shape, {"type": "null"}]}


def either(*shapes: Shape) -> Shape:
    return {"anyOf": list(shapes)}


def word(literal: Any) -> Shape:
    """One of the values of a `Literal`."""
    return {"enum": list(get_args(literal))}


def part(name: str) -> Shape:
    """A shape that `parts.py` names."""
    return {"$ref": f"#/$defs/{name}"}


def about(text: str, shape: Shape) -> Shape:
    return {"description": text, **shape}
