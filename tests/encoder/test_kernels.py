"""Which attention a GPU may choose is a switch of the process: it is put back as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from continual import dealt, drive, trainer
from continual.encoder import attention
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.attention import kernels
from continual.evaluate import Evaluator
from continual.orders import orders
from tests import running


def allowed() -> bool:
    return torch.backends.cuda.cudnn_sdp_enabled()  # on a CPU the switch is there too


@pytest.fixture(autouse=True)
def as_torch_has_it() -> Iterator[None]:
    torch.backends.cuda.enable_cudnn_sdp(True)
    yield
    torch.backends.cuda.enable_cudnn_sdp(True)


def test_within_it_is_what_was_asked_for_and_afterwards_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    with kernels(planned=False):
        assert not allowed()
        with kernels(planned=True):
            assert allowed()
        assert not allowed()
    assert allowed()
    with pytest.raises(ZeroDivisionError), kernels(planned=False):
        raise ZeroDivisionError
    assert allowed()
    monkeypatch.setattr(attention, "PLANNED", False)
    with kernels(planned=True):
        assert not allowed()


@pytest.mark.parametrize(("long", "expected"), [(1, True), (1000, False)])
def test_a_run_plans_for_shapes_in_long_trainings_only(
    long: int, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training, scoring = set(), set()
    monkeypatch.setattr(dealt, "LONG", long)
    step, score = trainer.Learner.training_step, drive.run

    def stepped(self, batch, number):
        training.add(allowed())
        return step(self, batch, number)

    def scored(*given):
        work, answers = score(*given), None
        while True:
            scoring.add(allowed())
            try:
                answers = yield work.send(answers)
            except StopIteration as done:
                return done.value

    monkeypatch.setattr(trainer.Learner, "training_step", stepped)
    monkeypatch.setattr(drive, "run", scored)
    running.run(tmp_path)
    assert (training, scoring) == ({expected}, {False})
    assert allowed()


def test_orders_plan_for_no_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They forward each split once, as a run's own evaluation does."""
    made, seen, unseen = running.parts(tmp_path), set(), Evaluator.unseen
    drive.run_stream(made)
    monkeypatch.setattr(Evaluator, "unseen", lambda *given: (seen.add(allowed()), unseen(*given))[1])
    model = AdaptedEncoder(made.encoder)
    try:
        assert orders(made, model).forwarded > 0
    finally:
        model.release()
    assert seen == {False}
    assert allowed()
