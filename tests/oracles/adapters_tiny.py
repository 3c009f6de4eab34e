"""The tiny BERT, bare and inside the `adapters` library, its fixed inputs, and fixed random tensors for everything."""

from __future__ import annotations

import json
from pathlib import Path
from zlib import crc32

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

NAME = "task"  # of every adapter
Tensors = dict[str, Tensor]


def draw(tag: str, key: str, shape: torch.Size) -> Tensor:
    """A fixed random tensor, far from any initial value, by key: cases with the same tensors can be compared."""
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(crc32(f"{tag}/{key}".encode())))
    if "adapter_fusion_layer" in key:
        return 0.15 * noise + (torch.eye(shape[0]) if "value" in key else 0)
    if "scaling" in key or ("lora_B" in key and shape[-1] == 1):
        return 1.5 + 0.4 * noise  # a learned scale, or IA3's vector
    if "weight" in key and len(shape) == 1:
        return 1 + 0.25 * noise  # a LayerNorm
    if tag == "base":
        return (0.1 if len(shape) == 1 else 0.08) * noise  # four times BERT's 0.02
    large = ("phm_rule", ".W", "control_trans", "wte", "prompt_embedding")
    return (0.5 if any(part in key for part in large) else 0.3) * noise


def inputs() -> Tensors:
    """Three rows of nine tokens, without padding and with a second row of five."""
    ids = torch.randint(1, 64, (3, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.ones(3, 9, dtype=torch.long)
    padded = mask.clone()
    padded[1, 5:] = 0
    probe = torch.randn(3, 14, 32, generator=torch.Generator().manual_seed(2))  # 14: nine tokens and five prompts
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "input_ids_padded": ids * padded,  # token 0 is the padding
        "attention_mask_padded": padded,
        "probe": probe,
    }


def base(out: Path) -> None:
    """The bare encoder, with the names that every version of transformers reads."""
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=64,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        architectures=["BertModel"],
    )
    model = BertModel(config).eval()
    floats = {key: value for key, value in model.state_dict().items() if value.is_floating_point()}
    tensors = {key: draw("base", key, value.shape) for key, value in floats.items()}
    model.load_state_dict(tensors)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    (out / "config.json").write_text(json.dumps(config.to_diff_dict(), indent=2, sort_keys=True) + "\n")
    save_file(inputs(), out / "inputs.safetensors")
    save_file(both(model), out / "expected.safetensors")


def fresh(out: Path, kind: str = "BertAdapterModel", attention: str = "eager") -> nn.Module:
    """The tiny BERT inside the library, in evaluation mode, frozen. Eager, as sdpa lets prompts see the padding."""
    import adapters
    import transformers

    config = transformers.BertConfig.from_pretrained(out / "base", num_labels=3, attn_implementation=attention)
    model = adapters.BertAdapterModel(config) if kind == "BertAdapterModel" else getattr(transformers, kind)(config)
    if kind != "BertAdapterModel":
        adapters.init(model)
    missing, unexpected = model.base_model.load_state_dict(load_file(out / "base/model.safetensors"), strict=False)
    assert not unexpected
    assert all("base_model_embeddings" in key for key in missing), missing
    return model.eval().requires_grad_(False)


def own(model: nn.Module, *marks: str) -> Tensors:
    """The tensors whose key has a mark, each under one name, the shortest: the library repeats shared ones."""
    names: dict[int, str] = {}
    tensors = {key: p for key, p in model.named_parameters(remove_duplicate=False) if any(m in key for m in marks)}
    for key in sorted(tensors, key=lambda key: (len(key), key)):
        names.setdefault(tensors[key].data_ptr(), key)
    return {key: tensors[key] for key in sorted(names.values())}


def fill(tensors: Tensors) -> None:
    for key, tensor in tensors.items():
        tensor.data.copy_(draw("adapter", key.removeprefix("bert."), tensor.shape))
        tensor.requires_grad_(True)


def hidden(model: nn.Module, padded: str = "") -> Tensor:
    data = inputs()
    return model.base_model(data["input_ids" + padded], attention_mask=data["attention_mask" + padded])[0]


def both(model: nn.Module) -> Tensors:
    with torch.no_grad():
        return {"hidden": hidden(model), "hidden_padded": hidden(model, "_padded")}
