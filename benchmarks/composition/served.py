"""A process that computes only when it is asked to: a line in, a line of JSON out.

Torch and safetensors only, so that it runs in the environment of any library.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import torch
from safetensors.torch import save_file
from torch import Tensor


class Line:
    """Standard input and output as questions and answers; whatever else is printed goes to standard error."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def read(self) -> list[str]:
        """The next question. Nobody asks any more: the process ends."""
        line = sys.stdin.readline()
        if not line:
            sys.exit()
        return line.split()

    def write(self, answer: Any) -> None:
        print(json.dumps(answer), file=self._out, flush=True)


def serve(line: Line, commands: Mapping[str, Callable[..., Any]], facts: Mapping[str, Any]) -> NoReturn:
    """``facts`` first, which says that all is loaded; then an answer to each question."""
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)  # else what loading has freed stays resident, and training seems to need less
    line.write(facts)
    while True:
        name, *arguments = line.read()
        line.write({**commands, "reset": reset, "peak": torch.cuda.max_memory_allocated}[name](*arguments))


def reset() -> int:
    """Bytes of the card that are given out now; the peak counts from here."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


@torch.no_grad()
def seconds(forward: Callable[[], Tensor], times: int, device: torch.device, bf16: bool) -> float:
    """Of one forward, as a mean over ``times`` in a row."""
    started = _now(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        out = forward()
        for _ in range(times - 1):
            out = forward()
    taken = (_now(device) - started) / times
    if not bool(out.isfinite().all()):
        raise ArithmeticError("an answer is not finite")
    return taken


def write_answers(path: str, pooled: Tensor, params: Mapping[str, Tensor]) -> None:
    """Pooled states (B, d), and the gradients by ``params`` of their product with a fixed random matrix."""
    probe = torch.randn(pooled.shape, generator=torch.Generator().manual_seed(0)).to(pooled)
    gradients = torch.autograd.grad((pooled * probe).sum(), list(params.values()))
    found = {"pooled": pooled.detach(), **dict(zip(params, gradients, strict=True))}
    save_file({name: tensor.cpu().contiguous() for name, tensor in found.items()}, path)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
