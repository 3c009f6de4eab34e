"""What stored modules change, as vectors that can be added."""

from __future__ import annotations

from collections.abc import Sequence

from continual.errors import ContinualError
from continual.method import name_of
from continual.method.base import Spread
from continual.method.lora import LoRA
from continual.method.sparse import Sparse
from continual.space.base import Parent, Space
from continual.space.matrices import Matrices
from continual.space.positions import Positions


def space(parents: Sequence[Parent]) -> Space:
    """Raises ContinualError for modules of different methods, or of one whose vectors do not correspond."""
    methods = [parent.adapter.method for parent in parents]
    names = list(dict.fromkeys(name_of(method) for method in methods))
    if len(names) > 1:
        raise ContinualError(f"merging needs modules of one method, got {' and '.join(sorted(names))}")
    if isinstance(methods[0], Spread):
        raise ContinualError(f"a {names[0]} is merged as it is stored: take it from the encoder first (model.take)")
    if isinstance(methods[0], LoRA):
        return Matrices(parents)
    return Positions(parents) if isinstance(methods[0], Sparse) else Space(parents)
