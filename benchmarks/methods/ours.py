"""A training of this package as the user has it: ``continual.trainer.learn``, watched from outside by its progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from plain import texts
from rows import Row
from transformers import BertConfig, BertModel

from continual.adapter import Adapter, fresh, generator
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.frozen import Encoder
from continual.encoder.load import load
from continual.head.classify import Classify
from continual.progress import Progress
from continual.request import Learn, Learned, Recipe
from continual.score.accuracy import Accuracy
from continual.stream.units import Encoded
from continual.trainer import Machine, learn

SIZES = {"bert-base": (12, 768, 12, 3072), "bert-large": (24, 1024, 16, 4096)}
TOKENS = {"minilm": 64, "bert-base": 128, "bert-large": 128}
LABELS = ("a", "b", "c", "d")


def encoder(name: str, quantized: str | None = None) -> Encoder:
    """MiniLM, or random weights of a BERT's size: they cost the same. No dropout, so that layers can be recomputed."""
    if name == "minilm":
        return load(max_length=TOKENS[name], quantize=quantized)
    layers, width, heads, inner = SIZES[name]
    torch.manual_seed(0)
    config = BertConfig(
        num_hidden_layers=layers,
        hidden_size=width,
        num_attention_heads=heads,
        intermediate_size=inner,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    model = BertModel(config, add_pooling_layer=False).requires_grad_(False).eval()
    if quantized is not None:
        from continual.encoder.quantize import quantize

        quantize(model, quantized)
    return Encoder(name, None, "bert", model, None, fingerprint="", max_length=TOKENS[name])


def encoded(vocabulary: int, rows: int, tokens: int) -> Encoded:
    ids, mask, labels = texts(vocabulary, rows, tokens)
    inputs = tuple(line[line_mask.bool()] for line, line_mask in zip(ids, mask, strict=True))
    count = torch.arange(rows + 1)
    return Encoded(inputs, labels, count[:-1], count, tuple(labels.tolist()), Classify().path())


def request(model: AdaptedEncoder, row: Row, rows: int, tokens: int, steps: int) -> Learn:
    """``steps`` steps, each on the same batch."""
    vocabulary = int(model.encoder.config.vocab_size)  # type: ignore[union-attr, arg-type]
    head = Classify()
    return Learn(
        name="cost",
        adapters=(fresh(row.method, model.shapes, model.weights, 0, model.absent),),
        head=head,
        head_params=head.init(model.width, len(LABELS), generator(0, "head")),
        train=encoded(vocabulary, rows, tokens),
        valid=encoded(vocabulary, 2, 4),
        score=Accuracy(),
        labels=LABELS,
        recipe=Recipe(epochs=steps, batch_size=rows),
        lr=1e-5,
        seed=0,
    )


class Alternating(Progress):
    """Before each step of ours one step of each other; the seconds of all, step by step.

    Ours is the time from Lightning's hook before a batch to the one after it: forward, backward, clipping, AdamW and
    what Lightning does between these. Both sides find the batch on the device.
    """

    def __init__(self, others: Mapping[str, Callable[[], float]], cuda: bool) -> None:
        super().__init__(quiet=True)
        self.others, self.cuda = others, cuda
        self.seconds: dict[str, list[float]] = {name: [] for name in ("ours", *others)}

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        for name, step in self.others.items():
            self.seconds[name].append(step())
        self._started = self._now()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.seconds["ours"].append(self._now() - self._started)

    def _now(self) -> float:
        if self.cuda:
            torch.cuda.synchronize()
        return time.perf_counter()


def train(model: AdaptedEncoder, wanted: Learn, machine: Machine, progress: Progress) -> Learned:
    [learned] = learn(model, [wanted], machine, progress)
    if learned.diverged or learned.steps != wanted.recipe.epochs:
        raise ArithmeticError(f"{learned.steps} steps of {wanted.recipe.epochs}: {learned.diverged}")
    return learned


def moved(adapter: Adapter) -> Adapter:
    """The adapter away from its start, so that it changes the answers."""
    params = {a: {n: _moved(a, n, t) for n, t in own.items()} for a, own in adapter.params.items()}
    return Adapter(adapter.method, params)


def _moved(address: str, name: str, tensor: torch.Tensor) -> torch.Tensor:
    if not tensor.is_floating_point() or tensor.dim() == 0:
        return tensor
    return tensor + 0.01 * torch.randn(tensor.shape, generator=generator(0, address, name))
