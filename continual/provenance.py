"""What stands beside a stored module: its name, and its card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from continual import composition as compositions
from continual import folder, method
from continual.files import sha256
from continual.parts import Parts
from continual.request import Learn, Learned
from continual.store import Card, EncoderRef
from continual.stream.base import Task


def kind(request: Learn, learned: Learned) -> str:
    """The name of the method, or of the composition."""
    composition = request.composition
    return method.name_of(learned.adapter.method) if composition is None else compositions.name_of(composition)


def name(parts: Parts, task: Task, label: str) -> str:
    """Stream, task and method; the strategy too where modules are not isolated, since they answer otherwise."""
    words = [parts.stream.name, task.name, label]
    if parts.strategy_name != "isolated":
        words.append(parts.strategy_name)
    found = ".".join(words)
    return found if len(found) <= 64 else f"{found[:55]}-{sha256(found.encode())[:8]}"


def card(
    parts: Parts, task: Task, request: Learn, learned: Learned, parents: tuple[str, ...], how: Mapping[str, Any]
) -> Card:
    """Of what was learned of a task in a run; ``how`` is added to its origin."""
    encoder, what = parts.encoder, request.composition or learned.adapter.method
    return Card(
        kind="adapter" if request.composition is None else "composition",
        method=kind(request, learned),
        arguments=folder.arguments(what),
        encoder=EncoderRef(name=encoder.name, revision=encoder.revision, fingerprint=encoder.fingerprint),
        pooling=encoder.pooling,
        head=task.head,
        labels=task.labels,
        parents=parents,
        tensors={},
        origin={
            "run": parts.run_id,
            "stream": parts.stream.name,
            "task": task.name,
            "position": [other.name for other in parts.stream.tasks].index(task.name),
            "strategy": parts.strategy_name,
            "seed": parts.seed,
            "steps": learned.steps,
            "trainable": learned.trainable,
            "valid_score": learned.valid_score,
            "code": parts.choices["code"],
            **how,
        },
    )
