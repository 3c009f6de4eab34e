"""AdapterFusion of AdapterHub's library, in an environment of its own (it pins transformers 4.57).

    python fusion_steps.py SETTING     SETTING: JSON, see ``Setting``; the questions that it answers: ``main``

Its head, clipping and AdamW are those of ``methods/plain.py``; the loss has the regulariser that its trainer adds.
"""

from __future__ import annotations

import json
import sys
from typing import Any, TypedDict

import adapters
import methods  # noqa: F401
import torch
import transformers
from adapters.composition import Fuse
from plain import Plain, texts
from safetensors.torch import load_file
from served import Line, seconds, serve, write_answers
from torch import Tensor
from transformers import BertModel


class Setting(TypedDict):
    """folder: the encoder · weights: adapters and fusion, in this library's names · dropout: of the encoder's own, and
    of the fusion's scores · factor: the adapters' reduction"""

    folder: str
    weights: str
    count: int
    factor: float
    dropout: float
    rows: int
    tokens: int
    threads: int
    cuda: bool
    bf16: bool


class Fused(Plain):
    def loss(self) -> Tensor:
        return super().loss() + self.model.get_fusion_regularization_loss()  # type: ignore[operator]


def main() -> None:
    said: Setting = json.loads(sys.argv[1])
    line = Line()
    torch.set_num_threads(said["threads"])
    model = fused(said)
    batch = texts(model.config.vocab_size, said["rows"], said["tokens"])
    plain = Fused(model, model.config.hidden_size, *batch, bf16=said["bf16"])
    params = {name: p for name, p in model.named_parameters() if p.requires_grad and not name.endswith("key.bias")}

    def step() -> float:
        model.train()
        return plain.step()

    def forward(times: str) -> float:
        model.eval()
        return seconds(plain.pooled, int(times), plain.ids.device, said["bf16"])

    def answers(path: str) -> None:
        fill(model, said["weights"])
        model.eval()
        write_answers(path, plain.pooled(), params)

    facts = {module.__name__: module.__version__ for module in (adapters, transformers, torch)}
    serve(line, {"step": step, "forward": forward, "answers": answers}, facts)


def fused(said: Setting) -> BertModel:
    rates: dict[str, Any] = {"hidden_dropout_prob": said["dropout"], "attention_probs_dropout_prob": said["dropout"]}
    model = BertModel.from_pretrained(said["folder"], add_pooling_layer=False, **rates)
    adapters.init(model)
    names = [f"m{n}" for n in range(said["count"])]
    for name in names:
        model.add_adapter(name, config=f"seq_bn[reduction_factor={said['factor']},non_linearity='relu']")
    setup = Fuse(*names)
    model.add_adapter_fusion(setup)
    model.train_adapter_fusion(setup)
    fill(model, said["weights"])
    return model.to("cuda" if said["cuda"] else "cpu")


def fill(model: BertModel, path: str) -> None:
    """Every tensor of adapters and fusion but the keys' biases, which softmax ignores."""
    missing, unknown = model.load_state_dict(load_file(path), strict=False)
    missing = [name for name in missing if "adapter" in name and not name.endswith("key.bias")]
    if missing or unknown:
        raise KeyError(f"weights that the library wants: {missing[:3]}; that it does not know: {unknown[:3]}")


if __name__ == "__main__":
    main()
