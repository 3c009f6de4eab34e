"""One bottleneck in our encoder: its steps, its forwards, its answers, and the plain form of these.

python one.py SETTING     SETTING: JSON, see ``Setting``: a process that computes when it is asked (``peak.py``)
"""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import TypedDict

import paths  # noqa: F401
import torch
from agree import differences, require
from ours import Alternating, moved, request, train
from plain import texts
from plain_form import attached
from rows import Row
from safetensors.torch import load_file, save_file
from served import Line, seconds, serve, write_answers
from torch import Tensor

from continual.adapter import Adapter, fresh
from continual.allocator import return_memory
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.frozen import Encoder
from continual.encoder.load import load
from continual.encoder.pool import mean_pool
from continual.method.bottleneck import Bottleneck
from continual.progress import Progress
from continual.trainer import Machine
from continual.types import Batch

CPU = torch.device("cpu")


class Setting(TypedDict):
    """layers: that have a module, as ``method.layers``; None: all · recompute: ``trainer.gradient_checkpointing``"""

    layers: str | None
    recompute: bool
    rows: int
    tokens: int
    steps: int
    threads: int
    cuda: bool


class One:
    """``adapter`` is what training might have left: none of its tensors is what it began with."""

    def __init__(self, made: Encoder, layers: str | None, rows: int, tokens: int) -> None:
        self.bare = copy.deepcopy(made.model)
        self.model = AdaptedEncoder(made).eval()
        self.method, self.rows, self.tokens = Bottleneck(layers=layers), rows, tokens
        self.adapter = moved(fresh(self.method, self.model.shapes, self.model.weights, 0))
        self.ids, self.mask, _ = texts(made.model.config.vocab_size, rows, tokens)
        self.batch = Batch(self.ids, self.mask, torch.arange(rows))
        self.model.load([self.adapter])

    def pooled(self) -> Tensor:
        return self.model.read(self.batch).pooled

    def alone(self) -> Tensor:
        """(B, d) of the encoder without anything."""
        return mean_pool(self.bare(input_ids=self.ids, attention_mask=self.mask).last_hidden_state, self.mask)

    def plain(self) -> Tensor:
        with attached(self.bare, self.adapter.params):
            return self.alone()

    def forward(self, times: str) -> float:
        return seconds(self.pooled, int(times), CPU, False)

    def forward_alone(self, times: str) -> float:
        return seconds(self.alone, int(times), CPU, False)

    def train(self, steps: int, machine: Machine, watch: Progress) -> None:
        """As a user does: ``continual.trainer.learn``, each step on the same texts."""
        wanted = request(self.model, Row(self.method), self.rows, self.tokens, steps)
        train(self.model, wanted, machine, watch)
        self.model.load([self.adapter])

    def answers(self, path: Path) -> dict[str, Tensor]:
        """Pooled states and gradients, by our names."""
        self.model.load([self.adapter], train=[0])
        params = dict(zip(self.model.trained(0), (p for p, _ in self.model.slices()), strict=True))
        write_answers(str(path), self.pooled(), params)
        self.model.load([self.adapter])
        return {name: t if name == "pooled" else t[0] for name, t in load_file(path).items()}

    def plain_answers(self, path: Path) -> dict[str, Tensor]:
        fixed = self.method.fixed
        params = {
            address: {name: t.clone().requires_grad_(name not in fixed) for name, t in own.items()}
            for address, own in self.adapter.params.items()
        }
        trained = {f"{a}/{name}": t for a, own in params.items() for name, t in own.items() if t.requires_grad}
        with attached(self.bare, params):
            write_answers(str(path), self.alone(), trained)
        return load_file(path)

    def check(self, folder: Path) -> dict[str, float]:
        """How far our answers are from the plain form's. Raises ArithmeticError where they are not close."""
        return require("ours", differences(self.answers(folder / "ours"), self.plain_answers(folder / "plain")))

    def keep(self, folder: Path, names: dict[str, Tensor]) -> None:
        """What the other side needs: the encoder, and the module's tensors by its own names."""
        self.bare.save_pretrained(folder / "encoder")
        save_file(names, folder / "weights")


def named(adapter: Adapter, answers: dict[str, Tensor], theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The other side's answers by our names: ``theirs`` are the tensors of ``adapter``, in its names."""
    ours = {id(tensor): f"{a}/{name}" for a, own in adapter.params.items() for name, tensor in own.items()}
    back = {name: ours[id(tensor)] for name, tensor in theirs.items()}
    return {back.get(name, name): tensor for name, tensor in answers.items()}


def main() -> None:
    said: Setting = json.loads(sys.argv[1])
    line = Line()
    torch.set_num_threads(said["threads"])
    if said["recompute"]:
        return_memory()  # as a run does then
    one = One(load(max_length=said["tokens"]), said["layers"], said["rows"], said["tokens"])
    one.model.load([])

    def step(*_: str) -> float:
        watch = Alternating({}, cuda=False)
        one.train(said["steps"], Machine(gradient_checkpointing=said["recompute"]), watch)
        return watch.seconds["ours"][-1]

    serve(line, {"step": step}, {"torch": torch.__version__})


if __name__ == "__main__":
    main()
