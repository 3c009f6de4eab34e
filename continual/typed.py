"""Plain values held against the types that a component declares, with errors that name the key."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from continual.errors import ContinualError

WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false", NoneType: "null", Any: "any"}


def tuples(value: Any) -> Any:
    """With a tuple in each list's place, at any depth: components are frozen."""
    if isinstance(value, dict):
        return {key: tuples(child) for key, child in value.items()}
    return tuple(tuples(child) for child in value) if isinstance(value, list) else value


def under(path: str, node: Mapping[str, Any]) -> dict[str, Any]:
    """The values under their full keys, as ``call`` takes them."""
    return {f"{path}.{key}": value for key, value in node.items()}


def call(function: Callable[..., Any], values: dict[str, Any]) -> Any:
    """With arguments under their full keys, so that errors can name them.

    Raises ContinualError that says all that is unknown, missing or of the wrong kind at once.
    """
    known, hints = inspect.signature(function).parameters, get_type_hints(function)
    wrong, arguments = [], {}
    for path, value in values.items():
        key = path.rpartition(".")[2]
        arguments[key] = value
        if key not in known:
            wrong.append(f"unknown key {path}; choose from: {', '.join(known)}")
        elif error := mistyped(path, value, hints.get(key, Any)):
            wrong.append(error)
    where = next(iter(values), function.__name__).rpartition(".")[0]
    wrong += [f"{where}.{key} is missing" for key, p in known.items() if p.default is p.empty and key not in arguments]
    if wrong:
        raise ContinualError("; ".join(wrong))
    return function(**arguments)


def mistyped(path: str, value: Any, kind: Any) -> str | None:
    """What is wrong with a value of this type; None where nothing is. A whole number is a number, nothing else is cast.

    >>> mistyped("method.rank", "abc", int), mistyped("method.alpha", 16, float)
    ("method.rank must be a whole number, got 'abc'", None)
    """
    try:
        TypeAdapter(kind, config=ConfigDict(strict=True)).validate_python(value)
    except ValidationError:
        return f"{path} must be {_spelled(kind)}, got {value!r:.60}"
    return None


def _spelled(kind: Any) -> str:
    """A type as a person would write it in YAML.

    >>> _spelled(int | None), _spelled(tuple[str, ...]), _spelled(float)
    ('a whole number or null', 'a list of text', 'a number')
    """
    if isinstance(kind, UnionType) or get_origin(kind) is Union:
        return " or ".join(map(_spelled, get_args(kind)))
    if get_origin(kind) is Literal:
        return " or ".join(map(str, get_args(kind)))
    if get_origin(kind) in (tuple, Sequence):
        return f"a list of {_spelled(get_args(kind)[0])}"
    if get_origin(kind) is Mapping:
        return f"a mapping of {' to '.join(map(_spelled, get_args(kind)))}"
    return WORDS.get(kind, str(kind))
