"""The one LightningModule: a stack of N members, each learning its own task on the shared frozen encoder.

Members share the frozen forward pass and nothing else. A member has its own data order, learning rate, schedule, early
stop and dropout; its gradient is that of its own mean loss, and its step that of its own rate (``slots.py``). A group
therefore gives what its members would have given alone. One task is N = 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import pytorch_lightning as pl
import torch
from torch import Tensor

from continual.bank import HeadBank
from continual.composition.base import Composition
from continual.encoder.adapted import AdaptedEncoder
from continual.errors import ContinualError
from continual.even import EvenSteps
from continual.later import Later
from continual.member import Member, State
from continual.predict import answers_together, features, to, to_device
from continual.progress import MEAN, mean_of_finite
from continual.request import Learn, Learned
from continual.slots import Slots
from continual.strategy.base import Memory, Rule, Strategy
from continual.stream.units import examples
from continual.trunk import Below, Trunk
from continual.types import Batch, States


class Learner(pl.LightningModule):
    """Trains the members of its requests together, one optimizer step for all."""

    def __init__(self, model: AdaptedEncoder, requests: Sequence[Learn]) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model, self.requests = model, tuple(requests)
        self.composition = _load(model, self.requests)
        count = len(self.requests)
        self.bank = HeadBank([(r.head, r.head_params) for r in self.requests], train=range(count))
        self.members = [Member(i, request, self) for i, request in enumerate(self.requests)]
        self.rules: list[Rule] = []
        adapters, mixers = list(model.slices()), [p for mixer in model.mixers().values() for p in mixer.parameters()]
        self.slots = Slots([*adapters, *self.bank.slices()], mixers, count)
        pooled = all(request.head.reads == "pooled" for request in self.requests)
        self.frozen = not adapters and not mixers and pooled
        self.seeds = torch.tensor([request.seed for request in self.requests])
        self.log_every = 1
        self.even = False  # whether its batches are of few shapes; said before its training begins
        self._steps: EvenSteps | None = None
        self.dropout = any(request.adapters[0].method.dropout for request in self.requests)

    @property
    def steady(self) -> bool:
        """Whether a step can be work of the device alone: it does the same whatever the numbers in its batch are.

        So it is where no strategy has its say in a step, all heads are of one kind, and each row is one unit.
        """
        first = self.requests[0].head
        alike = all(r.head.path() == first.path() and r.train.alone for r in self.requests)
        ruled = any(r.stage is not None and type(r.strategy).rule is not Strategy.rule for r in self.requests)
        return alike and len(self.bank.groups) == 1 and not ruled and not self.model.deltas

    def index_of(self, member: Member) -> int | None:
        """The member to route rows to; None where there is one only."""
        return member.index if len(self.members) > 1 else None

    def on_train_start(self) -> None:
        """Only now all is where it will be trained; what a rule asks of the module is of before the first step."""
        pairs = zip(self.members, self.requests, strict=True)
        self.rules = [request.strategy.rule(member, request.stage) for member, request in pairs if request.stage]
        self.seeds = self.seeds.to(self.device)
        if self.even:
            self.rules = []  # those of ``steady``, which do nothing
            self._steps = EvenSteps(self, self._limits)

    def on_train_end(self) -> None:
        if self._steps is not None:
            self._steps.look(wait=True)
            self._steps = None  # the graphs go, and their memory

    def configure_optimizers(self) -> torch.optim.Optimizer:
        recipe = self.requests[0].recipe
        if any(r.recipe.weight_decay != recipe.weight_decay for r in self.requests):
            raise ContinualError("members of one group must share the weight decay")
        return self.slots.optimizer(recipe.weight_decay, alone=len(self.members) == 1 and not self.even)

    def training_step(self, batch: Batch, step: int) -> None:
        rates = [member.rate(step) for member in self.members]
        if self._steps is None:
            losses = self._step(batch, step)
        else:
            losses = self._steps(batch, step, rates)
            patient = any(r.recipe.patience is not None for r in self.requests)  # an epoch's end may ask who is left
            self._steps.look(wait=patient)
        live = [member for member in self.members if rates[member.index] > 0 and not member.stopped]
        if live and (step + 1) % self.log_every == 0:  # Lightning takes it down at no other step
            self._note(live, losses)
        for member in live:
            member.steps += 1
            if member.steps % member.per_epoch == 0:
                member.end_epoch()
        if all(m.over(step + 1) for m in self.members):
            self.trainer.should_stop = True

    def _note(self, live: Sequence[Member], losses: Tensor) -> None:
        """The mean for the bar, each loss where there are loggers: Lightning takes its time over a number."""
        learns = torch.zeros(len(losses), dtype=torch.bool)
        learns[[member.index for member in live]] = True
        mean = mean_of_finite(losses.where(to_device(learns, losses.device), math.nan))
        self.log(MEAN, mean, prog_bar=False, logger=False, batch_size=1)
        for member in live if self.trainer.loggers else ():
            self.log(f"{member.request.name}/loss", losses[member.index], prog_bar=False, batch_size=1)

    def _step(self, batch: Batch, step: int) -> Tensor:
        """Any step; (N,) losses."""
        for rule in self.rules:
            if rule.member.rate(step) > 0:
                rule.ready()
        losses = self.losses(batch)
        known = Later(losses)
        # Lightning's wrapper steps like the optimizer it wraps, and counts; it only isn't one by type.
        optimizer = cast(torch.optim.Optimizer, self.optimizers())
        optimizer.zero_grad(set_to_none=True)
        # Members share no value that is trained: what is wrong with the loss of one reaches none of the others.
        self.manual_backward(losses.sum())
        self.watch(known.read(), step)
        live = [m.index for m in self.members if m.rate(step) > 0]
        if live:
            rules = [rule for rule in self.rules if rule.member.index in live]
            for rule in rules:
                rule.gradients()
            self.slots.step(optimizer, [member.rate(step) for member in self.members], self._limits)
            for rule in rules:
                rule.stepped()
        return losses.detach()

    @property
    def _limits(self) -> list[float]:
        return [request.recipe.clip or math.inf for request in self.requests]

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        return to(batch, device)

    def states(self, batch: Batch) -> States:
        """What the heads read: computed before where nothing below them is trained and all read pooled states."""
        if batch.pooled is not None:
            return States(batch.pooled[:, None], batch.pooled, torch.ones_like(batch.pooled[:, :1]))
        noise = None
        if self.dropout and batch.step is not None:
            member = batch.member if batch.member is not None else torch.zeros_like(batch.step)
            noise = self.seeds[member]
        return self.model.read(batch, noise)

    def features(self) -> list[Tensor] | None:
        """For each member its units' pooled states, where these never change in training; else None."""
        if not self.frozen:
            return None
        return [features(self.model, m.request.train, self.index_of(m)) for m in self.members]

    def below(self, trunk: Trunk) -> list[Below] | None:
        """For each member what the layers below all modules make of its units, where that is worth keeping."""
        return trunk.together(self.model, [(m.request.train, m.request.recipe.epochs) for m in self.members])

    def losses(self, batch: Batch) -> Tensor:
        """(N,) each member's mean loss over its own rows, penalties included; 0 for a member that has none."""
        of = examples(batch)
        member = batch.member if batch.member is not None else torch.zeros_like(of)
        total = torch.zeros(len(self.members), device=of.device, dtype=torch.get_default_dtype())
        extra: list[Tensor | float] = [0.0] * len(self.members)
        for answer in self.bank(self.states(batch), batch.member, batch.blocks):
            if not len(answer.rows):
                continue
            owner = whose = member[answer.rows]
            local = None
            if batch.example is not None:
                mine, local = of[answer.rows].unique(return_inverse=True)
                whose = torch.zeros_like(mine).scatter(0, local, owner)
            loss = answer.head.loss(answer.logits, batch.targets[answer.head.path()], local, owner)
            counts = torch.ones_like(loss, dtype=total.dtype)
            if batch.real is not None:
                loss, counts = loss * batch.real, counts * batch.real
            rows = torch.zeros_like(total).index_add(0, whose, counts).clamp_min(1)
            total = total.to(loss.dtype).index_add(0, whose, loss / rows[whose].to(loss.dtype))
            for rule in self.rules:
                if len(mine := (owner == rule.member.index).nonzero()[:, 0]):
                    row, logits = batch.row[answer.rows[mine]], answer.logits[mine]
                    extra[rule.member.index] = extra[rule.member.index] + rule.penalty(row, logits)
        if self.composition is not None:
            total = total + self.composition.penalty(self.model)
        if all(isinstance(e, float) and e == 0 for e in extra):
            return total
        return total + torch.stack([torch.as_tensor(e, device=total.device, dtype=total.dtype) for e in extra])

    def watch(self, losses: Tensor, step: int) -> None:
        """A member whose loss is not finite stops here, before it can take the step; the others' are noted."""
        for index in (~losses.isfinite()).nonzero()[:, 0].tolist():
            member = self.members[index]
            if not member.stopped:
                member.stopped = True
                first = step + 1 - (member.start or 0)
                member.steps = first - 1
                member.diverged = f"loss {losses[index].item()} at step {first} of {len(member.batches)}"
        for member, loss in zip(self.members, losses.tolist(), strict=True):
            if member.curve and member.trains(step):
                member.curve.add(step + 1 - (member.start or 0), loss)

    def results(self, seconds: float) -> list[Learned]:
        """What the members learned: with patience their best states, else their last."""
        states = self._states()
        if self.rules and any(member.best for member in self.members):
            self._settle(states)
        memories = {rule.member.index: rule.memory() for rule in self.rules if not rule.member.diverged}
        pairs = zip(self.members, states, strict=True)
        return [self._result(m, state, memories.get(m.index, {}), seconds) for m, state in pairs]

    def _states(self) -> list[State]:
        """Their best ones, or as they are; the validation rows of all that are as they are, in the same batches."""
        if len(self.members) == 1:
            [member] = self.members
            return [member.best or member.state()]
        last = [member for member in self.members if member.best is None]
        said = answers_together(self.model, self.bank, [(member.index, member.request.valid) for member in last])
        states = {m.index: m.state(own) for m, own in zip(last, said, strict=True)}
        return [member.best or states[member.index] for member in self.members]

    def _settle(self, states: Sequence[State]) -> None:
        """Go back to these states, which are those that will be stored: what is remembered is of them."""
        count = len(self.members)
        self.model.load([state.adapter for state in states], train=range(count))
        heads = [(r.head, state.head_params) for r, state in zip(self.requests, states, strict=True)]
        self.bank = HeadBank(heads, train=range(count)).to(next(self.model.encoder.parameters()).device)
        self.slots = Slots([*self.model.slices(), *self.bank.slices()], [], count)

    def _result(self, member: Member, state: State, memory: Memory, seconds: float) -> Learned:
        if self.composition is None:
            held = sum(rule.held() for rule in self.rules if rule.member is member)
            module = self.requests[member.index].adapters[0].size - held
        else:
            module = sum(p.numel() for p in self.slots.whole)
        return Learned(
            adapter=state.adapter,
            head_params=state.head_params,
            mixers=state.mixers,
            valid_score=state.score,
            steps=member.steps,
            seconds=seconds,
            trainable=module + sum(tensor.numel() for tensor in state.head_params.values()),
            diverged=member.diverged if member.best is None else "",
            cut_short=member.diverged if member.best is not None else "",
            padding=member.padding,
            memory=memory,
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
