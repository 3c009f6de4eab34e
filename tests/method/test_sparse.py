"""Selective fine-tuning: the right weights are chosen, they alone move, and little is stored."""

from __future__ import annotations

import pytest
import torch

from continual.adapter import WEIGHTS, Adapter, flatten, fresh
from continual.encoder.frozen import fingerprint
from continual.errors import ContinualError
from continual.method.sparse import Sparse
from tests import tiny

WEIGHTS_OF = {"a": torch.zeros(2, 3), "b": torch.zeros(4), "c": torch.zeros(3, 2)}  # positions 0-5, 6-9, 10-15
GRADIENTS = [
    {"a": torch.tensor([[3.0, 0, 0], [0, 0, 1]]), "b": torch.full((4,), 9.0), "c": torch.zeros(3, 2)},
    {"a": torch.tensor([[-3.0, 0, 0], [0, 0, 1]]), "b": torch.full((4,), 9.0), "c": torch.full((3, 2), 0.1)},
]


def chosen(rule: str, density: float) -> list[int]:
    return Sparse(density=density, rule=rule).select(WEIGHTS_OF, GRADIENTS)["index"].tolist()


def test_fisher_takes_the_largest_squared_gradients_and_gradient_the_largest_sums() -> None:
    """By hand: Σ g² is 18 at position 0 and 2 at 5; |Σ g| is 0 at position 0, 2 at 5 and 0.1 in all of c."""
    assert chosen("fisher", 2 / 16) == [0, 5]
    assert chosen("gradient", 1 / 16) == [5]
    assert chosen("gradient", 7 / 16) == [5, 10, 11, 12, 13, 14, 15]


def test_biases_are_never_chosen() -> None:
    assert not set(chosen("fisher", 1.0)) & {6, 7, 8, 9}


def test_values_are_added_where_the_positions_say() -> None:
    p = {"index": torch.tensor([0, 5, 11], dtype=torch.int32), "value": torch.tensor([1.0, 2.0, 3.0])}
    changed = Sparse().changed(p, WEIGHTS_OF)
    assert changed.keys() == {"a", "c"}
    assert changed["a"].tolist() == [[1.0, 0, 0], [0, 0, 2.0]]
    assert changed["c"].tolist() == [[0, 3.0], [0, 0], [0, 0]]


def test_random_choice_is_a_function_of_the_seed() -> None:
    first, again, other = (Sparse(density=0.3, rule="random").init_weights(WEIGHTS_OF, seed) for seed in (0, 0, 1))
    assert torch.equal(first["index"], again["index"])
    assert not torch.equal(first["index"], other["index"])


@pytest.mark.parametrize("rule", ["fisher", "gradient", "random"])
def test_only_the_chosen_weights_move(rule: str) -> None:
    model = tiny.adapted()
    method = Sparse(density=0.01, rule=rule, batches=2)
    start = fresh(method, model.shapes, model.weights, 0)
    bare = fingerprint(model.encoder)
    [learned] = tiny.train(model, tiny.request(model, start, lr=1e-2))
    params = learned.adapter.params[WEIGHTS]
    total = sum(weight.numel() for weight in model.weights.values())
    assert len(params["index"]) == round(0.01 * total) == learned.adapter.size
    assert params["value"].ne(0).float().mean() > 0.5
    assert fingerprint(model.encoder) == bare
    assert all(p.grad is None and not p.requires_grad for p in model.encoder.parameters())


def test_data_choose_the_same_weights_again_and_others_on_another_task() -> None:
    from continual.task_streams import toy

    model = tiny.adapted()
    start = fresh(Sparse(density=0.01, batches=2), model.shapes, model.weights, 0)
    indices = []
    for task in (0, 0, 1):
        [learned] = tiny.train(model, tiny.request(model, start, toy.tasks()[task]))
        indices.append(learned.adapter.params[WEIGHTS]["index"])
    assert torch.equal(indices[0], indices[1])
    assert not torch.equal(indices[0], indices[2])


def test_what_is_stored_is_less_than_half_a_percent_of_the_encoder() -> None:
    model = tiny.adapted()
    adapter = fresh(Sparse(rule="random"), model.shapes, model.weights, 0)
    size = sum(t.numel() * t.element_size() for t in flatten(adapter.params).values())
    assert size < 0.005 * sum(w.numel() * w.element_size() for w in model.weights.values())


def test_it_can_be_limited_to_layers() -> None:
    model = tiny.adapted()
    adapter = fresh(Sparse(rule="random", density=0.05, layers="1"), model.shapes, model.weights, 0)
    model.load([adapter])
    changed = adapter.method.changed(adapter.params[WEIGHTS], model.weights)  # type: ignore[attr-defined]
    assert changed
    assert all(".layer.1." in name for name in changed)


def test_a_zero_module_changes_nothing() -> None:
    model, batch = tiny.adapted(), tiny.batch()
    bare = model(batch)
    model.load([fresh(Sparse(rule="random"), model.shapes, model.weights, 0)])
    assert torch.equal(model(batch), bare)
    assert isinstance(model.take(), Adapter)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"rule": "magic"}, "unknown method.rule 'magic'; choose from: fisher"),
        ({"density": 0.0}, "method.density must be above 0"),
        ({"batches": 0}, "method.batches must be at least 1"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict, why: str) -> None:
    with pytest.raises(ContinualError, match=why):
        Sparse(**arguments)
