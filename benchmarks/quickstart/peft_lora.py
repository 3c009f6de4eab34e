"""LoRA here against LoRA in ``peft``: same rows, batches, steps, head, learning rate and schedule, side by side.

    python benchmarks/quickstart/peft_lora.py [--gpu]

Both train query and value, rank 8, alpha 16, no dropout, on the frozen encoder in evaluation mode; each draws its own
A by its own initialisation. Writes ``records/peft-lora.json``.
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path

import peft
import torch
from torch import Tensor, nn

from continual import score
from continual.adapter import fresh, generator
from continual.bank import HeadBank
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.frozen import Encoder
from continual.encoder.load import load
from continual.encoder.pool import mean_pool
from continual.files import write_json
from continual.head.classify import Classify
from continual.method.lora import LoRA
from continual.predict import BATCH, answers, to
from continual.progress import Progress
from continual.request import Learn, Recipe
from continual.stream.base import Task
from continual.stream.batching import epoch_batches, test_batches
from continual.stream.text import Reader
from continual.stream.units import Encoded, collate
from continual.task_streams import quickstart
from continual.trainer import Machine, device_of, learn
from continual.types import Batch

HERE = Path(__file__).resolve().parent
RECIPE = Recipe()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--seeds", type=int, nargs="*", default=range(8))
    parser.add_argument("--out", type=Path, default=HERE / "records" / "peft-lora.json")
    options = parser.parse_args()
    machine = Machine(accelerator="gpu" if options.gpu else "cpu")
    encoder = load(max_length=64)
    reader = Reader(encoder.tokenizer, encoder.max_length)
    rows = []
    for seed in options.seeds:
        for task in quickstart.tasks():
            ours = with_continual(encoder, reader, task, seed, machine)
            theirs = with_peft(encoder, reader, task, seed, device_of(machine))
            rows.append({"task": task.name, "seed": seed, "n": len(task.test), "continual": ours, "peft": theirs})
            print(json.dumps(rows[-1]), flush=True)
    versions = {"torch": torch.__version__, "peft": peft.__version__}
    write_json(options.out, {"schema": 1, "device": str(device_of(machine)), "versions": versions, "rows": rows})


def request(model: AdaptedEncoder, encoder: Encoder, reader: Reader, task: Task, seed: int) -> Learn:
    head = Classify()
    return Learn(
        name=task.name,
        adapters=(fresh(LoRA(), model.shapes, model.weights, seed),),
        head=head,
        head_params=head.init(encoder.width, len(task.labels), generator(seed, "head", task.name)),
        train=reader(task.train, head, task.labels),
        valid=reader(task.valid, head, task.labels),
        score=score.named("accuracy"),
        labels=task.labels,
        recipe=RECIPE,
        lr=LoRA.lr,
        seed=seed,
    )


def with_continual(encoder: Encoder, reader: Reader, task: Task, seed: int, machine: Machine) -> float:
    # A copy, since the other library edits the module tree of what it is given.
    model = AdaptedEncoder(clone(encoder)).to(device_of(machine))
    [learned] = learn(model, [request(model, encoder, reader, task, seed)], machine, Progress(quiet=True))
    model.load([learned.adapter])
    bank = HeadBank([(Classify(), learned.head_params)]).to(device_of(machine))
    data = reader(task.test, Classify(), task.labels)
    return sum(a == b for a, b in zip(answers(model, bank, data), data.wanted, strict=True)) / len(data)


def with_peft(encoder: Encoder, reader: Reader, task: Task, seed: int, device: torch.device) -> float:
    torch.manual_seed(seed)
    config = peft.LoraConfig(r=8, lora_alpha=16, lora_dropout=0.0, target_modules=["query", "value"])
    model = peft.get_peft_model(clone(encoder).model, config).to(device).eval()
    head = Classify().init(encoder.width, len(task.labels), generator(seed, "head", task.name))
    head = {name: nn.Parameter(tensor.to(device)) for name, tensor in head.items()}
    trained = [*(p for p in model.parameters() if p.requires_grad), *head.values()]
    optimizer = torch.optim.AdamW(trained, lr=LoRA.lr, weight_decay=RECIPE.weight_decay)
    data = reader(task.train, Classify(), task.labels)
    batches = [b for e in range(RECIPE.epochs) for b in epoch_batches(data.lengths, RECIPE.batch_size, seed, e)]
    for step, rows in enumerate(batches):
        optimizer.param_groups[0]["lr"] = LoRA.lr * share(step, len(batches))
        batch = to(collate(data, rows), device)
        loss = nn.functional.cross_entropy(logits(model, head, batch), batch.targets[data.kind])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, RECIPE.clip or float("inf"))
        optimizer.step()
    return accuracy(model, head, reader(task.test, Classify(), task.labels), device)


def share(step: int, steps: int) -> float:
    """Linear warm-up over a tenth of the steps, then linear decay."""
    warm = round(RECIPE.warmup * steps)
    return (step + 1) / (warm + 1) if step < warm else (steps - step) / (steps - warm)


def logits(model: nn.Module, head: dict[str, nn.Parameter], batch: Batch) -> Tensor:
    states = model(input_ids=batch.inputs, attention_mask=batch.mask).last_hidden_state
    return nn.functional.linear(mean_pool(states, batch.mask), head["weight"], head["bias"])


@torch.no_grad()
def accuracy(model: nn.Module, head: dict[str, nn.Parameter], data: Encoded, device: torch.device) -> float:
    right = 0
    for rows in test_batches(data.lengths, BATCH):
        batch = to(collate(data, rows), device)
        right += int((logits(model, head, batch).argmax(-1) == batch.targets[data.kind]).sum())
    return right / len(data)


def clone(encoder: Encoder) -> Encoder:
    return copy.deepcopy(encoder)


if __name__ == "__main__":
    main()
