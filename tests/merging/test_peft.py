"""``peft``'s weighted adapters are the oracle: its functions on vectors, and its models' answers on whole modules."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import peft
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft.utils import merge_utils
from torch import Tensor

from continual.adapter import Adapter, generator
from continual.encoder.adapted import AdaptedEncoder
from continual.merging.arithmetic import Arithmetic
from continual.merging.base import Merging
from continual.merging.dare import Dare
from continual.merging.dare_ties import DareTies
from continual.merging.svd import SVD
from continual.merging.ties import Ties
from continual.method.ia3 import IA3
from continual.method.lora import LoRA
from continual.space.entries import elected
from tests import tiny

from .making import merge, module, says

pytestmark = [pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")]
PATHS = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "ffn_in": "intermediate.dense",
}
METHODS = [
    LoRA(rank=4, alpha=6.0, targets=("query", "value")),
    LoRA(rank=2, alpha=1.0, targets=("query", "ffn_in")),
    LoRA(rank=3, alpha=3.0, targets=("query", "value")),
]
WEIGHTS = (0.7, -0.4, 1.3)
numbers = st.lists(st.floats(-4, 4, width=32), min_size=12, max_size=12)


@settings(deadline=None)
@given(st.lists(numbers, min_size=1, max_size=4), st.lists(st.floats(-2, 2, width=32), min_size=4, max_size=4))
def test_signs_are_elected_as_there_but_for_ties_of_the_signs(rows: list[list[float]], weights: list[float]) -> None:
    tensors, weights = [torch.tensor(row) for row in rows], weights[: len(rows)]
    stack = torch.stack(tensors)
    mask = merge_utils.calculate_majority_sign_mask(stack)
    wanted = merge_utils.disjoint_merge(stack * torch.tensor(weights)[:, None], mask)
    found = elected([{"v": tensor} for tensor in tensors], weights)["v"]
    even = stack.sum(0) == 0
    assert torch.equal(found[even], torch.zeros(int(even.sum())))
    torch.testing.assert_close(found[~even], wanted[~even], atol=1e-6, rtol=1e-6)


@settings(deadline=None)
@given(numbers, st.floats(0.05, 1, exclude_max=True))
def test_the_trim_keeps_what_it_keeps_there(row: list[float], density: float) -> None:
    tensor = torch.tensor(row)
    found = Ties(density=density).trimmed({"v": tensor})["v"]
    theirs = merge_utils.magnitude_based_pruning(tensor, density)
    kept = theirs != 0
    assert torch.equal(found[kept], tensor[kept])
    more = (found != 0) & ~kept
    if more.any():  # of the magnitude at the edge: there any of them is kept, here all
        assert torch.equal(found[more].abs(), theirs[kept].abs().min().expand(int(more.sum())))


def test_without_a_majority_peft_elects_plus_and_we_nothing() -> None:
    tau = torch.tensor([1.0, -2.0])
    assert elected([{"v": tau}, {"v": -tau}], [1.0, 1.0])["v"].tolist() == [0.0, 0.0]
    theirs = merge_utils.ties([tau, -tau], torch.ones(2), 0.99, "total")
    assert theirs.tolist() != [0.0, 0.0]


def lora(method: LoRA) -> peft.LoraConfig:
    modules = [PATHS[target] for target in method.targets]
    return peft.LoraConfig(
        task_type="FEATURE_EXTRACTION", r=method.rank, lora_alpha=method.alpha, target_modules=modules
    )


def ia3(method: IA3) -> peft.IA3Config:
    modules = [PATHS[target] for target in method.targets]
    return peft.IA3Config(task_type="FEATURE_EXTRACTION", target_modules=modules, feedforward_modules=[])


def theirs(model: AdaptedEncoder, adapters: Sequence[Adapter], config: Callable[[Any], peft.PeftConfig]) -> Any:
    """A model of peft with the same adapters, "0", "1" and so on."""
    bare = copy.deepcopy(tiny.model())
    made = peft.get_peft_model(bare, config(adapters[0].method), adapter_name="0").eval()
    for number, adapter in enumerate(adapters):
        if number:
            made.add_adapter(str(number), config(adapter.method))
        for address, params in adapter.params.items():
            layer, site = address.split("/")
            held = made.base_model.model.get_submodule(f"encoder.layer.{layer}.{PATHS[site]}")
            with torch.no_grad():
                if "shift" in params:
                    held.ia3_l[str(number)].copy_(1 + params["shift"][:, None])
                else:
                    held.lora_A[str(number)].weight.copy_(params["a"])
                    held.lora_B[str(number)].weight.copy_(params["b"])
    return made


@torch.no_grad()
def their_answer(made: Any, weights: Sequence[float], **options: Any) -> Tensor:
    names = [str(number) for number in range(len(weights))]
    made.base_model.add_weighted_adapter(names, list(weights), "merged", **options)
    made.set_adapter("merged")
    batch = tiny.batch()
    return made(input_ids=batch.inputs, attention_mask=batch.mask).last_hidden_state


CASES: dict[str, tuple[Merging, dict[str, Any]]] = {
    "cat": (Arithmetic(WEIGHTS), {"combination_type": "cat"}),
    "svd": (SVD(WEIGHTS), {"combination_type": "svd"}),
    "svd of rank 2": (SVD(WEIGHTS, rank=2), {"combination_type": "svd", "svd_rank": 2}),
    "ties_svd": (Ties(WEIGHTS, density=0.3, scope="tensor"), {"combination_type": "ties_svd", "density": 0.3}),
    "ties_svd of rank 7": (
        Ties(WEIGHTS, density=0.6, scope="tensor", rank=7),
        {"combination_type": "ties_svd", "density": 0.6, "svd_rank": 7},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_merged_loras_answer_as_those_that_peft_merges(case: str) -> None:
    model = tiny.adapted()
    adapters = [module(model, method, seed) for seed, method in enumerate(METHODS)]
    merging, options = CASES[case]
    made = theirs(model, adapters, lora)
    assert tiny.gap(says(model, merge(merging, adapters)), their_answer(made, WEIGHTS, **options)) < 1e-5


def masks(model: AdaptedEncoder, adapters: Sequence[Adapter], density: float) -> Iterator[Tensor]:
    """Ours, in the order in which peft comes to the modules, and at each of them to the adapters."""
    for layer in range(2):
        for site in ("query", "value", "ffn_in"):
            for adapter in adapters:
                if (address := f"{layer}/{site}") in adapter.params:
                    rng = generator(5, "dare", f"{adapter.digest()}/0", f"{address}/b")
                    shape = model.shapes[address]
                    yield (torch.rand(shape.d_out, shape.d_in, generator=rng) < density).float()


@pytest.mark.parametrize(
    ("merging", "kind"),
    [
        (Dare(WEIGHTS, density=0.4, seed=5, rank=6), "dare_linear_svd"),
        (DareTies(WEIGHTS, density=0.4, seed=5, rank=6), "dare_ties_svd"),
    ],
    ids=["dare", "dare_ties"],
)
def test_with_the_same_masks_dare_answers_as_that_of_peft(
    merging: Merging, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny.adapted()
    adapters = [module(model, method, seed) for seed, method in enumerate(METHODS)]
    made, ours = theirs(model, adapters, lora), masks(model, adapters, 0.4)

    def next_mask(probability: Tensor) -> Tensor:
        mask = next(ours)
        assert mask.shape == probability.shape
        return mask

    with monkeypatch.context() as patch:
        patch.setattr(torch, "bernoulli", next_mask)
        wanted = their_answer(made, WEIGHTS, combination_type=kind, density=0.4, svd_rank=6)
    assert next(ours, None) is None
    assert tiny.gap(says(model, merge(merging, adapters)), wanted) < 1e-5


def test_ia3_with_weights_that_sum_to_one_answers_as_in_peft() -> None:
    model = tiny.adapted()
    adapters = [module(model, IA3(targets=("key", "value")), seed) for seed in range(3)]
    weights = (0.9, -0.4, 0.5)
    wanted = their_answer(theirs(model, adapters, ia3), weights)
    assert tiny.gap(says(model, merge(Arithmetic(weights), adapters)), wanted) < 1e-5


def test_what_peft_calls_linear_has_cross_terms_and_is_another_function() -> None:
    model = tiny.adapted()
    adapters = [module(model, METHODS[0], seed) for seed in range(2)]
    linear = their_answer(theirs(model, adapters, lora), (0.5, 0.5), combination_type="linear")
    exact = their_answer(theirs(model, adapters, lora), (0.5, 0.5), combination_type="cat")
    assert tiny.gap(linear, exact) > 0.01
    assert tiny.gap(says(model, merge(Arithmetic((0.5,)), adapters)), exact) < 1e-5
