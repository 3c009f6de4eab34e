"""Peak memory of training: the smallest card on which BERT-large can be trained, method by method.

    python benchmarks/methods/memory.py bert-large --gpu

On a GPU what torch's allocator gave out and held at most during three steps, in one process, the card empty before
each; on a CPU the process's largest resident size, a fresh process for each row (``cost.py`` asks for it).
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import torch
from book import Book
from ours import TOKENS, Alternating, encoder, request, train
from plain import Plain, texts
from rows import ROWS

from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.frozen import Encoder
from continual.errors import ContinualError
from continual.trainer import Machine

HERE = Path(__file__).resolve().parent
PLAIN = "transformers"
"""The row of full fine-tuning without this package: what all are compared with."""
STEPS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoder", choices=TOKENS)
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--row", help="print the bytes of this one, measured in this process on the CPU")
    parser.add_argument("--batch", type=int, nargs="*", default=[32, 16])
    parser.add_argument("--records", type=Path, default=HERE / "records")
    options = parser.parse_args()
    if options.row:
        print(json.dumps(resident(options.encoder, options.row, options.batch[0])))
        return
    if not options.gpu:
        sys.exit("on a CPU cost.py measures memory too; this table is about a card: give --gpu")
    for batch, precision, again in product(options.batch, ("32-true", "bf16-mixed"), (False, True)):
        machine = Machine("gpu", precision=precision, gradient_checkpointing=again)
        table(options.encoder, machine, batch, options.records)


def table(name: str, machine: Machine, batch: int, records: Path) -> None:
    setting = {"encoder": name, "batch": batch, "tokens": TOKENS[name], "precision": machine.precision}
    label = f"{batch}-{machine.precision}{'-checkpoint' if machine.gradient_checkpointing else ''}"
    book = Book(
        records / f"memory-{name}-{label}.json", {**setting, "gradient_checkpointing": machine.gradient_checkpointing}
    )
    made: dict[str | None, Encoder] = {}
    for row in (PLAIN, *ROWS):
        if row in book.rows:
            continue
        quantized = ROWS[row].quantize[1] if row in ROWS and ROWS[row].quantize else None
        try:
            if quantized not in made:
                made = {quantized: encoder(name, quantized)}
            book.put(row, on_card(made[quantized], row, machine, batch))
        except ContinualError as error:
            print(f"{row}: left out: {error}", flush=True)
        print(label, row, book.rows.get(row), flush=True)


def on_card(made: Encoder, row: str, machine: Machine, batch: int) -> dict[str, Any]:
    """Bytes: of the loaded encoder, given out at most, held by the allocator at most."""
    tokens = TOKENS[made.name]
    clean()
    if row == PLAIN:
        plain = full(made, machine, batch, tokens)
        loaded = size(plain.model)
        for _ in range(STEPS):
            plain.step()
        del plain
    else:
        model = AdaptedEncoder(made).to("cuda")
        loaded = torch.cuda.memory_allocated()
        train(model, request(model, ROWS[row], batch, tokens, STEPS), machine, Alternating({}, cuda=True))
        model.release()
        model.to("cpu")
        del model
    found = {"loaded": loaded, "allocated": torch.cuda.max_memory_allocated()}
    return {**found, "reserved": torch.cuda.max_memory_reserved()}


def full(made: Encoder, machine: Machine, batch: int, tokens: int) -> Plain:
    """Full fine-tuning of a copy of the encoder, as a loop in plain PyTorch does it."""
    model = copy.deepcopy(made.model)
    if machine.gradient_checkpointing:  # transformers recomputes in training mode only; these encoders have no dropout
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.train()
    model.set_attn_implementation("sdpa")
    model.requires_grad_(True).to("cuda" if machine.accelerator == "gpu" else "cpu")
    batch_of = texts(model.config.vocab_size, batch, tokens)
    return Plain(model, made.width, *batch_of, bf16=machine.precision == "bf16-mixed")


def size(model: torch.nn.Module) -> int:
    return sum(t.numel() * t.element_size() for t in [*model.parameters(), *model.buffers()])


def clean() -> None:
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


def resident(name: str, row: str, batch: int) -> dict[str, Any]:
    """Bytes of this process: with the encoder loaded, and at most while three steps are trained."""
    quantized = ROWS[row].quantize[0] if row in ROWS and ROWS[row].quantize else None
    made, machine = encoder(name, quantized), Machine()
    weights = size(made.model)
    if row == PLAIN:
        made.model.requires_grad_(True)
        plain = Plain(made.model, made.width, *texts(made.model.config.vocab_size, batch, TOKENS[name]))
        loaded = reset_peak()
        for _ in range(STEPS):
            plain.step()
    else:
        model = AdaptedEncoder(made)
        wanted = request(model, ROWS[row], batch, TOKENS[name], STEPS)
        loaded = reset_peak()
        train(model, wanted, machine, Alternating({}, cuda=False))
    return {"loaded": loaded, "peak": status("VmHWM"), "weights": weights}


def reset_peak(process: int | str = "self") -> int:
    Path(f"/proc/{process}/clear_refs").write_text("5")
    return status("VmRSS", process)


def status(key: str, process: int | str = "self") -> int:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(key)).split()[1])


def in_fresh_process(name: str, row: str, batch: int) -> dict[str, Any]:
    command = [sys.executable, __file__, name, "--row", row, "--batch", str(batch)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
