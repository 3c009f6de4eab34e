"""Names in four languages: English, Swahili, Spanish and Dutch news, with the same labels (domain-incremental).

| task    | train  | valid | test  |
|---------|--------|-------|-------|
| english | 12,488 | 3,041 | 3,453 |
| swahili | 6,549  | 937   | 1,883 |
| spanish | 6,114  | 1,466 | 1,517 |
| dutch   | 12,092 | 2,025 | 5,195 |

PER, LOC, ORG and MISC in all, so that a module for one language can answer for another (English to Swahili, with a
multilingual encoder). Swahili has no MISC, and dates (DATE), which no other has: they are O here.

Sources and licences
  english: CoNLL-2003 (Tjong Kim Sang and De Meulder 2003) as in ``task_streams/ner.py``; Reuters, research only.
  swahili: MasakhaNER 2.0 (Adelani et al. 2022), masakhane-io/masakhane-ner, commit ba5843cd, MasakhaNER2.0/data/swa;
    6,593 / 942 / 1,883 sentences; CC BY-NC 4.0.
  spanish, dutch: CoNLL-2002 (Tjong Kim Sang 2002), EFE news of 2000 and De Morgen of 2000, in nltk/nltk_data, commit
    5db857e6, packages/corpora/conll2002.zip: testa is valid, testb is test; 8,323 / 1,915 / 1,517 and 15,806 / 2,895 /
    5,195 sentences; research. The files are UTF-8.
Test is used whole, with what it has twice; train and valid are cleaned as other corpora: many short lines of Spanish
and Dutch news come again and again (datelines, headings). The lint warns that Swahili has no row of MISC, and that
some lines of one language's test are in another's train: 3 of Dutch in English, 1 in Spanish; 1 of English in Dutch.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from zipfile import ZipFile

from continual.stream.base import Task
from continual.stream.entities import marks, renamed, sentences, tagging, unseen
from continual.stream.mirror import read
from continual.stream.order import arrange
from continual.stream.tagged import Sentence, begun, columns

NAMES = ("english", "swahili", "spanish", "dutch")
TYPES = ("PER", "LOC", "ORG", "MISC")
ENGLISH = {"person": "PER", "location": "LOC", "organisation": "ORG", "misc": "MISC"}
FOLDERS = {"english": "crossner/conll2003", "swahili": "masakhaner2/swa"}
CONLL2002 = {"spanish": "esp", "dutch": "ned"}
SOURCES = {
    "english": "CoNLL-2003 in zliucr/CrossNER@2e7ba2a7; Reuters RCV1, research only",
    "swahili": "MasakhaNER 2.0, masakhane-io/masakhane-ner@ba5843cd; CC BY-NC 4.0",
    "spanish": "CoNLL-2002 in nltk/nltk_data@5db857e6; research",
    "dutch": "CoNLL-2002 in nltk/nltk_data@5db857e6; research",
}


def tasks(
    order: int | Sequence[str] | None = None,
    train: int | None = None,
    valid: int | None = None,
    test: int | None = None,
    seed: int = 0,
    mirror: str | None = None,
) -> list[Task]:
    """The languages in ``order``.

    order              None: as listed; a list, only these; an integer: random
    train, valid, test sentences of each task, random; None: all
    seed               of the subsets, which depend on it and the language alone
    mirror             folder with crossner/, masakhaner2/, conll2002/; None: CONTINUAL_DATA
    Raises ContinualError: an unknown language, or data that cannot be had.
    """
    return [
        tagging(name, _splits(name, mirror), marks(TYPES), train, valid, test, seed, SOURCES[name])
        for name in arrange(NAMES, order, what="language")
    ]


def _splits(name: str, mirror: str | None) -> Mapping[str, list[Sentence]]:
    if name in CONLL2002:
        parts = {"train": "train", "valid": "testa", "test": "testb"}
        found = {split: _conll2002(f"{CONLL2002[name]}.{part}", mirror) for split, part in parts.items()}
    else:
        parts = {"train": "train", "valid": "dev", "test": "test"}
        found = {split: sentences(f"{FOLDERS[name]}/{part}.txt", mirror) for split, part in parts.items()}
    types = ENGLISH if name == "english" else {kind: kind for kind in TYPES}
    return unseen({split: renamed(own, types) for split, own in found.items()})


def _conll2002(member: str, mirror: str | None) -> list[Sentence]:
    """Word, part of speech and tag a line."""
    with ZipFile(io.BytesIO(read("conll2002/conll2002.zip", mirror))) as pack:
        lines = pack.read(f"conll2002/{member}").decode("utf-8").split("\n")
    return [begun(sentence) for sentence in columns(lines, f"conll2002.zip, {member}")]
