"""A function of a batch on a GPU as CUDA graphs, one for each shape: what it does is replayed, not launched again.

A step of a small encoder is some thousand kernels of microseconds. Launched one by one they wait for Python most of the
time; a graph starts all of them at once.
"""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from continual.types import Batch

log = logging.getLogger(__name__)

WARM = 2
"""Calls of the first shape that run as they are before it is captured: libraries choose their kernels, buffers get
their places. Of a later shape one is enough: its own kernels are loaded then."""

_CAPTURING = threading.Lock()
"""One capture at a time in a process, whatever the devices are (``dealt.py``): to begin one frees what is cached on all
devices, which torch refuses while another goes on; and whether cycles are collected is a switch for all threads."""


@dataclass
class _Recorded:
    """A graph, the tensors that it reads, and the one that it writes."""

    graph: torch.cuda.CUDAGraph
    given: list[Tensor]
    found: Tensor


class Captured:
    """``call(batch, *more)`` with the same effects and result, from a shape's second or third call on in one launch.

    ``call`` must be work of the device alone: no value may be read, and no tensor come from the host. It keeps nothing
    of what it is given; its result is the next call's when that is made.

    captures  how many graphs were captured so far
    """

    def __init__(self, call: Callable[..., Tensor]) -> None:
        self._call = call
        self._seen: dict[object, int] = {}
        self._recorded: dict[object, _Recorded] = {}
        self._stream = torch.cuda.Stream()
        self._pool: Any = None
        self._given_up = False

    @property
    def captures(self) -> int:
        return len(self._recorded)

    def __call__(self, batch: Batch, *more: Tensor) -> Tensor:
        form = _form(batch)
        # One stream for all: what a backward pass accumulates into remembers the stream that it was first used on.
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            found = self._run(form, batch, more)
        torch.cuda.current_stream().wait_stream(self._stream)
        return found

    def _run(self, form: object, batch: Batch, more: tuple[Tensor, ...]) -> Tensor:
        given = [*_tensors(batch), *more]
        if (recorded := self._recorded.get(form)) is not None:
            torch._foreach_copy_(recorded.given, given, non_blocking=True)  # pyright: ignore[reportPrivateImportUsage]
            recorded.graph.replay()
            return recorded.found
        for tensor in given:
            tensor.record_stream(self._stream)
        self._seen[form] = self._seen.get(form, 0) + 1
        if self._seen[form] <= (1 if self._recorded else WARM) or self._given_up:
            return self._call(batch, *more)
        if (recorded := self._capture(batch, more)) is None:
            return self._call(batch, *more)
        self._recorded[form] = recorded
        recorded.graph.replay()
        return recorded.found

    def _capture(self, batch: Batch, more: tuple[Tensor, ...]) -> _Recorded | None:
        """None where ``call`` asks for the host after all: nothing has run, and all shapes are launched as ever."""
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        try:
            # What other threads do on other devices does not concern this capture.
            mode = "thread_local"
            recording = torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode=mode)
            with _CAPTURING, _nothing_dies(), recording:
                found = self._call(batch, *more)
        except RuntimeError as error:
            if "captur" not in str(error):  # as is memory that has run out
                raise
            log.warning("steps are launched one kernel after another, not as a CUDA graph: %s", error)
            self._given_up = True
            return None
        self._pool = graph.pool()  # graphs that never run at the same time share their memory
        return _Recorded(graph, [*_tensors(batch), *more], found)


@contextmanager
def _nothing_dies() -> Iterator[None]:
    """No cycle is collected meanwhile: it may hold an older graph, and freeing that spoils the one in the making."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _form(batch: Batch) -> object:
    """Batches that are equal in this differ in numbers only."""
    there = tuple(field.name for field in fields(batch) if isinstance(getattr(batch, field.name), Tensor))
    blocks = None if batch.blocks is None else (batch.blocks.each, batch.blocks.members is None)
    return there, blocks, tuple(batch.targets), tuple((t.shape, t.dtype) for t in _tensors(batch))


def _tensors(batch: Batch) -> Iterator[Tensor]:
    for field in fields(batch):
        value = getattr(batch, field.name)
        if isinstance(value, Tensor):
            yield value
    yield from batch.targets.values()
    if batch.blocks is not None and batch.blocks.members is not None:
        yield batch.blocks.members
