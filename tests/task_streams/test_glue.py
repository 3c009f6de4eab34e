"""Tasks of GLUE's kinds: what a line of each file says, and how each is scored."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from continual.errors import ContinualError, DataError
from continual.stream.base import Example, Stream
from continual.stream.lint import check
from continual.task_streams import glue

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def small(tmp_path: Path) -> str:
    def write(file: str, lines: list[str], bom: str = "") -> None:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{file}.gz").write_bytes(gzip.compress((bom + "\n".join([*lines, ""])).encode()))

    for name in ("in_domain_train", "in_domain_dev", "out_of_domain_dev"):
        lines = [f'g{i}\t{i % 2}\t{"*" * (1 - i % 2)}\t{name} "number {i}.' for i in range(20)]
        write(f"cola/{name}.tsv", lines)
    for split in ("train", "test"):
        lines = [
            "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\r",
            *(f"{i % 2}\t1\t2\t{split} {i}\tb\r" for i in range(20)),
        ]
        write(f"mrpc/msr_paraphrase_{split}.txt", lines, "\ufeff")
    for file in (file for files in glue.CORPORA["sts"].files.values() for file in files):
        write(file, [*(f"{i / 2}\t{file} {i}\tb" for i in range(10)), f"\t{file} unrated\tb"])
    return str(tmp_path)


def test_every_kind_of_line_is_read_and_scored_in_its_way(small: str) -> None:
    cola, mrpc, sts = glue.tasks(["cola", "mrpc", "sts"], mirror=small)
    assert [(task.head, task.score) for task in (cola, mrpc, sts)] == [
        ("classify", "matthews"),
        ("classify", ""),
        ("regress", "pearson"),
    ]
    assert cola.test[1] == Example('in_domain_dev "number 1.', cola.labels.index("acceptable"))
    assert mrpc.test[0] == Example(("test 0", "b"), mrpc.labels.index("different"))
    assert sts.test[3] == Example(("sts/2015/answers-students.test.tsv 3", "b"), 1.5)
    sizes = [[len(rows) for rows in task.splits.values()] for task in (cola, mrpc, sts)]
    assert sizes == [[18, 2, 40], [18, 2, 20], [54, 6, 30]], "unrated pairs and the header go"
    assert check(Stream("s", (cola, mrpc, sts))) == []


@pytest.mark.parametrize(
    ("file", "line", "got"),
    [
        ("cola/in_domain_dev.tsv", "g\t2\t\tnot so", "tuple"),
        ("cola/in_domain_dev.tsv", "g\t1\tnot so", "3 fields"),
        ("mrpc/msr_paraphrase_test.txt", "yes\t1\t2\ta\tb", "tuple"),
        ("sts/2014/images.test.tsv", "high\ta\tb", "could not convert"),
    ],
)
def test_a_line_that_is_none_is_named(small: str, file: str, line: str, got: str) -> None:
    (Path(small) / file).write_text(f"{line}\n", encoding="utf-8")
    with pytest.raises(DataError, match=rf"{file}, line 1: expected \d fields .*{got}"):
        glue.tasks(["cola", "mrpc", "sts"], mirror=small)


def test_few_shots_need_classes(small: str) -> None:
    assert len(glue.tasks(["mrpc"], shots=3, mirror=small)[0].train) == 6
    with pytest.raises(DataError, match=r"sts/train: expected .* rows of one class each"):
        glue.tasks(["sts"], shots=3, mirror=small)


def test_absent_data_are_named_with_their_source(small: str) -> None:
    with pytest.raises(ContinualError, match=r"cl_benchmark/MNLI/labels\.json.*O-LoRA"):
        glue.tasks(mirror=small)


def test_the_real_tasks_are_as_large_as_the_docstring_says() -> None:
    if not (DATA / "cola").is_dir():
        pytest.skip(f"{DATA} is not there")
    tasks = glue.tasks(mirror=str(DATA))
    assert {task.name: (len(task.train) + len(task.valid), len(task.test)) for task in tasks} == {
        "mnli": (1200, 750),
        "qqp": (800, 500),
        "sst-2": (800, 500),
        "cola": (8501, 1036),  # of 8,551 and 527 + 516 lines
        "sts": (4163, 2250),  # of 4,200 and 2,250 rated pairs
        "mrpc": (4076, 1725),  # as published
        "rte": (799, 277),
    }
    assert [len(task.labels) for task in tasks] == [3, 2, 2, 2, 0, 2, 2]
    assert all(0 <= row.label <= 5 for rows in tasks[4].splits.values() for row in rows)
    assert check(Stream("glue", tuple(tasks))) == []
