"""Tagged sentences of published corpora as tasks: cleaned, perhaps by the types of their names, with labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from continual.errors import DataError
from continual.stream.base import Example, Task
from continual.stream.clean import cleaned
from continual.stream.mirror import read_text
from continual.stream.sample import draws, sized
from continual.stream.tagged import Sentence, begun, columns, tagset

Splits = Mapping[str, Sequence[Sentence]]


def sentences(folder_file: str, mirror: str | None, separator: str | None = None) -> list[Sentence]:
    """Of a file of a mirror, a word and its tag a line. Raises ContinualError: no such file; DataError: no sentence."""
    lines = read_text(folder_file, mirror).split("\n")
    found = [begun(sentence) for sentence in columns(lines, folder_file, separator=separator)]
    if not found:
        raise DataError(f"{folder_file}: no sentences; expected a word and its tag a line")
    return found


def unseen(splits: Splits) -> dict[str, list[Sentence]]:
    """Train and valid clean, as all corpora are (``cleaned``); test as it is published, for that is what is scored.

    >>> one, two = Sentence("", ("a",), ("O",)), Sentence("", ("b",), ("B-X",))
    >>> {split: len(found) for split, found in unseen({"train": [one, one, two], "test": [two, two]}).items()}
    {'train': 1, 'test': 2}
    """
    clean = cleaned({split: [(s.tags, s.words) for s in found] for split, found in splits.items()})
    kept = {split: [Sentence(split, tuple(words), tags) for tags, words in found] for split, found in clean.items()}
    return {**kept, "test": list(splits["test"])}


def renamed(found: Iterable[Sentence], types: Mapping[str, str]) -> list[Sentence]:
    """Names of the types spelled as ``types`` says; those of other types become O.

    >>> renamed([Sentence("", ("a", "b"), ("B-person", "B-date"))], {"person": "PER"})[0].tags
    ('B-PER', 'O')
    """
    spelled = {f"{mark}-{kind}": f"{mark}-{name}" for kind, name in types.items() for mark in "BI"}
    return [sentence._replace(tags=tuple(spelled.get(tag, "O") for tag in sentence.tags)) for sentence in found]


def marks(types: Iterable[str]) -> tuple[str, ...]:
    """The labels of a task with names of ``types``, whether its rows have them all or not.

    >>> marks(["PER", "LOC"])
    ('O', 'B-LOC', 'B-PER', 'I-LOC', 'I-PER')
    """
    return tagset(["O", *(f"{mark}-{kind}" for kind in types for mark in "BI")])


def dealt(found: Sequence[Sentence], groups: Sequence[Sequence[str]], seed: int) -> list[list[Sentence]]:
    """One slice of the sentences for each group of types, none in two; of other types than the group's, names are O.

    The greedy sampling of CFNER (Zheng et al. 2022) as IL-LLM has it: a slice has room for as many of 100 sentences as
    its group has of 100 types. A sentence goes to the slice of the rarest type that it names and whose slice has room
    (rare: by words, B- and I-, of all sentences), else to a random one that has. Rounded down, the rooms may leave up
    to a sentence a group over, which is left out. The random choice is a function of ``seed`` and the sentence's place.

    >>> a, b = Sentence("", ("a",), ("B-X",)), Sentence("", ("b", "c"), ("B-Y", "B-X"))
    >>> [[s.tags for s in found] for found in dealt([a, b, a, b], [["X"], ["Y"]], seed=0)]
    [[('B-X',), ('B-X',)], [('B-Y', 'O'), ('B-Y', 'O')]]
    """
    home = {kind: place for place, group in enumerate(groups) for kind in group}
    counts = Counter(tag[2:] for sentence in found for tag in sentence.tags if tag[2:] in home)
    rarest = sorted(home, key=lambda kind: (counts[kind], kind))
    room = [len(found) * len(group) // len(home) for group in groups]
    slices: list[list[Sentence]] = [[] for _ in groups]
    for sentence, draw in zip(found, draws(len(found), "dealt", seed).tolist(), strict=True):
        named = {tag[2:] for tag in sentence.tags}
        free = [home[kind] for kind in rarest if kind in named and room[home[kind]]]
        free = free[:1] or [place for place, left in enumerate(room) if left]
        if free:
            place = free[draw % len(free)]
            slices[place].append(sentence)
            room[place] -= 1
    return [renamed(own, {kind: kind for kind in group}) for own, group in zip(slices, groups, strict=True)]


def by_type(splits: Splits, groups: Sequence[Sequence[str]], seed: int) -> list[dict[str, list[Sentence]]]:
    """The splits of a task for each group of types: its slice of train (``dealt``), and all of valid and test.

    A name of another group's type is O, in all splits. Groups in another order have the same slices each.
    """
    kinds = sorted(map(tuple, groups))
    own = dict(zip(kinds, dealt(splits["train"], kinds, seed), strict=True))
    return [
        {split: renamed(found, {kind: kind for kind in group}) for split, found in splits.items()}
        | {"train": own[tuple(group)]}
        for group in groups
    ]


def tagging(
    name: str,
    splits: Splits,
    labels: Sequence[str],
    train: int | None,
    valid: int | None,
    test: int | None,
    seed: int,
    source: str,
) -> Task:
    """A task of the head "tag", at the sizes asked for (``sized``)."""
    index = {label: i for i, label in enumerate(labels)}
    rows = {
        split: [Example(s.words, tuple(index[tag] for tag in s.tags)) for s in found] for split, found in splits.items()
    }
    found = sized(rows, train, valid, test, seed, name)
    return Task(name, tuple(labels), **found, head="tag", score="entity_f1", source=source)


def tags(splits: Splits) -> tuple[str, ...]:
    """The labels of all splits: where test has some that train lacks, the lint says so."""
    return tagset(tag for found in splits.values() for sentence in found for tag in sentence.tags)
