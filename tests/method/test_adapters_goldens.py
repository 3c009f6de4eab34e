"""Our methods compute what those of AdapterHub's library do: hidden states and gradients that it recorded.

What it recorded and we do not have: a norm of the delta (``ln_after``), a parallel adapter with a norm of its own, and
the flags that count a residual twice or lose it (``residual_before_ln`` beside ``original_ln_after``).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import BertConfig, BertModel

from continual.adapter import Adapter, fresh
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.frozen import wrap
from continual.method.base import Method, Params
from continual.method.bottleneck import Bottleneck
from continual.method.compacter import Compacter
from continual.method.ia3 import IA3
from continual.method.lora import LoRA
from continual.method.parallel import Parallel
from continual.types import Batch
from tests import tiny

GOLDEN = Path(__file__).parents[1] / "golden" / "adapters"
LAYER = "bert.encoder.layer."

Convert = Callable[[dict[str, Tensor], dict[str, Tensor]], Params]
"""Their tensors of one module, and those they share over all of them, as ours of one site; autograd goes through it."""


def bottleneck(t: dict[str, Tensor], shared: dict[str, Tensor], scale: float = 1.0) -> Params:
    number = 1 if "adapter_down.1.weight" in t else 0
    down, down_bias = t[f"adapter_down.{number}.weight"], t[f"adapter_down.{number}.bias"]
    up, up_bias = t["adapter_up.weight"], t["adapter_up.bias"]
    if number:  # a norm before: its weights are absorbed
        down, down_bias = down * t["adapter_down.0.weight"], down_bias + down @ t["adapter_down.0.bias"]
    learned = t.get("scaling", torch.tensor([scale]))
    if len(learned) > 1:  # a scale for each channel is absorbed
        up, up_bias, learned = up * learned[:, None], up_bias * learned, torch.ones(1)
    return {"down": down, "down_bias": down_bias, "up": up, "up_bias": up_bias, "scale": learned.squeeze()}


def twice(t: dict[str, Tensor], shared: dict[str, Tensor]) -> Params:
    return bottleneck(t, shared, 2.0)


def parallel(t: dict[str, Tensor], shared: dict[str, Tensor]) -> Params:
    return bottleneck(t, shared, 4.0)


def compacter(t: dict[str, Tensor], shared: dict[str, Tensor]) -> Params:
    def factors(name: str) -> tuple[Tensor, Tensor, Tensor]:
        rule = t.get(f"{name}.phm_rule", shared.get("phm_rule"))
        if rule is None:
            rule = shared["phm_rule_left"] @ shared["phm_rule_right"]
        if f"{name}.W" not in t:
            return rule, t[f"{name}.W_left"], t[f"{name}.W_right"]
        whole = t[f"{name}.W"]
        if whole.shape[1] <= whole.shape[2]:  # a matrix is the product of itself and the identity
            return rule, torch.eye(whole.shape[1]).expand(len(whole), -1, -1), whole
        return rule, whole, torch.eye(whole.shape[2]).expand(len(whole), -1, -1)

    names = ("rule", "left", "right")
    down = zip((f"down_{name}" for name in names), factors("adapter_down.0"), strict=True)
    up = zip((f"up_{name}" for name in names), factors("adapter_up"), strict=True)
    bias = t["adapter_down.0.b"]
    return {**dict(down), "down_bias": bias.unflatten(0, (4, -1)), **dict(up), "up_bias": t["adapter_up.b"]}


def lora(scale: float) -> Convert:
    return lambda t, shared: {"a": t["lora_A"], "b": t["lora_B"], "scale": torch.tensor(scale)}


def ia3(t: dict[str, Tensor], shared: dict[str, Tensor]) -> Params:
    return {"shift": t["lora_B"].squeeze(-1) - 1}


BOTH = ("attn_out", "ffn_out")
CASES: dict[str, tuple[Method, Convert]] = {
    "seq_bn": (Bottleneck(4), bottleneck),
    "seq_bn_gelu_scaled": (Bottleneck(4, "gelu", scale=2.0), twice),
    "seq_bn_channel": (Bottleneck(4), bottleneck),
    "seq_bn_swish_map": (Bottleneck(8, "silu"), bottleneck),  # its widths differ by layer: the tensors know
    "seq_bn_leave_out": (Bottleneck(4, layers="1-"), bottleneck),
    "seq_bn_no_ln_before": (Bottleneck(4, targets=("ffn_out",)), bottleneck),
    "seq_bn_no_ln_after": (Bottleneck(4, targets=("ffn_post",)), bottleneck),
    "seq_bn_ln_before": (Bottleneck(4, normalize=True), bottleneck),
    "seq_bn_residual_flag_alone": (Bottleneck(4), bottleneck),
    "double_seq_bn": (Bottleneck(4, "silu", targets=BOTH), bottleneck),
    "double_seq_bn_ln_before": (Bottleneck(4, "silu", targets=("attn_norm", "ffn_norm")), bottleneck),
    "par_bn": (Parallel(4), parallel),
    "par_bn_both": (Parallel(4, scale=1.0, targets=("attn_parallel", "ffn_parallel")), bottleneck),
    "par_bn_original_ln_before": (Parallel(4), parallel),
    "scaled_par_bn": (Parallel(4, learn_scale=True), parallel),
    "compacter": (Compacter(4), compacter),
    "compacter_plus": (Compacter(4, targets=("ffn_norm",)), compacter),
    "compacter_plus_factorized_rule": (Compacter(4, targets=("ffn_norm",)), compacter),
    "compacter_plus_own_full": (Compacter(4, phm_rank=2, targets=("ffn_norm",)), compacter),
    "lora": (LoRA(4, 8.0), lora(2.0)),
    "lora_all": (LoRA(4, 2.0, targets=("query", "key", "value", "ffn_in", "ffn_out")), lora(0.5)),
    "ia3": (IA3(targets=("key", "value", "ffn_in")), ia3),
}


def encoder() -> AdaptedEncoder:
    model = BertModel(BertConfig.from_pretrained(GOLDEN / "base"))
    model.load_state_dict(load_file(GOLDEN / "base" / "model.safetensors"))
    return AdaptedEncoder(wrap(model, tiny.tokenizer(), name="golden", max_length=48))


def site(module: str, targets: tuple[str, ...]) -> str:
    """ "0.attention.output.adapters.task" -> "0/attn_out", which of a block's sites it is being the method's choice."""
    layer, _, path = module.partition(".")
    place, method, _ = path.rsplit(".", 2)
    if method == "loras":
        names = {"intermediate.dense": "ffn_in", "output.dense": "ffn_out"}
        return f"{layer}/{names.get(place, place.rpartition('.')[2])}"
    [name] = [target for target in targets if target.startswith("attn" if place == "attention.output" else "ffn")]
    return f"{layer}/{name}"


def ours(theirs: dict[str, Tensor], method: Method, convert: Convert) -> dict[str, Params]:
    shared = {key.rpartition(".")[2]: t for key, t in theirs.items() if not key.startswith(LAYER)}
    modules: dict[str, dict[str, Tensor]] = {}
    for key, tensor in theirs.items():
        if key.startswith(LAYER):
            module, name = key.removeprefix(LAYER).split(".task.")
            modules.setdefault(f"{module}.task", {})[name] = tensor
    return {site(module, method.targets): convert(tensors, shared) for module, tensors in modules.items()}


def batch(padded: bool) -> Batch:
    inputs, end = load_file(GOLDEN / "base" / "inputs.safetensors"), "_padded" if padded else ""
    return Batch(inputs=inputs[f"input_ids{end}"], mask=inputs[f"attention_mask{end}"], row=torch.arange(3))


@pytest.mark.parametrize("case", CASES)
def test_hidden_states_and_gradients_equal_those_of_adapters(case: str) -> None:
    method, convert = CASES[case]
    theirs = {key: t.requires_grad_() for key, t in load_file(GOLDEN / case / "adapter.safetensors").items()}
    expected = load_file(GOLDEN / case / "expected.safetensors")
    model = encoder()
    params = ours(theirs, method, convert)
    start = fresh(method, model.shapes, model.weights, 0).params
    assert {address: p.keys() for address, p in params.items()} == {address: p.keys() for address, p in start.items()}
    plain = {address: {name: t.detach() for name, t in p.items()} for address, p in params.items()}
    for name in method.fixed:
        assert all(torch.equal(p[name], start[address][name]) for address, p in plain.items())
    model.load([Adapter(method, plain)], train=[0])

    states = model(batch(padded=False))
    assert tiny.gap(states, expected["hidden"]) <= 1e-5
    assert tiny.gap(model(batch(padded=True)), expected["hidden_padded"]) <= 1e-5
    assert tiny.gap(states, load_file(GOLDEN / "base" / "expected.safetensors")["hidden"]) > 0.01

    probe = load_file(GOLDEN / "base" / "inputs.safetensors")["probe"]
    (states * probe[:, : states.shape[1]]).sum().backward()
    trained = [(address, name) for address, p in params.items() for name in p if name not in method.fixed]
    stacks = {address: model.sites[address].stacks[0].stack for address in params}
    torch.autograd.backward(
        [params[address][name] for address, name in trained if params[address][name].requires_grad],
        [stacks[address][name].grad[0] for address, name in trained if params[address][name].requires_grad],
    )
    for key, tensor in theirs.items():
        wanted = expected[f"grad/{key}"]
        assert tiny.gap(tensor.grad, wanted) <= 1e-4 * float(wanted.abs().max()), key
