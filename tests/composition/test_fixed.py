"""Compositions without parameters in a whole run: a head is learned over them, and they are stored like any other."""

from __future__ import annotations

from pathlib import Path

import pytest

from continual.composition.average import Average
from continual.composition.split import Split
from continual.composition.stack import Stack
from continual.store import Store
from tests import running

FIXED = (Stack(), Average(weights=(1.0, 1.0, 2.0)), Split(shares=(0.5, 0.25)))


def test_a_run_learns_a_head_over_each_and_stores_it(tmp_path: Path) -> None:
    record = running.run(tmp_path, compositions=FIXED)
    assert record.warnings == []
    assert {gain.composition for gain in record.gains} == {"stack", "average", "split"}
    made = {module.method: module for module in record.modules if module.kind == "composition"}
    store = Store(tmp_path / "store")
    for name, module in made.items():
        entry = store.get(module.digest)
        assert (entry.card.method, entry.tensors, len(entry.card.parents)) == (name, {}, 3)
        assert module.trainable == sum(tensor.numel() for tensor in entry.head.values())
    assert store.get(made["average"].digest).card.arguments["weights"] == [1.0, 1.0, 2.0]
    assert {row.kind for row in record.weights} == {"fixed"}
    means = {row.composition: row.mean for row in record.weights}
    assert means["stack"] == [1.0, 1.0, 1.0]
    assert means["average"] == [0.25, 0.25, 0.5]
    assert sum(means["split"]) == pytest.approx(1.0)
    assert (tmp_path / "runs" / record.id / "dashboard.html").is_file()
