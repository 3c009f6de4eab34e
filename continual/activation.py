"""The non-linearities of small modules."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from continual.errors import unknown

# f(0) = 0 for all of them: zero-padding unequal ranks inside one stack is then exact.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
    "tanh": torch.tanh,
}


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """Raises ContinualError for an unknown name, listing the known ones."""
    if name not in ACTIVATIONS:
        raise unknown("method.activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]
