from __future__ import annotations

import csv as stdlib_csv
import inspect
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from continual import conf
from continual.errors import ContinualError, CorruptError, DataError
from continual.stream.base import Stream
from continual.stream.lint import check
from continual.task_streams import __path__ as streams
from continual.task_streams import csv, quickstart, toy


def lint(tasks) -> list[str]:
    return check(Stream("stream", tuple(tasks)))


@pytest.mark.parametrize("name", sorted({file.stem for file in Path(next(iter(streams))).glob("*.py")} - {"__init__"}))
def test_the_yaml_names_every_argument_with_its_default(name):
    module = import_module(f"continual.task_streams.{name}")
    given = yaml.safe_load((Path(conf.__path__[0]) / "stream" / f"{name}.yaml").read_text(encoding="utf-8"))
    assert given.pop("_target_") == f"continual.task_streams.{name}.tasks"
    defaults = {key: item.default for key, item in inspect.signature(module.tasks).parameters.items()}
    assert given == {
        key: "???" if value is inspect.Parameter.empty else list(value) if isinstance(value, tuple) else value
        for key, value in defaults.items()
    }


# toy


@pytest.mark.parametrize("options", [{}, {"count": 1}, {"count": 12, "classes": 5}, {"words": 4, "seed": 7}])
def test_toy_tasks_are_clean_have_the_sizes_asked_for_and_speak_known_words(options):
    tasks = toy.tasks(**options)
    assert lint(tasks) == []
    assert len(tasks) == options.get("count", 4)
    assert all((len(task.valid), len(task.test)) == (24, 48) for task in tasks)
    assert {word for task in tasks for row in task.train for word in row.text.split()} <= set(toy.WORDS)
    assert len(set(toy.WORDS)) == len(toy.WORDS) >= 200


def test_the_last_toy_task_is_the_smallest_and_class_counts_vary():
    assert [len(task.train) for task in toy.tasks()] == [96, 96, 96, 48]
    assert [len(task.labels) for task in toy.tasks()] == [3, 4, 3, 4]


def test_toy_tasks_are_a_function_of_the_seed():
    digest = [Stream("toy", tuple(toy.tasks(seed=seed))).digest for seed in (0, 0, 1)]
    assert digest[0] == digest[1] != digest[2]


def test_toy_tasks_can_be_learned_but_not_by_heart():
    for task in toy.tasks():
        votes: dict[str, list[int]] = {}
        for text, label in task.train:
            for word in text.split():
                votes.setdefault(word, [0] * len(task.labels))[label] += 1
        right = 0
        for text, label in task.test:
            shares = [votes[word] for word in text.split() if word in votes]
            scores = [sum(share[c] / sum(share) for share in shares) for c in range(len(task.labels))]
            right += scores.index(max(scores)) == label
        assert 1.5 / len(task.labels) < right / len(task.test) < 1.0


def test_toy_refuses_arguments_that_leave_nothing_to_learn():
    with pytest.raises(DataError, match="expected classes >= 2, got 1"):
        toy.tasks(classes=1)
    with pytest.raises(
        DataError, match=r"toy: expected train >= 8, got 7; test >= 4, got 0 \(a split has a row of each"
    ):
        toy.tasks(train=7, test=0)
    assert len(toy.tasks(train=8, valid=4, test=4)[-1].train) == 4


# csv


@pytest.fixture
def table(tmp_path):
    def table(name: str, labels: str, start: int = 0) -> str:
        with open(tmp_path / name, "w", encoding="utf-8", newline="") as file:
            writer = stdlib_csv.writer(file)
            writer.writerows([("text", "label"), *((f"text {start + i}", label) for i, label in enumerate(labels))])
        return str(tmp_path / name)

    return table


def test_each_file_is_a_task_named_after_it_with_splits_held_out(table):
    tasks = csv.tasks([table("My Reviews.csv", "ba" * 50), table("b.csv", "xyz" * 20, 100)])
    assert [(task.name, task.labels) for task in tasks] == [("my-reviews", ("a", "b")), ("b", ("x", "y", "z"))]
    assert [len(rows) for rows in tasks[0].splits.values()] == [72, 8, 20]
    assert lint(tasks) == []
    assert tasks[0].train[0].label == tasks[0].labels.index("b" if int(tasks[0].train[0].text[5:]) % 2 == 0 else "a")


def test_explicit_splits_are_kept_as_they_are(table):
    files = {"train": table("a.csv", "xy" * 10), "test": table("b.csv", "xyx", 50), "valid": table("c.csv", "yx", 60)}
    (task,) = csv.tasks({"mine": files})
    assert (task.name, [len(rows) for rows in task.splits.values()]) == ("mine", [20, 2, 3])


def test_a_missing_valid_is_held_out_of_train(table):
    (task,) = csv.tasks({"mine": {"train": table("a.csv", "xy" * 10), "test": table("b.csv", "xyx", 50)}}, valid=4)
    assert [len(rows) for rows in task.splits.values()] == [16, 4, 3]


def test_train_can_be_cut_to_a_subset_that_leaves_the_other_splits_alone(table):
    path = table("a.csv", "xy" * 50)
    (whole,), (cut,) = csv.tasks(path), csv.tasks([path], train=10)
    assert len(cut.train) == 10
    assert set(cut.train) <= set(whole.train)
    assert (list(cut.valid), list(cut.test)) == (list(whole.valid), list(whole.test))


def test_train_can_be_cut_to_so_many_rows_of_each_class(table):
    path = table("a.csv", "xxxy" * 20)
    (whole,), (few,) = csv.tasks(path), csv.tasks([path], shots=3)
    assert sorted(row.label for row in few.train) == [0, 0, 0, 1, 1, 1]
    assert set(few.train) <= set(whole.train)
    assert (list(few.valid), list(few.test)) == (list(whole.valid), list(whole.test))
    with pytest.raises(DataError, match=r"a: give train=5 rows in all, or shots=3 of each class, not both"):
        csv.tasks([path], train=5, shots=3)


def test_a_label_that_train_lacks_is_listed(table):
    files = {"train": table("a.csv", "xy" * 10), "test": table("b.csv", "xzw", 50)}
    with pytest.raises(DataError, match=r"b\.csv: labels that train lacks: 'w', 'z'; train has 'x', 'y'"):
        csv.tasks({"mine": files})


def test_two_files_of_one_name_and_an_unknown_split_are_refused(table, tmp_path):
    path = table("a.csv", "xy" * 10)
    for name in ("日本.csv", "x" * 65 + ".csv"):
        with pytest.raises(DataError, match=rf"^{name}: .*name it: 'stream.files={{first: \"{name}\"}}'"):
            csv.tasks([name])
    with pytest.raises(DataError, match="would both be the task 'a'"):
        csv.tasks([path, path])
    with pytest.raises(DataError, match=r"got \['dev', 'train'\]"):
        csv.tasks({"mine": {"train": path, "dev": path}})
    with pytest.raises(DataError, match="no files"):
        csv.tasks([])


# quickstart


@pytest.mark.parametrize("asked", [{"train": 0}, {"train": -1}, {"sizes": {"reuters-r8": 0}}])
def test_a_quickstart_task_without_rows_of_train_is_refused_before_any_is_read(asked, monkeypatch):
    monkeypatch.setattr(quickstart, "_corpus", None)
    with pytest.raises(
        DataError, match=r"quickstart: expected (train|sizes\.reuters-r8) >= 1 rows of each task, or null"
    ):
        quickstart.tasks(**asked)


def test_an_unknown_quickstart_task_lists_the_choices():
    with pytest.raises(ContinualError, match="unknown quickstart task 'imdb'; choose from: election-authorship"):
        quickstart.tasks(names=["imdb"])


def real(**options):
    try:
        return quickstart.tasks(**options)
    except (CorruptError, DataError):
        raise
    except ContinualError as error:
        pytest.skip(f"the corpora are not at hand: {error}")


@pytest.mark.real
def test_the_quickstart_tasks_have_the_sizes_they_promise_and_are_clean():
    tasks = real()
    assert [task.name for task in tasks] == list(quickstart.DEFAULT)
    assert [len(task.train) for task in tasks] == [1000, 1000, 800, 500]
    assert {(len(task.valid), len(task.test)) for task in tasks} == {(200, 500)}
    assert lint(tasks) == []


@pytest.mark.real
def test_all_six_corpora_are_as_large_as_the_docstring_says_and_share_only_sentences_of_reviews():
    tasks = real(names=list(quickstart.CORPORA), train=None, valid=None, test=None)
    assert {task.name: sum(map(len, task.splits.values())) for task in tasks} == {
        "reuters-r8": 5415 + 2176,
        "rotten-tomatoes": 8530,
        "election-authorship": 6434,
        "tweet-sentiment": 37154,
        "newsgroups-20": 11262 + 7521,
        "plot-fresh-rotten": 13834,
    }
    assert [len(task.labels) for task in tasks] == [8, 2, 2, 3, 20, 3]
    shared = [line.partition(";")[0] for line in lint(tasks)]
    assert shared == [
        "task 'plot-fresh-rotten': 9 of 2767 test texts are in train of task 'rotten-tomatoes'",
        "task 'rotten-tomatoes': 8 of 1706 test texts are in train of task 'plot-fresh-rotten'",
    ]


@pytest.mark.real
def test_the_subset_of_a_task_depends_on_seed_and_name_only():
    alone = real(names=["tweet-sentiment"])[0]
    among, other = real()[3], real(names=["tweet-sentiment"], seed=1)[0]
    assert alone.digest == among.digest != other.digest


@pytest.mark.real
def test_train_can_be_scaled_or_set_by_task():
    scaled = real(names=["reuters-r8", "tweet-sentiment"], train=100)
    assert [len(task.train) for task in scaled] == [100, 50]
    fixed = real(names=["reuters-r8", "tweet-sentiment"], train=100, sizes={"tweet-sentiment": 70})
    assert [len(task.train) for task in fixed] == [100, 70]
