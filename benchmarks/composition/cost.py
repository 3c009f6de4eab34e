"""What AdapterFusion over N stored modules costs here and in AdapterHub's library: steps, forwards, memory.

    python benchmarks/composition/cost.py minilm --adapters PYTHON                  on the CPU
    python benchmarks/composition/cost.py bert-base --gpu --bf16 --adapters PYTHON  on a GPU

PYTHON is an interpreter that has `adapters`, by itself or in the folder --adapters-path. Ours and theirs, each in a
process of its own, get the same weights and the same texts, and must give the same answers and gradients; they compute
in turn, one at a time. A number of modules that is in the record is kept.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import methods  # noqa: F401
import torch
from asked import Process, in_turn
from book import Book
from fusion_ours import composition, install, stored
from ours import TOKENS, encoder
from safetensors.torch import load_file, save_file
from torch import Tensor

from continual.encoder.adapted import AdaptedEncoder
from continual.method.bottleneck import Bottleneck

HERE = Path(__file__).resolve().parent
WARM = 3
COUNTS = (2, 4, 8, 16, 32)
PRUNED = (8, 16)
CLOSE = {"cpu": 1e-4, "cuda": 5e-4}
"""Largest relative difference: a GPU's float32 sums are taken in another order in each library's shapes."""
LINEARS = {"down": "adapter_down.0.weight", "down_bias": "adapter_down.0.bias"}
LINEARS |= {"up": "adapter_up.weight", "up_bias": "adapter_up.bias"}
FUSION = {"query": "query.weight", "query_bias": "query.bias", "key": "key.weight", "value": "value.weight"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoder", choices=TOKENS)
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--pairs", type=int, default=9, help="repeats, after three steps of warm-up")
    parser.add_argument("--rows", nargs="*", type=int, default=list(COUNTS), help="numbers of modules")
    parser.add_argument("--adapters", required=True, help="interpreter of an environment with AdapterHub's library")
    parser.add_argument("--adapters-path", type=Path, help="folder of packages that come before that interpreter's own")
    parser.add_argument("--records", type=Path, default=HERE / "records")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options, Path(folder))
        for count in options.rows:
            if str(count) not in bench.book.rows:
                bench.put(count)


class Bench:
    """One encoder, one device, one precision."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options, self.folder = options, folder
        made = encoder(options.encoder)
        made.model.save_pretrained(folder / "encoder")
        self.model = AdaptedEncoder(made)
        precision = "bf16-mixed" if options.bf16 else "32-true"
        setting = {"encoder": options.encoder, "batch": options.batch, "tokens": TOKENS[options.encoder]}
        weights = sum(p.numel() for p in made.model.parameters())
        label = f"{options.encoder}-{'cuda' if options.gpu else 'cpu'}-{precision}"
        setting |= {"precision": precision, "parameters": weights}
        self.book = Book(options.records / f"cost-{label}.json", setting)
        self.said = {"rows": options.batch, "tokens": TOKENS[options.encoder], "threads": torch.get_num_threads()}
        self.said |= {"cuda": options.gpu, "bf16": options.bf16}

    def ours(self, count: int, form: str = "rank") -> Process:
        steps = WARM + self.options.pairs
        said = {**self.said, "encoder": self.options.encoder, "form": form, "count": count, "steps": steps}
        return Process(sys.executable, "fusion_ours.py", said)

    def theirs(self, count: int, dropout: float) -> Process:
        said = {**self.said, "folder": str(self.folder / "encoder"), "weights": str(self.folder / "weights")}
        said |= {"count": count, "factor": Bottleneck().reduction_factor, "dropout": dropout}
        return Process(self.options.adapters, "fusion_steps.py", said, self.options.adapters_path)

    def put(self, count: int) -> None:
        save_file(self.weights(count), self.folder / "weights")
        with ExitStack() as stack:
            both = {"ours": self.ours(count), "adapters": self.theirs(count, 0.1)}
            for process in both.values():
                stack.enter_context(process)
            entry = self.against_theirs(count, both)
            entry |= self.against_forms(count, both)
        self.book.put(str(count), entry)
        for kind in ("step", "step_direct", "forward"):
            print(count, kind, {name: f"{median(found):.4f} s" for name, found in entry[kind].items()}, flush=True)

    def against_theirs(self, count: int, both: dict[str, Process]) -> dict[str, Any]:
        """Training steps beside theirs, with dropout and without; of the most modules also beside our own of two."""
        others = {"still": self.theirs(count, 0.0)}
        if count == COUNTS[-1]:
            others["two"] = self.ours(COUNTS[0])
        with ExitStack() as stack:
            found = {**both, **{name: stack.enter_context(process) for name, process in others.items()}}
            facts = {name: process.ready() for name, process in found.items()}
            step = in_turn(found, dict.fromkeys(found, ("step",)), self.options.pairs, WARM)
            memory = {name: process.memory() for name, process in found.items()}
        answers = {name: self.answers(process) for name, process in both.items()}
        agreement = differences(answers["ours"], ours_from(answers["adapters"], count))
        close(f"{count} modules in adapters", agreement)
        return {"peer": facts["adapters"], "step": step, "memory": memory, "agreement": agreement}

    def against_forms(self, count: int, both: dict[str, Process]) -> dict[str, Any]:
        """The direct form: steps, memory, answers; then the forwards of all forms."""
        forms = ("direct", "bare", *(["pruned"] if count in PRUNED else []), *(["graph"] if self.options.gpu else []))
        with ExitStack() as stack:
            found = {form: stack.enter_context(self.ours(count, form)) for form in forms}
            for process in found.values():
                process.ready()
            pair = {"ours": both["ours"], "direct": found["direct"]}
            step = in_turn(pair, dict.fromkeys(pair, ("step",)), self.options.pairs, WARM)
            memory = found["direct"].memory()
            direct = differences(*(self.answers(process) for process in pair.values()))
            close(f"the direct form of {count}", direct)
            forward = forwards({**both, **found}, self.options.pairs)
        return {"step_direct": step, "memory_direct": memory, "direct": direct, "forward": forward}

    def answers(self, process: Process) -> dict[str, Tensor]:
        path = self.folder / "answers"
        process.ask("answers", str(path))
        return load_file(path)

    def weights(self, count: int) -> dict[str, Tensor]:
        """The stored modules and the fusion's mixers, by the names that they have in `adapters`."""
        modules = [stored(self.model, n) for n in range(count)]
        fusion = composition("rank", modules)
        assert fusion is not None
        install(self.model, fusion, modules)
        found = {
            f"{block(address)}.adapters.m{n}.{LINEARS[name]}": tensor
            for n, module in enumerate(modules)
            for address, own in module.params.items()
            for name, tensor in own.items()
            if name in LINEARS  # the scale of all is 1
        }
        for address, mixer in self.model.mixers().items():
            for name, tensor in mixer.state_dict().items():
                found[f"{block(address)}.{fused(count)}.{FUSION[name]}"] = tensor
        return {name: tensor.detach().clone().contiguous() for name, tensor in found.items()}


def block(address: str) -> str:
    return f"encoder.layer.{address.split('/')[0]}.output"


def fused(count: int) -> str:
    return f"adapter_fusion_layer.{','.join(f'm{n}' for n in range(count))}"


def ours_from(answers: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """Their answers by our names."""
    ours = {theirs: name for name, theirs in FUSION.items()}
    found = {}
    for key, tensor in answers.items():
        if key != "pooled":
            layer, name = key.removeprefix("encoder.layer.").split(f".output.{fused(count)}.")
            key = f"{layer}/ffn_norm/{ours[name]}"
        found[key] = tensor
    return found


def differences(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> dict[str, float]:
    """Relative to their norm: of the pooled states, and of the worst gradient. Largest: of any pooled value."""
    if ours.keys() != theirs.keys():
        raise KeyError(f"answers that only one of two gives: {sorted(ours.keys() ^ theirs.keys())[:4]}")
    apart = {name: float((ours[name] - theirs[name]).norm() / theirs[name].norm()) for name in ours}
    output = apart.pop("pooled")
    largest = float((ours["pooled"] - theirs["pooled"]).abs().max())
    return {"output": output, "gradient": max(apart.values()), "largest": largest}


def close(what: str, apart: Mapping[str, float]) -> None:
    if not max(apart["output"], apart["gradient"]) < CLOSE["cuda" if torch.cuda.is_available() else "cpu"]:
        raise ArithmeticError(f"{what} answer otherwise than ours: {apart}")


def forwards(processes: dict[str, Process], pairs: int) -> dict[str, list[float]]:
    """Seconds of each, in turn; a repeat is as many forwards as take about a twentieth of a second."""
    once: dict[str, Sequence[str]] = {}
    for name, process in processes.items():
        taken = min(process.ask("forward", "1") for _ in range(2))
        once[name] = ("forward", str(max(1, round(0.05 / taken))))
    return in_turn(processes, once, pairs, 1)


if __name__ == "__main__":
    main()
