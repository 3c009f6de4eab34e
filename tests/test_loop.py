"""The learner against a plain PyTorch loop: what the group's own tests, which compare it with itself, cannot see."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from continual.adapter import fresh
from continual.method.lora import LoRA
from continual.stream.batching import epoch_batches
from continual.stream.units import collate
from tests import tiny


def test_what_is_learned_is_that_of_a_plain_loop() -> None:
    """AdamW on the mean loss of each batch, its gradient clipped at norm 1, the rate warmed up and then falling."""
    model = tiny.adapted(dtype=torch.float64)
    request = tiny.request(model, fresh(LoRA(), model.shapes, model.weights, 0), epochs=3, clip=1.0, warmup=0.2)
    [learned] = tiny.train(model, request)

    model.load(request.adapters, train=[0])
    head = {name: tensor.clone().requires_grad_() for name, tensor in request.head_params.items()}
    trained = [*(parameter for parameter, _ in model.slices()), *head.values()]
    optimizer = torch.optim.AdamW(trained, weight_decay=request.recipe.weight_decay)
    data, size = request.train, request.recipe.batch_size
    batches = [rows for epoch in range(3) for rows in epoch_batches(data.lengths, size, request.seed, epoch)]
    warm, norms = round(0.2 * len(batches)), []
    for step, rows in enumerate(batches):
        batch = collate(data, rows)
        logits = F.linear(model.read(batch).pooled, head["weight"], head["bias"])
        optimizer.zero_grad()
        F.cross_entropy(logits, batch.targets[request.head.path()]).backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(trained, 1.0)))
        share = (step + 1) / (warm + 1) if step < warm else (len(batches) - step) / (len(batches) - warm)
        optimizer.param_groups[0]["lr"] = request.lr * share
        optimizer.step()
    assert min(norms) < 1 < max(norms)  # some steps are clipped and some are not
    for address, params in model.take().params.items():
        for name, tensor in params.items():
            assert tiny.gap(learned.adapter.params[address][name], tensor) < 1e-9, (address, name)
    assert tiny.gap(learned.head_params["weight"], head["weight"]) < 1e-9
