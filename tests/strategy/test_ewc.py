"""Elastic weight consolidation, against sums made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from continual.errors import ContinualError
from continual.strategy.ewc import EWC, known_part
from continual.strategy.sequential import Sequential
from tests import running
from tests.strategy import lab


def memories(root: Path) -> list[dict[str, torch.Tensor]]:
    [folder] = (root / "runs").glob("*")
    return [load_file(path) for path in sorted(folder.glob("memory-*.safetensors"))]


def drift(root: Path, **changes: object) -> float:
    """How far the module moved from where the first task left it."""
    record = lab.run(root, **changes)
    from continual.store.store import Store

    first, last = (Store(root / "store").get(record.modules[i].digest).tensors for i in (0, -1))
    return sum(float((first[name] - last[name]).square().sum()) for name in first) ** 0.5


def test_the_stronger_it_is_the_less_the_module_moves(tmp_path: Path) -> None:
    free = drift(tmp_path / "free", strategy=Sequential())
    held = [drift(tmp_path / str(s), strategy=EWC(strength=s, samples=32)) for s in (1.0, 1e4, 1e8)]
    assert free >= held[0] > held[1] > held[2]
    assert held[2] < 0.5 * free


def test_without_strength_it_is_sequential_training(tmp_path: Path) -> None:
    one = lab.run(tmp_path / "one", strategy=EWC(strength=0.0, samples=4))
    other = lab.run(tmp_path / "other", strategy=Sequential())
    assert [cell.score for cell in one.cells] == [cell.score for cell in other.cells]


def test_online_the_information_of_the_tasks_is_summed_and_decays(tmp_path: Path) -> None:
    given = {"samples": 16, "strength": 0.0}  # no pull: all three walk the same path
    lab.run(tmp_path / "sum", strategy=EWC(decay=1.0, **given))
    lab.run(tmp_path / "half", strategy=EWC(decay=0.5, **given))
    lab.run(tmp_path / "terms", strategy=EWC(online=False, **given))
    whole, half, terms = (memories(tmp_path / name) for name in ("sum", "half", "terms"))
    name = "fisher/module/0/ffn_norm/down"
    each = [terms[2][f"{term}/{name}"] for term in range(3)]
    assert torch.allclose(whole[2][f"0/{name}"], sum(each), rtol=1e-5)
    assert torch.allclose(half[2][f"0/{name}"], each[0] / 4 + each[1] / 2 + each[2], rtol=1e-5)
    assert torch.equal(whole[2]["0/anchor/module/0/ffn_norm/down"], terms[2]["2/anchor/module/0/ffn_norm/down"])
    assert not any("head" in key for key in whole[2])


def test_the_head_that_goes_on_is_held_where_it_is_known(tmp_path: Path) -> None:
    lab.run(tmp_path, strategy=EWC(samples=8), stream=lab.stream("class"))
    found = [memory["0/fisher/head/weight"] for memory in memories(tmp_path)]
    assert [len(fisher) for fisher in found] == [2, 4, 6]
    assert known_part(torch.arange(6), torch.zeros(4)).tolist() == [0, 1, 2, 3]
    assert known_part(torch.tensor(3.0), torch.tensor(1.0)) == 3


def test_a_memory_that_was_damaged_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from continual import drive

    given = {"strategy": EWC(samples=4), "recipe": running.Recipe(lr=0.02, epochs=1, batch_size=8)}
    learn, calls = drive.learn, []

    def once(*arguments):
        calls.append(None)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return learn(*arguments)

    monkeypatch.setattr(drive, "learn", once)
    with pytest.raises(KeyboardInterrupt):
        lab.run(tmp_path, **given)
    [path] = (tmp_path / "runs").glob("*/memory-learn-0.safetensors")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ContinualError, match=r"memory-learn-0.safetensors is not what was written"):
        lab.run(tmp_path, **given)


@pytest.mark.parametrize("values", [{"strength": -1}, {"decay": 1.5}, {"samples": 0}])
def test_values_that_mean_nothing_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ContinualError, match=r"expected strategy\.strength of 0 or more"):
        EWC(**values)
