"""The same method in `peft`, in this process, and in `adapters`, in a process of another environment."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import IO, Any

import peft
import torch
from plain import Plain
from torch import Tensor
from transformers import PreTrainedModel

HERE = Path(__file__).resolve().parent


def with_peft(
    model: PreTrainedModel,
    how: tuple[str, dict[str, Any]],
    width: int,
    batch: tuple[Tensor, Tensor, Tensor],
    device: torch.device,
    bf16: bool,
) -> Plain:
    """``how``: the name of its configuration's class, and its arguments. ``model`` is changed in place."""
    kind, arguments = how
    config = getattr(peft, kind)(task_type="FEATURE_EXTRACTION", **arguments)
    adapted = peft.get_peft_model(model, config).to(device).eval()
    return Plain(adapted, width, *batch, bf16=bf16)


class Adapters:
    """A process that makes one training step each time that it is asked, and says how long that took."""

    def __init__(self, python: Path, model: PreTrainedModel, how: str, rows: int, tokens: int) -> None:
        self.python, self.model, self.how, self.rows, self.tokens = python, model, how, rows, tokens

    def __enter__(self) -> Adapters:
        with tempfile.TemporaryDirectory() as folder:
            self.model.save_pretrained(folder)
            numbers = [str(n) for n in (self.rows, self.tokens, torch.get_num_threads())]
            command = [str(self.python), str(HERE / "adapters_steps.py"), folder, self.how, *numbers]
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            self._line()  # "ready": it has read the folder
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe(self.process.stdin).close()
        self.process.wait()

    def step(self) -> float:
        asked = self._pipe(self.process.stdin)
        asked.write("step\n")
        asked.flush()
        return float(self._line())

    def _line(self) -> str:
        line = self._pipe(self.process.stdout).readline()
        if not line:
            raise RuntimeError(f"{self.python} with {self.how} ended: {self.process.wait()}")
        return line

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe
