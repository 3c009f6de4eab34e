"""Every folder that AdapterHub's library wrote is either read exactly, or refused with its reason."""

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

from continual import exchange, head
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.frozen import Encoder, wrap
from continual.errors import ContinualError
from continual.exchange import adapterhub
from continual.method.unipelt import GatedBundle
from continual.types import Batch
from tests import tiny

GOLDEN = Path(__file__).parents[1] / "golden" / "adapters"
CASES = json.loads((GOLDEN / "cases.json").read_text(encoding="utf-8"))["cases"]
SETUPS = ("fusion_dynamic", "fusion_static")  # tests/exchange/test_fusion.py
REFUSED = {
    "seq_bn_residual_after_ln": "residual_before_ln: False counts the block's residual twice",
    "seq_bn_post_add": "residual_before_ln: 'post_add' counts the block's residual twice",
    "seq_bn_no_ln_after_raw": "original_ln_after: without it the block's residual is lost",
    "seq_bn_ln_after": "ln_after: a norm of the delta has no codes to mix",
    "seq_bn_ln_after_residual": "ln_after: a norm of the delta has no codes to mix",
    "par_bn_ln_before": "ln_before: our parallel adapter has neither products nor a norm",
    "par_bn_ln_after": "ln_after: a norm of the delta has no codes to mix",
    "prompt": "its prompts stand behind the embeddings, ours before positions are added",
    "prompt_after_bos": "its prompts stand behind the embeddings, ours before positions are added",
}
GATED = ("unipelt", "unipelt_two_gates", "par_bn_gated")  # theirs see the padding: nothing of it was recorded
READ = [case for case in CASES if case not in REFUSED and case not in SETUPS]


def encoder(pooling: str = "mean") -> Encoder:
    model = BertModel(BertConfig.from_pretrained(GOLDEN / "base"))
    model.load_state_dict(load_file(GOLDEN / "base" / "model.safetensors"))
    return wrap(model, tiny.tokenizer(), name="golden", max_length=48, pooling=pooling)


def batch(padded: bool) -> Batch:
    inputs, end = load_file(GOLDEN / "base" / "inputs.safetensors"), "_padded" if padded else ""
    return Batch(inputs=inputs[f"input_ids{end}"], mask=inputs[f"attention_mask{end}"], row=torch.arange(3))


@pytest.mark.parametrize("case", READ)
def test_a_folder_that_is_read_gives_the_recorded_hidden_states(case: str) -> None:
    model = AdaptedEncoder(encoder())
    model.load([exchange.read(GOLDEN / case, model).adapter])
    expected = load_file(GOLDEN / case / "expected.safetensors")
    assert tiny.gap(model(batch(padded=False)), expected["hidden"]) <= 1e-5
    if case not in GATED:
        assert tiny.gap(model(batch(padded=True)), expected["hidden_padded"]) <= 1e-5
    assert tiny.gap(expected["hidden"], load_file(GOLDEN / "base" / "expected.safetensors")["hidden"]) > 0.01


@pytest.mark.parametrize("case", [case for case in READ if not case.startswith("head")])  # theirs are of logits
def test_gradients_of_their_tensors_are_the_recorded_ones(case: str) -> None:
    model = AdaptedEncoder(encoder())
    theirs = {key: t.requires_grad_() for key, t in load_file(GOLDEN / case / "adapter.safetensors").items()}
    values = json.loads((GOLDEN / case / "adapter_config.json").read_text(encoding="utf-8"))
    made = adapterhub.convert(values, theirs, model, case)
    plain = {address: {name: t.detach() for name, t in p.items()} for address, p in made.params.items()}
    model.load([type(made)(made.method, plain)], train=[0])
    states = model(batch(padded=False))
    expected = load_file(GOLDEN / case / "expected.safetensors")
    probe = load_file(GOLDEN / "base" / "inputs.safetensors")["probe"]
    (states * probe[:, : states.shape[1]]).sum().backward()
    outs, grads = [], []
    for address, p in made.params.items():
        for group in model.sites[address].stacks:
            for name, parameter in group.stack.items():
                tensor = p[f"{group.part}.{name}" if group.part else name]
                if parameter.grad is not None and tensor.requires_grad:
                    outs.append(tensor)
                    grads.append(parameter.grad[0])
    torch.autograd.backward(outs, grads)
    for key, tensor in theirs.items():
        wanted = expected[f"grad/{key}"]
        assert tensor.grad is not None, key
        assert tiny.gap(tensor.grad, wanted) <= 1e-4 * float(wanted.abs().max()), key


@pytest.mark.parametrize("case", REFUSED)
def test_a_folder_that_is_not_read_is_refused_with_the_reason(case: str) -> None:
    with pytest.raises(ContinualError) as error:
        exchange.read(GOLDEN / case, AdaptedEncoder(encoder()))
    assert REFUSED[case] in str(error.value)
    assert "adapter_config.json" in str(error.value)


def test_every_recorded_case_is_read_refused_or_a_setup() -> None:
    assert set(READ) | set(REFUSED) | set(SETUPS) == set(CASES)
    assert len(CASES) == len(READ) + len(REFUSED) + len(SETUPS) == 44


# Heads


@pytest.mark.parametrize(
    ("case", "pooling", "name"), [("head_tagging", "mean", "tag"), ("head_static", "pooler", "classify")]
)
def test_a_head_of_one_linear_gives_the_recorded_logits(case: str, pooling: str, name: str) -> None:
    model = AdaptedEncoder(encoder(pooling))
    imported = exchange.read(GOLDEN / case, model)
    assert (imported.head_name, imported.notes) == (name, ())
    assert imported.labels == (("low", "mid", "high") if name == "tag" else ("LABEL_0", "LABEL_1", "LABEL_2"))
    model.load([imported.adapter])
    states, kind = model.read(batch(padded=False)), head.named(name)
    read = states.pooled if kind.reads == "pooled" else states.tokens
    assert imported.head is not None
    logits = kind.logits(imported.head, read, states.mask)
    assert tiny.gap(logits, load_file(GOLDEN / case / "expected.safetensors")["logits"]) <= 1e-5


@pytest.mark.parametrize(
    ("case", "why"),
    [
        ("head_classification", "it has 2 layers, ours is one linear"),
        ("head_static", "this encoder pools by mean: import it with pooling=pooler"),
    ],
)
def test_a_head_that_we_cannot_compute_is_left_behind_and_said(case: str, why: str) -> None:
    imported = exchange.read(GOLDEN / case, AdaptedEncoder(encoder()))
    assert (imported.head, imported.head_name, imported.labels) == (None, "none", ())
    [note] = imported.notes
    assert why in note


@pytest.mark.parametrize(("use_pooler", "pooling"), [(True, "pooler"), (False, "cls")])
def test_a_flexible_classifier_of_one_layer_is_read_where_the_pooling_is_its_own(
    use_pooler: bool, pooling: str, tmp_path: Path
) -> None:
    folder = changed(tmp_path, "head_classification")
    values = json.loads((folder / "head_config.json").read_text(encoding="utf-8"))
    values["config"] |= {"layers": 1, "use_pooler": use_pooler}
    (folder / "head_config.json").write_text(json.dumps(values), encoding="utf-8")
    weight = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    save_file({"heads.task.1.weight": weight}, folder / "model_head.safetensors")
    imported = exchange.read(folder, AdaptedEncoder(encoder(pooling)))
    assert (imported.head_name, imported.labels) == ("classify", ("low", "mid", "high"))
    assert imported.head is not None
    assert torch.equal(imported.head["weight"], weight)
    assert not imported.head["bias"].any()
    other = exchange.read(folder, AdaptedEncoder(encoder("mean")))
    assert other.notes == (
        f"the head was left behind: it reads states pooled by {pooling}, this encoder pools by mean",
    )


# Gates


@pytest.mark.parametrize(
    ("case", "gates", "ungated"),
    [
        ("unipelt", {"prefix": 1, "bottleneck": 1, "lora": 1}, ()),
        ("unipelt_two_gates", {"prefix": 2}, ("bottleneck",)),
        ("par_bn_gated", {"parallel": 1}, ()),
    ],
)
def test_gates_are_read_and_what_they_do_otherwise_with_padding_is_said(
    case: str, gates: dict[str, int], ungated: tuple[str, ...]
) -> None:
    imported = exchange.read(GOLDEN / case, AdaptedEncoder(encoder()))
    made = imported.adapter.method
    assert isinstance(made, GatedBundle)
    assert (made.gates, made.ungated) == (gates, ungated)
    assert "its gates average over a text's own tokens here; in `adapters` over what pads it too" in imported.notes
    plain = exchange.read(GOLDEN / "mam", AdaptedEncoder(encoder()))
    assert not any("gates" in note for note in plain.notes)


def test_the_alpha_that_their_gated_lora_ignores_is_ignored() -> None:
    adapter = exchange.read(GOLDEN / "unipelt", AdaptedEncoder(encoder())).adapter
    scales = [p["lora.scale"] for p in adapter.params.values() if "lora.scale" in p]
    assert len(scales) == 4
    assert all(float(scale) == 1.0 for scale in scales)  # alpha/r is 2/4 in the file


def test_gates_that_do_something_else_or_are_not_there_are_refused(tmp_path: Path) -> None:
    model = AdaptedEncoder(encoder())
    with pytest.raises(ContinualError, match="composition_mode: 'scale' cannot be read: its gate multiplies the scale"):
        exchange.read(changed(tmp_path / "a", "ia3", use_gating=True), model)
    with pytest.raises(ContinualError, match=r"tensor gate\.weight is missing"):
        exchange.read(changed(tmp_path / "b", "seq_bn", use_gating=True), model)
    with pytest.raises(ContinualError, match=r"tensor .*prefix_gates\.task\.weight is missing"):
        exchange.read(changed(tmp_path / "c", "prefix_flat", use_gating=True), model)
    with pytest.raises(ContinualError, match=r"gate\.bias is not understood"):
        exchange.read(changed(tmp_path / "d", "par_bn_gated", use_gating=False), model)


# Old versions


def changed(tmp_path: Path, case: str, **config: Any) -> Path:
    """A copy of a golden folder with other values in its configuration; ``top_…`` is a key beside it."""
    folder = tmp_path / case
    shutil.copytree(GOLDEN / case, folder)
    path = folder / "adapter_config.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    for key, value in config.items():
        if key.startswith("top_"):
            values[key[4:]] = value
        else:
            values["config"][key] = value
    path.write_text(json.dumps({k: v for k, v in values.items() if v != "DELETE"}), encoding="utf-8")
    return folder


@pytest.mark.parametrize(("version", "scale"), [("adapters.1.3.0", 2.0), ("adapters.1.0.1", 1.0)])
def test_before_1_1_0_the_scale_of_lora_was_one(tmp_path: Path, version: str, scale: float) -> None:
    imported = exchange.read(changed(tmp_path, "lora", top_version=version), AdaptedEncoder(encoder()))
    assert {float(p["scale"]) for p in imported.adapter.params.values()} == {scale}


@pytest.mark.parametrize(("name", "ours"), [("gelu", "gelu_tanh"), ("gelu_orig", "gelu"), ("relu", "relu")])
def test_without_a_version_gelu_is_its_tanh_form(tmp_path: Path, name: str, ours: str) -> None:
    folder = changed(tmp_path, "seq_bn", top_version="DELETE", non_linearity=name)
    assert exchange.read(folder, AdaptedEncoder(encoder())).adapter.method.activation == ours  # type: ignore[attr-defined]


# Folders nobody should trust


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"non_linearity": "relu_squared"}, "unknown non_linearity in"),
        ({"reduction_factor": 1e-9}, "reduction_factor: expected a number of at least 1e-06 for layer 0, got 1e-09"),
        ({"reduction_factor": 0.5}, "adapter_down.0.weight has the shape [8, 32]; expected [64, 32]"),
        (
            {"reduction_factor": {"0": "x"}},
            "reduction_factor: expected a number of at least 1e-06 for layer 0, got 'x'",
        ),
        ({"scaling": 1e300}, "what comes to 0/ffn_norm/scale is not finite"),
        ({"scaling": 10**30}, "expected JSON: 1000000000000000000000000000000… is too large a number"),
        ({"ln_before": 3}, "ln_before: expected bool, got 3"),
        ({"inv_adapter": "nice"}, "inv_adapter: 'nice' cannot be read"),
        ({"new_flag": 2}, "new_flag: 2 is not known to this release"),
        ({"mh_adapter": True}, "tensor adapter_down.0.weight is missing"),
        ({"output_adapter": False}, "neither it nor output_adapter is true"),
        ({"leave_out": [1]}, "4 tensors cannot be read, the first is encoder.layer.1"),
        ({"architecture": "reft"}, "architecture: 'reft' is not read"),
        ({"top_name": "../../x"}, "tensor adapter_down.0.weight is missing"),
        ({"top_name": 3}, "expected a name and a config, got 3"),
        ({"top_hidden_size": 64}, "hidden_size: 64; this encoder is 32 wide"),
        ({"architecture": "union", "configs": []}, "configs: expected a list of configurations"),
        ({"architecture": "union", "configs": [[]]}, "configs: expected a list of configurations"),
    ],
    ids=str,
)
def test_a_configuration_that_is_not_the_tensors_is_refused(tmp_path: Path, config: dict, said: str) -> None:
    with pytest.raises(ContinualError) as error:
        exchange.read(changed(tmp_path, "seq_bn", **config), AdaptedEncoder(encoder()))
    assert said in str(error.value)


KEY = "bert.encoder.layer.0.output.adapters.task."


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop(f"{KEY}adapter_up.bias"), "tensor adapter_up.bias is missing"),
        (lambda t: t.update({"evil": torch.ones(1)}), "1 tensors cannot be read, the first is evil"),
        (lambda t: t.update({f"{KEY}more": torch.ones(1)}), "more is not understood"),
        (lambda t: t.update({f"{KEY}adapter_up.bias": torch.ones(3)}), "has the shape [3]; expected [32]"),
        (lambda t: t[f"{KEY}adapter_up.bias"].fill_(float("nan")), "has NaN or infinite values"),
        (lambda t: t.update({f"{KEY}adapter_up.bias": torch.ones(32, dtype=torch.int64)}), "is torch.int64"),
        (lambda t: t.update({f"{KEY.removeprefix('bert.')}adapter_up.bias": torch.ones(32)}), "has tensors twice"),
    ],
)
def test_tensors_that_are_not_the_configuration_are_refused(
    tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], object], said: str
) -> None:
    folder = changed(tmp_path, "seq_bn")
    tensors = load_file(folder / "adapter.safetensors")
    change(tensors)
    save_file(tensors, folder / "adapter.safetensors")
    with pytest.raises(ContinualError) as error:
        exchange.read(folder, AdaptedEncoder(encoder()))
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "expected JSON"),
        ("[" * 100_000, "expected JSON"),
        ('{"config": {"a": NaN}}', "expected JSON: NaN is not a number"),
        ('{"config": {"a": 1e999}}', "expected JSON: 1e999 is not a number"),
        ("[]", "expected a JSON object, got a list"),
        ("{}", "expected that of peft (with a peft_type) or of adapters (with a config)"),
        ('{"a": "' + "x" * (1 << 20) + '"}', "expected a configuration of at most"),
        (None, "is missing; give the folder that the library saved"),
    ],
    ids=["torn", "deep", "nan", "inf", "list", "empty", "large", "absent"],
)
def test_a_configuration_that_is_none_is_refused(tmp_path: Path, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / "adapter_config.json").write_text(text, encoding="utf-8")
    with pytest.raises(ContinualError) as error:
        exchange.read(tmp_path, AdaptedEncoder(encoder()))
    assert said in str(error.value)


def test_a_pickle_is_never_read() -> None:
    with pytest.raises(ContinualError, match=r"pytorch_adapter\.bin is a pickle.*use_safetensors=True"):
        exchange.read(GOLDEN / "pickle", AdaptedEncoder(encoder()))


def test_a_file_that_is_no_safetensors_is_refused(tmp_path: Path) -> None:
    folder = changed(tmp_path, "seq_bn")
    (folder / "adapter.safetensors").write_bytes(b"\x80\x04.")
    with pytest.raises(ContinualError, match=r"adapter\.safetensors: expected safetensors"):
        exchange.read(folder, AdaptedEncoder(encoder()))


def test_bottlenecks_of_a_family_that_was_never_checked_are_refused() -> None:
    model = tiny.adapted("distilbert")
    with pytest.raises(ContinualError, match=r"bottlenecks of distilbert are not read"):
        exchange.read(GOLDEN / "seq_bn", model)
