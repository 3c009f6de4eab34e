"""States below the lowest module, computed once: the same training, in fewer layers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers.models.bert.modeling_bert import BertIntermediate

from continual import trainer
from continual.adapter import flatten, fresh
from continual.composition.fusion import Fusion
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.depth import Depth, Start
from continual.errors import ContinualError
from continual.head.classify import Classify
from continual.method import named
from continual.method.base import Described
from continual.method.bottleneck import Bottleneck
from continual.method.full import Full
from continual.method.lora import LoRA
from continual.method.prompt import Prompt
from continual.report.record import Record
from continual.request import Learn, Learned, Recipe
from continual.stream.image import ImageReader
from continual.stream.units import collate
from continual.trainer import Machine
from continual.trunk import Trunk
from tests import mixed, running, tiny

UPPER = LoRA(layers="1-")
LAST = Bottleneck(layers="1-")
"""At the norm that ends the layer, where the family has one there."""
NORMS_FIRST = ("modernbert", "clip_text_model", "siglip_text_model", *tiny.IMAGES)
ONE = tuple(family for family in tiny.FAMILIES if family != "albert")


def asked(model: AdaptedEncoder, method: Described = UPPER, seed: int = 0, **recipe: int) -> Learn:
    return tiny.request(model, fresh(method, model.shapes, model.weights, seed, model.absent), seed=seed, **recipe)


def learned(method: Described = UPPER, machine: Machine | None = None, epochs: int = 3) -> Learned:
    model = tiny.adapted()
    [found] = trainer.learn(model, [asked(model, method, epochs=epochs)], machine or Machine(), tiny.QUIET)
    return found


def tensors(found: Learned) -> dict[str, Tensor]:
    return {**flatten(found.adapter.params), **found.head_params}


@pytest.fixture
def layers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of each layer that runs, in order."""
    ran, run = [], Depth._run

    def counted(depth: Depth, number: int, *rest: object, **named: object) -> object:
        out = run(depth, number, *rest, **named)
        if number >= depth.begin.layer:
            ran.append(number)
        return out

    monkeypatch.setattr(Depth, "_run", counted)
    return ran


@pytest.mark.parametrize("family", ONE)
@pytest.mark.parametrize("method", [UPPER, LAST], ids=str)
@torch.no_grad()
def test_a_forward_that_begins_at_the_lowest_module_answers_the_same_bit_for_bit(
    family: str, method: Described
) -> None:
    model, batch = tiny.adapted(family), tiny.batch_for(family)
    model.load([tiny.trained(method, model, 0)])
    wanted = model.read(batch)
    assert model.lowest.layer == 1
    assert (model.lowest.norm == "") == (method is UPPER or family in NORMS_FIRST)
    below = model.under(batch)
    found = model.read(replace(batch, below=below))
    assert torch.equal(found.tokens, wanted.tokens)
    assert torch.equal(found.pooled, wanted.pooled)
    assert not torch.equal(model.read(replace(batch, below=-below)).tokens, wanted.tokens)
    assert torch.equal(model.read(batch).tokens, wanted.tokens)  # and without them it begins at the first again
    model.release()
    assert all("forward" not in vars(module) for module in model.encoder.modules())


def test_the_lowest_place_is_that_of_whatever_acts() -> None:
    model, norm = tiny.adapted("bert"), "output.LayerNorm"
    for method, lowest in (
        (UPPER, Start(1)),
        (LAST, Start(1, norm)),
        (Bottleneck(layers="1-", targets=("ffn_norm", "ffn_post")), Start(1, norm)),
        (Bottleneck(layers="1-", targets=("attn_norm", "ffn_norm")), Start(1)),
        (Bottleneck(layers="1-", targets=("ffn_out", "ffn_norm")), Start(1)),
        (Bottleneck(), Start(0, norm)),
        (Full(layers="1-"), Start(1)),
        (Full(), Start(0)),
        (Prompt(), Start(0)),
    ):
        model.load([tiny.trained(method, model, 0)])
        assert model.lowest == lowest, method
    model.load([tiny.trained(method, model, 0) for method in (UPPER, Bottleneck())])
    assert model.lowest == Start(0, norm)
    model.load([tiny.trained(method, model, 0) for method in (UPPER, LAST)])
    assert model.lowest == Start(1)
    model.load([])
    assert model.lowest == Start(1)  # the last: what is above all modules is not left out
    shared = tiny.adapted("albert")
    shared.load([])
    assert shared.lowest == Start(0)


@pytest.mark.parametrize("method", [UPPER, replace(LAST, dropout=0.2), Full(layers="1-")], ids=str)
def test_training_on_kept_states_is_the_same_training(method: Described, tmp_path: Path) -> None:
    plain, kept = learned(method, Machine(cache=0)), learned(method)
    mapped = learned(method, Machine(cache_folder=str(tmp_path)))
    for name, tensor in tensors(plain).items():
        assert tiny.gap(tensors(kept)[name], tensor) <= 1e-5, name
        assert torch.equal(tensors(mapped)[name], tensors(kept)[name])
    assert not list(tmp_path.iterdir())
    assert plain.valid_score == kept.valid_score


def test_a_group_reads_kept_states_too(layers: list[int]) -> None:
    model = tiny.adapted()
    requests = [asked(model, seed=seed, epochs=3) for seed in range(2)]
    together = trainer.learn(model, requests, Machine(group=2), tiny.QUIET)
    assert layers.count(0) * 2 < layers.count(1)
    for request, found in zip(requests, together, strict=True):
        [alone] = trainer.learn(model, [request], Machine(cache=0), tiny.QUIET)
        assert all(tiny.gap(tensors(found)[name], t) <= 1e-4 for name, t in tensors(alone).items())


def test_of_the_layer_that_ends_in_the_lowest_module_only_its_norm_runs_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ran, intermediate = [], BertIntermediate.forward
    monkeypatch.setattr(BertIntermediate, "forward", lambda self, x: ran.append(self) or intermediate(self, x))
    counts = {}
    for method in (LAST, Bottleneck(layers="1-", targets=("attn_norm", "ffn_norm"))):
        ran.clear()
        learned(method, epochs=6)
        counts[method] = [ran.count(module) for module in dict.fromkeys(ran)]
    (below, upper), (alike, above) = counts.values()
    assert below == upper == alike < above
    ran.clear()
    learned(Bottleneck(), epochs=6)  # in all layers: of the first the norm alone
    first, second = (ran.count(module) for module in dict.fromkeys(ran))
    assert (first, second) == (below, above)


def test_layers_below_run_once_a_row_and_not_in_a_single_epoch(layers: list[int]) -> None:
    learned(epochs=3)
    once = layers.count(0)
    assert layers.count(1) > 2 * once
    layers.clear()
    learned(epochs=6)
    assert layers.count(0) == once
    layers.clear()
    for machine, method, epochs in ((None, UPPER, 1), (Machine(cache=0), UPPER, 3), (None, LoRA(), 3)):
        learned(method, machine, epochs)
    assert layers == []  # nothing stands between the encoder and its layers


def test_what_a_stage_kept_serves_the_next_and_the_oldest_makes_way() -> None:
    model, trunk = tiny.adapted(), Trunk(2**24)
    first, second = (replace(asked(model), train=split) for split in (asked(model).valid, asked(model).train))
    model.load(list(first.adapters))
    one = trunk.below(model, first.train, 2)
    assert one is not None
    assert trunk.below(model, first.train, 2) is one
    assert trunk.below(model, first.train, 1) is None  # kept or not: a run that was stopped has lost what was kept
    assert trunk.below(model, second.train, 1) is None
    assert trunk.below(model, second.train, 2) is not one
    room = sum(len(unit) for unit in second.train.inputs) * model.width * 4
    small = Trunk(room)
    assert small.below(model, first.train, 2) is not None
    assert small.below(model, second.train, 2) is not None
    assert [below.states.nbytes for below in small.kept.values()] == [room]
    assert Trunk(room - 1).below(model, second.train, 2) is None


def test_what_a_group_reads_at_once_has_room_together_or_nothing_of_it_is_kept() -> None:
    model = tiny.adapted()
    request = asked(model)
    model.load(list(request.adapters))
    sizes = [sum(len(unit) for unit in split.inputs) * model.width * 4 for split in (request.train, request.valid)]
    both = [(request.train, 2), (request.valid, 2)]
    tight = Trunk(sum(sizes) - 1)
    assert tight.together(model, both) is None
    assert not tight.kept
    assert tight.together(model, [(request.train, 2), (request.valid, 1)]) is None
    roomy = Trunk(sum(sizes))
    found = roomy.together(model, both)
    assert found is not None
    assert [below.states.nbytes for below in found] == sizes
    assert list(roomy.kept.values()) == found
    one = Trunk(sizes[0]).together(model, [(request.train, 2)] * 3)  # other seeds of one task: the same states
    assert one is not None
    assert one[0] is one[1] is one[2]


@pytest.mark.parametrize("method", [UPPER, LAST], ids=str)
def test_a_run_with_modules_above_is_the_same_with_and_without(method: Described, tmp_path: Path) -> None:
    def run(name: str, **machine: object) -> Record:
        recipe = Recipe(epochs=3, batch_size=8, lr=5e-3, patience=2)
        return running.run(
            tmp_path / name, method=method, compositions=(Fusion(),), recipe=recipe, machine=Machine(**machine)
        )

    plain, kept = run("plain", cache=0), run("kept")
    assert plain.id == kept.id
    assert [cell.score for cell in plain.cells] == [cell.score for cell in kept.cells]


def test_of_images_every_token_is_kept() -> None:
    encoder = tiny.encoder("vit")
    model, task = AdaptedEncoder(encoder), mixed.pictures({"train": 8, "valid": 4, "test": 4})
    data = ImageReader(encoder.tokenizer, encoder.max_length)(task.train, Classify(), task.labels)
    model.load([tiny.trained(UPPER, model)])
    below = Trunk(2**24).below(model, data, 2)
    assert below is not None
    batch = collate(data, [5, 2])
    kept = below.take([5, 2], int(below.first[1]))
    with torch.no_grad():
        assert torch.equal(model.read(replace(batch, below=kept)).tokens, model.read(batch).tokens)


def test_a_negative_room_and_a_folder_that_is_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ContinualError, match=r"trainer\.cache must be 0 or more bytes, got -1"):
        Machine(cache=-1)
    with pytest.raises(
        ContinualError, match=r"trainer\.cache_folder must be a folder that is there, got .*no; make it"
    ):
        Machine(cache_folder=str(tmp_path / "no"))


def test_networks_of_all_layers_act_before_all() -> None:
    model = tiny.adapted("bert")
    model.load([tiny.trained(named("prefix_mlp", {"layers": "1-"}), model, 0)])
    assert model.lowest == Start(0)


@pytest.mark.parametrize("first", ["prompt", "prefix_mlp"])
def test_what_acts_before_all_layers_is_not_left_out_beside_a_module_at_the_norm_of_the_first(first: str) -> None:
    model, method = tiny.adapted("bert"), named("bundle", {"methods": {first: {"length": 3}, "bottleneck": {}}})
    model.load([tiny.trained(method, model, 0)])
    assert model.lowest == Start(0)
    model.load([tiny.trained(named(first, {}), model, 0), tiny.trained(Bottleneck(), model, 1)])
    assert model.lowest == Start(0)
    plain, kept = learned(method, Machine(cache=0)), learned(method)
    assert all(torch.equal(tensors(kept)[name], tensor) for name, tensor in tensors(plain).items())


@torch.no_grad()
def test_states_of_one_precision_are_not_read_in_another() -> None:
    """Weights that change are left to autocast, whose states between layers are float32; other modules' are not."""
    model, trunk = tiny.adapted(), Trunk(2**20)
    model.lower, request = torch.bfloat16, asked(model, UPPER)
    seen = []
    for method in (Full(layers="1-"), UPPER):
        model.load([tiny.trained(method, model)])
        below = trunk.below(model, request.train, 2)
        assert below is not None
        batch = collate(request.train, [0, 1])
        batch.below = below.take(torch.tensor([0, 1]), batch.inputs.shape[1])
        assert model.read(batch).tokens.isfinite().all()
        seen.append(below.states.dtype)
    assert seen == [torch.float32, torch.bfloat16]
