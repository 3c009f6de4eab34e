"""What a run reads, and when: every text that goes through the encoder is written down, with its stage.

So nothing that is read, cached or encoded elsewhere can hide.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from continual import predict
from continual.encoder.adapted import AdaptedEncoder
from continual.evaluate import Evaluate
from continual.parts import Parts
from continual.report.record import Record
from continual.request import Recipe
from continual.run import run
from continual.stream.base import Stream
from continual.stream.text import content_id
from continual.task_streams import toy
from continual.trainer import learn
from tests import running

SIZES = {"count": 2, "classes": 2, "train": 18, "valid": 7, "test": 23, "words": 6}
BATCH = 5
"""Of no split the number of rows is a multiple of it."""


class Read(NamedTuple):
    """One batch that was forwarded: before (-1), in or after the learning of which task; and its texts."""

    stage: int
    training: bool
    texts: tuple[int, ...]


class Watched(NamedTuple):
    """A finished run, and all that it forwarded."""

    record: Record
    stream: Stream
    reads: list[Read]

    def ids(self, task: int, split: str) -> set[int]:
        return {content_id(row.text) for row in self.stream.tasks[task].splits[split]}

    def stages(self, task: int, split: str) -> set[int]:
        """The stages in which a row of the split is forwarded."""
        wanted = self.ids(task, split)
        return {read.stage for read in self.reads if wanted.intersection(read.texts)}

    def missed(self, task: int, split: str, stage: int) -> set[int]:
        """Texts of a split that no batch of the stage has, though others of it are there."""
        read = {text for read in self.reads if read.stage == stage for text in read.texts}
        wanted = self.ids(task, split)
        return wanted - read if wanted & read else set()


def watch(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> Watched:
    """Go through a run as ``drive.py`` does. A stage begins where its module is asked for."""
    reads: list[Read] = []
    stage, training = -1, False
    forward = AdaptedEncoder.read

    def read(self: AdaptedEncoder, batch, *more):
        reads.append(Read(stage, training and torch.is_grad_enabled(), tuple(batch.row.tolist())))
        return forward(self, batch, *more)

    monkeypatch.setattr(AdaptedEncoder, "read", read)
    monkeypatch.setattr(predict, "BATCH", BATCH)
    model = AdaptedEncoder(parts.encoder)
    work = run(parts, model)
    try:
        requests = next(work)
        while True:
            stage, training = stage + 1, True
            learned = learn(model, requests, parts.machine, parts.progress)
            training = False
            requests = work.send(learned)
    except StopIteration as done:
        return Watched(done.value, parts.stream, reads)
    finally:
        work.close()
        model.release()


def parts(root: Path, **changes: Any) -> Parts:
    """Two tasks with early stopping, in which nothing that was scored is taken again."""
    stream, recipe = Stream("toy", tuple(toy.tasks(**SIZES))), Recipe(epochs=2, batch_size=BATCH, patience=2)
    return running.parts(root, **{"stream": stream, "recipe": recipe, "evaluate": Evaluate(reuse=False), **changes})
