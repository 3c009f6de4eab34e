"""What LwF, A-GEM, SI and DER++ do in a step, each against sums made by hand on a member of two numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from continual.errors import ContinualError
from continual.member import Own
from continual.strategy.agem import AGEM
from continual.strategy.base import Memory, Stage, Strategy
from continual.strategy.der import DER
from continual.strategy.lwf import LwF
from continual.strategy.si import SI
from continual.stream.base import Example, Task


@dataclass
class Data:
    """Rows as two features each; a row's content id is its number."""

    rows: list[Example]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def row(self) -> Tensor:
        return torch.tensor([int(str(example.text)) for example in self.rows])


@dataclass
class Linear:
    """A member that is one matrix: logits of row n are W (1, n)."""

    weight: Tensor
    steps: int = 0
    gradient: Tensor | None = None
    asked: list[list[int]] = field(default_factory=list)

    def parameters(self) -> list[Own]:
        return [Own("module/0", self.weight, self.gradient)]

    def rehearse(self, data: Data, rows: Sequence[int] | Tensor) -> tuple[Tensor, Tensor]:
        chosen = [data.rows[int(i)] for i in rows]
        self.asked.append([int(str(example.text)) for example in chosen])
        states = torch.tensor([[1.0, float(str(example.text))] for example in chosen])
        logits = states @ self.weight.T
        labels = torch.tensor([example.label for example in chosen])
        return logits, torch.nn.functional.cross_entropy(logits, labels)

    def gradients_of(self, loss: Tensor) -> list[Tensor | None]:
        return list(torch.autograd.grad(loss, [self.weight]))


def number(value: Tensor | float) -> float:
    return float(value.detach()) if isinstance(value, Tensor) else value


def member(rows: Sequence[Sequence[float]]) -> Linear:
    return Linear(torch.tensor(rows, requires_grad=True))


def stage(tasks: int, memory: Memory | None = None, labels: int = 2, **more: Any) -> Stage:
    names = tuple("abcdef"[:labels])
    made = [Task(f"t{n}", names, [Example(str(10 * n + i), i % 2) for i in range(4)], (), ()) for n in range(tasks)]
    past = (None,) * (tasks - 1)
    return Stage(tuple(made), past, memory or {}, Data, torch.zeros, seed=0, one_head=False, **more)  # type: ignore[arg-type]


def test_lwf_is_the_divergence_from_the_old_answers_of_each_old_task() -> None:
    before = member([[0.1, 0.2], [0.3, -0.1], [0.5, 0.0], [0.2, 0.2]])
    rivals = ((0, 1), (2, 3))
    rule = LwF(strength=3.0, temperature=2.0).rule(before, stage(2, rivals=rivals))  # type: ignore[arg-type]
    ids = torch.tensor([11, 13])
    old = torch.tensor([[1.0, 11.0], [1.0, 13.0]]) @ before.weight.detach().T
    assert number(rule.penalty(ids, old)) == pytest.approx(0, abs=1e-6)
    new = old + torch.tensor([[0.5, 0.0, 0.0, 2.0], [0.0, 1.0, 0.0, 0.0]])
    wanted = 0.0
    for outputs in rivals:
        p, q = ((z[:, list(outputs)] / 2).softmax(1) for z in (old, new))
        wanted += float((p * (p / q).log()).sum(1).mean())
    assert number(rule.penalty(ids, new)) == pytest.approx(3 * 4 * wanted, rel=1e-5)


def test_lwf_has_nothing_to_keep_at_the_first_task() -> None:
    rule = LwF().rule(member([[0.0, 0.0]]), stage(1))  # type: ignore[arg-type]
    assert rule.penalty(torch.tensor([1]), torch.zeros(1, 2)) == 0.0


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_agem_turns_only_a_step_that_makes_the_memory_worse(sign: float) -> None:
    of = member([[0.1, 0.0], [0.0, 0.1]])
    rule = AGEM(size=4, batch=4).rule(of, stage(2))  # type: ignore[arg-type]
    _, loss = of.rehearse(Data(list(stage(2).tasks[0].train)), range(4))
    [remembered] = of.gradients_of(loss)
    assert remembered is not None
    aside = torch.tensor([[remembered[0, 1], -remembered[0, 0]], [0.0, 0.0]])
    of.gradient = sign * remembered + aside
    given = of.gradient.clone()
    rule.gradients()
    assert of.gradient is not None
    if sign > 0:
        assert torch.equal(of.gradient, given)
    else:
        assert float((of.gradient * remembered).sum()) == pytest.approx(0, abs=1e-4)
        share = (given * remembered).sum() / (remembered * remembered).sum()
        assert torch.allclose(of.gradient, given - share * remembered)


def test_si_sums_what_each_step_lowered_the_loss_by() -> None:
    of = member([[1.0, 2.0]])
    rule = SI(strength=2.0, damping=0.5).rule(of, stage(1))  # type: ignore[arg-type]
    path = torch.zeros(1, 2)
    for gradient, step in (([[1.0, -1.0]], [[-0.5, 0.25]]), ([[2.0, 1.0]], [[-0.5, 0.75]])):
        of.gradient = torch.tensor(gradient)
        rule.gradients()
        with torch.no_grad():
            of.weight += torch.tensor(step)
        rule.stepped()
        path -= torch.tensor(gradient) * torch.tensor(step)
    memory = rule.memory()
    assert path.tolist() == [[1.5, -0.5]]
    assert torch.allclose(memory["omega/module/0"], torch.tensor([[1.5 / (1.0 + 0.5), 0.0]]))
    assert torch.equal(memory["anchor/module/0"], torch.tensor([[0.0, 3.0]]))
    then = SI(strength=2.0).rule(of, stage(2, memory))  # type: ignore[arg-type]
    with torch.no_grad():
        of.weight += torch.tensor([[2.0, 5.0]])
    penalty = then.penalty(torch.tensor([]), torch.tensor([]))
    assert isinstance(penalty, Tensor)
    assert number(penalty) == pytest.approx(2 * 1.0 * 2.0**2)
    [pull] = of.gradients_of(penalty)
    of.gradient = torch.tensor([[3.0, 0.0]]) + pull  # what backward leaves: of the task's loss and of the penalty
    then.gradients()
    with torch.no_grad():
        of.weight += torch.tensor([[-0.1, 0.0]])
    then.stepped()
    assert then.path["module/0"].tolist() == [[pytest.approx(0.3), 0.0]]  # type: ignore[attr-defined]


def test_der_remembers_answers_and_is_the_square_of_what_they_moved() -> None:
    of = member([[0.5, 0.1], [0.2, -0.1]])
    memory = DER(size=3).rule(of, stage(1)).memory()  # type: ignore[arg-type]
    assert memory["places"].shape == (3, 2)
    texts = [stage(1).tasks[0].train[row].text for _, row in memory["places"].tolist()]
    states = torch.tensor([[1.0, float(str(text))] for text in texts])
    assert torch.allclose(memory["logits"], states @ of.weight.detach().T)
    with torch.no_grad():
        of.weight += torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    grown = Linear(torch.cat([of.weight.detach(), torch.ones(2, 2)]).requires_grad_())
    rule = DER(size=3, batch=3, alpha=0.5, beta=0.0).rule(grown, stage(2, memory, labels=4))  # type: ignore[arg-type]
    penalty = rule.penalty(torch.tensor([]), torch.tensor([]))
    assert number(penalty) == pytest.approx(
        0.5 * (1.0**2) / 2
    )  # one of two old outputs moved by 1; new ones are not asked
    _, loss = grown.rehearse(Data([stage(1).tasks[0].train[row] for _, row in memory["places"].tolist()]), range(3))
    both = DER(size=3, batch=3, alpha=0.5, beta=2.0).rule(grown, stage(2, memory, labels=4))  # type: ignore[arg-type]
    assert number(both.penalty(torch.tensor([]), torch.tensor([]))) == pytest.approx(0.25 + 2 * number(loss), rel=1e-5)


def test_der_keeps_the_answers_of_rows_that_stay_and_asks_only_of_new_ones() -> None:
    first = DER(size=4).rule(member([[0.5, 0.1], [0.2, -0.1]]), stage(1)).memory()  # type: ignore[arg-type]
    later = member([[9.0, 9.0], [8.0, 8.0], [7.0, 7.0], [6.0, 6.0]])
    memory = DER(size=4).rule(later, stage(2, first, labels=4)).memory()  # type: ignore[arg-type]
    known = {tuple(place): logits for place, logits in zip(first["places"].tolist(), first["logits"], strict=True)}
    old = [i for i, (task, _) in enumerate(memory["places"].tolist()) if task == 0]
    assert 0 < len(old) < 4
    for i in old:
        assert torch.equal(memory["logits"][i, :2], known[tuple(memory["places"][i].tolist())])
        assert memory["logits"][i, 2:].isnan().all()
    assert all(text >= 10 for asked in later.asked for text in asked)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: LwF(temperature=0), "strategy.temperature above 0"),
        (lambda: SI(damping=0), "strategy.damping above 0"),
        (lambda: AGEM(size=0), "must be at least 1, got 0"),
        (lambda: DER(batch=0), "of 1 or more"),
    ],
)
def test_values_that_mean_nothing_are_refused(make: Any, why: str) -> None:
    with pytest.raises(ContinualError, match=why.replace(".", r"\.")):
        make()


def test_they_are_strategies() -> None:
    assert all(issubclass(kind, Strategy) and kind.shared for kind in (LwF, AGEM, SI, DER))
