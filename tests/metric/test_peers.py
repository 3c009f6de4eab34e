"""Against the frameworks' own functions, where they are installed; and where theirs are not what they say, how."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import pytest

from continual.metric.base import from_matrix, metrics

COUNTS = [200, pytest.param(10_000, marks=pytest.mark.slow)]


def peer(name: str):
    """A module of a framework; the test is skipped where it cannot be imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs to mend
        return pytest.importorskip(name, exc_type=Exception)


def continuum():
    """Its metrics alone, which need numpy only: importing the package takes torchvision."""
    found = importlib.util.find_spec("continuum")
    if found is None or not found.submodule_search_locations:
        pytest.skip("continuum is not installed")
    path = Path(found.submodule_search_locations[0]) / "metrics" / "metrics.py"
    spec = importlib.util.spec_from_file_location("continuum_metrics", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def matrices(count: int, least: int = 2):
    """Shares of 64 rows, exact in binary."""
    rng = np.random.default_rng(count)
    for _ in range(count):
        tasks = int(rng.integers(least, 7))
        yield rng.integers(0, 65, (tasks, tasks)) / 64, rng.integers(0, 65, tasks) / 64


def value(name: str, R, zero=(), counts=()):
    return metrics()[name].measure(from_matrix(np.asarray(R).tolist(), np.asarray(zero).tolist(), counts)).value


@pytest.mark.parametrize("count", COUNTS)
def test_renate(count):
    theirs = peer("renate.evaluation.metrics.classification")
    for R, zero in matrices(count):
        last, counts = len(R) - 1, [10 * (task + 1) for task in range(len(R))]
        results = {"accuracy": R.tolist(), "accuracy_init": [zero.tolist()]}
        for ours, name in [
            ("average_accuracy", "average_accuracy"),
            ("micro_average_accuracy", "micro_average_accuracy"),
            ("backward_transfer", "backward_transfer"),
            ("forward_transfer", "forward_transfer"),
        ]:
            expected = getattr(theirs, name)(results, last, counts)
            assert value(ours, R, zero, counts) == pytest.approx(expected, abs=1e-12), ours
        seen = {"accuracy": np.tril(R).tolist()}  # its forgetting reads rows from before a task was learned too
        assert value("forgetting", R) == pytest.approx(theirs.forgetting(seen, last, counts), abs=1e-12)


@pytest.mark.parametrize("count", COUNTS)
def test_fusionbench(count):
    theirs = peer("fusion_bench.metrics.continual_learning.backward_transfer")
    for R, _ in matrices(count):
        last, first = dict(enumerate(R[-1])), dict(enumerate(R.diagonal()))
        expected = theirs.compute_backward_transfer(last, first)
        assert value("backward_transfer_over_tasks", R) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("count", COUNTS)
def test_avalanche(count):
    theirs = peer("avalanche.evaluation.metrics.forgetting_bwt")
    forward = peer("avalanche.evaluation.metrics.forward_transfer")
    for R, zero in matrices(count):
        forgot, gained, ahead = theirs.Forgetting(), theirs.BWT(), forward.ForwardTransfer()
        for task in range(len(R)):
            ahead.update(task, zero[task], initial=True)
            if task:
                ahead.update(task, R[task - 1, task])
            for metric in (forgot, gained):
                metric.update(task, R[task, task], initial=True)
                if task < len(R) - 1:
                    metric.update(task, R[-1, task])
        for ours, metric in [("forgetting_from_first", forgot), ("backward_transfer", gained)]:
            assert value(ours, R) == pytest.approx(np.mean(list(metric.result().values())), abs=1e-12)
        assert value("forward_transfer", R, zero) == pytest.approx(np.mean(list(ahead.result().values())), abs=1e-12)


def answered(R):
    """Predictions, targets and task numbers after each task, 64 rows a task: what Continuum takes."""
    right = [np.concatenate([np.arange(64) < round(64 * share) for share in row]) for row in R]
    tasks = np.repeat(np.arange(len(R)), 64)
    return [row.astype(int) for row in right], [np.ones(len(tasks), dtype=int)] * len(R), [tasks] * len(R)


@pytest.mark.parametrize("count", COUNTS)
def test_continuum(count):
    theirs = continuum()
    for R, _ in matrices(count, least=3):
        assert value("triangle_accuracy", R) == pytest.approx(theirs.accuracy_A(*answered(R)), abs=1e-12)
        # Its loop over pairs leaves out i = j+1: equal where nothing changes there.
        for task in range(len(R) - 1):
            R[task + 1, task] = R[task, task]
        for ours, name in [
            ("backward_transfer_all_pairs", "backward_transfer"),
            ("positive_backward_transfer", "positive_backward_transfer"),
            ("remembering", "remembering"),
        ]:
            assert value(ours, R) == pytest.approx(getattr(theirs, name)(*answered(R)), abs=1e-12), ours
        # Its forgetting ends a row and a task too early: equal where that row is no maximum and that task is kept.
        R[-2, :-2] = np.minimum(R[-2, :-2], R.diagonal()[:-2])
        assert value("forgetting", R) == pytest.approx(theirs.forgetting(*answered(R)), abs=1e-12)
        # Its forward transfer is the mean below the diagonal: the transposed matrix has there what ours reads.
        assert value("forward_transfer_all_pairs", R) == pytest.approx(theirs.forward_transfer(*answered(R.T)))


def test_continuum_leaves_out_what_the_last_task_did_to_the_one_before():
    R = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert continuum().backward_transfer(*answered(R)) == 0
    assert value("backward_transfer_all_pairs", R) == -1
