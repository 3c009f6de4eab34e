"""What the field's texts say of its methods, as ranges, and whether a measured value is in them."""

from __future__ import annotations

from typing import NamedTuple


class Claim(NamedTuple):
    """From ``low`` to ``high``, both in the column's unit; ``said`` is how the texts put it."""

    said: str
    low: float
    high: float


FAMILY = {
    **dict.fromkeys(("bottleneck", "houlsby", "parallel", "compacter"), "bottleneck"),
    **dict.fromkeys(("lora", "lora merged", "qlora"), "lora"),
    **dict.fromkeys(("prefix", "prefix_mlp", "prompt"), "prefix"),
    "bitfit": "bitfit",
    "full": "full",
}
"""Methods that are not here (head, ia3, sparse, bundle, mam) have no claim of their own in those texts."""

CLAIMS: dict[str, dict[str, Claim]] = {
    "bottleneck": {
        "trainable": Claim("0.5–3 %", 0.5, 3),
        "accuracy": Claim("98–99 %", 98, 99),
        "latency": Claim("+3–6 %", 3, 6),
        "memory": Claim("15–25 % of the model", 15, 25),
        "speed": Claim("1.2–2 × full", 1.2, 2),
    },
    "lora": {"trainable": Claim("0.1–1 %", 0.1, 1), "accuracy": Claim("97–99 %", 97, 99)},
    "prefix": {
        "trainable": Claim("< 0.1 %", 0, 0.1),
        "accuracy": Claim("95–98 %", 95, 98),
        "latency": Claim("about 0 %", -1, 1),
    },
    "bitfit": {
        "trainable": Claim("about 0.1 %, also < 0.01 %", 0, 0.15),
        "accuracy": Claim("90–95 %", 90, 95),
        "latency": Claim("0 %", -1, 1),
    },
    "full": {
        "trainable": Claim("100 %", 99, 100),
        "latency": Claim("0 %", -1, 1),
        "memory": Claim("200–400 % of the model", 200, 400),
        "speed": Claim("1 ×", 0.95, 1.05),
    },
}
MERGED = Claim("0 % merged", -1, 1)
SPREAD = "low–moderate; full: high"
"""The claim on sensitivity has no numbers: it holds for a method whose spread is below that of full fine-tuning."""


def claim(row: str, column: str) -> Claim | None:
    if row == "lora merged":
        return MERGED if column == "latency" else None
    return CLAIMS.get(FAMILY.get(row, ""), {}).get(column)


def verdict(row: str, column: str, value: float) -> str:
    """ "holds", "above" or "below"; empty where nothing is claimed. A latency within one point of 0 counts as 0."""
    said = claim(row, column)
    if said is None:
        return ""
    return "below" if value < said.low else "above" if value > said.high else "holds"
