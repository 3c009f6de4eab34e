"""Every method on every encoder family: it works, or it is refused with the site that is missing and why."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from continual import folder
from continual.adapter import Adapter, fresh
from continual.encoder.adapted import AdaptedEncoder
from continual.errors import ContinualError
from continual.method import named
from continual.method.base import Bundled, Described, Method, Selective, WeightMethod
from continual.method.bottleneck import Bottleneck
from continual.method.full import Full
from continual.method.lora import LoRA
from continual.method.prefix import Prefix
from continual.method.prompt import Prompt
from continual.types import Batch
from tests import tiny

METHODS = folder.names("continual.method")
NO_PREFIX = ("deberta-v2", "mpnet")
NO_PROMPT = tuple(f for f in tiny.FAMILIES if f in tiny.IMAGES or f in ("clip_text_model", "siglip_text_model"))
BOUND = 1e-5  # of the largest state


@pytest.fixture(scope="module", params=tiny.FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def model(family: str) -> AdaptedEncoder:
    return tiny.adapted(family)


def lacking(method: Described, family: str) -> str | None:
    """The site that the family lacks and the method wants."""
    if "attention" in method.targets and family in NO_PREFIX:
        return "attention"
    return "embedding" if "embedding" in method.targets and family in NO_PROMPT else None


def usable(family: str) -> list[Described]:
    methods = [named(name, {}) for name in METHODS]
    return [m for m in methods if not isinstance(m, WeightMethod) and lacking(m, family) is None]


def far(a: Tensor, b: Tensor) -> float:
    """Largest difference, as a share of the largest state (CLIP's towers do not end in a norm)."""
    return tiny.gap(a, b) / float(b.detach().abs().max().clamp_min(1.0))


def alone(model: AdaptedEncoder, adapter: Adapter | None, batch: Batch) -> Tensor:
    model.load([] if adapter is None else [adapter])
    return model(replace(batch, member=None))


@pytest.mark.parametrize("name", METHODS)
def test_a_site_that_is_missing_is_named_with_the_reason(model: AdaptedEncoder, family: str, name: str) -> None:
    method = named(name, {})
    missing = lacking(method, family)
    if missing is None:
        fresh(method, model.shapes, model.weights, 0, model.absent)
        return
    with pytest.raises(ContinualError, match=rf"{missing}.*which this encoder lacks; {missing}: .*it has: .*query"):
        fresh(method, model.shapes, model.weights, 0, model.absent)


@torch.no_grad()
def test_all_methods_in_one_batch_answer_as_each_alone(model: AdaptedEncoder, family: str) -> None:
    adapters = [tiny.trained(method, model, seed) for seed, method in enumerate(usable(family))]
    count = len(adapters)
    batch = replace(tiny.batch_for(family, 2 * count), member=torch.arange(2 * count) % count)
    bare = alone(model, None, batch)
    wanted = torch.stack([alone(model, adapter, batch) for adapter in adapters])
    for method, answers in zip(usable(family), wanted, strict=True):
        assert (tiny.gap(answers, bare) > 1e-3) == (method.targets != ()), method
    model.load(adapters)
    found = model(batch)
    live = torch.ones(found.shape[:2], dtype=torch.bool) if batch.mask is None else batch.mask.bool()
    own = wanted[batch.member, torch.arange(2 * count)]
    assert far(found[live], own[live]) < BOUND


@pytest.mark.parametrize("family", tiny.TEXTS)
@torch.no_grad()
def test_padding_and_batch_mates_never_move_an_answer(family: str) -> None:
    model = tiny.adapted(family)
    adapters = [tiny.trained(method, model, seed) for seed, method in enumerate(usable(family))]
    batch = replace(tiny.batch(2 * len(adapters)), member=torch.arange(2 * len(adapters)) % len(adapters))
    live = batch.mask.bool()
    model.load(adapters)
    wanted = model(batch)
    pad = 1 if family == "mpnet" else 0
    wide = replace(batch, inputs=F.pad(batch.inputs, (0, 13), value=pad), mask=F.pad(batch.mask, (0, 13)))
    assert far(model(wide)[:, : live.shape[1]][live], wanted[live]) < BOUND
    noise = replace(batch, inputs=torch.where(live, batch.inputs, 7))  # other tokens where there are none
    if family not in ("roberta", "xlm-roberta", "camembert", "mpnet"):  # these count positions by what is padding
        assert far(model(noise)[live], wanted[live]) < BOUND
    some = torch.tensor([1, 0, len(live) - 1])
    few = Batch(batch.inputs[some], batch.mask[some], batch.row[some], member=batch.member[some])
    assert far(model(few)[live[some]], wanted[some][live[some]]) < BOUND


@pytest.mark.parametrize("name", METHODS)
@torch.no_grad()
def test_a_fresh_delta_changes_nothing(model: AdaptedEncoder, family: str, name: str) -> None:
    method = named(name, {})
    zero = isinstance(method, Method | WeightMethod)
    if lacking(method, family) or not zero or (isinstance(method, Selective) and method.rule != "random"):
        pytest.skip("not a delta, or not to be had without data or a site that is missing")
    batch = tiny.batch_for(family)
    assert torch.equal(
        alone(model, fresh(method, model.shapes, model.weights, 0, model.absent), batch), alone(model, None, batch)
    )


@pytest.mark.parametrize("name", METHODS)
def test_what_is_taken_out_answers_as_what_was_put_in(model: AdaptedEncoder, family: str, name: str) -> None:
    method = named(name, {"rule": "random"} if name == "sparse" else {})
    if lacking(method, family):
        return
    adapter, batch = tiny.trained(method, model), tiny.batch_for(family)
    model.load([adapter], train=[0])
    wanted = model(batch)
    taken = model.take()
    assert far(alone(model, taken, batch), wanted) < BOUND
    assert taken.size > 0 or not method.targets


@pytest.mark.parametrize("name", METHODS)
def test_gradients_reach_all_that_trains_and_nothing_of_the_encoder(
    model: AdaptedEncoder, family: str, name: str
) -> None:
    method = named(name, {"rule": "random"} if name == "sparse" else {})
    if lacking(method, family):
        return
    model.load([tiny.trained(method, model)], train=[0])
    states = model.read(tiny.batch_for(family)).tokens
    if states.requires_grad:
        states.square().mean().backward()
    for parameter, _ in model.slices():
        assert parameter.grad is not None or isinstance(method, Full)  # some of the encoder's weights are not used
    assert all(p.grad is None for p in model.encoder.parameters())
    model.load([])


@pytest.mark.parametrize("method", [LoRA(layers="1-"), Bottleneck(layers="1"), Prefix(layers="0"), Full(layers="1")])
@torch.no_grad()
def test_a_method_is_limited_to_its_layers(method: Described) -> None:
    model = tiny.adapted()
    adapter = tiny.trained(method, model)
    layer = "0" if method.layers == "0" else "1"
    if isinstance(method, Full):
        names = [name for params in adapter.params.values() for name in params]
        assert names
        assert all(":1:" in name for name in names)
    else:
        assert {address.split("/")[0] for address in adapter.params} == {layer}
    assert tiny.gap(alone(model, adapter, tiny.batch()), alone(model, None, tiny.batch())) > 1e-3


@pytest.mark.parametrize("layers", ["2", "1-0", "x", "-1", "", "0,,1"])
def test_layers_that_are_not_there_are_refused(layers: str) -> None:
    model = tiny.adapted()
    with pytest.raises(ContinualError, match=r"method\.layers is"):
        fresh(LoRA(layers=layers), model.shapes, model.weights, 0)


@torch.no_grad()
def test_lower_layers_can_be_dropped_at_inference() -> None:
    """What is left of a module above a layer answers as one that never had the layers below (AdapterDrop)."""
    model, batch = tiny.adapted(), tiny.batch()
    adapter = tiny.trained(Bottleneck(), model)
    upper = adapter.above(1)
    assert {address.split("/")[0] for address in upper.params} == {"1"}
    assert tiny.gap(alone(model, upper, batch), alone(model, adapter, batch)) > 1e-3
    states = []
    handle = model.encoder.encoder.layer[0].register_forward_hook(lambda module, args, out: states.append(out))
    alone(model, None, batch), alone(model, upper, batch)
    handle.remove()
    assert torch.equal(*states)


@pytest.mark.parametrize("method", [Prefix(), Prompt()], ids=["prefix", "prompt"])
def test_what_is_no_delta_cannot_be_mixed(method: Described) -> None:
    model = tiny.adapted()
    model.load([tiny.trained(method, model), tiny.trained(LoRA(), model)])
    with pytest.raises(ContinualError, match=r"adapters \[0\] act at .*not by deltas"):
        model.mix(lambda site: torch.nn.Identity())


def test_a_prompt_that_leaves_no_room_for_the_text_is_refused() -> None:
    model = tiny.adapted()
    with pytest.raises(
        ContinualError, match=r"prompt of 17 vectors before texts of encoder\.max_length=48 .*64 positions"
    ):
        model.load([tiny.trained(Prompt(length=17), model)])
    model.load([tiny.trained(Prompt(length=16), model)])


def test_a_bundle_is_its_methods_side_by_side() -> None:
    model, batch = tiny.adapted(), tiny.batch()
    bundle = named(
        "bundle", {"methods": {"lora": {"rank": 2}, "ia3": {"targets": ["ffn_in"]}, "prefix": {"length": 3}}}
    )
    assert isinstance(bundle, Bundled)
    adapter = tiny.trained(bundle, model)
    answer = alone(model, adapter, batch)
    sizes = [piece.method for address in adapter.params for piece in adapter.pieces(address)]
    assert {type(method).__name__ for method in sizes} == {"LoRA", "IA3", "Prefix"}
    for part in bundle.parts:  # without one of them it answers otherwise
        left = {
            address: {name: t for name, t in params.items() if not name.startswith(f"{part}.")}
            for address, params in adapter.params.items()
        }
        assert tiny.gap(alone(model, Adapter(bundle, left), batch), answer) > 1e-3
