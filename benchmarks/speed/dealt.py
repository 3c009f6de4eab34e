"""A grouped stream on two GPUs beside one: the same modules, dealt over the cards (``continual/dealt.py``).

    python benchmarks/speed/dealt.py

Seconds from the first request to the last module, with all that belongs to it: batches, graphs that are captured,
validation, states that go back to the host. Modules are asked for as a run asks: 32 at once for each card
(``Machine.ahead``). bfloat16 products, random weights, LoRA. Beside it seconds of a step of 32 modules on the first
card, the other one idle or at work: what they take from each other. One process, sides in turn; each has learned
before it is timed, and what two cards learn is held against what one learns, in float32.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import bench
import torch
from cards import require_gpu, settled, sized
from grouped import FAR, WARM, Watch, distance, wanted
from ours import encoded
from rows import ROWS

from continual.dealt import Dealt
from continual.encoder.adapted import AdaptedEncoder
from continual.progress import Progress
from continual.request import Learn, Learned, Recipe
from continual.trainer import Machine, learn

CASES = {
    "minilm 16x64": ("minilm", 16, 64, 200),
    "bert-base 16x64": ("bert-base", 16, 64, 80),
    "minilm 16x64, long": ("minilm", 16, 64, 1000),
    "bert-base 16x64, long": ("bert-base", 16, 64, 300),
}
"""Encoder, rows of each module's step, tokens, steps of an epoch. Of a long training start and end are a small part."""
MODULES, EPOCHS = 64, 3
CHECKED = 4

Sides = Mapping[str, Dealt]


def main() -> None:
    parser = bench.parser(__doc__, pairs=2)
    parser.add_argument("--only", nargs="*", choices=CASES, help="default: all")
    options = parser.parse_args()
    require_gpu(2)
    book = bench.book(options, "dealt", "cuda", card=torch.cuda.get_device_name(), modules=MODULES, warm=WARM)
    for case, (name, rows, tokens, batches) in CASES.items():
        if case in book.rows or (options.only and case not in options.only):
            continue
        model = AdaptedEncoder(sized(name, tokens)).to("cuda")
        entry: dict[str, Any] = {"busy": bench.busy()}
        few = asked(model, CHECKED, rows, tokens, 1, 8)
        entry["apart"] = {"ours": checked(sides(model, "32-true"), few)}
        made = asked(model, MODULES, rows, tokens, EPOCHS, batches)
        entry |= measured(sides(model, "bf16-mixed"), made, options.pairs)
        book.put(case, entry)
        print(case, {side: f"{median(found):.2f} s" for side, found in entry["seconds"].items()}, flush=True)
        model.release()


def sides(model: AdaptedEncoder, precision: str) -> Sides:
    machine = Machine("gpu", precision=precision)
    return {"one": Dealt(model, machine, learn), "two": Dealt(model, replace(machine, devices=2), learn)}


def asked(model: AdaptedEncoder, count: int, rows: int, tokens: int, epochs: int, batches: int) -> list[Learn]:
    """So many modules, each with its own start, rate, and order of its rows."""
    train = encoded(int(model.encoder.config.vocab_size), rows * batches, tokens)  # type: ignore[union-attr, arg-type]
    recipe = Recipe(epochs=epochs, batch_size=rows)
    made = [wanted(model, ROWS["lora"], rows, tokens, n, 1) for n in range(count)]
    shifted = [replace(train, inputs=train.inputs[n:] + train.inputs[:n]) for n in range(count)]
    return [replace(one, train=own, recipe=recipe) for one, own in zip(made, shifted, strict=True)]


def checked(made: Sides, requests: Sequence[Learn]) -> dict[str, float]:
    """How far the modules of the two sides end from each other. Raises ArithmeticError where that is far."""
    one, two = (dealt(requests, Progress(quiet=True)) for dealt in made.values())
    worst = max(distance(request, a, b) for request, a, b in zip(requests, one, two, strict=True))
    if not worst < FAR:
        raise ArithmeticError(f"modules of two devices end {worst} of their way from those of one")
    return {"module": worst}


def measured(made: Sides, requests: Sequence[Learn], pairs: int) -> dict[str, Any]:
    """{"seconds": {side: of all}, "step": {side: of a step of the first device's modules}, "steps": of each module}"""
    for dealt in made.values():
        dealt(requests[:CHECKED], Progress(quiet=True))
    whole, step = ({side: list[float]() for side in made} for _ in range(2))
    for number in range(pairs):
        for side in list(made)[:: 1 if number % 2 == 0 else -1]:
            watch = Watch(len(requests[0].train) // requests[0].recipe.batch_size)
            settled()
            started = time.perf_counter()
            learned = stream(made[side], requests, watch)
            whole[side].append(time.perf_counter() - started)
            step[side].append(watch.seconds)
            if wrong := [one.diverged for one in learned if one.diverged]:
                raise ArithmeticError(f"{len(wrong)} modules have not learned: {wrong[0]}")
    return {"seconds": whole, "step": step, "steps": learned[0].steps}


def stream(dealt: Dealt, requests: Sequence[Learn], progress: Progress) -> list[Learned]:
    """All of them, as many at once as a run asks for."""
    at_once = dealt.machine.ahead
    parts = [requests[first : first + at_once] for first in range(0, len(requests), at_once)]
    return [learned for part in parts for learned in dealt(part, progress)]


if __name__ == "__main__":
    main()
