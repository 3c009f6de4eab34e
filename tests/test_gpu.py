"""On a CUDA device: what was proven on the CPU holds there too."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from continual.adapter import flatten
from continual.drive import run_stream
from continual.method import named
from continual.parts import Parts
from continual.predict import to
from continual.request import Recipe
from continual.stream.base import Stream
from continual.task_streams import toy
from continual.trainer import Machine
from tests import tiny

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def record(tmp_path: Path, accelerator: str):
    encoder = tiny.encoder(words=toy.WORDS)
    machine = Machine(accelerator=accelerator)
    stream = Stream("toy", tuple(toy.tasks()))
    recipe = Recipe(epochs=4, batch_size=16)
    folders = {"runs": tmp_path / accelerator / "runs", "store": tmp_path / accelerator / "store"}
    return run_stream(Parts(encoder, stream, recipe=recipe, machine=machine, **folders))


def test_a_whole_run_on_the_gpu_agrees_with_the_cpu(tmp_path: Path) -> None:
    gpu, cpu = record(tmp_path, "gpu"), record(tmp_path, "cpu")
    assert gpu.status == "finished"
    assert gpu.encoder_unchanged
    assert gpu.modules_unchanged
    assert gpu.metrics["backward_transfer"].value == 0.0
    assert len(gpu.cells) == len(cpu.cells)
    for one, other in zip(gpu.cells, cpu.cells, strict=True):
        assert one.score == pytest.approx(other.score, abs=0.15)  # a few of 48 rows may fall the other way


@pytest.mark.parametrize("name", ["full", "sparse", "bottleneck", "lora", "prefix", "prompt"])
def test_a_module_loads_into_an_encoder_on_the_card(name: str) -> None:
    """What is stored lies on the CPU, whatever the encoder runs on: it answers as it does there."""
    model = tiny.adapted()
    adapter = tiny.trained(named(name, {"rule": "random"} if name == "sparse" else {}), model)
    model.load([adapter])
    wanted = model(tiny.batch())
    model.load([])
    model.to("cuda").load([adapter])
    assert tiny.gap(model(to(tiny.batch(), torch.device("cuda"))).cpu(), wanted) < 1e-4
    taken, given = flatten(model.take().params), flatten(adapter.params)
    assert all(torch.equal(taken[key], given[key]) for key in given)
