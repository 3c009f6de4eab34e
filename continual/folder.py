"""The folder is the registry: a component is the one public class of its file, and its name is the file's."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from continual.errors import ContinualError, unknown


def names(package: str) -> list[str]:
    """
    >>> names("continual.pruning")
    ['automatic', 'top']
    """
    folder = importlib.import_module(package)
    return sorted(info.name for info in pkgutil.iter_modules(folder.__path__) if info.name != "base")


def component(package: str, name: str) -> type[Any]:
    """The class in ``<package>/<name>.py``. Only files of that folder can be reached, whatever ``name`` says.

    Raises ContinualError for an unknown name.
    """
    if name not in (choices := names(package)):
        raise unknown(package.rsplit(".", 1)[-1], name, choices)
    module = importlib.import_module(f"{package}.{name}")
    public = [
        value
        for key, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__ and not key.startswith("_")
    ]
    if len(public) != 1:
        raise TypeError(f"{module.__name__} must define exactly one public class, it has {len(public)}")
    return public[0]


def made(package: str, name: str, values: Mapping[str, Any]) -> Any:
    """The component that a card names, with the arguments that it gives. No class outside the folder can be reached.

    Raises ContinualError for an unknown name or unknown arguments.
    """
    kind = component(package, name)
    known = {field.name for field in fields(kind)}
    if extra := set(values) - known:
        what = package.rsplit(".", 1)[-1]
        raise ContinualError(f"{what} {name} does not take {sorted(extra)}; it takes {sorted(known)}")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


def name_of(package: str, value: object) -> str:
    """The name under which ``component`` finds the class of ``value`` again.

    Raises ContinualError for a class from elsewhere: what is stored must be found again by name.
    """
    home, _, name = type(value).__module__.rpartition(".")
    if home != package:
        raise ContinualError(
            f"{type(value).__name__} is defined in {home}.{name}; to be stored it must live in {package}"
        )
    return name


def arguments(value: Any) -> dict[str, Any]:
    """The constructor arguments of a component (a dataclass, or a class without any) as plain JSON values.

    Equal components have equal arguments: a 16 that YAML gave where the default is 16.0 is written as 16.0.
    """
    if not hasattr(value, "__dataclass_fields__"):
        return {}
    return {field.name: _plain(getattr(value, field.name), field.default) for field in fields(value)}


def _plain(value: Any, default: object) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return float(value) if type(value) is int and isinstance(default, float) else value
