"""One batch of texts on a GPU, each answered by a module of its own, beside the bare encoder and `peft`.

    python benchmarks/speed/routed.py

BERT-base of random weights, 64 texts of up to 64 tokens, bfloat16 products. Ours is ``AdaptedEncoder.read`` with a
member for each row, as it is and as a CUDA graph (``continual/captured.py``); so is the bare encoder. `peft` gets
``adapter_names``, one a row. Every row's answer is held against that of its module alone, in float32, first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import bench
import peft
import torch
from cards import require_gpu, sized
from ours import moved
from plain import texts
from rows import ROWS, Row
from torch import Tensor

from continual.adapter import Adapter, fresh
from continual.captured import Captured
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.pool import mean_pool
from continual.predict import to
from continual.types import Batch

ENCODER, TOKENS = "bert-base", 64
CASES = [(64, 64, name) for name in ("lora", "bottleneck", "parallel", "ia3", "bitfit", "prefix", "prompt")]
CASES += [(64, 1000, "lora"), (8, 8, "lora")]
"""Rows, modules that are loaded, method."""
CLOSE = 1e-4
REPEATS = 20


def main() -> None:
    parser = bench.parser(__doc__, pairs=7)
    options = parser.parse_args()
    require_gpu()
    book = bench.book(
        options, "routed", "cuda", card=torch.cuda.get_device_name(), encoder=ENCODER, tokens=TOKENS, repeats=REPEATS
    )
    for rows, count, name in CASES:
        key = f"{name}, {rows} rows, {count} modules"
        if key not in book.rows:
            book.put(key, measured(rows, count, name, options.pairs))
            print(key, {side: f"{1e3 * median(s):.2f} ms" for side, s in book.rows[key]["forward"].items()}, flush=True)


@torch.no_grad()
def measured(rows: int, count: int, name: str, pairs: int) -> dict[str, Any]:
    made = sized(ENCODER, TOKENS)
    bare, model = sized(ENCODER, TOKENS).model.cuda(), AdaptedEncoder(made).cuda().eval()
    ids, mask, _ = texts(int(made.model.config.vocab_size), rows, TOKENS)
    batch = to(Batch(ids, mask, torch.arange(rows)), torch.device("cuda"))
    own = [moved(fresh(ROWS[name].method, model.shapes, model.weights, n, model.absent)) for n in range(min(rows, 64))]
    asked = [n * count // rows for n in range(rows)]  # spread over all that are loaded
    loaded: list[Adapter] = [own[n % len(own)] for n in range(count)]
    entry: dict[str, Any] = {"busy": bench.busy(), "apart": {"ours": checked(model, batch, loaded, asked)}}
    batch.member = torch.tensor(asked, device="cuda")
    model.lower = torch.bfloat16

    def alone(given: Batch) -> Tensor:
        assert given.mask is not None
        with torch.autocast("cuda", torch.bfloat16):
            return mean_pool(bare(input_ids=given.inputs, attention_mask=given.mask).last_hidden_state, given.mask)

    graph = Captured(lambda given: model.read(given).pooled)
    sides: dict[str, Callable[[], Tensor]] = {
        "ours": lambda: model.read(batch).pooled,
        "ours, graph": lambda: graph(batch),
    }
    found = in_turn(sides, pairs)
    plain = Captured(alone)
    sides = {"bare": lambda: alone(batch), "bare, graph": lambda: plain(batch)}
    if name == "lora" and count == rows:
        sides["peft"] = in_peft(ROWS[name], batch, count)
        entry["peer"] = {"peft": peft.__version__}
    model.load([])
    same = Captured(lambda given: model.read(given).pooled)  # the encoder with nothing loaded, as it reads here
    sides["nothing loaded, graph"] = lambda: same(batch)
    found |= in_turn(sides, pairs)
    model.release()
    return {**entry, "forward": found}


def checked(model: AdaptedEncoder, batch: Batch, loaded: Sequence[Adapter], asked: Sequence[int]) -> dict[str, float]:
    """Every row's answer against its module's alone. Raises ArithmeticError where one is not close."""
    model.load(loaded)
    batch.member = torch.tensor(asked, device="cuda")
    together = model.read(batch).pooled.cpu()
    graph = Captured(lambda given: model.read(given).pooled)
    again = [graph(batch).cpu() for _ in range(4)][-1]
    worst = 0.0
    for row in {0, 1, len(asked) // 2, len(asked) - 1}:
        batch.member = None
        model.load([loaded[asked[row]]])
        alone = model.read(batch).pooled[row].cpu()
        worst = max(worst, *(float((t[row] - alone).norm() / alone.norm()) for t in (together, again)))
    if not worst < CLOSE:
        raise ArithmeticError(f"a routed row is {worst} from its module's answer")
    model.load(loaded)
    return {"output": worst}


def in_peft(row: Row, batch: Batch, count: int) -> Callable[[], Tensor]:
    assert row.peft is not None
    kind, arguments = row.peft
    config = getattr(peft, kind)(task_type="FEATURE_EXTRACTION", **arguments)
    model = peft.get_peft_model(sized(ENCODER, TOKENS).model, config, adapter_name="m0")
    for n in range(1, count):
        model.add_adapter(f"m{n}", config)
    model.cuda().eval()
    names = [f"m{n}" for n in range(count)]

    def forward() -> Tensor:
        with torch.autocast("cuda", torch.bfloat16):
            return model(batch.inputs, batch.mask, adapter_names=names).last_hidden_state

    return forward


def in_turn(sides: dict[str, Callable[[], Tensor]], pairs: int) -> dict[str, list[float]]:
    """Seconds of a forward of each, over ``REPEATS`` in a row."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(2 + pairs):
        for name in sides if number % 2 else reversed(sides):
            times = REPEATS if name != "peft" else 3
            torch.cuda.synchronize()
            started = time.perf_counter()
            for _ in range(times):
                sides[name]()
            torch.cuda.synchronize()
            if number >= 2:
                found[name].append((time.perf_counter() - started) / times)
    return found


if __name__ == "__main__":
    main()
