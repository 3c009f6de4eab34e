"""Training N modules at once on one GPU, through ``continual.trainer.learn``, beside `peft` training one.

    python benchmarks/speed/grouped.py

Seconds of a step and module: N tasks' modules, each on rows of its own, all steps of a training after the first ones,
with what Lightning, the data loader and the transfer take; bfloat16 products. *Launched*: the same without CUDA graphs.
`peft` is a plain loop over one batch that lies on the card, with autocast, clipping and fused AdamW. What a group
learns is held against what its members learn alone, without graphs, in float32, before anything is timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any

import bench
import peft
import torch
from cards import peaks, require_gpu, settled, sized
from ours import request
from plain import Plain, texts
from rows import ROWS, Row
from torch import nn

from continual.adapter import fresh, generator
from continual.encoder.adapted import AdaptedEncoder
from continual.progress import Progress
from continual.request import Learn, Learned
from continual.trainer import Machine, learn

CASES = {
    "minilm 16x64": ("minilm", 16, 64, (1, 8, 32)),
    "bert-base 16x64": ("bert-base", 16, 64, (1, 8, 32)),
    "bert-base 32x128": ("bert-base", 32, 128, (1, 8)),
}
"""Encoder (random weights), rows of each module, tokens, modules at once."""
METHODS = ("lora", "bottleneck")
WARM, STEPS = 12, 24
FAR = 0.02
"""Of a module's way from its start, at most, how far two trainings may end from each other: float32 sums differ."""


class Watch(Progress):
    """Seconds of a step, without the first ``WARM``."""

    def __init__(self, steps: int) -> None:
        super().__init__(quiet=True)
        self.steps, self.seconds = steps, 0.0

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == WARM:
            settled()
            self._started = time.perf_counter()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == WARM + self.steps - 1:
            settled()
            self.seconds = (time.perf_counter() - self._started) / self.steps


def main() -> None:
    parser = bench.parser(__doc__, pairs=3)
    parser.add_argument("--only", nargs="*", choices=CASES, help="default: all")
    options = parser.parse_args()
    require_gpu()
    book = bench.book(options, "grouped", "cuda", card=torch.cuda.get_device_name(), warm=WARM, steps=STEPS)
    for case, (name, rows, tokens, counts) in CASES.items():
        for method in METHODS:
            if options.only and case not in options.only:
                continue
            todo = [count for count in counts if f"{case} {method} {count}" not in book.rows]
            if todo:
                made = sized(name, tokens)
                peer = peer_of(name, rows, tokens)
                model = AdaptedEncoder(made)
                apart = checked(model, ROWS[method], rows, tokens)
                for count in todo:
                    entry = {"busy": bench.busy(), "apart": {"ours": apart}, "peer": {"peft": peft.__version__}}
                    entry |= {"work": work(made.model, rows * count, tokens), "peaks": peaks()}
                    entry["step"] = measured(model, peer, ROWS[method], rows, tokens, count, options)
                    book.put(f"{case} {method} {count}", entry)
                    found = {side: f"{1e3 * median(s):.2f} ms" for side, s in entry["step"].items()}
                    print(case, method, count, found, flush=True)
                model.release()


def measured(
    model: AdaptedEncoder, peer: Callable[[int], float], row: Row, rows: int, tokens: int, count: int, options: Any
) -> dict[str, list[float]]:
    """{side: seconds of a step and module}"""
    found: dict[str, list[float]] = {"ours": [], "ours, launched": [], "peft": []}
    for _ in range(options.pairs):
        found["peft"].append(peer(STEPS))
        for side, graphs in (("ours", True), ("ours, launched", False)):
            watch = Watch(STEPS)
            asked = [wanted(model, row, rows, tokens, n, WARM + STEPS) for n in range(count)]
            learn(model, asked, Machine("gpu", precision="bf16-mixed", graphs=graphs, group=count), watch)
            found[side].append(watch.seconds / count)
    return found


def wanted(model: AdaptedEncoder, row: Row, rows: int, tokens: int, n: int, steps: int) -> Learn:
    """The n-th of several: rows, start and rate are its own."""
    asked = request(model, row, rows, tokens, steps)
    shift = asked.train.inputs[n % rows :] + asked.train.inputs[: n % rows]
    train = replace(asked.train, inputs=shift)
    adapter = fresh(row.method, model.shapes, model.weights, n, model.absent)
    head = asked.head.init(model.width, 4, generator(n, "head"))
    return replace(asked, name=f"m{n}", train=train, adapters=(adapter,), head_params=head, seed=n, lr=1e-5 * (1 + n))


def checked(model: AdaptedEncoder, row: Row, rows: int, tokens: int) -> dict[str, float]:
    """How far a group with graphs ends from its members alone without. Raises ArithmeticError where that is far."""
    asked = [wanted(model, row, rows, tokens, n, 8) for n in range(3)]
    together = learn(model, asked, Machine("gpu", group=3), Progress(quiet=True))
    worst = 0.0
    for one, found in zip(asked, together, strict=True):
        [alone] = learn(model, [one], Machine("gpu", graphs=False, group=1), Progress(quiet=True))
        worst = max(worst, distance(one, alone, found))
    if not worst < FAR:
        raise ArithmeticError(f"a group ends {worst} of its way from its members alone")
    return {"module": worst}


def distance(start: Learn, one: Learned, other: Learned) -> float:
    ways = [
        (one.adapter.params[a][n] - t, other.adapter.params[a][n] - t)
        for a, own in start.adapters[0].params.items()
        for n, t in own.items()
        if n not in start.adapters[0].method.fixed
    ]
    return float(sum((a - b).square().sum() for a, b in ways).sqrt() / sum(a.square().sum() for a, _ in ways).sqrt())


def peer_of(name: str, rows: int, tokens: int) -> Callable[[int], float]:
    """Seconds of a step of a LoRA in ``peft``, over so many."""
    made = sized(name, tokens)
    said = {"r": 8, "lora_alpha": 16, "lora_dropout": 0.0, "target_modules": ["query", "value"]}
    config = peft.LoraConfig(task_type="FEATURE_EXTRACTION", **said)  # pyright: ignore[reportArgumentType]
    adapted = peft.get_peft_model(made.model, config).cuda().eval()
    batch = texts(int(made.model.config.vocab_size), rows, tokens)
    plain = Plain(adapted, made.width, *batch, bf16=True)
    plain.optimizer = torch.optim.AdamW(plain.trained, lr=1e-5, weight_decay=0.01, fused=True)

    def steps(count: int) -> float:
        for number in range(3 + count):
            if number == 3:
                torch.cuda.synchronize()
                started = time.perf_counter()
            with torch.autocast("cuda", torch.bfloat16):
                loss = plain.loss()
            plain.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(plain.trained, 1.0)
            plain.optimizer.step()
        torch.cuda.synchronize()
        return (time.perf_counter() - started) / count

    return steps


def work(model: nn.Module, rows: int, tokens: int) -> dict[str, float]:
    """Operations and bytes that a step cannot do without.

    flops  2 for each weight of the layers and token forward, as many for the gradient of the states; 4 T d a token and
           layer for attention, twice that backward. That of the weights themselves is not computed
    bytes  bfloat16 weights twice; the 34 d + 5 T heads bytes that a token and layer keeps, written and read
    """
    config: Any = model.config
    layers, d, inner = config.num_hidden_layers, config.hidden_size, config.intermediate_size
    weights = layers * (4 * d * d + 2 * d * inner)
    flops = rows * tokens * (4 * weights + 12 * tokens * d * layers)
    kept = rows * tokens * layers * (34 * d + 5 * tokens * config.num_attention_heads)
    return {"flops": flops, "bytes": 4.0 * weights + 2.0 * kept}


if __name__ == "__main__":
    main()
