"""Slot filling: what a request to an assistant says of what. ATIS (flights), then SNIPS (seven skills); intents beside.

| task           | labels      | train  | valid | test |
|----------------|-------------|--------|-------|------|
| atis           | 126 and O   | 4,132  | 490   | 893  |
| snips          | 71 and O    | 12,819 | 694   | 700  |
| atis-intents   | 26 intents  | 4,133  | 490   | 893  |
| snips-intents  | 7 intents   | 12,820 | 694   | 700  |

Source: MiuLab/SlotGated-SLU (Goo et al. 2018, commit 61f0307c, data/): lower case, tokenised, IOB2 slots and an intent
each. ATIS (Hemphill et al. 1990) derives from an LDC corpus, for research; the SNIPS benchmark (Coucke et al.
2018) is CC0 1.0; the repository has no licence. Published: ATIS 4,478 / 500 / 893, SNIPS 13,084 / 700 / 700. Test is
used whole, with what it has twice; train and valid are cleaned as other corpora.

Intents are classes: ATIS is skewed (flight is three quarters), and requests with two intents have a class of their own,
such as atis_flight#atis_airfare. The task of slots and the task of intents have the same texts. The lint warns of ATIS:
valid has 2 slots and 1 intent that train lacks, test 7 and 4.
"""

from __future__ import annotations

from collections.abc import Sequence

from continual.errors import DataError
from continual.stream.base import Task
from continual.stream.clean import cleaned, indexed
from continual.stream.entities import tagging, tags, unseen
from continual.stream.mirror import read_text
from continual.stream.order import arrange
from continual.stream.sample import sized
from continual.stream.tagged import Sentence, begun, slots

NAMES = ("atis", "snips", "atis-intents", "snips-intents")
SPLITS = ("train", "valid", "test")
SOURCES = {
    "atis": "ATIS in MiuLab/SlotGated-SLU@61f0307c; derived from LDC, research",
    "snips": "SNIPS in MiuLab/SlotGated-SLU@61f0307c; CC0 1.0",
}


def tasks(
    order: int | Sequence[str] | None = ("atis", "snips"),
    train: int | None = None,
    valid: int | None = None,
    test: int | None = None,
    seed: int = 0,
    mirror: str | None = None,
) -> list[Task]:
    """The tasks in ``order``, with subsets that depend on ``seed`` and the name alone; those of intents stratified.

    order              a list of atis, snips, atis-intents and snips-intents; an integer: these four, random; None: the
                       four as they stand here
    train, valid, test rows of each task; None: all
    mirror             folder with atis/ and snips/; None: CONTINUAL_DATA
    Raises ContinualError: an unknown task, or data that cannot be had.
    """
    result = []
    for name in arrange(NAMES, order):
        corpus, _, intents = name.partition("-")
        if intents:
            result.append(_intents(name, corpus, train, valid, test, seed, mirror))
            continue
        splits = {split: _slots(f"{corpus}/{split}", mirror) for split in SPLITS}
        result.append(tagging(name, unseen(splits), tags(splits), train, valid, test, seed, SOURCES[corpus]))
    return result


def _slots(folder: str, mirror: str | None) -> list[Sentence]:
    return [begun(s) for s in slots(_lines(f"{folder}/seq.in", mirror), _lines(f"{folder}/seq.out", mirror), folder)]


def _intents(
    name: str, corpus: str, train: int | None, valid: int | None, test: int | None, seed: int, mirror: str | None
) -> Task:
    pairs = {split: _labelled(f"{corpus}/{split}", mirror) for split in SPLITS}
    labels = sorted({label for found in pairs.values() for label, _ in found})
    rows = indexed(cleaned(pairs) | {"test": pairs["test"]}, labels)
    found = sized(rows, train, valid, test, seed, name)
    return Task(name, tuple(labels), **found, head="classify", score="", source=SOURCES[corpus])


def _labelled(folder: str, mirror: str | None) -> list[tuple[str, str]]:
    """(intent, request); the words of a request with single spaces between."""
    labels, said = _lines(f"{folder}/label", mirror), _lines(f"{folder}/seq.in", mirror)
    if len(said) != len(labels):
        raise DataError(f"{folder}: expected as many lines in seq.in as in label, got {len(said)} and {len(labels)}")
    return [(label.strip(), " ".join(line.split())) for label, line in zip(labels, said, strict=True)]


def _lines(folder_file: str, mirror: str | None) -> list[str]:
    return read_text(folder_file, mirror).rstrip("\n").split("\n")
