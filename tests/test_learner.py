"""A group gives what its members would have given alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from continual import folder
from continual.adapter import SHARED, Adapter, fresh
from continual.choose import chosen
from continual.composition.fusion import Fusion
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.frozen import fingerprint
from continual.errors import ContinualError
from continual.learner import Learner
from continual.member import Member
from continual.method import named
from continual.method.base import Described
from continual.method.bottleneck import Bottleneck
from continual.method.full import Full
from continual.method.head import HeadOnly
from continual.method.lora import LoRA
from continual.request import Learn, Learned
from continual.slots import Slots
from continual.strategy.base import Memory, Rule, Stage, Strategy
from continual.stream.text import Reader
from continual.task_streams import toy
from continual.types import Batch
from tests import tiny

TASKS = toy.tasks()  # 96, 96, 96 and 48 rows; 3 and 4 classes
MIXED: tuple[Described, ...] = (
    LoRA(rank=2, dropout=0.2),
    LoRA(rank=4, alpha=3.0, dropout=0.2),
    Bottleneck(8, dropout=0.2),
    LoRA(rank=8, dropout=0.2, targets=("query", "ffn_out")),
)


@pytest.fixture
def model() -> AdaptedEncoder:
    return tiny.adapted(dtype=torch.float64)


def ask(model: AdaptedEncoder, method: Described, task: int = 0, seed: int = 0, **changes: object) -> Learn:
    """A request whose recipe and other fields take these changes."""
    start = fresh(method, model.shapes, model.weights, seed)
    fields = {name: changes.pop(name) for name in ("lr", "strategy", "head_params") if name in changes}
    return replace(tiny.request(model, start, TASKS[task], seed, **changes), **fields)


def four(model: AdaptedEncoder, methods: Sequence[Described] = MIXED, **recipe: object) -> list[Learn]:
    """Four tasks with different methods, lengths, rates and seeds."""
    rates = (1e-3, 5e-3, 2e-3, 3e-3)
    return [ask(model, methods[i], i, seed=i, lr=rates[i], **recipe) for i in range(4)]


def apart(one: Learned, two: Learned) -> float:
    """Largest difference between any of their tensors; everything else must be equal."""
    facts = [(x.steps, x.trainable, x.valid_score, bool(x.diverged), x.adapter.method) for x in (one, two)]
    assert facts[0] == facts[1]
    gaps = [tiny.gap(t, two.head_params[name]) for name, t in one.head_params.items()]
    for address, params in one.adapter.params.items():
        gaps += [tiny.gap(tensor, two.adapter.params[address][name]) for name, tensor in params.items()]
    return max(gaps)


def test_a_group_equals_its_members_alone_through_dropout_and_an_early_stop(model: AdaptedEncoder) -> None:
    requests = four(model, epochs=9)
    requests[1] = replace(requests[1], recipe=replace(requests[1].recipe, patience=1))
    together = tiny.train(model, *requests)
    assert together[0].steps == together[2].steps == 54
    assert together[3].steps == 27  # half as many rows
    assert 6 < together[1].steps < 54  # stopped early
    for request, found in zip(requests, together, strict=True):
        assert apart(tiny.train(model, request)[0], found) <= 1e-10


@pytest.mark.parametrize("name", [n for n in folder.names("continual.method") if n not in ("full", "sparse")])
def test_members_with_as_many_rows_in_each_step_learn_what_they_learn_alone(model: AdaptedEncoder, name: str) -> None:
    """Their rows meet their parameters in blocks."""
    requests = [ask(model, named(name, {}), task, seed=task, epochs=1, batch_size=32) for task in range(2)]
    for request, found in zip(requests, tiny.train(model, *requests), strict=True):
        assert apart(tiny.train(model, request)[0], found) <= 1e-10


def test_in_single_precision_a_group_differs_by_rounding_alone() -> None:
    model = tiny.adapted()
    requests = four(model, [replace(method, dropout=0.0) for method in MIXED], epochs=2, batch_size=20)
    tasks = toy.tasks(test=400)
    read = Reader(tiny.tokenizer(toy.WORDS), 48)
    together = tiny.train(model, *requests)
    assert together[0].steps == 10
    for request, found, task in zip(requests, together, tasks, strict=True):
        [alone] = tiny.train(model, request)
        assert apart(alone, found) <= 1e-4
        test = read(task.test, request.head, task.labels)
        scores = []
        for learned in (alone, found):
            model.load([learned.adapter])
            answered = tiny.answers(model, request.head, learned.head_params, test)
            scores.append(np.mean(np.array(answered) == [row.label for row in task.test]))
        assert abs(scores[0] - scores[1]) <= 0.003


@pytest.mark.parametrize(
    "methods", [MIXED, [LoRA(rank=2)] * 4, [Bottleneck(8)] * 4], ids=["mixed", "lora", "bottleneck"]
)
@pytest.mark.parametrize("how", ["rate", "head"])
def test_a_member_that_diverges_stops_and_spoils_no_other(
    model: AdaptedEncoder, methods: Sequence[Described], how: str
) -> None:
    requests = four(model, methods)
    if how == "rate":
        bad = replace(requests[2], lr=1e200, recipe=replace(requests[2].recipe, clip=None))
    else:
        bad = replace(requests[2], head_params={n: t * torch.nan for n, t in requests[2].head_params.items()})
    others = [requests[0], requests[1], requests[3]]
    found = tiny.train(model, requests[0], requests[1], bad, requests[3])
    assert found[2].diverged.startswith("loss nan at step ")
    assert found[2].steps == (0 if how == "head" else int(found[2].diverged.split()[4]) - 1) < 12
    good = [found[0], found[1], found[3]]
    assert not any(learned.diverged for learned in good)
    for one, two in zip(tiny.train(model, *others), good, strict=True):
        assert apart(one, two) <= 1e-10


def test_a_member_that_diverges_alone_ends_the_training(model: AdaptedEncoder) -> None:
    request = ask(model, LoRA())
    request = replace(request, head_params={n: t * torch.nan for n, t in request.head_params.items()})
    [found] = tiny.train(model, request)
    assert found.steps == 0
    assert found.diverged == "loss nan at step 1 of 12"


def test_the_same_request_gives_the_same_bits(model: AdaptedEncoder) -> None:
    for request in [*four(model), ask(model, Full(), lr=1e-3), ask(model, HeadOnly())]:
        first, second = (tiny.train(model, request)[0] for _ in range(2))
        assert apart(first, second) == 0.0
        assert first.adapter.digest() == second.adapter.digest()


@pytest.mark.parametrize("method", tiny.methods(), ids=lambda method: type(method).__name__)
def test_training_moves_every_trainable_parameter_and_nothing_else(method: Described) -> None:
    model = tiny.adapted()
    bare = fingerprint(model.encoder)
    request = ask(model, method, lr=1e-2)
    start = request.adapters[0]
    digest, head = start.digest(), {name: tensor.clone() for name, tensor in request.head_params.items()}
    [found] = tiny.train(model, request)
    assert fingerprint(model.encoder) == bare
    assert start.digest() == digest
    assert tiny.equal({"": request.head_params}, {"": head})
    start = chosen(tiny.adapted(), request).adapters[0]  # where the method looks at the task before it begins
    trained = now(model, found.adapter)
    assert trained.keys() >= now(model, start).keys()
    for address in start.params:
        for part, piece, params in start.pieces(address):
            for name, tensor in params.items():
                moved = not torch.equal(trained[address, part, name], tensor)
                # The encoder's key bias adds one constant to all scores of a token, which the softmax ignores.
                assert moved != (name in piece.fixed) or name.endswith("key:bias"), (address, name)
    assert all(not torch.equal(tensor, head[name]) for name, tensor in found.head_params.items())
    assert found.trainable == start.size + sum(tensor.numel() for tensor in head.values())


def now(model: AdaptedEncoder, adapter: Adapter) -> dict[tuple[str, str, str], Tensor]:
    """All that an adapter has, by address, part and name; and what the layers of the encoder share now."""
    own = {
        (address, part, name): tensor
        for address in adapter.params
        for part, _, params in adapter.pieces(address)
        for name, tensor in params.items()
    }
    shared = {(SHARED, group.part, n): t for group in model.shared.stacks for n, t in group.take(0).items()}
    return own | shared


def test_dropout_changes_what_is_learned(model: AdaptedEncoder) -> None:
    for method in (LoRA(), Bottleneck()):
        with_it, without = (
            tiny.train(model, ask(model, replace(method, dropout=p)))[0].head_params["weight"] for p in (0.5, 0.0)
        )
        assert tiny.gap(with_it, without) > 1e-6


def test_nothing_but_a_head_trains_on_features_computed_once(
    model: AdaptedEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [ask(model, HeadOnly(), task, seed=task) for task in (0, 1)]
    calls = []
    handle = model.encoder.register_forward_pre_hook(
        lambda module, args, options: calls.append(len(options["input_ids"])), with_kwargs=True
    )
    cached = tiny.train(model, *requests)
    # Two tasks of 96 training rows in batches of 64 rows, once; then 24 validation rows each.
    assert sorted(calls) == [24, 24, 32, 32, 64, 64]
    handle.remove()
    monkeypatch.setattr(Learner, "features", lambda self: None)
    for one, two in zip(cached, tiny.train(model, *requests), strict=True):
        assert apart(one, two) <= 1e-10


def test_the_rate_warms_up_and_then_falls_in_a_line(model: AdaptedEncoder) -> None:
    learner = Learner(model, [ask(model, LoRA(), epochs=5, warmup=0.2, lr=0.7)])
    [member] = learner.members
    rates = [member.rate(step) for step in range(31)]
    assert rates[:6] == pytest.approx([0.7 * (s + 1) / 7 for s in range(6)])
    assert rates[6] == max(rates) == pytest.approx(0.7)
    assert rates[6:] == pytest.approx([0.7 * (30 - s) / 24 for s in range(6, 31)])
    assert rates[30] == 0.0
    member.stopped = True
    assert member.rate(3) == 0.0


def own(member: Member, tensor: Tensor, owners: tuple[int, ...]) -> Tensor:
    return tensor[owners.index(member.index)]


def norms(slots: Slots) -> list[float]:
    """Each member's gradient norm."""
    found = []
    for member in range(slots.count):
        mine = [gradient.flatten() for _, gradient in slots.of(member) if gradient is not None]
        found.append(float(torch.cat(mine).norm()))
    return found


def test_each_member_is_clipped_to_its_own_norm(model: AdaptedEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A common norm would let a loud member slow the quiet ones."""
    seen: list[tuple[list[float], list[float]]] = []
    step = Slots.step

    def watched(slots: Slots, optimizer: torch.optim.Optimizer, *given: Sequence[float]) -> None:
        before = norms(slots)
        step(slots, optimizer, *given)
        stacked = optimizer.optimizer
        square = torch.zeros(3, dtype=torch.float64)
        for part in stacked.parts:
            square.index_add_(0, part.index, part.gradient.square().sum(1))
        seen.append((before, square.sqrt().tolist()))

    monkeypatch.setattr(Slots, "step", watched)
    clips = (1e-3, None, 1e6)
    requests = [ask(model, LoRA(rank=r), r, seed=r, clip=c, epochs=1) for r, c in enumerate(clips, 1)]
    tiny.train(model, *requests)
    assert len(seen) == 6
    for before, after in seen:
        assert before[0] > 2e-3
        assert after[0] == pytest.approx(1e-3, rel=1e-2)
        assert after[1:] == pytest.approx(before[1:], rel=1e-9)


class Held(Strategy):
    """Stops the head's gradients, and pulls the module to zero."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.seen: list[int] = []

    def rule(self, member: Member, stage: Stage) -> Rule:
        return Holding(member, stage, self)


class Holding(Rule):
    def __init__(self, member: Member, stage: Stage, of: Held) -> None:
        super().__init__(member, stage)
        self.of = of

    def penalty(self, row: Tensor, logits: Tensor) -> Tensor | float:
        assert len(row) == len(logits)
        self.of.seen.append(len(row))
        return 1e3 * torch.stack([own.value.square().sum() for own in self.member.parameters()]).sum()

    def gradients(self) -> None:
        self.of.steps.append(self.member.steps)
        for own in self.member.parameters():
            if own.name.startswith("head/"):
                assert own.gradient is not None
                own.gradient.zero_()

    def memory(self) -> Memory:
        return {own.name: own.value.detach().clone() for own in self.member.parameters()}


def staged(request: Learn, strategy: Strategy) -> Learn:
    task = toy.tasks()[0]
    encode = lambda rows: request.train  # noqa: E731
    stage = Stage((task,), past=(), memory={}, encode=encode, bare=torch.zeros, seed=0, one_head=False)
    return replace(request, strategy=strategy, stage=stage)


def test_a_strategy_may_add_to_the_loss_and_change_gradients_of_its_own_member(model: AdaptedEncoder) -> None:
    plain, other = (ask(model, LoRA(rank=2), task, seed=1, weight_decay=0.0, lr=1e-2) for task in (0, 1))
    held = staged(plain, strategy := Held())
    [changed, beside] = tiny.train(model, held, other)
    assert strategy.steps == list(range(12))
    assert len(strategy.seen) == 12
    assert sum(strategy.seen) == 2 * len(plain.train)
    assert tiny.equal({"": changed.head_params}, {"": plain.head_params})
    [free] = tiny.train(model, plain)
    size = [sum(float(p["a"].square().sum()) for p in x.adapter.params.values()) for x in (changed, free)]
    assert size[0] < 0.9 * size[1]
    assert apart(tiny.train(model, other)[0], beside) <= 1e-10


def test_a_strategy_that_is_not_asked_has_no_say(model: AdaptedEncoder) -> None:
    plain = ask(model, LoRA(rank=2), 0, seed=1)
    [one], [other] = tiny.train(model, plain), tiny.train(model, replace(plain, strategy=(strategy := Held())))
    assert tiny.equal(one.adapter.params, other.adapter.params)
    assert strategy.steps == []
    assert other.memory == {}


@pytest.mark.parametrize("patience", [None, 1])
def test_what_is_remembered_is_of_the_module_that_is_stored(model: AdaptedEncoder, patience: int | None) -> None:
    asked = staged(ask(model, LoRA(rank=2), 0, seed=1, lr=0.3, epochs=6, patience=patience), Held())
    [learned] = tiny.train(model, asked)
    kept = {name: tensor for name, tensor in learned.memory.items() if name.startswith("module/")}
    stored = [tensor for params in learned.adapter.params.values() for tensor in (params["a"], params["b"])]
    assert sorted(t.double().sum().item() for t in kept.values()) == pytest.approx(
        sorted(t.double().sum().item() for t in stored)
    )
    heads = [learned.memory[f"head/{name}"].shape for name in ("weight", "bias")]
    assert sorted(heads) == sorted(tensor.shape for tensor in learned.head_params.values())


def test_what_cannot_be_learned_together_is_refused(model: AdaptedEncoder) -> None:
    with pytest.raises(ContinualError, match="share the weight decay"):
        tiny.train(model, *(ask(model, LoRA(), weight_decay=decay) for decay in (0.0, 0.1)))
    with pytest.raises(ContinualError, match="learned alone"):
        tiny.train(model, ask(model, LoRA()), replace(ask(model, LoRA()), composition=Fusion()))
    with pytest.raises(ContinualError, match="works alone"):
        tiny.train(model, ask(model, LoRA()), ask(model, Full()))


def test_a_loss_that_is_lost_after_a_good_epoch_keeps_that_epoch_and_says_so(
    model: AdaptedEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = ask(model, LoRA(rank=2), patience=9)
    losses = Learner.losses

    def lost(learner: Learner, batch: Batch) -> Tensor:
        found = losses(learner, batch)
        return found * float("nan") if learner.members[0].steps >= 7 else found

    monkeypatch.setattr(Learner, "losses", lost)
    [learned] = tiny.train(model, request)
    assert learned.diverged == ""
    assert learned.cut_short.startswith("loss nan at step 8")


def test_padding_is_reported(model: AdaptedEncoder) -> None:
    request = ask(model, LoRA(), 3, batch_size=16, epochs=1)
    cut = tuple(unit[: 4 + 8 * (i % 2)] for i, unit in enumerate(request.train.inputs))  # 24 of 4 tokens, 24 of 12
    [learned] = tiny.train(model, replace(request, train=replace(request.train, inputs=cut)))
    assert learned.padding == pytest.approx((16 * 4 + 16 * 12 + 16 * 12) / (24 * 4 + 24 * 12))
    [even] = tiny.train(model, request)
    assert even.padding == 1.0


def test_padding_counts_all_units_of_a_row_and_each_batch_by_its_own_longest(model: AdaptedEncoder) -> None:
    request = ask(model, LoRA(), 3, batch_size=7, epochs=2)
    cut = tuple(unit[: 2 + (5 * i) % 9] for i, unit in enumerate(request.train.inputs))
    first = torch.arange(0, len(cut) + 1, 2)  # two units a row
    data = replace(request.train, inputs=cut, first=first, wanted=request.train.wanted[: len(first) - 1])
    [member] = Learner(model, [replace(request, train=data)]).members
    filled = real = 0
    for rows in member.batches:
        own = [len(cut[unit]) for row in rows.tolist() for unit in (2 * row, 2 * row + 1)]
        filled, real = filled + len(own) * max(own), real + sum(own)
    assert member.padding == filled / real > 1
