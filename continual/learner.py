"""The one LightningModule: a stack of N members, each learning its own task on the shared frozen encoder.

Members share the frozen forward pass and nothing else. A member has its own data order, learning rate, schedule, early
stop and dropout; its gradient is that of its own mean loss. AdamW's step is linear in the learning rate and its moments
depend on gradients alone, so scaling a slot's step by s is exact, and s = 0 stops a member. A group therefore gives
what its members would have given alone. One task is N = 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from continual.adapter import Adapter
from continual.bank import HeadBank
from continual.composition.base import Composition
from continual.encoder.adapted import AdaptedEncoder, mixer_params
from continual.errors import ContinualError
from continual.head.base import Head
from continual.method.base import Params
from continual.predict import Pool, answers, features
from continual.strategy.base import Strategy
from continual.stream.batching import epoch_batches
from continual.stream.text import Encoded
from continual.types import Batch


@dataclass(frozen=True)
class Recipe:
    """How a member is trained: AdamW, linear warm-up over a share of the steps, linear decay to zero.

    lr        None: the learning rate that the method (or composition) names
    clip      largest norm of a member's gradient; None: no clipping
    patience  None: train all epochs, keep the last state. n: validate after each epoch, stop after n epochs without
              a better score, keep the best state
    """

    lr: float | None = None
    epochs: int = 3
    batch_size: int = 32
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip: float | None = 1.0
    patience: int | None = None

    def __post_init__(self) -> None:
        for key, value, good, wanted in (
            ("optimizer.lr", self.lr, self.lr is None or 0 < self.lr < float("inf"), "above 0"),
            ("trainer.epochs", self.epochs, self.epochs >= 1, "at least 1"),
            ("trainer.batch_size", self.batch_size, self.batch_size >= 1, "at least 1"),
            ("optimizer.warmup", self.warmup, 0 <= self.warmup <= 1, "a share of the steps, 0 to 1"),
            ("optimizer.weight_decay", self.weight_decay, 0 <= self.weight_decay < float("inf"), "at least 0"),
            ("optimizer.clip", self.clip, self.clip is None or self.clip > 0, "above 0, or null for no clipping"),
            ("trainer.patience", self.patience, self.patience is None or self.patience >= 1, "at least 1, or null"),
        ):
            if not good:
                raise ContinualError(f"{key} must be {wanted}, got {value}")


@dataclass(frozen=True)
class Learn:
    """A request: learn this. Either one new adapter (``composition`` None), or a mixer over frozen ones."""

    name: str
    adapters: tuple[Adapter, ...] = field(repr=False)
    head: Head
    head_params: Params = field(repr=False)
    train: Encoded = field(repr=False)
    valid: Encoded = field(repr=False)
    recipe: Recipe
    lr: float
    seed: int
    strategy: Strategy = field(default_factory=Strategy, repr=False)
    composition: Composition | None = None


@dataclass(frozen=True)
class Learned:
    """The answer. ``mixers`` are a composition's tensors by "<layer>/<site>/<param>"; empty for a plain adapter."""

    adapter: Adapter
    head_params: Params
    mixers: dict[str, Tensor]
    valid_score: float
    steps: int
    seconds: float
    trainable: int
    diverged: str = ""


@dataclass(frozen=True)
class State:
    """All that a member has learned at one moment, with the validation score that it has there."""

    score: float
    adapter: Adapter
    head_params: Params
    mixers: dict[str, Tensor]


class Member:
    """One slot's view of the stack: what a strategy sees of the member that it trains."""

    def __init__(self, index: int, request: Learn, learner: Learner) -> None:
        self.index, self.request, self.learner = index, request, learner
        self.batches = [
            rows
            for epoch in range(request.recipe.epochs)
            for rows in epoch_batches(request.train.lengths, request.recipe.batch_size, request.seed, epoch)
        ]
        self.per_epoch = len(self.batches) // request.recipe.epochs
        self.steps = 0
        self.stopped = False
        self.diverged = ""
        self.best: State | None = None
        self.waited = 0

    def rate(self, step: int) -> float:
        """Learning rate of a step: linear warm-up, then linear decay that would reach zero one step after the last."""
        if self.stopped or step >= len(self.batches):
            return 0.0
        warm = round(self.request.recipe.warmup * len(self.batches))
        if step < warm:
            return self.request.lr * (step + 1) / (warm + 1)
        return self.request.lr * (len(self.batches) - step) / (len(self.batches) - warm)

    def state(self) -> State:
        """The member as it is now, and its accuracy on the validation rows."""
        learner, valid = self.learner, self.request.valid
        found = answers(learner.model, learner.bank, learner.pool, valid, learner.index_of(self))
        return State(
            score=float((found == valid.labels).float().mean()),
            adapter=learner.model.take(self.index),
            head_params=learner.bank.take(self.index),
            mixers=mixer_params(learner.model),
        )

    def end_epoch(self) -> None:
        """With patience: keep the best state so far, and stop when it has not improved for long enough."""
        patience = self.request.recipe.patience
        if patience is None:
            return
        state = self.state()
        if self.best is None or state.score > self.best.score:
            self.best, self.waited = state, 0
        else:
            self.waited += 1
            self.stopped = self.waited >= patience


class Learner(pl.LightningModule):
    """Trains the members of its requests together, one optimizer step for all."""

    def __init__(self, model: AdaptedEncoder, pool: Pool, requests: Sequence[Learn]) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model, self.pool, self.requests = model, pool, tuple(requests)
        self.composition = _load(model, self.requests)
        count = len(self.requests)
        self.bank = HeadBank([(r.head, r.head_params) for r in self.requests], train=range(count))
        self.members = [Member(i, request, self) for i, request in enumerate(self.requests)]
        self.slices = [*model.slices(), *self.bank.slices()]
        # A mixer's parameters have no slots: they belong to the only member as a whole.
        self.whole = [p for mixer in model.mixers().values() for p in mixer.parameters()]
        self.frozen = not self.whole and not any(True for _ in model.slices())
        self.seeds = torch.tensor([request.seed for request in self.requests])
        self.dropout = any(request.adapters[0].method.dropout for request in self.requests)

    @property
    def parameters_trained(self) -> list[nn.Parameter]:
        return [p for p, _ in self.slices] + self.whole

    def index_of(self, member: Member) -> int | None:
        """The member to route rows to; None where there is one only."""
        return member.index if len(self.members) > 1 else None

    def configure_optimizers(self) -> torch.optim.Optimizer:
        recipe = self.requests[0].recipe
        if any(r.recipe.weight_decay != recipe.weight_decay for r in self.requests):
            raise ContinualError("members of one group must share the weight decay")
        return torch.optim.AdamW(self.parameters_trained, lr=1.0, weight_decay=recipe.weight_decay)

    def training_step(self, batch: Batch, step: int) -> None:
        losses = self._losses(batch)
        self._watch(losses.detach(), step)
        live = [m.index for m in self.members if m.rate(step) > 0]
        if live:
            optimizer = self.optimizers()
            optimizer.zero_grad(set_to_none=True)
            self.manual_backward(losses[live].sum())
            for index in live:
                self.members[index].request.strategy.gradients(self.members[index])
            self._clip()
            self._step(optimizer, step)
        for index in live:
            member = self.members[index]
            member.steps += 1
            self.log(f"{member.request.name}/loss", losses[index].detach(), prog_bar=False, batch_size=1)
            if member.steps % member.per_epoch == 0:
                member.end_epoch()
        if all(m.rate(step + 1) == 0 for m in self.members):
            self.trainer.should_stop = True

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        return Batch(**{name: None if t is None else t.to(device) for name, t in vars(batch).items()})

    def pooled(self, batch: Batch) -> Tensor:
        """(B, d): computed before where nothing below the heads is trained."""
        if batch.pooled is not None:
            return batch.pooled
        noise = None
        if self.dropout and batch.step is not None:
            member = batch.member if batch.member is not None else torch.zeros_like(batch.step)
            noise = self.seeds.to(member.device)[member]
        return self.pool(self.model(batch, noise), batch.mask)

    def features(self) -> list[Tensor] | None:
        """For each member its rows' pooled states, where these never change in training; else None."""
        if not self.frozen:
            return None
        return [features(self.model, self.pool, m.request.train, self.index_of(m)) for m in self.members]

    def _losses(self, batch: Batch) -> Tensor:
        """(N,) each member's mean loss over its own rows, penalties included; 0 for a member without rows."""
        member = batch.member if batch.member is not None else torch.zeros_like(batch.labels)
        total = torch.zeros(len(self.members), device=batch.labels.device, dtype=torch.get_default_dtype())
        rows = torch.bincount(member, minlength=len(self.members)).clamp_min(1)
        for answer in self.bank(self.pooled(batch), batch.member):
            loss = answer.head.loss(answer.logits, batch.labels[answer.rows])
            owner = member[answer.rows]
            total = total.to(loss.dtype).index_add(0, owner, loss / rows[owner])
        extra = [m.request.strategy.penalty(m, batch) for m in self.members]
        if self.composition is not None:
            extra[0] = extra[0] + self.composition.penalty(self.model)
        return total + torch.stack([torch.as_tensor(e, device=total.device, dtype=total.dtype) for e in extra])

    def _watch(self, losses: Tensor, step: int) -> None:
        """A member whose loss is not finite stops here, before it can take the step."""
        for index in (~losses.isfinite()).nonzero()[:, 0].tolist():
            member = self.members[index]
            if not member.stopped:
                member.stopped = True
                member.diverged = f"loss {losses[index].item()} at step {step + 1} of {len(member.batches)}"

    def _clip(self) -> None:
        """Per member: its gradient, over all its slots, is scaled down to its recipe's norm."""
        square = torch.zeros(len(self.members), device=self.device, dtype=self.parameters_trained[0].dtype)
        for parameter, owners in self.slices:
            if parameter.grad is not None:
                per_slot = parameter.grad.flatten(1).square().sum(1) if parameter.dim() > 1 else parameter.grad.square()
                square = square.index_add(0, torch.tensor(owners, device=self.device), per_slot)
        for parameter in self.whole:
            if parameter.grad is not None:
                square = square + parameter.grad.square().sum()
        limit = torch.tensor([r.recipe.clip or float("inf") for r in self.requests], device=self.device)
        factor = (limit / (square.sqrt() + 1e-6)).clamp_max(1.0).to(square)
        for parameter, owners in self.slices:
            if parameter.grad is not None:
                parameter.grad.mul_(_per_slot(factor, owners, parameter))
        for parameter in self.whole:
            if parameter.grad is not None:
                parameter.grad.mul_(factor[0])

    def _step(self, optimizer: pl.core.optimizer.LightningOptimizer, step: int) -> None:
        """One AdamW step at the largest rate; slots of slower or stopped members then move only their share of it."""
        rates = torch.tensor([m.rate(step) for m in self.members], dtype=torch.float64)
        largest = float(rates.max())
        for group in optimizer.param_groups:
            group["lr"] = largest
        share = rates / largest
        if bool((share == 1).all()):
            optimizer.step()
            return
        before = [parameter.detach().clone() for parameter, _ in self.slices]
        optimizer.step()
        with torch.no_grad():
            for (parameter, owners), old in zip(self.slices, before, strict=True):
                s = _per_slot(share.to(parameter), owners, parameter)
                # A stopped member's step may be NaN: it is not multiplied away, it is not taken.
                parameter.copy_(torch.where(s == 0, old, torch.where(s == 1, parameter, old + s * (parameter - old))))

    def result(self, member: Member, seconds: float) -> Learned:
        """What the member learned: its best state with patience, else its last."""
        state = member.best or member.state()
        module = state.adapter.size if self.composition is None else sum(p.numel() for p in self.whole)
        return Learned(
            adapter=state.adapter,
            head_params=state.head_params,
            mixers=state.mixers,
            valid_score=state.score,
            steps=member.steps,
            seconds=seconds,
            trainable=module + sum(tensor.numel() for tensor in state.head_params.values()),
            diverged=member.diverged if member.best is None else "",
        )


def _load(model: AdaptedEncoder, requests: Sequence[Learn]) -> Composition | None:
    composition = requests[0].composition
    if composition is None and all(r.composition is None for r in requests):
        model.mix(None)
        model.load([r.adapters[0] for r in requests], train=range(len(requests)))
        return None
    if composition is None or len(requests) > 1:
        raise ContinualError("a composition is learned alone: its mixer uses all adapters that are loaded")
    composition.install(model, requests[0].adapters, requests[0].seed)
    return composition


def _per_slot(values: Tensor, owners: tuple[int, ...], parameter: Tensor) -> Tensor:
    """(N,) per member -> (n_slots, 1, …) against a parameter."""
    return values[list(owners)].view(-1, *[1] * (parameter.dim() - 1))
