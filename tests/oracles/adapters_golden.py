"""Golden tensors of AdapterHub's `adapters` on a tiny BERT.

    python -m tests.oracles.adapters_golden OUT

Runs only in an environment of its own (README.md beside this file). Each folder of OUT is what the library itself
writes, and `expected.safetensors` beside it: outputs, and the gradients of sum(hidden * probe) for every tensor.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.oracles import adapters_compositions as compositions
from tests.oracles.adapters_cases import CASES, REFUSED, page
from tests.oracles.adapters_tiny import NAME, Tensors, base, both, fill, fresh, hidden, inputs, own


def gradients(output: Tensor, tensors: Tensors, probe: Tensor) -> Tensors:
    grads = torch.autograd.grad((output * probe).sum(), list(tensors.values()))
    return {f"grad/{key}": grad.contiguous() for key, grad in zip(tensors, grads, strict=True)}


def gates(model: nn.Module) -> Tensors:
    """The mean gate of every row at every place, as the library computes it, without padding."""
    seen: Tensors = {}
    hooks = []
    for key, module in model.named_modules():
        if key.endswith((f".{NAME}.gate", f".prefix_gates.{NAME}")):
            note = lambda _m, _x, y, key=key: seen.update({f"gate/{key}": y.sigmoid().mean(1)})  # noqa: E731
            hooks.append(module.register_forward_hook(note))
    with torch.no_grad():
        hidden(model)
    for hook in hooks:
        hook.remove()
    return seen


def prefixes(model: nn.Module) -> Tensors:
    """The keys and values that a prefix comes to, [heads, P, d] a layer, and the flat vector of the MLP form."""
    if NAME not in model.base_model.prefix_tuning.prefix_tunings:
        return {}
    module = model.base_model.prefix_tuning.prefix_tunings[NAME]["self_prefix"]
    with torch.no_grad():
        pairs = [(pair[0, 0], pair[1, 0]) for pair in module(1)]
        flat = {"flat": module.eject().clone()} if hasattr(module, "eject") else {}
    keys = {f"prefix/{i}/key": key.contiguous() for i, (key, _) in enumerate(pairs)}
    values = {f"prefix/{i}/value": value.contiguous() for i, (_, value) in enumerate(pairs)}
    return keys | values | flat


def write(model: nn.Module, folder: Path, tensors: Tensors, **options: bool) -> bool:
    """Save as the library does; False where its safetensors fails on shared tensors and ours had to do it."""
    try:
        model.save_adapter(str(folder), NAME, use_safetensors=True, **options)
    except RuntimeError as error:
        if "share memory" not in str(error):
            raise
        save_file({key: t.detach() for key, t in tensors.items()}, folder / "adapter.safetensors")
        return False
    return True


def record(out: Path, name: str, kind: str = "BertAdapterModel", config: str = "") -> dict:
    """One adapter: its folder as the library writes it, and what it computes; proves that the folder loads again."""
    config = config or CASES[name][0]
    model = fresh(out, kind)
    model.add_adapter(NAME, config=config, set_active=True)
    model.eval()
    tensors = own(model, f".{NAME}.")
    fill(tensors)
    saved = write(model, out / name, tensors, **({} if kind == "BertModel" else {"with_head": False}))
    expected = both(model) | gates(model) | prefixes(model)
    if "prompt" in config:
        twin = fresh(out, kind, "sdpa")
        twin.load_adapter(str(out / name), set_active=True, use_safetensors=True)
        with torch.no_grad():
            expected["hidden_padded_sdpa"] = hidden(twin.eval(), "_padded")
    if any(key.startswith("gate/") for key in expected):
        del expected["hidden_padded"]
    output = hidden(model)
    expected |= gradients(output, tensors, inputs()["probe"][:, : output.shape[1]])
    save_file(expected, out / name / "expected.safetensors")
    again = fresh(out, kind)
    again.load_adapter(str(out / name), set_active=True, use_safetensors=True)
    assert torch.equal(hidden(again.eval()), expected["hidden"]), name
    return {"config": config, "saved_by_library": saved}


def record_fusion(out: Path, name: str, kind: str) -> dict:
    """AdapterFusion over three Pfeiffer adapters of unequal width: the setup's folder, weights per token and layer."""
    from adapters.composition import Fuse

    model = fresh(out)
    members = {"one": 4, "two": 8, "three": 2}
    for member, factor in members.items():
        model.add_adapter(member, config=f"seq_bn[reduction_factor={factor}]")
    setup = Fuse(*members)
    model.add_adapter_fusion(setup, kind)
    model.set_active_adapters(setup)
    model.eval()
    tensors = own(model, "adapter_fusion_layer.", *(f".adapters.{member}." for member in members))
    fill(tensors)
    model.save_adapter_setup(str(out / name), setup, use_safetensors=True)
    expected = both(model) | gradients(hidden(model), tensors, inputs()["probe"][:, :9])
    data = inputs()
    with torch.no_grad():
        seen = model(data["input_ids"], attention_mask=data["attention_mask"], output_adapter_fusion_attentions=True)
    for layer, places in seen.adapter_fusion_attentions[setup.name].items():
        expected[f"weights/{layer}"] = torch.from_numpy(places["output_adapter"])
    save_file(expected, out / name / "expected.safetensors")
    return {"config": kind, "saved_by_library": True}


def record_head(out: Path, name: str) -> dict:
    """An adapter with its head in one folder: logits, and the gradients of sum(logits * probe)."""
    labels = {0: "low", 1: "mid", 2: "high"}
    model = fresh(out, "BertForSequenceClassification" if name == "head_static" else "BertAdapterModel")
    model.add_adapter(NAME, config="seq_bn[reduction_factor=4]", set_active=True)
    if name == "head_classification":
        model.add_classification_head(NAME, num_labels=3, id2label=labels)
    elif name == "head_tagging":
        model.add_tagging_head(NAME, num_labels=3, id2label=labels)
    model.eval()
    tensors = own(model, f".{NAME}.", "classifier.")
    fill(tensors)
    model.save_adapter(str(out / name), NAME, use_safetensors=True, with_head=True)
    data = inputs()
    logits = model(data["input_ids"], attention_mask=data["attention_mask"]).logits
    probe = data["probe"][:, :9, :3] if logits.dim() == 3 else data["probe"][:, 0, :3]
    with torch.no_grad():
        padded = model(data["input_ids_padded"], attention_mask=data["attention_mask_padded"]).logits
    expected = both(model) | gradients(logits, tensors, probe) | {"logits": logits.detach(), "logits_padded": padded}
    save_file(expected, out / name / "expected.safetensors")
    return {"config": "seq_bn[reduction_factor=4]", "saved_by_library": True}


def refused(out: Path) -> dict[str, str]:
    found = {}
    for config in REFUSED:
        try:
            model = fresh(out)
            model.add_adapter(NAME, config=config, set_active=True)
            hidden(model)
            found[config] = "nothing"
        except Exception as error:
            found[config] = type(error).__name__
    assert found == REFUSED, found
    return found


def main(out: Path) -> None:
    torch.set_num_threads(1)
    logging.getLogger("adapters").setLevel(logging.ERROR)  # it warns while it activates an adapter
    (out / "base").mkdir(parents=True, exist_ok=True)
    base(out / "base")
    index = {name: record(out, name) for name in CASES}
    index["seq_bn_bare_model"] = record(out, "seq_bn_bare_model", "BertModel", "seq_bn[reduction_factor=4]")
    index |= {f"fusion_{kind}": record_fusion(out, f"fusion_{kind}", kind) for kind in ("dynamic", "static")}
    index |= {name: record_head(out, name) for name in ("head_classification", "head_tagging", "head_static")}
    compositions.record(out)
    model = fresh(out)
    model.add_adapter(NAME, config=CASES["prefix_flat"][0])
    fill(own(model, f".{NAME}."))
    model.save_adapter(str(out / "pickle"), NAME, with_head=False)  # the library's default is a pickle
    (out / "cases.json").write_text(json.dumps({"cases": index, "refused": refused(out)}, indent=2) + "\n")
    (out / "README.md").write_text(page({name: case["saved_by_library"] for name, case in index.items()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
