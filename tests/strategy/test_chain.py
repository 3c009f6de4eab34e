"""Several strategies at once: one alone is itself, what two do adds up, and what cannot be one is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from continual import build, folder
from continual.errors import ContinualError
from continual.method.bottleneck import Bottleneck
from continual.method.lora import LoRA
from continual.recalled import recall
from continual.request import Recipe
from continual.store.store import Store
from continual.strategy.agem import AGEM
from continual.strategy.chain import Chain, _joined
from continual.strategy.der import DER
from continual.strategy.ewc import EWC
from continual.strategy.herding import Herding
from continual.strategy.isolated import Isolated
from continual.strategy.lwf import LwF
from continual.strategy.replay import Replay
from continual.strategy.warm import Warm
from continual.stream.base import Example
from continual.typed import tuples
from tests import running
from tests.strategy import lab
from tests.strategy.test_rules import Data, Linear, member, number, stage

QUICK: dict[str, Any] = {"recipe": Recipe(lr=0.02, epochs=1, batch_size=8), "stream": lab.stream(tasks=2, rows=16)}


def given(*overrides: str) -> Any:
    """The strategy that the command line asks for."""
    with initialize_config_module("continual.conf", version_base="1.3"):
        node = compose("run", ["strategy=chain", *overrides]).strategy
    return build._make("strategy", tuples(OmegaConf.to_container(node)))


def penalty(rule: Any) -> torch.Tensor | float:
    return rule.penalty(torch.tensor([]), torch.tensor([]))


@pytest.mark.parametrize("name", ["si", "hat"])
def test_a_chain_of_one_is_that_one_bit_by_bit(name: str, tmp_path: Path) -> None:
    """Start, penalty, memory and all moments of a step are among what these two have of their own."""
    method = lab.METHODS.get(name, lab.METHOD)
    strategies = {"alone": folder.made("continual.strategy", name, {}), "chain": Chain((name,))}
    records = [lab.run(tmp_path / how, strategy=one, method=method, **QUICK) for how, one in strategies.items()]
    assert [m.digest for m in records[0].modules] == [m.digest for m in records[1].modules]
    assert lab.cells(records[0]) == lab.cells(records[1])


def test_penalties_add_up_and_each_remembers_for_itself() -> None:
    of, both = member([[0.5, 0.1], [0.2, -0.1]]), Chain(({"der": {"size": 3, "alpha": 2.0}}, {"ewc": {"samples": 2}}))
    parts: tuple[Any, Any] = (DER(size=3, alpha=2.0), EWC(samples=2))
    memory = both.rule(of, stage(1)).memory()  # type: ignore[arg-type]
    own = [part.rule(of, stage(1)).memory() for part in parts]
    assert memory.keys() == {f"der/{key}" for key in own[0]} | {f"ewc/{key}" for key in own[1]}
    with torch.no_grad():
        of.weight += torch.tensor([[1.0, 0.5], [0.0, -0.5]])
    apart = [number(penalty(part.rule(of, stage(2, kept)))) for part, kept in zip(parts, own, strict=True)]
    together = number(penalty(both.rule(of, stage(2, memory))))  # type: ignore[arg-type]
    assert all(value > 0.01 for value in apart)
    assert together == pytest.approx(sum(apart), rel=1e-6)


def test_rows_are_those_of_the_first_and_what_the_others_add() -> None:
    now = stage(3)
    replayed, every = Replay(size=3).rows(now), [row for task in now.tasks for row in task.train]
    found = Chain(({"replay": {"size": 3}}, "cumulative")).rows(now)
    assert found[: len(replayed)] == replayed
    assert sorted(found) == sorted(every)
    assert list(Chain(("cumulative", "replay")).rows(now)) == every
    assert Chain(("lwf", "ewc")).rows(now) is now.task.train
    assert Chain(({"replay": {"size": 3}},)).rows(now) == replayed
    twice, thrice = [Example("a", 0)] * 2, [*[Example("a", 0)] * 3, Example("a", 1)]
    assert _joined(twice, thrice) == thrice


def test_what_holds_a_part_of_the_module_holds_it_beside_what_turns_gradients(tmp_path: Path) -> None:
    strategy, method = Chain(({"agem": {"size": 8}}, "olora")), LoRA(rank=2)
    record = lab.run(tmp_path, strategy=strategy, method=method, **QUICK)
    found = [recall(Store(tmp_path / "store"), m.digest, lab.encoder()).adapters[0] for m in record.modules]
    for address, p in found[1].params.items():
        assert torch.equal(p["a"][2:], found[0].params[address]["a"])
        assert torch.equal(p["b"][:, 2:], found[0].params[address]["b"])
    more = 2 * (lab.encoder().width + 1)  # two outputs of the one head
    assert record.modules[1].trainable - record.modules[0].trainable == more


def test_lwf_asks_nothing_of_a_row_that_another_repeats() -> None:
    before, now = member([[0.1, 0.2], [0.3, -0.1]]), stage(2, rivals=((0, 1),))
    rule = LwF().rule(before, now)  # type: ignore[arg-type]
    rows = [now.tasks[0].train[0], *now.task.train[:2], Example("99", 0)]
    data, moved = Data(rows), Linear(before.weight.detach() + torch.tensor([[0.5, 0.0], [0.0, 0.1]]))
    logits, _ = moved.rehearse(data, range(4))
    apart, alone = rule.penalty(data.row, logits), rule.penalty(data.row[1:3], logits[1:3])
    assert number(apart) == pytest.approx(number(alone))
    assert number(alone) > 0.01
    assert number(rule.penalty(data.row[:1], logits[:1])) == 0.0


def test_the_command_line_gives_names_or_names_with_arguments() -> None:
    assert list(given("strategy.of=[agem,lwf]").parts.values()) == [AGEM(), LwF()]
    named = given("strategy.of=[{replay:{size:5}},ewc]")
    assert list(named.parts.values()) == [Replay(size=5), EWC()]
    assert folder.made("continual.strategy", "chain", folder.arguments(named)) == named
    assert Chain(({"warm": {"sample": 3}, "isolated": None},)).parts == {"warm": Warm(sample=3), "isolated": Isolated()}


def test_what_it_is_follows_from_its_parts(tmp_path: Path) -> None:
    def facts(*names: str) -> tuple[bool, bool, bool]:
        chain = Chain(names)
        return chain.shared, chain.one_head, chain.independent

    assert facts("si", "ewc") == (True, False, False)
    assert facts("si", "replay") == (True, True, False)
    assert facts("warm", "isolated") == (False, False, False)
    assert facts("isolated") == (False, False, True)
    assert Chain(("herding",)).parts == {"herding": Herding()}
    with pytest.raises(ContinualError, match=r"expected method=lora, got method=bottleneck"):
        running.parts(tmp_path, strategy=Chain(("replay", "olora")), method=Bottleneck())


@pytest.mark.parametrize(
    ("of", "why"),
    [
        ((), r"strategy\.of is empty"),
        (("ewc", {"ewc": {"strength": 1.0}}), r"strategy\.of has ewc twice"),
        (("replay", "sloth"), r"unknown strategy 'sloth'; choose from: agem,"),
        (("replay", "isolated"), r"replay with one module for all tasks and isolated with a module for each"),
        (("warm", "hat"), r"warm and hat, and each says how a task starts"),
        (("replay", "chain"), r"chain, which cannot be in a chain"),
        (("slda", "replay"), r"slda, which cannot be in a chain"),
        (("ewc", "olora"), r"ewc, which measures how parameters moved, and olora, whose module grows"),
        (({"ewc": {"strenght": 1.0}},), r"unknown key strategy\.of\.ewc\.strenght; choose from: strength"),
        (({"replay": {"size": "many"}},), r"strategy\.of\.replay\.size must be a whole number, got 'many'"),
    ],
)
def test_what_cannot_be_one_is_refused(of: Any, why: str) -> None:
    with pytest.raises(ContinualError, match=why):
        Chain(of)


def test_a_name_alone_is_no_list() -> None:
    with pytest.raises(ContinualError, match=r"strategy\.of must be a list of text or a mapping"):
        given("strategy.of=replay")
