"""Questions about paragraphs of Wikipedia by language: XQuAD, English and Spanish (domain-incremental).

| task     | articles: train / valid / test | questions          |
|----------|--------------------------------|--------------------|
| xquad-en | 33 / 5 / 10                    | 841 / 112 / 230    |
| xquad-es | the same                       | 842 / 112 / 229    |

Source: XQuAD (Artetxe et al. 2020), deepmind/xquad, commit 60cac411: 240 paragraphs of 48 articles of SQuAD 1.1's dev
set with 1,190 questions, translated by professionals; CC BY-SA 4.0. Each question has one answer; cleaned as
other corpora, 1,183 are left in either language (some are asked twice). Published for tests
only, of models trained on SQuAD; here whole articles are dealt to train, valid and test, so scores are not comparable.

The languages are parallel: an article is in the same split in all of them, so that no module has read a test paragraph
in another language. It may have read a train paragraph twice. Do not mix it with SQuAD's dev set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from continual.errors import DataError
from continual.stream.base import Example, Task
from continual.stream.clean import cleaned
from continual.stream.mirror import read_text
from continual.stream.order import arrange
from continual.stream.questions import articles, require_answers
from continual.stream.sample import draws, subset

LANGUAGES = {"xquad-en": "en", "xquad-es": "es"}
SOURCE = "deepmind/xquad@60cac411; CC BY-SA 4.0"


def tasks(
    order: int | Sequence[str] | None = None,
    held_out: float = 0.1,
    tested: float = 0.2,
    train: int | None = None,
    valid: int | None = None,
    test: int | None = None,
    seed: int = 0,
    mirror: str | None = None,
) -> list[Task]:
    """The tasks xquad-en and xquad-es in ``order``.

    order              None: as listed; a list, only these; an integer: random
    held_out, tested   the share of articles that is valid, and that is test
    train, valid, test questions of each task, a random subset of its articles' ones; None: all
    seed               of the split of the articles, which depends on it and their titles, and of the subsets
    mirror             folder with xquad/; None: CONTINUAL_DATA
    Raises ContinualError: an unknown language, shares that leave a split without an article, data that cannot be had.
    """
    sizes = {"train": train, "valid": valid, "test": test}
    result = []
    for name in arrange(list(LANGUAGES), order):
        splits = _splits(LANGUAGES[name], held_out, tested, seed, mirror)
        rows = {split: subset(found, sizes[split], seed, f"{name}/{split}") for split, found in splits.items()}
        result.append(Task(name, (), **rows, head="span", score="", source=SOURCE))
    return result


def _splits(language: str, held_out: float, tested: float, seed: int, mirror: str | None) -> dict[str, list[Example]]:
    file = f"xquad/xquad.{language}.json"
    found = list(articles(read_text(file, mirror), file))
    require_answers(file, [row for article in found for row in article.rows])
    part = assigned([article.title for article in found], held_out, tested, seed)
    pairs: dict[str, list] = {"train": [], "valid": [], "test": []}
    for article in found:
        pairs[part[article.title]] += [(row.label, row.text) for row in article.rows]
    return {split: [Example(text, label) for label, text in kept] for split, kept in cleaned(pairs).items()}


def assigned(titles: Sequence[str], held_out: float, tested: float, seed: int) -> Mapping[str, str]:
    """title -> split: a function of the set of titles and the seed, so the same in every language.

    >>> sorted(assigned(["a", "b", "c", "d"], 0.25, 0.25, seed=0).values())
    ['test', 'train', 'train', 'valid']
    """
    known = sorted(set(titles))
    counts = (round(held_out * len(known)), round(tested * len(known)))
    if min(counts) < 1 or sum(counts) >= len(known):
        raise DataError(
            f"xquad: {held_out=} and {tested=} of {len(known)} articles make {counts[0]} for valid and {counts[1]} for "
            "test; each needs one, and train one"
        )
    order = draws(len(known), "articles", seed).argsort(kind="stable").tolist()
    parts = ["valid"] * counts[0] + ["test"] * counts[1]
    return {known[place]: parts[rank] if rank < len(parts) else "train" for rank, place in enumerate(order)}
