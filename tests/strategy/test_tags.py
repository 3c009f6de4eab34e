"""One head for tasks that ask for a tag a word."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from continual import folder
from continual.adapter import fresh, generator
from continual.encoder.adapted import AdaptedEncoder
from continual.errors import ContinualError
from continual.head.tag import Tag
from continual.learner import Learner
from continual.method.head import HeadOnly
from continual.outputs import Outputs
from continual.predict import row_features, word_features
from continual.request import Recipe
from continual.store.store import Store
from continual.strategy.base import Strategy
from continual.strategy.joint import Joint
from continual.strategy.ranpac import RanPAC
from continual.strategy.replay import Replay
from continual.strategy.sequential import Sequential
from continual.strategy.simplecil import SimpleCIL
from continual.stream.base import Example, Scenario, Stream, Task
from continual.stream.text import Reader
from continual.within import WithinTags
from tests import tiny
from tests.strategy import lab

KINDS = {"task": ("O", "B-X"), "class": ("O", "B-{}")}


def sentences(names: tuple[str, str], count: int, salt: str) -> list[Example]:
    """One word in each sentence is a name of the task, the others are not."""
    filler, rows = lab.WORDS[6:], []
    for i in range(count):
        words = [filler[i % 4], filler[(i + 1) % 4], filler[(i + 2) % 4], f"{salt}{i}"]
        words[i % 3] = names[i % 2]
        rows.append(Example(tuple(words), tuple(int(word in names) for word in words)))
    return rows


def stream(scenario: Scenario = "task") -> Stream:
    found = []
    for number in range(3):
        names = (lab.WORDS[2 * number], lab.WORDS[2 * number + 1])
        splits = [sentences(names, n, salt) for n, salt in ((32, "r"), (8, "v"), (16, "t"))]
        labels = tuple(label.format(number) for label in KINDS[scenario])
        found.append(Task(f"task-{number}", labels, *splits, head="tag"))
    return Stream("tags", tuple(found), scenario)


def read(task: Task, head: Tag | WithinTags, max_length: int = 48) -> tuple:
    reader = Reader(lab.encoder().tokenizer, max_length)
    data = reader(task.train, head, task.labels)
    return data, torch.nn.utils.rnn.pad_sequence(list(data.targets), batch_first=True, padding_value=-1)


def test_every_task_has_an_o_of_its_own_where_tasks_are_given_and_all_share_one_where_not() -> None:
    apart, together = Outputs(stream().tasks, "task"), Outputs(stream("class").tasks, "class")
    assert apart.names[:4] == ("task-0/O", "task-0/B-X", "task-1/O", "task-1/B-X")
    assert apart.labels(1) == ("O", "B-X", "O", "B-X")
    assert together.names == together.labels(2) == ("O", "B-0", "B-1", "B-2")
    first = stream().tasks[1].train[0]
    assert first.label == (1, 0, 0, 0)
    assert apart.task(1, 1).train[0] == Example(first.text, (3, 2, 2, 2))
    assert together.task(2, 2).train[0].label == (3, 0, 0, 0)


def test_within_a_task_its_tags_are_those_of_a_head_of_its_own() -> None:
    """Loss, gradient and answers, in windows too, one of which has no word to answer."""
    outputs, task = Outputs(stream().tasks[:2], "task"), stream().tasks[1]
    head, wide = outputs.head(1), outputs.task(1, 1)
    assert isinstance(head, WithinTags)
    long = Example(("now",) * 14, (0,) * 14)
    task = replace(task, train=[*task.train[:4], long])
    wide = replace(wide, train=[*wide.train[:4], Example(long.text, (2,) * 14)])
    ours, targets = read(wide, head, max_length=10)
    alone, own = read(task, Tag(), max_length=10)
    assert len(ours.inputs) > 5
    logits = torch.randn(len(ours.inputs), targets.shape[1], 4, requires_grad=True)
    _, example = ours.units(range(len(ours)))
    member = torch.zeros_like(example)
    loss = head.loss(logits, targets, example, member)
    assert torch.allclose(loss, Tag().loss(logits[..., 2:], own, example, member))
    loss.sum().backward()
    assert logits.grad is not None
    assert not logits.grad[..., :2].any()
    said = Tag().decode(logits[..., 2:], alone.marks, example)
    padded = torch.cat([logits.detach(), torch.full((*logits.shape[:2], 3), 9.0)], -1)  # beside a wider head
    assert head.decode(padded, ours.marks, example) == [tuple(tag + 2 for tag in tags) for tags in said]


def test_a_word_without_a_token_is_outside_in_its_own_task() -> None:
    outputs = Outputs(stream().tasks[:2], "task")
    data = Reader(lab.encoder().tokenizer, 48)([Example(("apple", "now"), (2, 2))], outputs.head(1), outputs.names)
    [(task, mark)] = data.marks or ()
    lost = (task, mark._replace(answers=mark.answers[:1]))  # as some tokenizers do with a word of odd characters
    logits = torch.zeros(1, len(data.inputs[0]), 4)
    logits[..., 3] = 1.0
    assert outputs.head(1).decode(logits, [lost], torch.tensor([0])) == [(3, 2)]


@pytest.mark.parametrize("scenario", ["task", "class"])
@pytest.mark.parametrize("strategy", [Joint(), Replay(size=64)])
def test_old_tags_are_kept_by_what_sees_old_rows(strategy: Strategy, scenario: Scenario, tmp_path: Path) -> None:
    record = lab.run(tmp_path, strategy=strategy, stream=stream(scenario))
    last = [lab.cells(record)[2, j].score for j in range(3)]
    assert min(last) >= 0.9, last


NAMES = [name for name in folder.names("continual.strategy") if name not in ("progressive",)]
ONE = [name for name in NAMES if folder.made("continual.strategy", name, lab.OPTIONS.get(name, {})).shared]


@pytest.mark.parametrize("name", ONE)
def test_a_shared_module_learns_tags_or_says_that_it_cannot(name: str, tmp_path: Path) -> None:
    strategy = folder.made("continual.strategy", name, lab.OPTIONS.get(name, {}))
    given = {"strategy": strategy, "method": lab.METHODS.get(name, lab.METHOD), "stream": stream("class")}
    quick = Recipe(lr=0.02, epochs=1, batch_size=8)
    if "tag" not in strategy.heads:
        with pytest.raises(ContinualError, match=r"of head classify; got task-0 \(tag\)"):
            lab.run(tmp_path, recipe=quick, **given)
        return
    record = lab.run(tmp_path, recipe=quick, **given)
    assert sorted(lab.cells(record)) == [(i, j) for i in range(3) for j in range(i + 1)]
    assert all(cell.score is not None for cell in lab.cells(record).values())
    assert [len(Store(tmp_path / "store").get(m.digest).head["weight"]) for m in record.modules] == [2, 3, 4]


def words(stream: Stream) -> tuple[Tensor, list[str]]:
    """The bare encoder's states of first tokens, found without the code under test: one word is one token or more."""
    encoder, states, tags = lab.encoder(), [], []
    for task in stream.tasks:
        for row in task.train:
            ids = encoder.tokenizer(list(row.text), is_split_into_words=True, return_tensors="pt")
            with torch.no_grad():
                hidden = encoder.model(**{k: v for k, v in ids.items() if k != "token_type_ids"}).last_hidden_state[0]
            firsts = [ids.word_ids().index(word) for word in range(len(row.text))]
            states.append(hidden[firsts])
            tags += [task.labels[label] for label in row.label]
    return torch.cat(states), tags


def test_prototypes_of_tags_are_means_over_words(tmp_path: Path) -> None:
    record = lab.run(tmp_path, strategy=SimpleCIL(), method=HeadOnly(), stream=stream("class"))
    states, tags = words(stream("class"))
    head = Store(tmp_path / "store").get(record.modules[-1].digest).head
    for output, name in enumerate(("O", "B-0", "B-1", "B-2")):
        mean = states[[tag == name for tag in tags]].double().mean(0)
        assert torch.allclose(head["weight"][output].double(), mean / mean.norm(), atol=1e-5)


def test_random_features_serve_tags_too(tmp_path: Path) -> None:
    record = lab.run(tmp_path, strategy=RanPAC(features=128), method=HeadOnly(), stream=stream())
    last = [lab.cells(record)[2, j].score for j in range(3)]
    assert min(last) >= 0.9, last


def test_words_are_counted_once_in_windows() -> None:
    task = stream().tasks[0]
    task = replace(task, train=[*task.train[:2], Example(("now",) * 30, (0,) * 29 + (1,))])
    model = AdaptedEncoder(lab.encoder())
    data, _ = read(task, Tag(), max_length=10)
    states, targets = word_features(model, data)
    assert len(data.inputs) > len(data)
    assert (len(states), int(targets.sum())) == (4 + 4 + 30, 3)
    assert states.shape[1] == row_features(model, data).shape[1]


def test_a_head_of_tags_grows_and_keeps_the_old(tmp_path: Path) -> None:
    record = lab.run(tmp_path, strategy=Sequential(), stream=stream("class"), recipe=Recipe(lr=1e-9, epochs=1))
    heads = [Store(tmp_path / "store").get(module.digest).head["weight"] for module in record.modules]
    assert torch.allclose(heads[2][:3], heads[1], atol=1e-6)
    fresh = Tag().init(lab.encoder().width, 4, generator(0, "head", "learn/task-2"))
    assert torch.allclose(heads[2][3:], fresh["weight"][3:], atol=1e-6)


def test_a_row_in_several_windows_is_rehearsed_as_one_row() -> None:
    """What EWC and A-GEM look back at: the mean over rows, not over windows."""
    task = stream().tasks[0]
    task = replace(task, train=[*task.train[:2], Example(("now", "apple") * 12, (0, 1) * 12)])
    model = AdaptedEncoder(lab.encoder())
    data, _ = read(task, Tag(), max_length=10)
    start = tiny.request(model, fresh(lab.METHOD, model.shapes, model.weights, 0))
    head = Tag().init(model.width, 2, generator(0, "head"))
    request = replace(start, head=Tag(), head_params=head, train=data, valid=data, labels=task.labels)
    [member] = Learner(model, [request]).members
    assert len(data.inputs) > len(data) == 3
    with torch.no_grad():
        each = [member.rehearse(data, [row])[1] for row in range(3)]
        assert torch.allclose(member.rehearse(data, [0, 1, 2])[1], torch.stack(each).mean())
