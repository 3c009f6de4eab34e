"""AdapterFusion of this package, as a user trains it, in a process that computes only when it is asked.

python fusion_ours.py SETTING     SETTING: JSON, see ``Setting``; the questions that it answers: ``main``
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypedDict

import methods  # noqa: F401
import torch
from ours import Alternating, encoder, request, train
from plain import texts
from rows import ROWS
from served import Line, seconds, serve, write_answers
from torch import Tensor

from continual.adapter import Adapter, fresh, generator
from continual.captured import Captured
from continual.composition.fusion import Fusion, _Attention, direct
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.frozen import Encoder
from continual.encoder.site import Parts
from continual.method.bottleneck import Bottleneck
from continual.trainer import Machine, device_of, placed
from continual.types import Batch


class Setting(TypedDict):
    """form: "rank", the package's; "graph", its forwards as a CUDA graph; "direct"; "pruned", to two modules a site;
    "bare", the encoder with nothing loaded
    steps: of a training: a question for a step begins one where none is under way"""

    encoder: str
    form: str
    count: int
    rows: int
    tokens: int
    steps: int
    threads: int
    cuda: bool
    bf16: bool


@dataclass(frozen=True)
class Direct(Fusion):
    """Fusion in the order of the paper's operations: keys and values of all deltas are formed."""

    def install(self, model: AdaptedEncoder, adapters: Sequence[Adapter], seed: int) -> None:
        super().install(model, adapters, seed)
        for mixer in model.mixers().values():
            assert isinstance(mixer, _Attention)
            mixer.forward = _directly(mixer)  # type: ignore[reportAttributeAccessIssue]


class Asked(Alternating):
    """Holds a training before each step until it is asked for, and answers with the seconds that it took."""

    def __init__(self, line: Line, steps: int, cuda: bool) -> None:
        super().__init__({}, cuda)
        self.line, self.steps = line, steps

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx and self.line.read() != ["step"]:
            raise ValueError(f"{self.steps} steps were promised, and {batch_idx} taken")
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if batch_idx + 1 < self.steps:  # the last is answered when the training is over
            self.line.write(self.seconds["ours"][-1])


class Ours:
    """An encoder with a composition of N stored modules, and what it can be asked."""

    def __init__(self, made: Encoder, said: Setting, line: Line) -> None:
        self.said, self.line = said, line
        precision = "bf16-mixed" if said["bf16"] else "32-true"
        self.machine = Machine("gpu" if said["cuda"] else "cpu", precision=precision)
        self.device = device_of(self.machine)
        self.model = AdaptedEncoder(made).to(self.device).eval()
        self.modules = [stored(self.model, n) for n in range(said["count"])]
        self.composition = composition(said["form"], self.modules)
        self.install()
        ids, mask, _ = (t.to(self.device) for t in texts(made.model.config.vocab_size, said["rows"], said["tokens"]))
        self.batch = Batch(ids, mask, torch.arange(len(ids), device=self.device))
        self.read: Callable[[Batch], Tensor] = lambda batch: self.model.read(batch).pooled
        if said["form"] == "graph":
            self.read = Captured(self.read)

    def install(self) -> None:
        if self.composition is not None:
            install(self.model, self.composition, self.modules)

    def pooled(self) -> Tensor:
        return self.read(self.batch)

    def step(self) -> float:
        """A training: its steps as they are asked for. Gives the seconds of the last."""
        said = self.said
        wanted = request(self.model, ROWS["bottleneck"], said["rows"], said["tokens"], said["steps"])
        wanted = replace(wanted, adapters=tuple(self.modules), composition=self.composition)
        watch = Asked(self.line, said["steps"], said["cuda"])
        train(self.model, wanted, self.machine, watch)
        return watch.seconds["ours"][-1]

    def forward(self, times: str) -> float:
        placed(self.model, self.machine)
        return seconds(self.pooled, int(times), self.device, False)

    def answers(self, path: str) -> None:
        """In float32."""
        placed(self.model, replace(self.machine, precision="32-true"))
        self.install()
        params = {f"{a}/{name}": p for a, mixer in self.model.mixers().items() for name, p in mixer.named_parameters()}
        write_answers(path, self.pooled(), params)


def main() -> None:
    said: Setting = json.loads(sys.argv[1])
    line = Line()
    torch.set_num_threads(said["threads"])
    ours = Ours(encoder(said["encoder"]), said, line)
    serve(line, {"step": ours.step, "forward": ours.forward, "answers": ours.answers}, {})


def stored(model: AdaptedEncoder, number: int) -> Adapter:
    """A Pfeiffer adapter as training might have left it: none of its tensors is what it began with."""
    adapter = fresh(Bottleneck(), model.shapes, model.weights, number, model.absent)
    params = {
        address: {name: _moved(t, number, address, name) if t.dim() else t for name, t in own.items()}
        for address, own in adapter.params.items()
    }
    return Adapter(adapter.method, params)


def composition(form: str, modules: Sequence[Adapter]) -> Fusion | None:
    """None: nothing is loaded. Which two a pruned site keeps does not matter to what it costs."""
    if form == "bare":
        return None
    if form == "direct":
        return Direct()
    if form in ("rank", "graph"):
        return Fusion()
    pairs = {address: (i % len(modules), (i + 1) % len(modules)) for i, address in enumerate(modules[0].params)}
    return Fusion(kept={address: tuple(sorted(pair)) for address, pair in pairs.items()})


def install(model: AdaptedEncoder, chosen: Fusion, modules: Sequence[Adapter]) -> None:
    """With mixers as training might have left them."""
    chosen.install(model, modules, 0)
    with torch.no_grad():
        for address, mixer in model.mixers().items():
            for name, parameter in mixer.named_parameters():
                parameter.copy_(_moved(parameter.cpu(), 0, address, name))


def _moved(tensor: Tensor, number: int, *names: str) -> Tensor:
    return tensor + 0.02 * torch.randn(tensor.shape, generator=generator(number, "moved", *names))


def _directly(mixer: _Attention) -> Callable[[Tensor, Tensor, Tensor, Parts], Tensor]:
    def forward(x: Tensor, y: Tensor, mask: Tensor, parts: Parts) -> Tensor:
        return direct(mixer, x, y, parts)

    return forward


if __name__ == "__main__":
    main()
