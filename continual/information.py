"""How much each parameter of a stored module matters to its task: the diagonal of its Fisher information."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from continual.adapter import WEIGHTS, Adapter, generator
from continual.bank import HeadBank
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.site import Holder
from continual.errors import ContinualError
from continual.head.base import Head
from continual.method.base import Params
from continual.predict import to
from continual.space.vector import Vector, dense, exact, vector
from continual.stream.units import Encoded, collate, examples


def fisher(
    model: AdaptedEncoder, adapter: Adapter, head: Head, head_params: Params, data: Encoded, rows: int, seed: int = 0
) -> Vector:
    """F = 1/R Σ_i (∂ℓ_i / ∂θ)², elementwise over the module's vector θ (``space.vector.vector``), on the CPU.

    ℓ_i is the loss of row i alone under the module and its own head; the rows, at most ``rows`` of ``data``, are drawn
    by the seed. It is the empirical Fisher: the row's own answer stands where the expectation over the model's answers
    would (Matena & Raffel 2022 take that expectation). A row goes through the encoder by itself, because the
    square of a batch's mean gradient is something else. The encoder has nothing loaded afterwards.

    Raises ContinualError for a head whose loss lies between rows (retrieval): of one row alone it has no gradient.
    """
    if rows < 1:
        raise ContinualError(f"Fisher information is measured on at least 1 row, got {rows}")
    keys = list(vector(adapter))
    device = next(model.encoder.parameters()).device
    bank = HeadBank([(head, head_params)])
    bank.to(device)
    model.mix(None)
    model.load([dense(adapter)], train=[0])
    try:
        tensors = _tensors(model)
        total = {key: torch.zeros_like(exact(tensors[key])) for key in keys}
        chosen = torch.randperm(len(data), generator=generator(seed, "fisher"))[:rows]
        for row in chosen.tolist():
            batch = to(collate(data, [row]), device)
            [answer] = bank(model.read(batch))
            of = examples(batch)
            loss = head.loss(answer.logits, batch.targets[head.path()], of, torch.zeros_like(of)).sum()
            for key, gradient in zip(keys, _gradients(loss, [tensors[key] for key in keys]), strict=True):
                if gradient is not None:
                    total[key] += exact(gradient).square()
    finally:
        model.load([])
    if not any(bool(t.any()) for t in total.values()):
        raise ContinualError(
            f"the loss of one row alone has no gradient in this module (head {type(head).__name__}): its Fisher "
            "information is zero everywhere; merge with mean"
        )
    return {key: (t[0] / len(chosen)).cpu() for key, t in total.items()}


def _gradients(loss: Tensor, tensors: list[nn.Parameter]) -> tuple[Tensor | None, ...]:
    if not loss.requires_grad:
        return (None,) * len(tensors)
    return torch.autograd.grad(loss, tensors, allow_unused=True)


def _tensors(model: AdaptedEncoder) -> dict[str, nn.Parameter]:
    """What is loaded, by the keys of the one adapter that is; each with a leading axis of one slot."""
    found = {f"{WEIGHTS}/{name}": parameter for name, parameter in model.deltas.items()}
    for address, site in model.sites.items():
        assert isinstance(site, Holder)
        for group in site.stacks:
            prefix = f"{group.part}." if group.part else ""
            found.update({f"{address}/{prefix}{name}": parameter for name, parameter in group.stack.items()})
    return found
