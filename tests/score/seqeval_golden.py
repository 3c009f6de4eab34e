"""Writes golden_entities.json: random tag sequences and what seqeval says of them.

    pip install seqeval==1.2.2 && python tests/score/seqeval_golden.py

Schemes are broken on purpose: an I without a B, a change of type inside, E and S where they do not belong.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

KINDS = ["PER", "LOC", "by-line"]
LABELS = ["O", *(f"{prefix}-{kind}" for kind in KINDS for prefix in "BIES")]
BIO = [index for index, label in enumerate(LABELS) if label[0] in "OBI"]
WHERE = Path(__file__).parent / "golden_entities.json"


def sentences(rng: random.Random) -> list[tuple[list[int], list[int]]]:
    """(found, wanted): found is wanted with some words changed; half of the sentences keep to BIO."""
    pairs = []
    for number in range(200):
        tags = BIO if number % 2 else list(range(len(LABELS)))
        wanted = [rng.choice(tags) for _ in range(rng.randint(1, 12))]
        noise = rng.choice([0.0, 0.2, 0.5])
        pairs.append(([rng.choice(tags) if rng.random() < noise else tag for tag in wanted], wanted))
    return pairs


def names(tags: list[int]) -> list[str]:
    return [LABELS[tag] for tag in tags]


def main() -> None:
    from importlib.metadata import version

    from seqeval.metrics import f1_score
    from seqeval.metrics.sequence_labeling import get_entities

    def f1(*pairs: tuple[list[int], list[int]]) -> float:
        wanted, found = [names(w) for _, w in pairs], [names(f) for f, _ in pairs]
        return float(f1_score(wanted, found, zero_division=0))

    pairs = sentences(random.Random(0))
    lines = [
        json.dumps({"found": f, "wanted": w, "f1": f1((f, w)), "entities": sorted(get_entities(names(w)))})
        for f, w in pairs
    ]
    head = {"made_by": f"seqeval {version('seqeval')}, seqeval_golden.py", "labels": LABELS, "f1": f1(*pairs)}
    WHERE.write_text(json.dumps(head)[:-1] + ', "rows": [\n' + ",\n".join(lines) + "\n]}\n")


if __name__ == "__main__":
    main()
