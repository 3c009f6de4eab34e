"""Before a selective method is trained: which weights it may change, from the task's gradients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice

import torch
from torch import Tensor

from continual.adapter import WEIGHTS, Adapter
from continual.bank import HeadBank
from continual.encoder.adapted import AdaptedEncoder
from continual.method.base import Selective
from continual.predict import to
from continual.request import Learn
from continual.stream.batching import epoch_batches
from continual.stream.units import collate, examples


def chosen(model: AdaptedEncoder, request: Learn) -> Learn:
    """The request with the weights of its adapter chosen; as it is where there is nothing to choose.

    The gradients are those of the bare encoder under the request's untrained head, batch by batch in the order in
    which the task will be learned.
    """
    adapter = request.adapters[0]
    if not isinstance(adapter.method, Selective) or adapter.params[WEIGHTS]:
        return request
    model.load([])
    params = adapter.method.select(model.weights, islice(_gradients(model, request), adapter.method.batches))
    return replace(request, adapters=(Adapter(adapter.method, {WEIGHTS: params}), *request.adapters[1:]))


def _gradients(model: AdaptedEncoder, request: Learn) -> Iterator[Mapping[str, Tensor]]:
    weights = {name: weight for name, weight in model.weights.items() if weight.is_floating_point()}
    bank = HeadBank([(request.head, request.head_params)])
    device = next(model.encoder.parameters()).device
    bank.to(device)
    for rows in epoch_batches(request.train.lengths, request.recipe.batch_size, request.seed, epoch=0):
        batch = to(collate(request.train, rows), device)
        for weight in weights.values():
            weight.requires_grad_(True)
        try:
            [answer] = bank(model.read(batch))
            of = examples(batch)
            targets = batch.targets[request.head.path()]
            loss = request.head.loss(answer.logits, targets, of, torch.zeros_like(of)).mean()
            found = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
        finally:
            for weight in weights.values():
                weight.requires_grad_(False)
        yield {name: g for name, g in zip(weights, found, strict=True) if g is not None}
