"""Each rule against the same by hand, entry by entry or through another method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from continual.adapter import WEIGHTS, Adapter, flatten
from continual.encoder.adapted import AdaptedEncoder
from continual.errors import ContinualError
from continual.merging.arithmetic import Arithmetic
from continual.merging.base import Merging
from continual.merging.dare import Dare
from continual.merging.dare_ties import DareTies
from continual.merging.fisher import Fisher
from continual.merging.mean import Mean
from continual.merging.svd import SVD
from continual.merging.ties import Ties
from continual.method import named
from continual.method.bitfit import BitFit
from continual.method.bottleneck import Bottleneck
from continual.method.bundle import Bundle
from continual.method.full import Full
from continual.method.ia3 import IA3
from continual.method.lora import LoRA
from continual.method.parallel import Parallel
from continual.method.prefix import Prefix
from continual.method.sparse import Sparse
from continual.space.vector import vector
from tests import tiny

from .making import drawn, merge, module, says, several

values = st.lists(st.integers(-6, 6), min_size=6, max_size=6)


def biases(*rows: Sequence[float]) -> list[Adapter]:
    """Modules of BitFit with these numbers at two sites."""
    return [
        Adapter(BitFit(), {"0/query": {"bias": torch.tensor(row[:4])}, "1/ffn_out": {"bias": torch.tensor(row[4:])}})
        for row in rows
    ]


def flat(adapter: Adapter) -> Tensor:
    return torch.cat([tensor for _, tensor in sorted(flatten(adapter.params).items())])


def ties_by_hand(rows: list[list[float]], weights: list[float], keep: int) -> list[float]:
    """Algorithm 1 of the paper, number by number; all of the magnitude at the edge of the trim are kept."""
    trimmed = []
    for row in rows:
        edge = sorted((abs(x) for x in row), reverse=True)[keep - 1]
        trimmed.append([x if abs(x) >= edge else 0.0 for x in row])
    merged = []
    for place in range(len(rows[0])):
        here = [row[place] for row in trimmed]
        total = sum(here)
        agreeing = [w * x for w, x in zip(weights, here, strict=True) if x * total > 0]
        merged.append(sum(agreeing) / len(agreeing) if agreeing else 0.0)
    return merged


@settings(deadline=None)
@given(st.lists(values, min_size=1, max_size=4), st.integers(1, 6), st.sampled_from([1.0, 0.3]))
def test_ties_is_the_algorithm_of_its_paper(rows: list[list[int]], keep: int, lam: float) -> None:
    """Trimmed over all that a module changes, not tensor by tensor."""
    numbers = [[float(x) for x in row] for row in rows]
    found = Ties(weights=(lam,), density=min(1.0, keep / 6 + 0.01)).merge(biases(*numbers))
    assert flat(found).tolist() == pytest.approx(ties_by_hand(numbers, [lam] * len(rows), keep), abs=1e-6)


@settings(deadline=None)
@given(st.lists(values, min_size=1, max_size=4), st.lists(st.floats(-2, 2, width=32), min_size=4, max_size=4))
def test_arithmetic_is_the_weighted_sum_and_mean_the_mean(rows: list[list[int]], weights: list[float]) -> None:
    numbers, weights = torch.tensor(rows, dtype=torch.float32), weights[: len(rows)]
    found = flat(Arithmetic(tuple(weights)).merge(biases(*numbers.tolist())))
    torch.testing.assert_close(found, (numbers * torch.tensor(weights)[:, None]).sum(0), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(flat(Mean().merge(biases(*numbers.tolist()))), numbers.mean(0), atol=1e-6, rtol=1e-6)


def test_dare_drops_its_share_and_rescales_the_rest() -> None:
    tau = torch.arange(1.0, 20001.0)
    [one] = biases(tau.tolist())
    found = flat(Dare(density=0.3, weights=(2.0,)).merge([one]))
    kept = found != 0
    torch.testing.assert_close(found[kept], 2 * tau[kept] / 0.3)
    assert 0.28 < kept.float().mean() < 0.32  # 6 standard deviations


def test_masks_depend_on_seed_and_module_alone() -> None:
    one, other, third = biases([1.0] * 400, [2.0] * 400, [4.0] * 400)
    rule = Dare(density=0.5)

    def bits(adapter: Adapter) -> Tensor:
        return flat(adapter) / 2  # of 1, 2 and 4

    pair, three = bits(rule.merge([one, other])), bits(rule.merge([third, one, other]))
    alone = bits(rule.merge([third]))
    assert torch.equal(three, pair + alone)
    assert torch.equal(bits(rule.merge([one, other])), pair)
    assert not torch.equal(bits(Dare(density=0.5, seed=1).merge([one, other])), pair)
    twice = flat(rule.merge([one, one]))
    assert set(twice.tolist()) == {0.0, 2.0, 4.0}  # two masks, not one
    together = flat(DareTies(density=0.5).merge([one, other])) / 2
    assert set(together.tolist()) <= {0.0, 1.0, 2.0, 1.5}


def test_a_lora_dropped_entry_by_entry_needs_rank_and_the_svd_keeps_what_is_largest() -> None:
    model = tiny.adapted()
    parent = module(model, LoRA(rank=2, targets=("query",)))
    full = vector(Dare(density=0.5, rank=32).merge([parent]))
    for key, matrix in full.items():
        cut = vector(Dare(density=0.5, rank=4).merge([parent]))[key]
        s = torch.linalg.svdvals(matrix)
        assert float((cut - matrix).norm()) == pytest.approx(float(s[4:].square().sum().sqrt()), rel=1e-4)
        assert 0.4 < float((matrix.abs() < 1e-6).float().mean()) < 0.6


def test_svd_is_the_best_approximation_of_its_rank_to_the_exact_sum() -> None:
    model = tiny.adapted()
    parents = [module(model, LoRA(rank=rank, alpha=3.0), rank) for rank in (2, 3, 4)]
    exact = vector(Arithmetic((1.0, -0.5, 0.3)).merge(parents))
    for rank in (1, 4, 9, 30):
        merged = SVD((1.0, -0.5, 0.3), rank=rank).merge(parents)
        assert {len(p["a"]) for p in merged.params.values()} == {min(rank, 9)}
        for key, matrix in vector(merged).items():
            u, s, v = torch.linalg.svd(exact[key].double())
            torch.testing.assert_close(matrix.double(), u[:, :rank] * s[:rank] @ v[:rank], atol=1e-5, rtol=1e-4)
    assert {len(p["a"]) for p in SVD().merge(parents).params.values()} == {4}


def test_a_sum_of_loras_never_has_more_rank_than_its_matrix() -> None:
    model = tiny.adapted()
    parents = several(model, LoRA(rank=20, targets=("query", "ffn_in")), 3)
    merged = Arithmetic().merge(parents)
    assert {len(p["a"]) for p in merged.params.values()} == {32}
    wanted = sum(vector(parent)["1/ffn_in/b"] for parent in parents)
    torch.testing.assert_close(vector(merged)["1/ffn_in/b"], wanted, atol=1e-4, rtol=1e-4)


def whole(model: AdaptedEncoder, adapter: Adapter) -> Adapter:
    """A sparse change as one of all weights."""
    assert isinstance(adapter.method, Sparse)
    changed = adapter.method.changed(adapter.params[WEIGHTS], model.weights)
    delta = {n.replace(".", ":"): changed.get(n, w) - w for n, w in model.weights.items()}
    return Adapter(Full(), {WEIGHTS: delta})


@pytest.mark.parametrize(
    "merging",
    [Arithmetic((0.5, -1.0, 2.0)), Mean(), Ties((0.5,), density=1.0)],
    ids=lambda merging: type(merging).__name__,
)
def test_sparse_modules_merge_as_the_changes_of_all_weights_that_they_are(merging: Merging) -> None:
    model = tiny.adapted()
    parents = several(model, Sparse(density=0.1, rule="random"))
    indices = [set(parent.params[WEIGHTS]["index"].tolist()) for parent in parents]
    assert len(indices[0] & indices[1]) > 100  # some positions are changed by several
    merged = merge(merging, parents)
    wanted = merge(merging, [whole(model, parent) for parent in parents])
    assert tiny.gap(says(model, merged), says(model, wanted)) < 2e-5
    index = merged.params[WEIGHTS]["index"]
    assert torch.equal(index, torch.cat([p.params[WEIGHTS]["index"] for p in parents]).unique())
    assert index.dtype == torch.int32
    total = sum(weight.numel() for weight in model.weights.values())
    assert isinstance(merged.method, Sparse)
    assert merged.method.density == pytest.approx(len(index) / total, rel=0.1)


def test_where_a_linear_module_has_nothing_it_adds_nothing() -> None:
    model = tiny.adapted()
    for low, high in (
        (IA3(targets=("key",)), IA3(targets=("key", "value"), layers="1-")),
        (Full(layers="0"), Full(layers="1")),
        (LoRA(targets=("query",)), LoRA(targets=("value",))),
    ):
        parents = [module(model, low, 0), module(model, high, 1)]
        merged = vector(Arithmetic((2.0,)).merge(parents))
        one, other = (vector(parent) for parent in parents)
        assert merged.keys() == one.keys() | other.keys()
        for key, tensor in merged.items():
            none = torch.zeros_like(tensor)
            torch.testing.assert_close(tensor, 2 * (one.get(key, none) + other.get(key, none)), atol=1e-5, rtol=1e-5)


def test_fisher_weighs_each_entry() -> None:
    theta, other = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [3.0, 0.0, 1.0, -4.0, 5.0, 8.0]
    say, says_less = [1.0, 0.0, 5.0, 1e-9, 0.0, 2.0], [3.0, 7.0, 0.0, 1e-9, 0.0, 1.0]
    fishers = [vector(adapter) for adapter in biases(say, says_less)]
    found = flat(Fisher(weights=(1.0, 2.0)).merge(biases(theta, other), fishers))
    wanted = [(1 + 2 * 9) / 7, 0.0, 3.0, (4 - 8) / 3, 5.0, (12 + 16) / 4]
    assert found.tolist() == pytest.approx(wanted)


def test_fisher_with_equal_fishers_is_the_mean_and_a_module_without_a_site_has_no_say_there() -> None:
    model = tiny.adapted()
    parents = several(model, LoRA(rank=2))
    same = {key: torch.full_like(t, 1e-12) for key, t in vector(parents[0]).items()}
    merged = Fisher(rank=6).merge(parents, [same] * 3)
    assert tiny.gap(says(model, merged), says(model, Mean().merge(parents))) < 1e-5
    there, elsewhere = module(model, LoRA(targets=("query",))), module(model, LoRA(targets=("value",)), 1)
    merged = merge(Fisher(), [there, elsewhere])
    assert tiny.gap(vector(merged)["1/query/b"], vector(there)["1/query/b"]) < 1e-5


def test_fishers_that_are_not_of_these_modules_are_refused() -> None:
    parents = several(tiny.adapted(), LoRA(rank=2), 2)
    good = drawn(parents[0])
    with pytest.raises(ContinualError, match="got none"):
        Fisher().merge(parents)
    with pytest.raises(ContinualError, match="1 Fishers for 2 modules"):
        Fisher().merge(parents, [good])
    with pytest.raises(ContinualError, match=r"Fisher of module 1 is not of its vector: expected 4 tensors"):
        Fisher().merge(parents, [good, flatten(parents[1].params)])
    with pytest.raises(ContinualError, match=r"Fisher of module 0 is not finite or below 0 at 0/query/b"):
        Fisher().merge(parents, [{key: -t for key, t in good.items()}, good])
    with pytest.raises(ContinualError, match="must not be negative"):
        Fisher(weights=(1.0, -1.0))


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        (Bottleneck(8), Bottleneck(16), r"bottleneck modules differ at 0/ffn_norm/down: \(\d, 32\) and, in module \d"),
        (Bottleneck(8), Bottleneck(8, scale=2.0), "differ at 0/ffn_norm/scale: (1.0|2.0) and"),
        (Bottleneck(8), Bottleneck(8, activation="gelu"), "compute different functions.*activation: (relu|gelu) and"),
        (Bottleneck(8), Bottleneck(8, normalize=True), "compute different functions.*normalize"),
        (Bottleneck(8), Bottleneck(8, layers="1-"), r"different sites.*0/ffn_norm/down;.*same targets and layers"),
        (Bottleneck(8), Bottleneck(8, targets=("attn_norm",)), "different sites"),
        (Parallel(8), Parallel(8, learn_scale=True), "compute different functions.*learn_scale"),
        (Prefix(3), Prefix(5), "prefix modules differ at 0/attention/key"),
        (LoRA(), Bundle({"lora": {}}), "one method, got bundle and lora"),
        (Bundle({"lora": {}}), Bundle({"lora": {}, "ia3": {}}), r"bundles of different methods.*\[ia3, lora\] and"),
    ],
    ids=str,
)
def test_modules_that_do_not_correspond_are_refused(one: object, other: object, wanted: str) -> None:
    model = tiny.adapted()
    pair = [module(model, method, seed) for seed, method in enumerate((one, other))]  # type: ignore[arg-type]
    with pytest.raises(ContinualError, match=wanted):
        Mean().merge(pair)


def test_modules_of_encoders_of_other_widths_are_refused() -> None:
    model = tiny.adapted()
    wide, narrow = module(model, LoRA()), module(model, LoRA())
    narrow.params["1/value"]["a"] = narrow.params["1/value"]["a"][:, :16]
    with pytest.raises(ContinualError, match=r"differ at 1/value/b.*same encoder"):
        Mean().merge([wide, narrow])


def test_a_prefix_that_is_still_a_network_is_refused() -> None:
    model = tiny.adapted()
    with pytest.raises(ContinualError, match="as it is stored"):
        Mean().merge(several(model, named("prefix_mlp", {}), 2))


def test_what_is_not_linear_is_averaged_and_never_added() -> None:
    model = tiny.adapted()
    parents = several(model, Prefix(3), 2)
    with pytest.raises(ContinualError, match="sum to 2, but a prefix is not linear"):
        Arithmetic().merge(parents)
    assert Arithmetic((0.5,)).merge(parents).digest() == Mean().merge(parents).digest()
    mean = Mean().merge(parents).params["1/attention"]["key"]
    torch.testing.assert_close(
        mean, (parents[0].params["1/attention"]["key"] + parents[1].params["1/attention"]["key"]) / 2
    )


def test_a_bundle_is_merged_part_by_part() -> None:
    model = tiny.adapted()
    methods = {"ia3": IA3(), "lora": LoRA(rank=2)}
    alone = [{part: module(model, method, seed) for part, method in methods.items()} for seed in range(2)]
    whole = []
    for parts in alone:
        params: dict[str, dict[str, Tensor]] = {}
        for part, adapter in parts.items():
            for address, own in adapter.params.items():
                params.setdefault(address, {}).update({f"{part}.{name}": t for name, t in own.items()})
        whole.append(Adapter(Bundle({"ia3": {}, "lora": {"rank": 2}}), params))
    merged = Arithmetic((0.5, 2.0)).merge(whole)
    assert isinstance(merged.method, Bundle)
    assert merged.method.methods["lora"]["rank"] == 4
    for part in methods:
        wanted = Arithmetic((0.5, 2.0)).merge([parts[part] for parts in alone])
        for address, own in wanted.params.items():
            for name, tensor in own.items():  # the order of rank's columns may differ: it goes by content
                got = merged.params[address][f"{part}.{name}"]
                assert got.shape == tensor.shape
        found = {key: t for key, t in vector(merged).items() if f"/{part}." in key}
        for key, tensor in found.items():
            torch.testing.assert_close(tensor, vector(wanted)[key.replace(f"{part}.", "")], atol=1e-5, rtol=1e-5)
    assert says(model, merged).isfinite().all()


def test_gates_are_refused() -> None:
    model = tiny.adapted()
    with pytest.raises(ContinualError, match="merge bundles without gates"):
        Mean().merge(several(model, named("unipelt", {}), 2))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("merging", [Arithmetic((0.5,)), SVD((0.5,)), Ties(), Dare(), DareTies()], ids=str)
def test_sums_are_exact_and_the_result_has_the_precision_of_its_parents(merging: Merging, dtype: torch.dtype) -> None:
    parents = several(tiny.adapted(), LoRA(rank=2))

    def cast(adapter: Adapter, dtype: torch.dtype) -> Adapter:
        return replace(adapter, params={a: tiny.cast(own, dtype) for a, own in adapter.params.items()})

    low = [cast(parent, dtype) for parent in parents]
    merged = merging.merge(low)
    assert {t.dtype for own in merged.params.values() for t in own.values()} == {dtype}
    again = merging.merge(
        [replace(p, params={a: tiny.cast(o, torch.float64) for a, o in p.params.items()}) for p in low]
    )
    if isinstance(merging, Arithmetic | SVD):
        for key, tensor in vector(merged).items():
            assert tiny.gap(tensor.double(), vector(again)[key]) < (0.02 if dtype == torch.bfloat16 else 1e-12)


def test_a_vector_has_what_is_trained_and_of_a_lora_the_matrices() -> None:
    model = tiny.adapted()
    for method in (Bottleneck(8), Parallel(8, learn_scale=True), Full(), Sparse(density=0.1, rule="random")):
        adapter = module(model, method)
        assert sum(t.numel() for t in vector(adapter).values()) == adapter.size
    assert {tuple(t.shape) for t in vector(module(model, LoRA())).values()} == {(32, 32)}
