"""On a CUDA device: what was proven on the CPU holds there too."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from continual.drive import run_stream
from continual.parts import Parts
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
