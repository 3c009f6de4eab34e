"""One bottleneck in AdapterHub's library, in an environment of its own; or full fine-tuning, in any.

    python theirs.py SETTING     SETTING: JSON, see ``Setting``; the questions that it answers: ``main``

Head, clipping and AdamW are those of ``methods/plain.py``: torch only, without a trainer around it.
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import TypedDict

import paths  # noqa: F401
import torch
import transformers
from plain import Plain, texts
from safetensors.torch import load_file
from served import Line, seconds, serve, write_answers
from torch import Tensor
from transformers import BertModel
from transformers.utils import logging

CPU = torch.device("cpu")


class Setting(TypedDict):
    """folder: of the encoder · full: fine-tune all of it, without a module · weights: of the module, in this library's
    names · leave_out: layers without a module"""

    folder: str
    full: bool
    weights: str
    factor: float
    leave_out: list[int]
    rows: int
    tokens: int
    threads: int
    cuda: bool


def quiet() -> None:
    """Without bars, and without advice about weights that are trained here."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning)


def main() -> None:
    quiet()
    said: Setting = json.loads(sys.argv[1])
    line = Line()
    torch.set_num_threads(said["threads"])
    model = BertModel.from_pretrained(said["folder"], add_pooling_layer=False).eval()
    facts = {module.__name__: module.__version__ for module in (transformers, torch)}
    if not said["full"]:
        facts |= adapted(model, said)
    batch = texts(model.config.vocab_size, said["rows"], said["tokens"])
    plain = Plain(model, model.config.hidden_size, *batch)
    params = {name: p for name, p in model.named_parameters() if p.requires_grad}
    others: dict[str, Plain] = {}

    def step(mode: str, precision: str) -> float:
        """``mode``: train, as a trainer leaves the model, with the encoder's dropout; eval: without."""
        model.train(mode == "train")
        plain.bf16 = precision == "bf16"
        return plain.step()

    def forward(times: str) -> float:
        return seconds(_eval(plain).pooled, int(times), CPU, False)

    def forward_alone(times: str) -> float:
        if "bare" not in others:
            bare = BertModel.from_pretrained(said["folder"], add_pooling_layer=False).eval()
            others["bare"] = Plain(bare, model.config.hidden_size, *batch)
        return seconds(others["bare"].pooled, int(times), CPU, False)

    def answers(path: str) -> None:
        write_answers(path, _eval(plain).pooled(), params)

    serve(line, {"step": step, "forward": forward, "forward_alone": forward_alone, "answers": answers}, facts)


def adapted(model: BertModel, said: Setting) -> dict[str, str]:
    """Changes ``model`` in place; gives the library's version."""
    import adapters

    adapters.init(model)
    config = adapters.SeqBnConfig(reduction_factor=said["factor"], non_linearity="relu", leave_out=said["leave_out"])
    model.add_adapter("one", config=config)
    model.train_adapter("one")
    fill(model, load_file(said["weights"]))
    return {"adapters": adapters.__version__}


def fill(model: torch.nn.Module, weights: dict[str, Tensor]) -> None:
    """Raises KeyError where the library has no such tensor, or more tensors of modules than these."""
    missing, unknown = model.load_state_dict(weights, strict=False)
    missing = [name for name in missing if ".adapters." in name or "lora" in name]
    if missing or unknown:
        raise KeyError(f"weights that the library wants: {missing[:3]}; that it does not know: {unknown[:3]}")


def _eval(plain: Plain) -> Plain:
    plain.model.eval()
    return plain


if __name__ == "__main__":
    main()
