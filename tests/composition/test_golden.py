"""What `adapters` 1.3.0 recorded of several modules at once, outputs and gradients, against ours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import BertConfig, BertModel

from continual.adapter import unflatten
from continual.composition import restore
from continual.composition.average import Average
from continual.composition.base import Composition
from continual.composition.fusion import Fusion
from continual.composition.split import Split
from continual.composition.stack import Stack
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.frozen import wrap
from continual.exchange import fusion
from continual.types import Batch
from tests import tiny

GOLDEN = Path(__file__).parents[1] / "golden" / "adapters"
OURS = {"query": "query.weight", "query_bias": "query.bias", "key": "key.weight", "value": "value.weight"}


@pytest.fixture
def model() -> AdaptedEncoder:
    bare = BertModel(BertConfig.from_pretrained(GOLDEN / "base"))
    bare.load_state_dict(load_file(GOLDEN / "base" / "model.safetensors"))
    return AdaptedEncoder(wrap(bare, tiny.tokenizer(), name="golden", max_length=48))


def batch(end: str = "") -> Batch:
    inputs = load_file(GOLDEN / "base" / "inputs.safetensors")
    return Batch(inputs=inputs[f"input_ids{end}"], mask=inputs[f"attention_mask{end}"], row=torch.arange(3))


def recorded(block: str) -> dict[str, Tensor]:
    return load_file(GOLDEN / "compositions" / f"{block}.safetensors")


def restored(model: AdaptedEncoder, case: str, composition: Fusion) -> None:
    """The library's fusion, in the form of this one of ours."""
    setup = fusion.read(GOLDEN / case, model)
    mixers = {key: t for key, t in setup.mixers.items() if composition.values or not key.endswith("/value")}
    restore(model, composition, [member.adapter for member in setup.members.values()], mixers)


@pytest.mark.parametrize(
    ("case", "ours"), [("fusion_dynamic", Fusion()), ("fusion_static", Fusion(values=False))], ids=["dynamic", "static"]
)
def test_gradients_of_a_fusion_are_the_recorded_ones(case: str, ours: Fusion, model: AdaptedEncoder) -> None:
    restored(model, case, ours)
    expected = load_file(GOLDEN / case / "expected.safetensors")
    probe = load_file(GOLDEN / "base" / "inputs.safetensors")["probe"][:, :9]
    states = model(batch())
    assert tiny.gap(states, expected["hidden"]) <= 1e-5
    (states * probe).sum().backward()
    compared = 0
    for address, mixer in model.mixers().items():
        place = f"bert.encoder.layer.{address[0]}.output.adapter_fusion_layer.one,two,three"
        for name, parameter in mixer.named_parameters():
            wanted = expected[f"grad/{place}.{OURS[name]}"]
            assert wanted.abs().max() > 0.01
            # Float32 sums over tokens: how they are grouped, and so their last digits, is a matter of the CPU.
            assert tiny.gap(parameter.grad, wanted) <= 3e-5 * float(wanted.abs().max().clamp_min(1))
            compared += 1
        assert expected[f"grad/{place}.key.bias"].abs().max() < 1e-4  # why ours has no such bias
    assert compared == 2 * (4 if ours.values else 3)


@torch.no_grad()
def test_a_temperature_is_the_recorded_one_at_the_start_and_on_its_way(model: AdaptedEncoder) -> None:
    expected = recorded("fusion_temperature")
    setup = fusion.read(GOLDEN / "fusion_dynamic", model)
    members = [member.adapter for member in setup.members.values()]
    for steps, name in ((0, "hidden"), (400, "hidden_cooled")):
        cooled = {f"{address}/steps": torch.tensor(steps) for address in unflatten(setup.mixers)}
        restore(model, Fusion(temperature=50.0), members, {**setup.mixers, **cooled})
        assert tiny.gap(model(batch()), expected[name]) <= 1e-5
    assert tiny.gap(expected["hidden"], expected["hidden_cooled"]) > 1e-3


@pytest.mark.parametrize(
    ("block", "ours"),
    [
        ("stack", Stack()),
        ("split", Split(lengths=(4, 3))),
        ("average", Average(weights=(5.0, 3.0, 2.0))),
    ],
    ids=["stack", "split", "average"],
)
@torch.no_grad()
def test_fixed_compositions_are_the_recorded_ones(block: str, ours: Composition, model: AdaptedEncoder) -> None:
    setup = fusion.read(GOLDEN / "fusion_dynamic", model)
    ours.install(model, [member.adapter for member in setup.members.values()], seed=0)
    expected = recorded(block)
    bare = load_file(GOLDEN / "base" / "expected.safetensors")["hidden"]
    assert tiny.gap(bare, expected["hidden"]) > 0.1
    assert tiny.gap(model(batch()), expected["hidden"]) <= 1e-5
    padded = batch("_padded")
    live = padded.mask.bool()  # a split gives them to the last of the tokens' modules, the library to the next
    assert tiny.gap(model(padded)[live], expected["hidden_padded"][live]) <= 1e-5


@torch.no_grad()
def test_an_average_of_equals_is_that_module_where_the_library_divides_twice(model: AdaptedEncoder) -> None:
    """peers.md 1.4: Average(a, a) = a / 2 there. What it computes by default is another function than the average."""
    one = fusion.read(GOLDEN / "fusion_dynamic", model).members["one"].adapter
    model.load([one])
    alone = model(batch())
    Average().install(model, [one, replace(one)], seed=0)
    assert tiny.gap(model(batch()), alone) <= 1e-5
    assert tiny.gap(recorded("average")["hidden"], recorded("average")["hidden_default"]) > 0.1
