"""Setups of AdapterHub: adapters and the fusion over them give the recorded states and weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel

from continual import composition, method
from continual.adapter import Adapter, unflatten
from continual.composition import restore
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.frozen import Encoder, wrap
from continual.errors import ContinualError
from continual.exchange import fusion, keep
from continual.store import Store
from continual.types import Batch
from tests import tiny

GOLDEN = Path(__file__).parents[1] / "golden" / "adapters"
FUSION = "one,two,three"


def encoder() -> Encoder:
    model = BertModel(BertConfig.from_pretrained(GOLDEN / "base"))
    model.load_state_dict(load_file(GOLDEN / "base" / "model.safetensors"))
    return wrap(model, tiny.tokenizer(), name="golden", max_length=48)


def batch(end: str = "") -> Batch:
    inputs = load_file(GOLDEN / "base" / "inputs.safetensors")
    return Batch(inputs=inputs[f"input_ids{end}"], mask=inputs[f"attention_mask{end}"], row=torch.arange(3))


@pytest.mark.parametrize("case", ["fusion_dynamic", "fusion_static"])
def test_a_setup_gives_the_recorded_states_and_weights(case: str, tmp_path: Path) -> None:
    base = encoder()
    model = AdaptedEncoder(base)
    store = Store(tmp_path)
    digest, _ = keep.keep_setup(store, "setup", fusion.read(GOLDEN / case, model), base)

    entry = store.get(digest)  # all that follows comes from the store
    parents = [store.get(parent) for parent in entry.card.parents]
    assert store.names() == ["setup", "setup.one", "setup.three", "setup.two"]
    adapters = [Adapter(method.named(p.card.method, p.card.arguments), unflatten(p.tensors)) for p in parents]
    restore(model, composition.named(entry.card.method, entry.card.arguments), adapters, entry.tensors)
    expected = load_file(GOLDEN / case / "expected.safetensors")
    weights: dict[str, torch.Tensor] = {}
    for address, mixer in model.mixers().items():
        mixer.register_forward_hook(lambda m, args, _, a=address: weights.update({a: m.weights(*args)}))
    assert tiny.gap(model(batch()), expected["hidden"]) <= 1e-5
    for layer in range(2):
        assert tiny.gap(weights[f"{layer}/ffn_norm"], expected[f"weights/{layer}"]) <= 1e-5
    assert tiny.gap(model(batch("_padded")), expected["hidden_padded"]) <= 1e-5


def changed(tmp_path: Path, file: str, change: Callable[[dict[str, Any]], Any]) -> Path:
    folder = tmp_path / "setup"
    shutil.copytree(GOLDEN / "fusion_dynamic", folder)
    if file.endswith(".json"):
        values = json.loads((folder / file).read_text(encoding="utf-8"))
        change(values)
        (folder / file).write_text(json.dumps(values), encoding="utf-8")
    else:
        tensors: dict[str, Any] = load_file(folder / file)
        change(tensors)
        save_file(tensors, folder / file)
    return folder


CONFIG, TENSORS = f"{FUSION}/{fusion.CONFIG}", f"{FUSION}/{fusion.FILE}"
KEY = f"bert.encoder.layer.0.output.adapter_fusion_layer.{FUSION}"


def children(*names: Any) -> Callable[[dict[str, Any]], None]:
    return lambda v: v["adapter_setup"].update(children=[{"type": "single", "children": [name]} for name in names])


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        (fusion.SETUP, children("../one", "two"), "'../one' is not the name of a folder beside it"),
        (fusion.SETUP, children("/etc", "two"), "'/etc' is not the name of a folder beside it"),
        (fusion.SETUP, children("..", "two"), "'..' is not the name of a folder beside it"),
        (fusion.SETUP, children(3), "expected single adapters"),
        (fusion.SETUP, children("one", "one"), "expected different adapters"),
        (fusion.SETUP, children(), "expected different adapters"),
        (fusion.SETUP, children("four"), "four/adapter_config.json is missing"),
        (fusion.SETUP, lambda v: v["adapter_setup"].update(type="Stack"), "expected a Fuse of adapters"),
        (CONFIG, lambda v: v["config"].update(temperature=True), "temperature: True cannot be read"),
        (CONFIG, lambda v: v["config"].update(query_before_ln=True), "query_before_ln: True cannot be read"),
        (CONFIG, lambda v: v["config"].update(key=False), "key: False cannot be read"),
        (CONFIG, lambda v: v.update(config=None), "expected a config, got None"),
        (TENSORS, lambda t: t.pop(f"{KEY}.value.weight"), "value.weight is missing"),
        (TENSORS, lambda t: t.update({f"{KEY}.query.weight": torch.ones(2, 2)}), "has the shape [2, 2]"),
        (TENSORS, lambda t: t.update({"evil": torch.ones(2, 2)}), "the first is evil"),
        ("two/adapter_config.json", lambda v: v["config"].update(mh_adapter=True), "is missing"),
    ],
)
def test_a_setup_that_cannot_be_read_is_refused(
    file: str, change: Callable[[dict[str, Any]], Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ContinualError) as error:
        fusion.read(changed(tmp_path, file, change), AdaptedEncoder(encoder()))
    assert said in str(error.value)


def test_members_at_other_sites_are_refused(tmp_path: Path) -> None:
    folder = changed(tmp_path, fusion.SETUP, lambda values: None)
    shutil.rmtree(folder / "two")
    shutil.copytree(GOLDEN / "double_seq_bn", folder / "two")
    with pytest.raises(ContinualError, match="act at different sites"):
        fusion.read(folder, AdaptedEncoder(encoder()))
