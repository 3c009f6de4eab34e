"""What each method costs on one encoder and one device: parameters, bytes, memory, step time, latency.

    python benchmarks/methods/cost.py minilm --adapters PYTHON     on the CPU, beside `peft` and `adapters`
    python benchmarks/methods/cost.py bert-base --gpu --bf16       on a GPU, beside `peft`

PYTHON is an interpreter that has `adapters`. Everything that is timed alternates with what it is compared with, in the
same process (`adapters` in one beside it, asked step by step); the records hold every repeat. A row that is in the
record is kept.
"""

from __future__ import annotations

import argparse
import copy
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import safetensors.torch
import torch
from book import Book
from memory import PLAIN, clean, full, in_fresh_process, on_card
from ours import TOKENS, Alternating, encoder, moved, request, train
from peers import Adapters, with_peft
from plain import texts
from rows import ROWS, Row
from torch import Tensor

from continual.adapter import Adapter, flatten
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.frozen import Encoder
from continual.encoder.merge import merged
from continual.encoder.pool import mean_pool
from continual.errors import ContinualError
from continual.trainer import Machine, device_of
from continual.types import Batch

HERE = Path(__file__).resolve().parent
WARM = 3
Answer = Callable[[], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoder", choices=TOKENS)
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--pairs", type=int, default=9, help="repeats, after three steps of warm-up")
    parser.add_argument("--rows", nargs="*", choices=ROWS, default=list(ROWS))
    parser.add_argument("--adapters", type=Path, help="interpreter of an environment with AdapterHub's library")
    parser.add_argument("--records", type=Path, default=HERE / "records")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning)  # peft 0.21 on transformers 5
    bench = Bench(options)
    for name in (PLAIN, *options.rows):
        if name not in bench.book.rows:
            bench.put(name)


class Bench:
    """One encoder, one device, one precision; what all rows are compared with."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.tokens, self.cuda = options, TOKENS[options.encoder], options.gpu
        precision = "bf16-mixed" if options.bf16 else "32-true"
        self.machine = Machine("gpu" if options.gpu else "cpu", precision=precision)
        self.device = device_of(self.machine)
        self.made = encoder(options.encoder)
        self.pristine = copy.deepcopy(self.made.model)
        label = f"{options.encoder}-{self.device.type}-{precision}"
        setting = {"encoder": options.encoder, "batch": options.batch, "tokens": self.tokens, "precision": precision}
        weights = sum(p.numel() for p in self.pristine.parameters())
        self.book = Book(options.records / f"cost-{label}.json", {**setting, "parameters": weights})

    def put(self, name: str) -> None:
        if name == PLAIN:
            self.book.put(name, {"memory": self.memory(self.made, name)})
            return
        row, made = ROWS[name], self.made
        try:
            if row.quantize is not None:
                made = encoder(self.options.encoder, row.quantize[self.cuda])
            entry = {"memory": self.memory(made, name), **self.times(made, row)}
        except ContinualError as error:
            print(f"{name}: left out: {error}", flush=True)
            return
        self.book.put(name, entry)
        print(name, {key: f"{median(seconds):.4f} s" for key, seconds in entry["step"].items()}, flush=True)

    def memory(self, made: Encoder, name: str) -> dict[str, Any]:
        if self.cuda:
            return on_card(made, name, self.machine, self.options.batch)
        return in_fresh_process(self.options.encoder, name, self.options.batch)

    def times(self, made: Encoder, row: Row) -> dict[str, Any]:
        batch = self.options.batch
        model = AdaptedEncoder(made).to(self.device)
        wanted = request(model, row, batch, self.tokens, WARM + self.options.pairs)
        with ExitStack() as stack:
            others = {"full": full(self._copied(), self.machine, batch, self.tokens).step}
            if row.peft is not None:
                theirs = copy.deepcopy(self.pristine)
                how = row.peft, self.made.width, self._texts(batch), self.device, self.options.bf16
                others["peft"] = with_peft(theirs, *how).step
            if row.adapters is not None and self.options.adapters is not None:
                server = Adapters(self.options.adapters, self.pristine, row.adapters, batch, self.tokens)
                others["adapters"] = stack.enter_context(server).step
            watch = Alternating(others, self.cuda)
            learned = train(model, wanted, self.machine, watch)
        del others
        entry = {
            "trainable": max(wanted.adapters[0].size, learned.adapter.size),
            "bytes": len(safetensors.torch.save(flatten(learned.adapter.params))),
            "step": {name: seconds[WARM:] for name, seconds in watch.seconds.items()},
            **self.latencies(model, moved(learned.adapter), quantized=row.quantize is not None),
        }
        model.release()
        model.to("cpu")
        if self.cuda:
            clean()
        return entry

    def _copied(self) -> Encoder:
        return Encoder(self.made.name, None, self.made.family, copy.deepcopy(self.pristine), None, "", self.tokens)

    def _texts(self, rows: int) -> tuple[Tensor, Tensor, Tensor]:
        return texts(self.pristine.config.vocab_size, rows, self.tokens)

    @torch.no_grad()
    def latencies(self, model: AdaptedEncoder, adapter: Adapter, quantized: bool) -> dict[str, Any]:
        """Seconds of a forward at batch 1 and 32 beside the bare encoder's; merged too, where that is possible."""
        bare = copy.deepcopy(self.pristine).to(self.device)
        found: dict[str, Any] = {"latency": {}, "merged": {}}
        for rows in (1, 32):
            ids, mask, _ = (t.to(self.device) for t in self._texts(rows))
            batch = Batch(ids, mask, torch.arange(rows, device=self.device))

            def ours(batch: Batch = batch) -> Tensor:
                return model.read(batch).pooled

            def theirs(ids: Tensor = ids, mask: Tensor = mask) -> Tensor:
                return mean_pool(bare(input_ids=ids, attention_mask=mask).last_hidden_state, mask)

            model.load([])
            if not quantized:
                _agree("an encoder without adapters", ours(), theirs())
            model.load([adapter])
            changed = ours()
            found["latency"][str(rows)] = self.pair(ours, theirs)
            try:
                plain = merged(model, adapter)
            except ContinualError:
                continue

            def folded(plain: Any = plain, ids: Tensor = ids, mask: Tensor = mask) -> Tensor:
                return mean_pool(plain(input_ids=ids, attention_mask=mask).last_hidden_state, mask)

            _agree("a merged module", folded(), changed)
            found["merged"][str(rows)] = self.pair(folded, theirs)
        return found

    def pair(self, ours: Answer, bare: Answer) -> dict[str, list[float]]:
        """Seconds of each, in turn; a repeat is as many forwards as take about a twentieth of a second."""
        found: dict[str, list[float]] = {"ours": [], "bare": []}
        for answer in (ours, bare, ours, bare):
            once = self.seconds(answer, 1)
        inner = max(1, round(0.05 / once))
        for repeat in range(2 * self.options.pairs + 1):
            both = [("ours", ours), ("bare", bare)]
            for name, answer in both if repeat % 2 else reversed(both):
                found[name].append(self.seconds(answer, inner))
        return found

    def seconds(self, answer: Answer, inner: int) -> float:
        started = time.perf_counter()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.bf16):
            for _ in range(inner):
                out = answer()
        if not bool(out.isfinite().all()):  # waits for the device
            raise ArithmeticError("an answer is not finite")
        return (time.perf_counter() - started) / inner


def _agree(what: str, got: Tensor, wanted: Tensor) -> None:
    difference = float((got - wanted).norm() / wanted.norm())
    if not difference < 1e-4:
        raise ArithmeticError(f"{what} answers otherwise: relative difference {difference:.1e}")


if __name__ == "__main__":
    main()
