"""A task under a strategy whose head is computed, not trained: a module that stays as it is reads the rows once."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import replace

import torch

from continual.bank import HeadBank
from continual.method.base import Params
from continual.predict import answers, row_features, word_features
from continual.request import Learn, Learned
from continual.score.base import value
from continual.session import Session
from continual.strategy.base import Closed, Memory, Stage

NEVER = -1e9
"""The logit of a class that no training row had: below all others, and yet a number."""


def learned(session: Session, request: Learn, strategy: Closed) -> Generator[list[Learn], list[Learned], Learned]:
    """The module trained where this is the first, then as it is; the head from the features of the training rows.

    A tagging head's are of words: the states that it reads.

    Steps and parameters are of what was trained: none, where nothing was. Seconds are of both.
    """
    start, stage = time.perf_counter(), request.stage
    assert stage is not None
    if stage.newest is None and request.adapters[0].size:
        [found] = yield [request]
    else:
        found = Learned(request.adapters[0], {}, {}, valid_score=0.0, steps=0, seconds=0.0, trainable=0)
    if found.diverged:
        return found
    session.model.mix(None)
    session.model.load([found.adapter])
    if request.head.reads == "tokens":
        features, labels = word_features(session.model, request.train)
    else:
        features, labels = row_features(session.model, request.train), torch.tensor(request.train.wanted)
    if not bool(features.isfinite().all()):
        return replace(found, diverged="the features of its training rows are not finite")
    head, sums = computed(strategy, stage, features, labels)
    score = _score(session, request, head)
    return replace(found, head_params=head, memory=sums, valid_score=score, seconds=time.perf_counter() - start)


def computed(strategy: Closed, stage: Stage, features: torch.Tensor, labels: torch.Tensor) -> tuple[Params, Memory]:
    """Head and sums after a task with these (n, d) features and (n,) outputs; an output without rows is never said."""
    sums = strategy.gather(stage, features, labels)
    head = strategy.solve(sums)
    bias = head["bias"].masked_fill(sums["count"] == 0, NEVER)
    return {name: tensor.float() for name, tensor in (head | {"bias": bias}).items()}, sums


def _score(session: Session, request: Learn, head: Params) -> float:
    """On the validation rows, as that of a trained head."""
    bank = HeadBank([(request.head, head)]).to(next(session.model.encoder.parameters()).device)
    found = answers(session.model, bank, request.valid)
    return value(request.score, request.score.rows(found, request.valid.wanted, request.labels))
