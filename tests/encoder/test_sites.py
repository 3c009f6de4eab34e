"""An adapter is a delta at a site: alone, one per row, or mixed; on every family, for every method of the folder."""

from __future__ import annotations

import copy
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from continual.adapter import Adapter, flatten, fresh, unflatten
from continual.composition.base import Mixer
from continual.composition.fusion import Fusion
from continual.composition.unipelt import UniPELT
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.frozen import fingerprint, wrap
from continual.encoder.site import Parts, Site
from continual.errors import ContinualError
from continual.method.base import AttentionMethod, Bundled, Described, PromptMethod, Spread
from continual.method.bottleneck import Bottleneck
from continual.method.bundle import Bundle
from continual.method.full import Full
from continual.method.head import HeadOnly
from continual.method.lora import LoRA
from continual.types import Batch
from tests import tiny

BOUND = {torch.float32: 1e-5, torch.float64: 1e-10}


@pytest.fixture(scope="module", params=tiny.POST_NORM)
def model(request: pytest.FixtureRequest) -> AdaptedEncoder:
    return tiny.adapted(request.param)


@pytest.fixture(scope="module", params=[(f, d) for f in tiny.POST_NORM for d in BOUND], ids=str)
def precise(request: pytest.FixtureRequest) -> tuple[AdaptedEncoder, float]:
    family, dtype = request.param
    return tiny.adapted(family, dtype), BOUND[dtype]


def alone(model: AdaptedEncoder, adapter: Adapter | None, batch: Batch) -> Tensor:
    model.load([] if adapter is None else [adapter])
    return model(replace(batch, member=None))


def routed(rows: int, members: int) -> Batch:
    return replace(tiny.batch(rows), member=torch.arange(rows) % members)


class OneHot(Mixer):
    """All weight on one member; none at a site where it has no delta."""

    def __init__(self, site: Site, member: int) -> None:
        super().__init__()
        self.hot = torch.tensor([float(owner == member) for owner in site.members])

    def weights(self, x: Tensor, y: Tensor, mask: Tensor, parts: Parts) -> Tensor:
        return self.hot.to(y).expand(*y.shape[:2], -1)


# Four ways in which an encoder answers a batch: what is loaded, and which member each row has.


def single(model: AdaptedEncoder) -> Batch:
    model.load([tiny.trained(LoRA(rank=4, targets=("query", "ffn_out")), model)])
    return tiny.batch()


def routing(model: AdaptedEncoder) -> Batch:
    model.load(adapters := tiny.zoo(model))
    return routed(6, len(adapters))


def attention(model: AdaptedEncoder) -> Batch:
    Fusion().install(model, tiny.zoo(model), seed=1)
    return tiny.batch()


def gates(model: AdaptedEncoder) -> Batch:
    UniPELT().install(model, tiny.zoo(model), seed=1)
    return tiny.batch()


def full(model: AdaptedEncoder) -> Batch:
    model.load([tiny.trained(Full(), model)])
    return tiny.batch()


WAYS = pytest.mark.parametrize("way", [single, routing, attention, gates, full], ids=lambda way: way.__name__)
Way = Callable[[AdaptedEncoder], Batch]


@torch.no_grad()
def test_a_routed_batch_equals_each_adapter_alone(precise: tuple[AdaptedEncoder, float]) -> None:
    model, bound = precise
    adapters = tiny.zoo(model)
    batch = routed(2 * len(adapters), len(adapters))
    wanted = torch.stack([alone(model, adapter, batch) for adapter in adapters])
    model.load(adapters)
    assert tiny.gap(model(batch), wanted[batch.member, torch.arange(len(batch.inputs))]) <= bound
    assert tiny.gap(wanted[0], wanted[1]) > 0.1  # the adapters do change the answer


@torch.no_grad()
def test_a_one_hot_mix_equals_that_adapter(precise: tuple[AdaptedEncoder, float]) -> None:
    model, bound = precise
    adapters, batch = tiny.zoo(model), tiny.batch()
    wanted = [alone(model, adapter, batch) for adapter in adapters]
    model.load(adapters)
    for member, want in enumerate(wanted):
        model.mix(lambda site, member=member: OneHot(site, member))
        assert tiny.gap(model(batch), want) <= bound


def without_deltas(method: Described) -> bool:
    """Whether keys, values or vectors of its own are among what the tokens attend to: these cannot be nothing."""
    if isinstance(method, Bundled):
        return any(map(without_deltas, method.parts.values()))
    return isinstance(method, AttentionMethod | Spread | PromptMethod)


DELTAS = Bundle({"lora": {"rank": 2}, "bottleneck": {}})


@pytest.mark.parametrize("method", [*tiny.methods(), DELTAS], ids=lambda method: type(method).__name__)
@torch.no_grad()
def test_a_fresh_adapter_changes_nothing_unless_it_is_attended_to(model: AdaptedEncoder, method: Described) -> None:
    batch = tiny.batch()
    bare = alone(model, None, batch)
    answer = alone(model, fresh(method, model.shapes, model.weights, 0), batch)
    if without_deltas(method):
        assert all(tiny.gap(row, bare_row) > 1e-4 for row, bare_row in zip(answer, bare, strict=True))
    else:
        assert torch.equal(answer, bare)


@WAYS
@torch.no_grad()
def test_padding_batch_mates_and_row_order_never_move_an_answer(
    precise: tuple[AdaptedEncoder, float], way: Way
) -> None:
    model, bound = precise
    batch = way(model)
    live = batch.mask.bool()
    wanted = model(batch)

    wide = F.pad(batch.inputs, (0, 23)), F.pad(batch.mask, (0, 23))
    padded = model(replace(batch, inputs=wide[0], mask=wide[1]))[:, : live.shape[1]]
    assert tiny.gap(padded[live], wanted[live]) < bound

    order = torch.tensor([3, 0, 5, 1])  # another order, and two mates gone
    moved = model(pick(batch, order))
    assert tiny.gap(moved[live[order]], wanted[order][live[order]]) < bound


def pick(batch: Batch, rows: Tensor) -> Batch:
    return Batch(**{name: t[rows] if isinstance(t, Tensor) else t for name, t in vars(batch).items()})


@torch.no_grad()
def test_members_that_are_absent_at_a_site_answer_as_bare_there(model: AdaptedEncoder) -> None:
    lower = tiny.trained(LoRA(), model)
    lower = Adapter(lower.method, {a: p for a, p in lower.params.items() if a.startswith("0/")})
    adapters = [tiny.trained(Bottleneck(), model), tiny.trained(HeadOnly(), model), lower]
    batch = routed(6, 3)
    bare, half = alone(model, None, batch), alone(model, lower, batch)
    model.load(adapters)
    found = model(batch)
    assert tiny.gap(found[[1, 4]], bare[[1, 4]]) < 1e-5
    assert tiny.gap(found[[2, 5]], half[[2, 5]]) < 1e-5


@torch.no_grad()
def test_unequal_ranks_and_alphas_share_one_stack_and_come_out_without_padding(model: AdaptedEncoder) -> None:
    kinds = [LoRA(rank=1, alpha=7.0), LoRA(rank=8, alpha=1.0), LoRA(rank=4)]
    adapters = [tiny.trained(method, model, seed) for seed, method in enumerate(kinds)]
    batch = routed(6, 3)
    wanted = [alone(model, adapter, batch) for adapter in adapters]
    model.load(adapters)
    assert len(model.sites["0/query"].groups) == 1
    found = model(batch)
    for member, (adapter, want) in enumerate(zip(adapters, wanted, strict=True)):
        assert tiny.gap(found[batch.member == member], want[batch.member == member]) < 1e-5
        assert tiny.equal(model.take(member).params, adapter.params)


def test_what_is_taken_out_is_a_copy(model: AdaptedEncoder) -> None:
    for adapter in [*tiny.zoo(model), tiny.trained(Full(), model)]:
        model.load([adapter], train=[0])
        taken = model.take()
        assert taken.method == adapter.method
        assert tiny.equal(taken.params, adapter.params)
        with torch.no_grad():
            for parameter, _ in model.slices():
                parameter.add_(1.0)
        assert tiny.equal(taken.params, adapter.params)


@torch.no_grad()
def test_saved_and_loaded_again_an_adapter_answers_the_same_bits(model: AdaptedEncoder) -> None:
    batch = tiny.batch()
    for adapter in [*tiny.zoo(model), tiny.trained(Full(), model)]:
        again = Adapter(adapter.method, unflatten(load_tensors(save_tensors(flatten(adapter.params)))))
        assert again.digest() == adapter.digest()
        assert torch.equal(alone(model, adapter, batch), alone(model, again, batch))


def test_loading_mixing_and_training_leave_the_encoder_as_it_was(model: AdaptedEncoder) -> None:
    bare = tiny.encoder(model.encoder.config.model_type)
    for way in (single, routing, attention, gates, full):
        batch = way(model)
        model.load(model.loaded, train=range(len(model.loaded))) if not model.mixers() else None
        parameters = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=0.1)
        model.train()
        model(batch).square().mean().backward()
        optimizer.step()
        assert parameters
        assert not model.encoder.training
        assert all(not p.requires_grad and p.grad is None for p in model.encoder.parameters())
        assert list(model.encoder.state_dict()) == list(bare.model.state_dict())
        assert fingerprint(model.encoder) == bare.fingerprint


@WAYS
def test_gradients_reach_all_that_trains(model: AdaptedEncoder, way: Way) -> None:
    batch = way(model)
    if not model.mixers():
        model.load(model.loaded, train=range(len(model.loaded)))
        batch = replace(batch, member=None if len(model.loaded) == 1 else torch.arange(6) % len(model.loaded))
    model(batch).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name


def test_a_member_of_nothing_but_nan_spoils_neither_answers_nor_gradients_of_others(model: AdaptedEncoder) -> None:
    """The row of another member passes through a slot of every group, and must leave no trace there."""
    good = [tiny.trained(method, model) for method in (LoRA(), Bottleneck(), Bottleneck(activation="gelu"))]
    broken = tiny.trained(LoRA(targets=("query", "ffn_in")), model)
    broken = Adapter(broken.method, {a: {n: t * torch.nan for n, t in p.items()} for a, p in broken.params.items()})
    model.load([*good, broken], train=range(4))
    batch = routed(8, 4)
    ok = batch.member < 3
    found = model(batch)
    assert found[~ok].isnan().any()
    assert found[ok].isfinite().all()
    found[ok].square().mean().backward()
    for parameter, owners in model.slices():
        for slot, owner in enumerate(owners):
            assert owner == 3 or parameter.grad[slot].isfinite().all()


def few(model: AdaptedEncoder) -> list[Adapter]:
    """Compiling takes seconds for each adapter: two groups, one of them with unequal ranks."""
    kinds = [LoRA(rank=2, targets=("value",)), LoRA(rank=4, targets=("value",)), Bottleneck()]
    return [tiny.trained(method, model, seed) for seed, method in enumerate(kinds)]


def few_routed(model: AdaptedEncoder) -> Batch:
    model.load(few(model))
    return routed(6, 3)


def few_attention(model: AdaptedEncoder) -> Batch:
    Fusion().install(model, few(model), seed=1)
    return tiny.batch()


def few_gates(model: AdaptedEncoder) -> Batch:
    UniPELT().install(model, few(model), seed=1)
    return tiny.batch()


def compiles(way: Way, family: str, backend: str) -> None:
    torch._dynamo.reset()
    model = tiny.adapted(family)
    batch = way(model)
    wanted = model(batch)
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    assert tiny.gap(compiled(batch), wanted) <= 1e-5


@pytest.mark.parametrize("way", [single, few_routed, few_attention, few_gates], ids=lambda way: way.__name__)
@torch.no_grad()
def test_compiled_as_one_graph_it_answers_the_same(way: Way) -> None:
    compiles(way, "bert", "aot_eager")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch 2.13's inductor itself
@pytest.mark.parametrize("family", ["bert", "distilbert"])
@pytest.mark.parametrize("way", [single, few_routed, few_attention, few_gates], ids=lambda way: way.__name__)
@torch.no_grad()
def test_compiled_to_machine_code_it_answers_the_same(family: str, way: Way) -> None:
    if shutil.which("c++") is None:
        pytest.skip("no C++ compiler")
    compiles(way, family, "inductor")


@torch.no_grad()
def test_copies_and_pickles_are_independent(model: AdaptedEncoder) -> None:
    batch = routing(model)
    wanted = model(batch)
    for made in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(made(batch), wanted)
        made.load([tiny.trained(LoRA(), model, seed=9)])
        assert tiny.gap(made(replace(batch, member=None)), wanted) > 0.1
        assert torch.equal(model(batch), wanted)


@WAYS
@torch.no_grad()
def test_bf16_autocast_stays_finite(model: AdaptedEncoder, way: Way) -> None:
    batch = way(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(batch).isfinite().all()


def test_what_cannot_be_loaded_is_refused_with_the_choices(model: AdaptedEncoder) -> None:
    lora = tiny.trained(LoRA(), model)
    with pytest.raises(ContinualError, match=r"9/query.*this encoder has: 0/query"):
        model.load([Adapter(LoRA(), {"9/query": lora.params["0/query"]})])
    with pytest.raises(ContinualError, match=r"querry.*it has: attention, attn_act"):
        fresh(LoRA(targets=("querry",)), model.shapes, model.weights, 0)
    with pytest.raises(ContinualError, match="works alone"):
        model.load([lora, tiny.trained(Full(), model)])
    model.load([lora, lora])
    with pytest.raises(ContinualError, match=r"2 adapters are loaded: give batch\.member"):
        model(tiny.batch())
    with pytest.raises(ContinualError, match="no adapter 2: 2 are loaded"):
        model.take(2)


def test_an_encoder_that_runs_in_chunks_is_refused() -> None:
    made = tiny.model()
    made.config.chunk_size_feed_forward = 4
    with pytest.raises(ContinualError, match="chunk_size_feed_forward"):
        AdaptedEncoder(wrap(made, tiny.tokenizer(), name="chunked"))
