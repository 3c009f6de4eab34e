"""What every file of ``continual/head`` promises; a new file needs sample rows in ``samples.py`` and nothing here."""

from __future__ import annotations

from dataclasses import is_dataclass

import pytest
import torch
from torch import Tensor
from torch.func import vmap

from continual import folder
from continual.bank import HeadBank
from continual.errors import ContinualError
from continual.head import named
from continual.stream.base import Example
from continual.stream.units import collate, join
from continual.types import States
from tests.head import samples

NAMES = folder.names("continual.head")
ALL = [0, 1, 2]

every_head = pytest.mark.parametrize("name", NAMES)
each_row_alone = pytest.mark.parametrize("name", [n for n in NAMES if n != "retrieve"])  # its rows need each other
padded_heads = pytest.mark.parametrize("name", ["classify", "multilabel", "tag"])  # as wide as the task has labels


def gap(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return float((a - b).detach().abs().max())


@every_head
def test_it_says_what_it_is(name: str) -> None:
    head = named(name)
    assert is_dataclass(head)
    assert len((type(head).__doc__ or "").split()) > 5
    assert not type(head).__doc__.startswith(f"{type(head).__name__}(")  # a dataclass writes that by itself
    assert head.reads in ("pooled", "tokens")
    assert set(head.scores) <= set(folder.names("continual.score"))
    assert isinstance(head.classes, bool)
    assert isinstance(hash(head.path()), int)
    assert named(folder.name_of("continual.head", head)) == head


def test_paths_tell_heads_apart() -> None:
    assert len({named(name).path() for name in NAMES}) == len(NAMES)


@pytest.mark.parametrize("name", ["clasify", "../tag", "base", "__init__", ""])
def test_unknown_names_are_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(ContinualError, match=", ".join(NAMES)):
        named(name)


@every_head
def test_good_rows_have_no_problem_and_others_are_told_what_is_expected(name: str) -> None:
    rows, labels = samples.ROWS[name]
    assert [named(name).problem(row, labels) for row in rows] == [None] * len(rows)
    for text in (None, 3, ("a", 3), ("a", "b", "\ud800"), "\ud800", (), [("a", "b")]):
        assert str(named(name).problem(Example(text, rows[0].label), labels)).startswith("expected ")
    if name != "retrieve":
        for label in (None, True, "a", float("nan"), (None,), [1]):
            assert str(named(name).problem(Example(rows[0].text, label), labels)).startswith("expected ")


@every_head
def test_what_it_reads_fits_together(name: str) -> None:
    head, data = samples.read(name)
    units = int(data.first[-1])
    assert len(data) == len(data.wanted) == len(ALL)
    assert len(data.inputs) == len(data.targets) == len(data.row) == units >= len(ALL)
    assert data.marks is None or len(data.marks) == units
    assert data.kind == head.path()
    assert max(len(ids) for ids in data.inputs) <= 16
    assert collate(data, ALL).targets[head.path()].shape[0] == units


@every_head
def test_no_rows_are_read_as_none(name: str) -> None:
    data = named(name).read(samples.reader(), [], samples.ROWS[name][1])
    assert len(data) == len(data.inputs) == len(data.targets) == 0


@every_head
def test_initial_values_are_a_function_of_the_generator(name: str) -> None:
    first, again = (named(name).init(8, 3, torch.Generator().manual_seed(1)) for _ in range(2))
    assert first.keys() == again.keys()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert len({len(tensor) for tensor in first.values()}) == 1  # the first axis: the outputs


@each_row_alone
@pytest.mark.parametrize("rows", [ALL, [2, 0], [1]])
def test_who_knows_the_targets_answers_what_is_wanted(name: str, rows: list[int]) -> None:
    head, data = samples.read(name)
    logits = samples.perfect(name, samples.targets(data, rows), len(samples.ROWS[name][1]))
    found = head.decode(logits, samples.marks(data, rows), data.units(rows)[1])
    wanted = [data.wanted[row] for row in rows]
    assert found == ([golds[0] for golds in wanted] if name == "span" else wanted)


@each_row_alone
def test_the_loss_of_who_knows_the_targets_is_nothing(name: str) -> None:
    head, data = samples.read(name)
    logits = 5 * samples.perfect(name, samples.targets(data, ALL), len(samples.ROWS[name][1]))
    if name == "regress":
        logits = logits / 5
    _, example = data.units(ALL)
    assert head.loss(logits, samples.targets(data, ALL), example, torch.zeros_like(example)).max() < 1e-6


@each_row_alone
@pytest.mark.parametrize("rows", [ALL, [2, 0], [1, 1, 2]])
def test_loss_of_a_batch_is_that_of_its_rows_alone(name: str, rows: list[int]) -> None:
    _, data = samples.read(name)
    p = samples.params(name)
    alone = torch.cat([samples.losses(name, p, data, [row]) for row in rows])
    assert gap(samples.losses(name, p, data, rows), alone) < 1e-12


@every_head
def test_padding_moves_no_loss_and_no_answer(name: str) -> None:
    head, data = samples.read(name)
    p = samples.params(name)
    assert gap(samples.losses(name, p, data, ALL, tokens=23), samples.losses(name, p, data, ALL)) < 1e-12
    _, example = data.units(ALL)
    short, long = (
        head.decode(head.logits(p, *samples.states(data, ALL, head.reads, tokens)), samples.marks(data, ALL), example)
        for tokens in (0, 23)
    )
    assert str(short) == str(long)


@every_head
def test_members_do_not_meet(name: str) -> None:
    """Two members in one batch: as in their own batches, whatever the order of their rows is."""
    head, data = samples.read(name)
    p = samples.params(name)
    batches = [collate(data, rows) for rows in ([0, 1], [2, 1, 0])]
    both = join(batches, pad=data.pad)
    rows = [0, 1, 2, 1, 0]
    _, example = data.units(rows)
    member = (example >= 2).long()
    logits = head.logits(p, *samples.states(data, rows, head.reads))
    together = head.loss(logits, both.targets[head.path()], example, member)
    apart = torch.cat([samples.losses(name, p, data, part) for part in ([0, 1], [2, 1, 0])])
    assert gap(together, apart) < 1e-12


@padded_heads
def test_outputs_of_a_wider_head_change_nothing(name: str) -> None:
    head, data = samples.read(name)
    labels = len(samples.ROWS[name][1])
    logits = head.logits(samples.params(name), *samples.states(data, ALL, head.reads))
    wide = torch.cat([logits, torch.full((*logits.shape[:-1], 2), float("-inf"), dtype=logits.dtype)], -1)
    _, example = data.units(ALL)
    member, wanted = torch.zeros_like(example), samples.targets(data, ALL)
    narrow = head.loss(logits, wanted, example, member)
    assert gap(head.loss(wide, wanted, example, member), narrow) < 1e-12
    if name == "multilabel":  # beside rows of the wider head, which fill the targets up
        filled = torch.cat([wanted, wanted.new_full((len(wanted), 2), -1)], 1)
        assert gap(head.loss(wide, filled, example, member), narrow) < 1e-12
    found = head.decode(wide, samples.marks(data, ALL), example)
    assert found == head.decode(logits, samples.marks(data, ALL), example)
    assert all(0 <= i < labels for answer in found for i in (answer if isinstance(answer, tuple) else (answer,)))


@every_head
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_loss_and_gradients_are_finite_and_right_in_less_precision(name: str, dtype: torch.dtype) -> None:
    head, data = samples.read(name)
    p = {key: tensor.to(dtype).requires_grad_() for key, tensor in samples.params(name).items()}
    table, mask = samples.states(data, ALL, head.reads)
    _, example = data.units(ALL)
    logits = head.logits(p, table.to(dtype), mask)
    if name in ("classify", "multilabel", "tag"):
        logits = torch.cat([logits, torch.full_like(logits[..., :2], float("-inf"))], -1)
    loss = head.loss(logits, samples.targets(data, ALL), example, torch.zeros_like(example))
    loss.sum().backward()
    assert all(tensor.grad.isfinite().all() and tensor.grad.any() for tensor in p.values())
    exact = samples.losses(name, {key: t.detach().double() for key, t in p.items()}, data, ALL)
    assert torch.allclose(loss.double(), exact, rtol=0.05 if dtype == torch.bfloat16 else 1e-4, atol=0.05)


@every_head
def test_units_with_parameters_of_their_own_are_answered_as_alone(name: str) -> None:
    head, data = samples.read(name)
    table, mask = samples.states(data, ALL, head.reads)
    each = [samples.params(name, seed) for seed in range(len(table))]
    stacked = {key: torch.stack([p[key] for p in each]) for key in each[0]}
    alone = torch.stack([head.logits(p, s, m) for p, s, m in zip(each, table, mask, strict=True)])
    together = vmap(head.logits)(stacked, table, mask)
    assert torch.allclose(together, alone, atol=1e-12)
    same = head.logits(each[0], table, mask)
    assert torch.allclose(same[0], alone[0], atol=1e-12)


def test_all_heads_answer_one_mixed_batch_as_they_answer_alone() -> None:
    """Two members of every kind; the second has two labels more where a head is as wide as its labels."""
    heads, batches, alone, found = [], [], [], []
    for seed, name in enumerate([*NAMES, *NAMES]):
        head, data = samples.read(name)
        p = samples.params(name, seed)
        if seed >= len(NAMES) and name in ("classify", "multilabel", "tag"):
            p = {key: torch.cat([tensor, tensor[:2] + 1]) for key, tensor in p.items()}
        rows = [0, 2, 1] if seed % 2 else [1, 2]
        logits = head.logits(p, *samples.states(data, rows, head.reads))
        batch, (_, example) = collate(data, rows), data.units(rows)
        if name == "multilabel" and logits.shape[1] > 3:
            batch.targets = {head.path(): torch.cat([batch.targets[head.path()], torch.ones(len(rows), 2)], 1)}
        alone.append(head.loss(logits, batch.targets[head.path()], example, torch.zeros_like(example)))
        found.append(head.decode(logits, samples.marks(data, rows), example))
        heads.append((head, p))
        batches.append((batch, samples.states(data, rows, "tokens", tokens=20), samples.marks(data, rows)))
    mixed = join([batch for batch, *_ in batches], pad=0)
    member = torch.arange(len(heads)).repeat_interleave(torch.tensor([len(b.inputs) for b, *_ in batches]))
    tokens = torch.cat([table for _, (table, _), _ in batches])
    states = States(tokens, tokens[:, 0], torch.cat([mask for _, (_, mask), _ in batches]))
    marks = [mark for *_, noted in batches for mark in noted]
    assert mixed.example is not None
    for answer in HeadBank(heads)(states, member):
        kind, of = NAMES.index(answer.head.path()[0]), mixed.example[answer.rows]
        local = of.unique(return_inverse=True)[1]
        loss = answer.head.loss(answer.logits, mixed.targets[answer.head.path()], local, member[answer.rows])
        assert gap(loss, torch.cat([alone[kind], alone[kind + len(NAMES)]])) < 1e-12
        said = answer.head.decode(answer.logits, [marks[i] for i in answer.rows.tolist()], local)
        assert str(said) == str(found[kind] + found[kind + len(NAMES)])
