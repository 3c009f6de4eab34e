"""Streams of names: whose types are whose, on tiny files in the published layout, and on the real ones."""

from __future__ import annotations

import io
from pathlib import Path
from zipfile import ZipFile

import pytest

from continual.errors import ContinualError, DataError
from continual.stream.base import Stream, Task
from continual.stream.entities import sentences
from continual.stream.lint import check
from continual.task_streams import biomedical, crossner, multilingual, ner

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def real(folder: str) -> str:
    if not (DATA / folder).is_dir():
        pytest.skip(f"{DATA / folder} is not there")
    return str(DATA)


def news(part: str, types: list[str], n: int = 12, separator: str = "\t") -> str:
    """Sentences with a name of each type, of two words; no two are equal."""
    return "".join(
        "".join(f"{part}{i}{kind}{separator}B-{kind}\nx{separator}I-{kind}\n" for kind in types) + f"is{separator}O\n\n"
        for i in range(n)
    )


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def written(root: Path, folder: str, types: list[str], separator: str = "\t") -> None:
    for part in ("train", "dev", "test"):
        write(root / folder / f"{part}.txt", news(part, types, separator=separator))


def sizes(tasks: list[Task]) -> dict[str, list[int]]:
    return {task.name: [len(rows) for rows in task.splits.values()] for task in tasks}


def warnings(tasks: list[Task]) -> list[str]:
    return check(Stream("names", tuple(tasks)))


def test_a_type_is_a_task_and_the_first_may_have_more(tmp_path: Path) -> None:
    written(tmp_path, "crossner/conll2003", list(ner.TYPES))
    tasks = ner.tasks(mirror=str(tmp_path))
    assert [task.labels for task in tasks] == [("O", f"B-{kind}", f"I-{kind}") for kind in ner.TYPES]
    assert sizes(tasks) == {kind: [3, 12, 12] for kind in ner.TYPES}
    assert {label for row in tasks[2].test for label in row.label} == {0, 1, 2}
    assert list(sizes(ner.tasks(2, 1, mirror=str(tmp_path)))) == ["location-person", "organisation", "misc"]
    assert list(sizes(ner.tasks(1, 3, ["misc", *ner.TYPES[:3]], mirror=str(tmp_path)))) == [
        "misc",
        "location-organisation-person",
    ]
    with pytest.raises(DataError, match="base=2 of 4 types and add increment=3"):
        ner.tasks(2, 3, mirror=str(tmp_path))
    with pytest.raises(DataError, match="unknown type 'date'"):
        ner.tasks(order=["date"], mirror=str(tmp_path))


def test_conll_2003_has_its_published_sizes_and_its_train_is_dealt_to_four_tasks() -> None:
    mirror = real("crossner")
    published = [len(sentences(f"crossner/conll2003/{part}.txt", mirror)) for part in ("train", "dev", "test")]
    assert published == [14041, 3250, 3453]
    tasks = ner.tasks(mirror=mirror)
    assert sizes(tasks) == {kind: [3122, 3041, 3453] for kind in ner.TYPES}
    assert [sum(label == 1 for row in task.test for label in row.label) for task in tasks] == [1617, 1662, 1656, 693]
    assert warnings(tasks) == []
    seen = [row.text for task in tasks for row in task.train]
    assert len(set(seen)) == len(seen)


def test_a_domain_has_the_types_of_its_files(tmp_path: Path) -> None:
    written(tmp_path, "crossner/ai", ["task", "person"])
    [task] = crossner.tasks(["ai"], train=5, mirror=str(tmp_path))
    assert task.labels == ("O", "B-person", "B-task", "I-person", "I-task")
    assert sizes([task]) == {"ai": [5, 12, 12]}
    with pytest.raises(ContinualError, match=r"crossner/politics/train\.txt: not in the mirror.*zliucr/CrossNER"):
        crossner.tasks(["politics"], mirror=str(tmp_path))


def test_crossner_has_its_published_sizes_and_types() -> None:
    mirror = real("crossner")
    published = {"politics": (200, 541), "science": (200, 450), "music": (100, 380), "literature": (100, 400)}
    for domain, (train, dev) in {**published, "ai": (100, 350)}.items():
        assert len(sentences(f"crossner/{domain}/train.txt", mirror)) == train
        assert len(sentences(f"crossner/{domain}/dev.txt", mirror)) == dev
    tasks = crossner.tasks(mirror=mirror)
    assert {name: size[2] for name, size in sizes(tasks).items()} == {
        "conll2003": 3453,
        "politics": 651,
        "science": 543,
        "music": 465,
        "literature": 416,
        "ai": 431,
    }
    types = [len({label[2:] for label in task.labels if label != "O"}) for task in tasks]
    assert types == [4, 9, 17, 13, 12, 14]
    missing = [warning for warning in warnings(tasks) if "train has no row" in warning]
    assert len(missing) == 2
    assert all("'science'" in warning and "I-chemicalelement" in warning for warning in missing)


def test_chemicals_and_diseases_share_test_but_no_sentence_of_train(tmp_path: Path) -> None:
    for part in ("train", "test"):
        write(tmp_path / "bc5cdr" / f"{part}.tsv", news(part, ["Chemical", "Disease"], 40))
    tasks = biomedical.tasks(mirror=str(tmp_path))
    assert sizes(tasks) == {name: [18, 2, 40] for name in ("chemical", "disease")}
    assert [task.labels[1] for task in tasks] == ["B-Chemical", "B-Disease"]
    assert not {row.text for row in tasks[0].train} & {row.text for row in tasks[1].train}
    assert sizes(biomedical.tasks(["disease"], valid=4, test=9, mirror=str(tmp_path))) == {"disease": [36, 4, 9]}


def test_bc5cdr_has_its_published_sizes() -> None:
    mirror = real("bc5cdr")
    assert len(sentences("bc5cdr/train.tsv", mirror)) == 4560
    tasks = biomedical.tasks(mirror=mirror)
    assert sizes(tasks) == {name: [2045, 227, 4797] for name in ("chemical", "disease")}
    assert [sum(label == 1 for row in task.test for label in row.label) for task in tasks] == [5385, 4424]
    assert warnings(tasks) == []


def test_four_languages_have_one_label_map(tmp_path: Path) -> None:
    written(tmp_path, "crossner/conll2003", list(multilingual.ENGLISH))
    written(tmp_path, "masakhaner2/swa", ["PER", "DATE"], " ")
    with ZipFile(pack := io.BytesIO(), "w") as archive:
        for part in ("train", "testa", "testb"):
            archive.writestr(f"conll2002/esp.{part}", news(part, ["PER", "MISC"], separator=" Ñ "))
            archive.writestr(
                f"conll2002/ned.{part}", "-DOCSTART- -DOCSTART- O\n" + news(part, ["ORG"], separator=" N ")
            )
    (tmp_path / "conll2002").mkdir()
    (tmp_path / "conll2002/conll2002.zip").write_bytes(pack.getvalue())
    tasks = multilingual.tasks(mirror=str(tmp_path))
    assert sizes(tasks) == {name: [12, 12, 12] for name in ("english", "swahili", "spanish", "dutch")}
    assert len({task.labels for task in tasks}) == 1
    labels = tasks[0].labels
    found = [sorted({labels[label][2:] for row in task.train for label in row.label} - {""}) for task in tasks]
    assert found == [["LOC", "MISC", "ORG", "PER"], ["PER"], ["MISC", "PER"], ["ORG"]]


def test_four_languages_have_their_published_sizes() -> None:
    mirror = real("conll2002")
    read = {
        name: [len(multilingual._conll2002(f"{name}.{part}", mirror)) for part in ("train", "testa", "testb")]
        for name in ("esp", "ned")
    }
    assert read == {"esp": [8323, 1915, 1517], "ned": [15806, 2895, 5195]}
    swahili = [len(sentences(f"masakhaner2/swa/{part}.txt", mirror)) for part in ("train", "dev", "test")]
    assert swahili == [6593, 942, 1883]
    tasks = multilingual.tasks(mirror=mirror)
    assert sizes(tasks) == {
        "english": [12488, 3041, 3453],
        "swahili": [6549, 937, 1883],
        "spanish": [6114, 1466, 1517],
        "dutch": [12092, 2025, 5195],
    }
    assert [warning[:60] for warning in warnings(tasks) if "MISC" in warning or "no row" in warning] == [
        "task 'swahili': no split has a row of 'B-MISC', 'I-MISC'; drop what nothing is from the labels"[:60]
    ]
