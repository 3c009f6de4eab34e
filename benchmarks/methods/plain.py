"""The ordinary training step that others are measured by: a model, mean pooling, a linear head, AdamW. Torch only, so
that it runs in the environment of any library."""

from __future__ import annotations

import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Plain:
    """``step`` trains what ``model`` has set to be trained, and the head, on one fixed batch; it gives its seconds."""

    def __init__(self, model: nn.Module, width: int, ids: Tensor, mask: Tensor, labels: Tensor, bf16: bool = False):
        device = next(model.parameters()).device
        self.model, self.bf16, self.cuda = model, bf16, device.type == "cuda"
        self.ids, self.mask, self.labels = ids.to(device), mask.to(device), labels.to(device)
        self.head = nn.Linear(width, int(labels.max()) + 1, device=device)
        self.trained = [p for p in [*model.parameters(), *self.head.parameters()] if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, lr=1e-5, weight_decay=0.01)

    def step(self) -> float:
        started = self._now()
        with torch.autocast(self.ids.device.type, torch.bfloat16, enabled=self.bf16):
            loss = self.loss()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        seconds = self._now() - started
        if not torch.isfinite(loss):
            raise ArithmeticError("the reference's loss is not finite")
        return seconds

    def loss(self) -> Tensor:
        return F.cross_entropy(self.head(self.pooled()), self.labels)

    def pooled(self) -> Tensor:
        """(B, d); states in front of the text's, a prompt's, are left out."""
        states = self.model(input_ids=self.ids, attention_mask=self.mask).last_hidden_state[:, -self.ids.shape[1] :]
        weight = self.mask.to(states)[..., None]
        return (states * weight).sum(1) / weight.sum(1)

    def _now(self) -> float:
        if self.cuda:
            torch.cuda.synchronize()
        return time.perf_counter()


def texts(vocabulary: int, rows: int, tokens: int) -> tuple[Tensor, Tensor, Tensor]:
    """Random ids (rows, tokens), their mask, and labels of four classes; lengths from half of ``tokens`` up to it."""
    rng = torch.Generator().manual_seed(0)
    lengths = torch.randint(tokens // 2, tokens + 1, (rows,), generator=rng)
    lengths[0] = tokens
    mask = (torch.arange(tokens) < lengths[:, None]).long()
    ids = torch.randint(vocabulary // 2, vocabulary, (rows, tokens), generator=rng) * mask
    labels = torch.arange(rows) % 4
    return ids, mask, labels
