"""How several stored adapters act as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from continual.adapter import Adapter, flatten
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.parts import Parts
from continual.errors import ContinualError


class Mixer(nn.Module):
    """One per site. Its weights say how much of each member's delta is used; by default the deltas are summed so.

    kind  "attention": learned, one per token, of sum one · "gate": learned, each for itself · "fixed": not learned
    """

    kind: ClassVar[Literal["attention", "gate", "fixed"]]

    def weights(self, x: Tensor, y: Tensor, mask: Tensor, parts: Parts) -> Tensor:
        """(B, T, d_in), (B, T, d_out), (B, T) -> (B, T, N), or (B, 1, N) where they are one per row.

        Means over tokens must be masked: padding never moves an answer.
        """
        raise NotImplementedError

    def forward(self, x: Tensor, y: Tensor, mask: Tensor, parts: Parts) -> Tensor:
        """The delta of the site, (B, T, d_out)."""
        return parts.mix(self.weights(x, y, mask, parts))


class Composition(Protocol):
    """What is learned on top of stored adapters, which themselves stay as they are.

    One whose mixers have no parameters (stack, average, split) is fixed: the target's head alone is trained over it.

    lr, epochs   of its own training; None: as the modules'
    methods      methods of which the target needs a module each (the gates want a bottleneck and a LoRA)
    sources      "stream": the modules of all tasks of the stream; "target": those of the target task alone
    """

    sources: ClassVar[Literal["stream", "target"]]

    @property
    def lr(self) -> float | None: ...
    @property
    def epochs(self) -> int | None: ...
    @property
    def methods(self) -> tuple[str, ...]: ...
    def install(self, model: AdaptedEncoder, adapters: Sequence[Adapter], seed: int) -> None:
        """Load the adapters, frozen, and put a fresh mixer on every site that holds any.

        Raises ContinualError where these adapters cannot be composed in this way.
        """
        ...

    def penalty(self, model: AdaptedEncoder) -> Tensor | float:
        """A term of the training loss, once per step."""
        ...


def require_members(name: str, adapters: Sequence[Adapter]) -> None:
    """What a composition asks of the adapters that it is over, before it loads them.

    Raises ContinualError where none of them acts anywhere, and for numbers that are not finite, which would reach every
    answer: it names adapter, address and parameter.
    """
    if not any(adapter.params for adapter in adapters):
        raise ContinualError(f"{name} needs stored modules with sites; these have none (method=head?)")
    for index, adapter in enumerate(adapters):
        for key, tensor in flatten(adapter.params).items():
            if not tensor.isfinite().all():
                kind, (address, parameter) = type(adapter.method).__name__, key.rsplit("/", 1)
                raise ContinualError(
                    f"adapter {index} of {len(adapters)} ({kind}) has NaN or infinity at {address}, in {parameter}; "
                    f"expected finite numbers: learn that module again, or leave it out of the {name}"
                )


def normal(generator: torch.Generator, *size: int, std: float = 0.02) -> nn.Parameter:
    """A trainable tensor from N(0, std²), BERT's initialisation of a new layer."""
    return nn.Parameter(torch.randn(*size, generator=generator) * std)


def mixer_params(model: AdaptedEncoder) -> dict[str, Tensor]:
    """What the mixers learned, under the keys in which a store keeps it."""
    return flatten(
        {
            address: {name: tensor.detach().cpu().clone() for name, tensor in mixer.state_dict().items()}
            for address, mixer in model.mixers().items()
        }
    )
