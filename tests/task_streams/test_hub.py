"""Tasks from data sets of the Hub: columns, labels and splits as they are said, and nothing that is not."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from continual.errors import ContinualError
from continual.stream.base import Example, Stream, Task
from continual.stream.lint import check
from continual.stream.stored import Stored
from continual.task_streams import csv, hub
from tests.hub import REVISION, alone, cached, columns, parquet, repository, served

ENTRY = {"repo": "own/set", "revision": REVISION}
NAMES = ["x", "y"]


@pytest.fixture(autouse=True)
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The mirror that CONTINUAL_DATA names, empty."""
    alone(tmp_path, monkeypatch)
    (tmp_path / "mirror").mkdir()
    monkeypatch.setenv("CONTINUAL_DATA", str(tmp_path / "mirror"))
    return tmp_path / "mirror"


def read(entry: dict[str, Any] | None = None, **options: Any) -> Task:
    [task] = hub.tasks({"a": ENTRY | (entry or {})}, **options)
    return task


def wrong(message: str, entry: dict[str, Any] | None = None, **options: Any) -> None:
    with pytest.raises(ContinualError, match=message):
        read(entry, **options)


def only(mirror: Path, rows: dict[str, list], names: list[str] | None = None) -> dict[str, Any]:
    """The rows as the one split of own/set, and the entry that reads it as train, valid and test."""
    parquet(mirror / "own/set/train.parquet", rows, names)
    return {"splits": dict.fromkeys(("train", "valid", "test"), "train")}


def test_each_data_set_is_a_task_with_its_splits_and_the_names_of_its_labels(mirror: Path) -> None:
    repository(mirror)
    repository(mirror, "own/other", train=10, validation=2, test=2)
    entries = {"first": ENTRY, "second": ENTRY | {"repo": "own/other"}}
    tasks = hub.tasks(entries)
    assert [(task.name, task.labels, task.head) for task in tasks] == [
        (name, ("no", "yes"), "classify") for name in entries
    ]
    assert [[len(rows) for rows in task.splits.values()] for task in tasks] == [[20, 4, 6], [10, 2, 2]]
    assert tasks[0].valid[1] == Example("validation 1", 1)
    assert tasks[0].source == f"own/set at {REVISION}, as a mirror has it"
    assert all(isinstance(rows, Stored) for rows in tasks[0].splits.values())
    assert check(Stream("hub", tuple(tasks[:1]))) == []


def test_the_digest_is_the_same_from_the_mirror_the_cache_the_hub_and_a_table_of_ones_own(
    tmp_path: Path, mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = repository(mirror)
    digests = [read().digest]
    monkeypatch.delenv("CONTINUAL_DATA")
    cached(folder, tmp_path / "hub")
    digests.append(read().digest)
    assert read().source == f"own/set at {REVISION}"
    fetched = served(monkeypatch, mirror, tmp_path / "local")
    digests.append(read().digest)
    assert len(fetched) == 3
    files = {}
    for part, split in hub.USUAL.items():
        rows = columns({"train": 20, "validation": 4, "test": 6}[split], split)
        files[part] = str(tmp_path / f"{part}.csv")
        lines = [f"{text},{('no', 'yes')[label]}" for text, label in zip(rows["text"], rows["label"], strict=True)]
        Path(files[part]).write_text("\n".join(["text,label", *lines]))
    [own] = csv.tasks({"a": files})
    assert digests == [own.digest] * 3


def test_an_entry_goes_before_the_options_of_the_stream(mirror: Path) -> None:
    rows = {"one": ["a", "b", "c"], "two": ["x", "y", "z"], "text": ["t", "u", "v"], "label": [0.5, 1.0, 0.0]}
    parquet(mirror / "own/set/train.parquet", rows, None)
    parquet(mirror / "own/other/train.parquet", {"text": ["t", "u"], "label": [0, 1]})
    own = {"text": ("one", "two"), "head": "regress", "score": "spearman"}
    entries = {"pairs": ENTRY | own, "texts": ENTRY | {"repo": "own/other"}}
    pairs, texts = hub.tasks(entries, splits=dict.fromkeys(("train", "valid", "test"), "train"), score="macro_f1")
    assert list(pairs.train) == [Example(("a", "x"), 0.5), Example(("b", "y"), 1.0), Example(("c", "z"), 0.0)]
    assert (pairs.head, pairs.score, pairs.labels) == ("regress", "spearman", ())
    assert (texts.head, texts.score, texts.labels) == ("classify", "macro_f1", ("no", "yes"))


# Splits


def test_a_split_that_is_null_is_held_out_of_train_as_of_a_table(tmp_path: Path, mirror: Path) -> None:
    repository(mirror, train=40)
    task = read({"splits": {"valid": None, "test": None}}, valid=0.25, test=8, seed=3)
    assert [len(rows) for rows in task.splits.values()] == [24, 8, 8]
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["text,label", *(f"train {i},{('no', 'yes')[i % 2]}" for i in range(40))]))
    [own] = csv.tasks({"a": str(path)}, valid=0.25, test=8, seed=3)
    assert task.digest == own.digest


def test_what_is_named_for_test_is_test_and_valid_is_then_held_out_of_train(mirror: Path) -> None:
    repository(mirror, train=20, validation=6)
    task = read({"splits": {"valid": None, "test": "validation"}})
    assert [len(rows) for rows in task.splits.values()] == [18, 2, 6]
    assert [row.text for row in task.test] == [f"validation {i}" for i in range(6)]


def test_one_split_for_valid_and_test_is_refused_by_the_lint(mirror: Path) -> None:
    repository(mirror)
    task = read({"splits": {"test": "validation"}})
    with pytest.raises(ContinualError, match=r"all 4 test texts are also in valid: dev = test"):
        check(Stream("hub", (task,)))


def test_a_split_that_is_not_there_is_never_replaced_in_silence(mirror: Path) -> None:
    repository(mirror, train=20, test=5)
    wrong(
        r"task 'a', own/set: unknown split 'validation'; choose from: test, train; "
        r"set stream\.splits\.valid \(of all tasks\) or stream\.sets\.a\.splits\.valid to one of them, or null, which"
    )
    wrong(r"unknown split 'all'.*\.splits\.train to one of them$", {"splits": {"train": "all"}})
    wrong(r"stream\.sets\.a\.splits: expected train, .* got {'train': None", {"splits": {"train": None}})
    wrong(r"stream\.sets\.a\.splits: expected train, .*'dev'", {"splits": {"dev": "test"}})
    wrong(r"stream\.sets\.a\.splits: expected {train: …", {"splits": "train"})


def test_train_is_cut_to_so_many_rows_or_so_many_of_each_class(mirror: Path) -> None:
    repository(mirror, train=40, validation=4, test=6)
    whole, cut, few = read(), read(train=10), read(shots=3)
    assert (len(cut.train), Counter(row.label for row in few.train)) == (10, {0: 3, 1: 3})
    assert set(cut.train) | set(few.train) <= set(whole.train)
    assert list(few.test) == list(whole.test)
    wrong("a: give train=4 rows in all, or shots=3 of each class, not both", train=4, shots=3)


def test_an_empty_split_that_is_not_wanted_is_no_matter(mirror: Path) -> None:
    repository(mirror, train=20, validation=4)
    parquet(mirror / "own/set/test-00000-of-00001.parquet", columns(0))
    assert len(read({"splits": {"test": None}}).valid) == 4
    wrong("unknown split 'test'; choose from: train, validation")


# Labels


def test_names_are_listed_for_numbers_and_order_texts(mirror: Path) -> None:
    rows = {"text": ["t", "u", "v"], "label": [2, 0, 1]}
    entry = only(mirror, rows)
    task = read(entry | {"labels": ["c", "a", "b"]})
    assert (task.labels, [row.label for row in task.train]) == (("c", "a", "b"), [2, 0, 1])
    assert read(entry).labels == ("0", "1", "2")
    entry = only(mirror, rows | {"label": ["x", "y", "x"]})
    task = read(entry | {"labels": ["y", "x"]})
    assert (task.labels, [row.label for row in task.train]) == (("y", "x"), [1, 0, 1])


def test_the_names_of_the_column_can_be_ordered_or_replaced_and_nothing_is_guessed(mirror: Path) -> None:
    entry = only(mirror, {"text": ["t", "u", "v"], "label": [0, 1, 0]}, ["neg", "pos"])

    def labels(*listed: str) -> list[str]:
        task = read(entry | {"labels": list(listed)})
        return [task.labels[row.label] for row in task.train]

    assert read(entry).labels == ("neg", "pos")
    assert labels("pos", "neg") == ["neg", "pos", "neg"]
    assert read(entry | {"labels": ["pos", "neg"]}).labels == ("pos", "neg")
    assert labels("bad", "good") == ["bad", "good", "bad"]
    assert labels("neg", "good") == ["neg", "good", "neg"]
    wrong(
        r"own/set: labels=\['pos', 'other'\] do not fit the column 'label', whose", entry | {"labels": ["pos", "other"]}
    )
    wrong(r"do not fit .* names are \['neg', 'pos'\]", entry | {"labels": ["neg", "pos", "mixed"]})


def test_lists_of_labels_are_several_labels_and_truth_values_are_numbers(mirror: Path) -> None:
    rows = {"text": ["t", "u", "v"], "label": [[1, 0], [], [2]]}
    entry = only(mirror, rows)
    task = read(entry | {"labels": ["z", "b", "a"], "head": "multilabel"})
    assert (task.labels, [row.label for row in task.train]) == (("z", "b", "a"), [(0, 1), (), (2,)])
    entry = only(mirror, rows | {"label": [True, False, True]})
    task = read(entry | {"labels": ["spam", "ham"]})
    assert [task.labels[row.label] for row in task.train] == ["ham", "spam", "ham"]
    assert read(entry).labels == ("false", "true")


def test_a_classlabel_in_a_list_gives_its_names(mirror: Path) -> None:
    import datasets

    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.List(datasets.ClassLabel(names=["joy", "anger"]))}
    )
    (mirror / "own/set").mkdir(parents=True)
    table = datasets.Dataset.from_dict({"text": ["t", "u"], "label": [[1], [0, 1]]}, features=features)
    table.to_parquet(str(mirror / "own/set/train.parquet"))
    task = read({"splits": dict.fromkeys(("train", "valid", "test"), "train"), "head": "multilabel"})
    assert (task.labels, [row.label for row in task.train]) == (("joy", "anger"), [(1,), (0, 1)])


def test_choices_and_search_are_read_as_from_a_table(mirror: Path) -> None:
    rows = {"q": ["p", "q"], "a": ["x", "x"], "b": ["y", ""], "label": [1, 0]}
    entry = only(mirror, rows, ["A", "B"])
    assert list(read(entry | {"text": ["q", "a", "b"], "head": "choice"}).train) == [
        Example(("p", "x", "y"), 1),
        Example(("q", "x"), 0),
    ]
    task = read(entry | {"text": ["q", "a"], "head": "retrieve", "label": "nowhere"})
    assert list(task.train) == [Example(("p", "x"), None), Example(("q", "x"), None)]


# What is wrong


@pytest.mark.parametrize(
    ("rows", "entry", "message"),
    [
        ({"text": ["t", None]}, {}, r"own/set, train, row 1: expected a text in 'text', got None; mend or drop"),
        ({"text": [1, 2]}, {}, r"own/set, train, row 0: expected a text in 'text', got 1"),
        ({"label": [0, None]}, {}, r"row 1: expected a label in 'label', got None"),
        ({"label": [0, 2]}, {"labels": NAMES}, r"row 1: expected in 'label' a number from 0 to 1 \(x, y\), got 2; cor"),
        ({"label": [0, -1]}, {"labels": NAMES}, r"row 1: .*got -1; -1 stands for no label, .*test: validation}"),
        (
            {"label": ["x", "z"]},
            {"labels": NAMES},
            r"own/set, train: labels that are not listed: 'z'; listed are 'x', 'y'; .* is own/set, train, row 1$",
        ),
        ({"label": ["x", "high"]}, {"head": "regress"}, r"row 0: expected a number in 'label', got 'x'"),
        ({}, {"label": "gold"}, r"own/set, train: unknown column 'gold'; choose from: label, text"),
        ({}, {"text": ["text", "more"]}, r"unknown column 'more'; choose from: label, text \(set text= and label="),
        ({}, {"text": ["a", "b", "c"]}, r"stream hub: head=classify reads 1 or 2 text columns"),
        ({}, {"head": "tag"}, r"stream hub: rows of 'tag' are not in tables; use stream=conll"),
        ({"text": [], "label": []}, {}, r"own/set: no rows in any split"),
        ({}, {"config": "x"}, r"own/set \(x\) in .*no file with rows"),
        ({}, {"revision": "main"}, r"own/set: revision='main' is not a commit, and a branch or tag may move"),
        ({}, {"revision": ""}, r"own/set: revision='' is not a commit"),
        ({}, {"revision": 5}, r"stream\.sets\.a\.revision must be text, got 5"),
        ({}, {"repos": "x"}, r"unknown key stream\.sets\.a\.repos; choose from: repo, revision, config, text"),
        ({}, {"labels": [0, 1]}, r"stream\.sets\.a\.labels must be a list of text, got \[0, 1\]"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(mirror: Path, rows: dict, entry: dict, message: str) -> None:
    usual = only(mirror, {"text": ["t", "u"], "label": [0, 1]} | rows)
    wrong(message, usual | entry)


def test_an_entry_without_a_repository_or_no_entry_is_refused() -> None:
    with pytest.raises(ContinualError, match=r"stream\.sets\.a\.repo is missing"):
        hub.tasks({"a": {"revision": REVISION}})
    with pytest.raises(ContinualError, match="stream hub: no sets; give some"):
        hub.tasks({})


def test_a_label_that_train_lacks_is_listed_with_its_row(mirror: Path) -> None:
    parquet(mirror / "own/set/train.parquet", {"text": ["t", "u"], "label": ["x", "y"]}, None)
    parquet(mirror / "own/set/test.parquet", {"text": ["v", "w"], "label": ["x", "z"]}, None)
    wrong(
        r"own/set, test: labels that train lacks: 'z'; .*; the first is own/set, test, row 1$",
        {"splits": {"valid": None}},
    )


@pytest.mark.parametrize(("more", "message"), [({"revision": "main"}, "revision='main'"), ({"head": "tag"}, "'tag'")])
def test_all_entries_are_looked_at_before_anything_is_read(mirror: Path, more: dict[str, str], message: str) -> None:
    """A download of hours should not come before a typing error."""
    shutil.rmtree(mirror)
    with pytest.raises(ContinualError, match=message):
        hub.tasks({"a": ENTRY, "b": {**ENTRY, "repo": "own/other"} | more})
