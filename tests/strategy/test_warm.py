"""From which module a task starts, on features of two numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from continual.adapter import Adapter
from continual.errors import ContinualError
from continual.method.base import Described
from continual.method.bottleneck import Bottleneck
from continual.method.bundle import Bundle
from continual.method.prefix_mlp import PrefixMLP
from continual.strategy.base import Stage
from continual.strategy.warm import Warm
from continual.stream.base import Example, Rows, Task
from tests import running


def adapter(value: float) -> Adapter:
    return Adapter(Bottleneck(), {"0/ffn": {"down": torch.full((2,), value)}})


def bare(rows: Rows) -> torch.Tensor:
    return torch.tensor([[float(x) for x in str(row.text).split()] for row in rows])


def stage(texts: list[list[str]], past: list[Adapter | None], seed: int = 0) -> Stage:
    tasks = tuple(Task(f"t{n}", ("a",), [Example(text, 0) for text in of], (), ()) for n, of in enumerate(texts))
    return Stage(tasks, tuple(past), {}, bare, bare, seed=seed, one_head=False)  # type: ignore[arg-type]


TEXTS = [["90 10", "90 0"], ["0 10", "10 20"], ["1 9"], ["1 3", "3 5"]]
"""Means (90, 5), (5, 15), (1, 9) and (2, 4): to the last the first has the largest product, the third is nearest,
and the second has the smallest angle."""


def test_it_starts_from_a_copy_of_the_module_whose_mean_features_are_nearest_by_angle() -> None:
    past = [adapter(1.0), adapter(2.0), adapter(3.0)]
    started = Warm().start(adapter(0.0), stage(TEXTS, [*past]))
    assert started.params["0/ffn"]["down"].tolist() == [2.0, 2.0]
    started.params["0/ffn"]["down"].zero_()
    assert past[1].params["0/ffn"]["down"].tolist() == [2.0, 2.0]


def test_the_first_task_and_one_with_only_diverged_ones_before_it_start_fresh() -> None:
    fresh = adapter(0.0)
    assert Warm().start(fresh, stage(TEXTS[:1], [])) is fresh
    assert Warm().start(fresh, stage(TEXTS[:2], [None])) is fresh


def test_a_module_that_diverged_is_passed_over() -> None:
    started = Warm().start(adapter(0.0), stage(TEXTS, [adapter(1.0), None, adapter(3.0)]))
    assert started.params["0/ffn"]["down"].tolist() == [3.0, 3.0]


@pytest.mark.parametrize(
    ("method", "why"),
    [
        (PrefixMLP(), "learned as prefix_mlp is stored as prefix; choose method=prefix"),
        (Bundle({"prefix_mlp": {}, "lora": {}}), r"bundle \+ prefix_mlp \+ lora is stored as bundle \+ prefix \+ lora"),
    ],
)
def test_a_method_that_is_stored_as_another_is_refused_when_the_run_is_built(
    method: Described, why: str, tmp_path: Path
) -> None:
    with pytest.raises(ContinualError, match=why):
        running.parts(tmp_path, strategy=Warm(), method=method)
    assert running.parts(tmp_path, strategy=Warm(), method=Bundle()).method == Bundle()


def test_only_so_many_rows_are_read_and_the_seed_says_which() -> None:
    texts = [[f"{i} 1" for i in range(50)]]
    means = [Warm(sample=5).mean(of.task, of).tolist() for of in (stage(texts, [], s) for s in (0, 0, 1))]
    assert means[0] == means[1] != means[2]
    assert Warm(sample=50).mean(stage(texts, []).task, stage(texts, [])).tolist() == [24.5, 1.0]
    with pytest.raises(ContinualError, match="at least 1, got 0"):
        Warm(sample=0)
