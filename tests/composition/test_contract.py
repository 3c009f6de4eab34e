"""What every file of ``continual/composition`` promises; a new file is tested without a line here."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from continual import folder
from continual.adapter import Adapter, fresh
from continual.composition import Watch, name_of, named, restore
from continual.composition.base import Composition, mixer_params
from continual.encoder.adapted import AdaptedEncoder
from continual.errors import ContinualError
from continual.head.classify import Classify
from continual.method import named as method_named
from continual.request import Learned
from continual.store import Card, EncoderRef, Store
from tests import tiny

from .mixing import adapters as stack
from .mixing import scatter

NAMES = folder.names("continual.composition")


@pytest.fixture(params=NAMES)
def composition(request: pytest.FixtureRequest) -> Composition:
    return named(request.param, {})


@pytest.fixture
def model() -> AdaptedEncoder:
    return tiny.adapted()


def learns(model: AdaptedEncoder) -> bool:
    """Whether what is installed has mixers with parameters; a fixed composition has none."""
    found = {any(True for _ in mixer.parameters()) for mixer in model.mixers().values()}
    assert len(found) == 1  # all sites or none
    return found.pop()


def bits(adapters: list[Adapter]) -> list[str]:
    return [adapter.digest() for adapter in adapters]


def test_a_card_can_name_it_again(composition: Composition) -> None:
    assert len((type(composition).__doc__ or "").split()) > 5
    values = json.loads(json.dumps(folder.arguments(composition)))
    assert named(name_of(composition), values) == composition
    with pytest.raises(ContinualError, match=r"does not take \['surprise'\]; it takes \["):
        named(name_of(composition), {"surprise": 1})


@pytest.mark.parametrize("name", ["fusoin", "../fusion", "base", "os.system"])
def test_unknown_names_are_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(ContinualError, match=", ".join(NAMES)):
        named(name, {})


def test_modules_without_sites_are_refused(composition: Composition, model: AdaptedEncoder) -> None:
    bare = fresh(method_named("head", {}), model.shapes, model.weights, 0)
    with pytest.raises(ContinualError, match="sites; these have none"):
        composition.install(model, [bare, bare], seed=0)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_module_with_numbers_that_are_not_finite_is_refused_by_name(
    wrong: float, composition: Composition, model: AdaptedEncoder
) -> None:
    good, bad = (tiny.trained(method_named("bottleneck", {}), model, seed) for seed in range(2))
    address = sorted(bad.params)[-1]
    name = sorted(bad.params[address])[0]
    bad.params[address][name].view(-1)[0] = wrong
    with pytest.raises(
        ContinualError, match=f"adapter 1 of 2 .Bottleneck. has NaN or infinity at {address}, in {name}"
    ):
        composition.install(model, [good, bad], seed=0)


def test_training_moves_the_mixers_and_the_head_alone(composition: Composition, model: AdaptedEncoder) -> None:
    adapters = stack(model, "mixed")  # all meet at one site: alone there, an adapter leaves nothing to attend to
    before = bits(adapters)
    composition.install(model, adapters, seed=5)
    fresh_mixers, fixed = mixer_params(model), not learns(model)
    learned = train(model, composition, adapters)
    assert fixed == (learned.mixers == {})
    started = tiny.request(model, adapters[0], seed=5).head_params
    for name, tensor in learned.head_params.items():
        assert not torch.equal(tensor, started[name]), name
    assert bits(adapters) == before
    assert bits([model.take(n) for n in range(len(adapters))]) == before
    assert learned.mixers.keys() == fresh_mixers.keys()
    for name, tensor in learned.mixers.items():
        assert not torch.equal(tensor, fresh_mixers[name]), name
    size = sum(tensor.numel() for tensor in learned.mixers.values())
    assert learned.trainable == size + sum(tensor.numel() for tensor in learned.head_params.values())


def train(model: AdaptedEncoder, composition: Composition, adapters: list[Adapter], **recipe: int) -> Learned:
    request = tiny.request(model, adapters[0], seed=5, **recipe)
    [learned] = tiny.train(model, replace(request, adapters=tuple(adapters), composition=composition, lr=0.03))
    return learned


@torch.no_grad()
def test_stored_and_restored_it_gives_the_same_answers(
    composition: Composition, model: AdaptedEncoder, tmp_path: Path
) -> None:
    adapters, batch = tiny.zoo(model), tiny.batch()
    composition.install(model, adapters, seed=5)
    scatter(model)
    wanted = model(batch)
    card = Card(
        kind="composition",
        method=name_of(composition),
        arguments=folder.arguments(composition),
        encoder=EncoderRef(name="tiny", revision=None, fingerprint="0"),
        pooling="mean",
        head="classify",
        labels=("a", "b"),
        tensors={},
    )
    store = Store(tmp_path)
    store.put("mixed", card, mixer_params(model), {})
    model.load([])
    entry = store.get("mixed")
    restore(model, named(entry.card.method, entry.card.arguments), adapters, entry.tensors)
    assert torch.equal(model(batch), wanted)


def test_mixers_for_other_adapters_are_refused(composition: Composition, model: AdaptedEncoder) -> None:
    adapters = tiny.zoo(model)
    composition.install(model, adapters, seed=5)
    mixers = mixer_params(model)
    with pytest.raises(ContinualError, match="mixer"):
        restore(model, composition, adapters, {**mixers, "0/ffn_norm/surprise": torch.ones(1)})
    if not learns(model):
        assert mixers == {}
        return
    with pytest.raises(ContinualError, match="mixer"):  # some site has no mixer to take them
        restore(model, composition, adapters[:1], mixers)
    with pytest.raises(ContinualError, match="mixer"):  # some site would keep a fresh mixer
        restore(model, composition, adapters, {k: t for k, t in mixers.items() if not k.startswith("0/")})
    with pytest.raises(ContinualError, match="mixer"):
        restore(model, composition, adapters, {k: t[..., :1] for k, t in mixers.items()})


@torch.no_grad()
def test_the_watch_averages_over_tokens_or_rows(composition: Composition, model: AdaptedEncoder) -> None:
    composition.install(model, tiny.zoo(model), seed=5)
    scatter(model)
    batches = [tiny.batch(), tiny.batch(rows=3, tokens=5, short=2, seed=1)]
    seen: dict[str, list[Tensor]] = {address: [] for address in model.mixers()}

    def note(address: str, mask: Tensor, weights: Tensor) -> None:
        rows, tokens, _ = weights.shape
        seen[address] += [weights[b, t] for b in range(rows) for t in range(tokens) if tokens == 1 or mask[b, t]]

    handles = [
        mixer.register_forward_hook(lambda m, args, _, address=address: note(address, args[2], m.weights(*args)))
        for address, mixer in model.mixers().items()
    ]
    with Watch(model) as watch:
        for batch in batches:
            model(batch)
    for handle in handles:
        handle.remove()
    means = watch.means()
    model(batches[0])
    assert watch.means() == means  # it watches no longer
    assert means.keys() == seen.keys()
    for address, mixer in model.mixers().items():
        assert means[address] == pytest.approx(torch.stack(seen[address]).double().mean(0).tolist(), abs=1e-6)
        assert len(means[address]) == len(model.sites[address].members)
        if mixer.kind == "attention":
            assert sum(means[address]) == pytest.approx(1.0, abs=1e-5)
        by_member = watch.shares()[address]
        assert set(by_member) == set(model.sites[address].members)
        assert sum(by_member.values()) == pytest.approx(sum(means[address]))


def test_its_kind_says_whether_it_is_learned(composition: Composition, model: AdaptedEncoder) -> None:
    composition.install(model, tiny.zoo(model), seed=5)
    assert {mixer.kind == "fixed" for mixer in model.mixers().values()} == {not learns(model)}
    assert composition.penalty(model) == 0.0 or learns(model)


@torch.no_grad()
def test_padding_and_batch_mates_move_no_answer(composition: Composition) -> None:
    model = tiny.adapted(dtype=torch.float64)
    composition.install(model, tiny.zoo(model), seed=5)
    scatter(model)
    batch = tiny.batch(rows=4, tokens=9, short=9)
    wanted = model(batch)
    assert batch.mask is not None
    alone = replace(batch, inputs=batch.inputs[1:2], mask=batch.mask[1:2], row=batch.row[1:2])
    assert tiny.gap(model(alone), wanted[1:2]) <= 1e-10
    wide = replace(batch, inputs=pad(batch.inputs, 0, 14), mask=pad(batch.mask, 0, 14))
    other = replace(batch, inputs=pad(batch.inputs, 77, 14), mask=wide.mask)
    assert tiny.gap(model(wide)[:, :9], wanted) <= 1e-10
    assert tiny.gap(model(other)[:, :9], wanted) <= 1e-10


def pad(tensor: Tensor, value: int, length: int) -> Tensor:
    return torch.nn.functional.pad(tensor, (0, length - tensor.shape[1]), value=value)


@torch.no_grad()
def test_one_module_and_the_same_module_twice_are_defined(composition: Composition, model: AdaptedEncoder) -> None:
    batch, one = tiny.batch(), tiny.trained(method_named("bottleneck", {}), model)
    for adapters in ([one], [one, one]):
        composition.install(model, adapters, seed=5)
        assert model(batch).isfinite().all()
        assert bits([model.take(n) for n in range(len(adapters))]) == bits(adapters)


def test_prompts_are_refused_saying_what_can_be_done(composition: Composition, model: AdaptedEncoder) -> None:
    adapters = [tiny.trained(method_named(name, {}), model) for name in ("bottleneck", "prompt")]
    with pytest.raises(ContinualError, match=r"alone or routed.*; compose modules of other methods"):
        composition.install(model, adapters, seed=0)


def test_modules_of_another_encoder_are_refused(composition: Composition, model: AdaptedEncoder) -> None:
    foreign = tiny.trained(method_named("bottleneck", {}), model)
    foreign = replace(foreign, params={f"7/{a.split('/')[1]}": p for a, p in foreign.params.items()})
    with pytest.raises(ContinualError, match="this encoder has"):
        composition.install(model, [foreign, foreign], seed=0)


def test_none_at_all_is_refused(composition: Composition, model: AdaptedEncoder) -> None:
    with pytest.raises(ContinualError, match="sites; these have none"):
        composition.install(model, [], seed=0)


def test_with_patience_the_mixers_are_those_of_the_best_epoch(composition: Composition, model: AdaptedEncoder) -> None:
    """Head and mixers must be of one moment: together they score what was promised."""
    adapters = [tiny.trained(method_named("bottleneck", {}), model, seed) for seed in range(2)]
    learned = train(model, composition, adapters, epochs=8, patience=3)
    request = tiny.request(model, adapters[0])
    restore(model, composition, adapters, learned.mixers)
    found = tiny.answers(model, Classify(), learned.head_params, request.valid)
    right = [answer == wanted for answer, wanted in zip(found, request.valid.wanted, strict=True)]
    assert sum(right) / len(right) == pytest.approx(learned.valid_score)
