"""Packs the rows that ``effect.py`` needs into one small file, so that it runs where there is neither data nor network.

    CONTINUAL_DATA=FOLDER_OF_WHEELS python benchmarks/composition/effect_data.py --data FOLDER --pack effect.json.gz

Texts are equal where their letters and digits are, in lower case: sets that spell the same sentence with other spaces
share no row. Of equal texts the first stays, and none where their labels differ. A target's test part comes first: what
is in it is not in its pool, and what is in a target is in no source. Texts end at ``CHARACTERS``: the encoder's 128
tokens end before. All subsets are f(seed, name).
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from effect_rows import Pack, write
from effect_texts import SOURCES, TARGETS, Label, Text

from continual.stream.base import Example, Task
from continual.stream.lint import content
from continual.stream.sample import split, subset

CHARACTERS = 700
SOURCE_ROWS, SOURCE_VALID, POOL, TEST = 4000, 200, 2400, 2000
SCORES = {"cola": "matthews", "isarcasm": "macro_f1"}
"""Beside accuracy, which is the score of all others: the labels of these are skewed."""


def make(data: Path, sources: Iterable[str] = tuple(SOURCES), targets: Iterable[str] = tuple(TARGETS)) -> Pack:
    """These sets, cleaned and capped."""
    taken: set[bytes] = set()
    held = {}
    for name in targets:
        raw = TARGETS[name](data)
        test = None if raw.test is None else _clean(raw.test, set())
        pool = _clean(raw.train, {key(text) for _, text in test or ()})
        held[name] = _target(name, pool, test)
        taken |= {key(text) for _, text in [*pool, *(test or ())]}
    return Pack({name: _source(name, _clean(SOURCES[name](data).train, taken)) for name in sources}, held)


def key(text: Text) -> bytes:
    """Of its letters and digits; of a text that has none, of all of it."""
    bare = [re.sub(r"[\W_]+", "", part.lower()) for part in ((text,) if isinstance(text, str) else text)]
    return content(tuple(bare) if all(bare) else text)


def _clean(rows: Iterable[tuple[Label, Text]], known: set[bytes]) -> list[tuple[Label, Text]]:
    first: dict[bytes, tuple[Label, Text] | None] = {}
    for label, text in rows:
        whole = text.strip() if isinstance(text, str) else all(part.strip() for part in text)
        if whole and (mark := key(text)) not in known:
            kept = first.setdefault(mark, (label, text))
            if kept is not None and kept[0] != label:
                first[mark] = None
    return [row for row in first.values() if row is not None]


def _target(name: str, pool: Sequence[tuple[Label, Text]], test: Sequence[tuple[Label, Text]] | None) -> Task:
    labels = tuple(sorted({str(label) for label, _ in pool}))
    rows = _examples(pool, labels)
    if test is None:
        rows, held = split(rows, min(TEST, round(0.4 * len(rows))), 0, f"{name}/test")
    else:
        held = subset(_examples(test, labels), TEST, 0, f"{name}/test")
    return Task(name, labels, subset(rows, POOL, 0, f"{name}/pool"), (), held, score=SCORES.get(name, ""))


def _source(name: str, rows: Sequence[tuple[Label, Text]]) -> Task:
    """A number for a label is a regression."""
    numbers = isinstance(rows[0][0], float)
    labels = () if numbers else tuple(sorted({str(label) for label, _ in rows}))
    pool, valid = split(_examples(rows, labels), SOURCE_VALID, 0, f"{name}/valid")
    train = subset(pool, SOURCE_ROWS, 0, f"{name}/train")
    return Task(name, labels, train, valid, (), head="regress" if numbers else "classify")


def _examples(rows: Sequence[tuple[Label, Text]], labels: Sequence[str]) -> list[Example]:
    return [
        Example(
            text[:CHARACTERS] if isinstance(text, str) else (text[0][:CHARACTERS], text[1][:CHARACTERS]),
            label if isinstance(label, float) else labels.index(label),
        )
        for label, text in rows
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets that are files")
    parser.add_argument("--pack", type=Path, required=True, help="the file to write")
    options = parser.parse_args()
    pack = make(options.data)
    write(pack, options.pack)
    for kind, tasks in vars(pack).items():
        for task in tasks.values():
            print(kind, task.name, *(f"{part} {len(rows)}" for part, rows in task.splits.items()))
    print(f"{options.pack.stat().st_size / 2**20:.2f} MiB")


if __name__ == "__main__":
    main()
